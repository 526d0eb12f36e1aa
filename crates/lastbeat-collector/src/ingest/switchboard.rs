//! The switchboard: by which link a run is spoken to.
//!
//! A link whose run said that it may be asked something has a small mailbox, and is known here under the run and
//! its voice. Whoever asks puts a frame into the mailbox; the link's own task writes it.
//!
//! Invariant: nobody waits here. A mailbox that is full refuses, and a link that is over is not known any more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lastbeat_wire::reply::Frame;
use lastbeat_wire::{Code, Refusal, RunId, Source};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::link::{LINKS_MAX, VOICES_MAX};

/// A run, and who speaks of it.
pub(crate) type Voice = (RunId, Source);

/// What may wait on one link. An operator asks, and asks again with force; what comes faster is no person.
pub(crate) const MAILBOX_MAX: usize = 8;

/// All mailboxes; there is one.
#[derive(Debug)]
pub(crate) struct Switchboard {
    lines: Mutex<HashMap<Voice, Line>>,
    lines_max: usize,
}

/// The newest link that speaks for a voice.
#[derive(Debug)]
struct Line {
    link: u64,
    // Boxed: a channel keeps 32 places from its beginning, and a link is to cost about 3 KB.
    slot: Sender<Box<Frame>>,
}

impl Default for Switchboard {
    /// With room for one voice of every link.
    fn default() -> Self {
        Self::with_room(LINKS_MAX)
    }
}

impl Switchboard {
    fn with_room(lines_max: usize) -> Self {
        Self { lines: Mutex::default(), lines_max }
    }

    /// Puts a frame into the mailbox of the newest link that speaks for a voice.
    ///
    /// # Errors
    /// [`Code::NotLinked`], or [`Code::LinkBusy`] when the mailbox is full; the frame is gone then.
    pub(crate) fn say(&self, voice: Voice, frame: Frame) -> Result<(), Refusal> {
        let not_linked = || Refusal::new(Code::NotLinked, format!("run {} has no open link", voice.0));
        let lines = self.lock();
        let line = lines.get(&voice).ok_or_else(not_linked)?;
        line.slot.try_send(Box::new(frame)).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::new(
                Code::LinkBusy,
                format!("{MAILBOX_MAX} requests wait on the link of run {}", voice.0),
            ),
            TrySendError::Closed(_) => not_linked(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Voice, Line>> {
        // Each change is one call on the map: whoever panicked left it whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends of a mailbox: as long as the link has them, it cannot close under the one who waits.
#[derive(Debug)]
struct Mailbox {
    slot: Sender<Box<Frame>>,
    inside: Receiver<Box<Frame>>,
}

/// One link's place on the switchboard. Dropped, it is known no more, and what was not taken out is gone.
#[derive(Debug)]
pub(crate) struct Extension {
    board: Arc<Switchboard>,
    link: u64,
    /// Made when it is first needed: most links speak for runs that are asked nothing.
    mailbox: Option<Mailbox>,
    voices: Vec<Voice>,
}

impl Extension {
    /// Of the link with this number: the higher, the newer.
    pub(crate) const fn new(board: Arc<Switchboard>, link: u64) -> Self {
        Self { board, link, mailbox: None, voices: Vec::new() }
    }

    /// Takes what is for a voice, unless a newer link does. False when there is no room for one more.
    pub(crate) fn speak_for(&mut self, voice: Voice) -> bool {
        let is_new = !self.voices.contains(&voice);
        if is_new && self.voices.len() == VOICES_MAX {
            return false;
        }
        let mailbox = self.mailbox.get_or_insert_with(|| {
            let (slot, inside) = mpsc::channel(MAILBOX_MAX);
            Mailbox { slot, inside }
        });
        let line = Line { link: self.link, slot: mailbox.slot.clone() };
        let mut lines = self.board.lock();
        let has_room = lines.len() < self.board.lines_max;
        match lines.entry(voice) {
            Entry::Occupied(known) if known.get().link > self.link => return true,
            Entry::Occupied(mut known) => *known.get_mut() = line,
            Entry::Vacant(free) if has_room => {
                free.insert(line);
            }
            Entry::Vacant(_) => return false,
        }
        drop(lines);
        if is_new {
            self.voices.push(voice);
        }
        true
    }

    /// Waits for the next frame to write. Dropped while it waits, it loses none.
    pub(crate) async fn heard(&mut self) -> Frame {
        if let Some(mailbox) = &mut self.mailbox
            && let Some(frame) = mailbox.inside.recv().await
        {
            return *frame;
        }
        // Nobody can ask by a link without a mailbox.
        std::future::pending().await
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        let mut lines = self.board.lock();
        for voice in &self.voices {
            if lines.get(voice).is_some_and(|line| line.link == self.link) {
                lines.remove(voice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use lastbeat_wire::reply::Request;

    use super::*;

    fn voice(number: u128) -> Voice {
        (RunId::from_u128(number), Source::Own)
    }

    fn stop(why: &str) -> Frame {
        let run_id = RunId::from_u128(1);
        Frame::Stop(Request { run_id, who: None, why: Some(why.into()), force: false })
    }

    fn refused(said: Result<(), Refusal>) -> Option<Code> {
        said.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_frame_goes_to_the_newest_link_and_to_nobody_when_that_is_over() {
        let board = Arc::new(Switchboard::default());
        assert_eq!(refused(board.say(voice(1), stop("early"))), Some(Code::NotLinked));
        let mut newer = Extension::new(Arc::clone(&board), 2);
        let mut older = Extension::new(Arc::clone(&board), 1);
        assert!(newer.speak_for(voice(1)) && older.speak_for(voice(1)), "the older is late");
        board.say(voice(1), stop("now")).unwrap();
        assert_eq!(older.heard().now_or_never(), None);
        assert_eq!(newer.heard().now_or_never(), Some(stop("now")));
        drop(older);
        board.say(voice(1), stop("still")).unwrap();
        drop(newer);
        assert_eq!(refused(board.say(voice(1), stop("late"))), Some(Code::NotLinked));
        assert!(board.lock().is_empty());
    }

    #[test]
    fn a_mailbox_that_is_full_refuses_and_has_room_again_when_one_was_taken() {
        let board = Arc::new(Switchboard::default());
        let mut link = Extension::new(Arc::clone(&board), 1);
        link.speak_for(voice(1));
        link.speak_for(voice(2));
        let taken = (0..).take_while(|_| board.say(voice(1), stop("again")).is_ok()).count();
        assert_eq!(taken, MAILBOX_MAX);
        assert_eq!(
            refused(board.say(voice(2), stop("other"))),
            Some(Code::LinkBusy),
            "a link has one mailbox"
        );
        assert_eq!(link.heard().now_or_never(), Some(stop("again")));
        board.say(voice(2), stop("other")).unwrap();
    }

    #[test]
    fn there_is_room_for_so_many_voices_and_no_more() {
        let board = Arc::new(Switchboard::with_room(VOICES_MAX + 1));
        let mut link = Extension::new(Arc::clone(&board), 1);
        let many = u128::try_from(VOICES_MAX).unwrap();
        assert!((0..many).all(|number| link.speak_for(voice(number))));
        assert!(!link.speak_for(voice(many)), "of one link");
        assert!(link.speak_for(voice(0)), "who is known may say so again");
        let mut other = Extension::new(Arc::clone(&board), 2);
        assert!(other.speak_for(voice(many)));
        assert!(!other.speak_for(voice(many + 1)), "of all links");
        assert!(other.speak_for(voice(0)), "the place is taken over");
        drop(link);
        assert_eq!(board.lock().len(), 2, "what was taken over stays");
        assert!(other.speak_for(voice(many + 1)));
    }
}
