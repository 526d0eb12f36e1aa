//! The keeper's inbox: a bounded queue, weighed in bytes of JSON.
//!
//! What does not fit is not taken: `POST` answers `overloaded`, a link waits and so stops reading.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};

use lastbeat_wire::envelope::Decoded;
use lastbeat_wire::reply::Ack;
use lastbeat_wire::{Code, Refusal, RunId, Source};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::orders::{Order, Ordered};

/// All that may wait, in KiB of JSON: 32 MiB.
pub(crate) const QUEUE_MAX_KIB: u32 = 32 * 1024;
/// The least weight of a message, so that small ones are bounded in number too.
const MESSAGE_MIN_KIB: u32 = 4;
/// How many messages can wait at once; the weight fills up first.
const MESSAGES_MAX: usize = (QUEUE_MAX_KIB / MESSAGE_MIN_KIB) as usize;

/// How facts came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// By a request.
    Post,
    /// On the link of this number.
    Link(u64),
    /// From a file, some time later, by whoever brings it: no presence.
    Spool,
}

/// What became of one envelope.
pub(crate) type Outcome = Result<Ack, Refusal>;

/// Something for the keeper.
#[derive(Debug)]
pub(crate) enum Message {
    /// Envelopes that were read and checked.
    Facts {
        /// The envelopes in their order.
        envelopes: Vec<Decoded>,
        /// How they came.
        via: Via,
        /// Takes one outcome for each; after the commit, for durable ones.
        reply: oneshot::Sender<Vec<Outcome>>,
    },
    /// What an operator wants.
    Order {
        /// What.
        order: Order,
        /// Takes what became of it, after the commit.
        reply: oneshot::Sender<Ordered>,
    },
    /// Somebody wants to see all that was acknowledged until now.
    Show {
        /// Told when it is in the newest snapshot.
        shown: oneshot::Sender<()>,
    },
    /// A link closed that spoke for these.
    Unlinked {
        /// Its number.
        link: u64,
        /// Runs and their voices.
        voices: Vec<(RunId, Source)>,
    },
    /// All that waited on disk was read: the absence ends here, and judging begins.
    Watch {
        /// Told when the absence is in the journal.
        done: oneshot::Sender<()>,
    },
    /// Whoever listens to the world is at work: facts would have come this way too.
    Pulse {
        /// Told when the keeper has taken it.
        taken: oneshot::Sender<()>,
    },
    /// The collector goes: take what waits, commit, end.
    Stop,
}

/// A message with the room it takes, given back when the keeper has taken it.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The message.
    pub(crate) message: Message,
    _room: OwnedSemaphorePermit,
}

/// The keeper's end.
pub(crate) type Receiver = mpsc::Receiver<Waiting>;

/// The senders' end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    room: Arc<Semaphore>,
    tx: SyncSender<Waiting>,
}

/// Makes an empty inbox.
pub(crate) fn inbox() -> (Inbox, Receiver) {
    let (tx, rx) = mpsc::sync_channel(MESSAGES_MAX);
    (Inbox { room: Arc::new(Semaphore::new(QUEUE_MAX_KIB as usize)), tx }, rx)
}

impl Inbox {
    /// Hands envelopes over if there is room now. `bytes` is what they weighed on the wire.
    ///
    /// # Errors
    /// [`Code::Overloaded`], or [`Code::Stopping`] when the keeper is gone.
    pub(crate) fn offer(
        &self,
        envelopes: Vec<Decoded>,
        via: Via,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Vec<Outcome>>, Refusal> {
        let room = self.room_now(bytes)?;
        let (reply, outcomes) = oneshot::channel();
        self.put(Message::Facts { envelopes, via, reply }, room)?;
        Ok(outcomes)
    }

    /// Hands an order over if there is room now; it weighs as much as the smallest message.
    ///
    /// # Errors
    /// [`Code::Overloaded`], or [`Code::Stopping`] when the keeper is gone.
    pub(crate) fn order(&self, order: Order) -> Result<oneshot::Receiver<Ordered>, Refusal> {
        let room = self.room_now(0)?;
        let (reply, ordered) = oneshot::channel();
        self.put(Message::Order { order, reply }, room)?;
        Ok(ordered)
    }

    /// Has all that was acknowledged until now put into a snapshot, if there is room for the wish now.
    ///
    /// # Errors
    /// [`Code::Overloaded`], or [`Code::Stopping`] when the keeper is gone.
    pub(crate) fn show(&self) -> Result<oneshot::Receiver<()>, Refusal> {
        let room = self.room_now(0)?;
        let (shown, seen) = oneshot::channel();
        self.put(Message::Show { shown }, room)?;
        Ok(seen)
    }

    /// Hands envelopes over as soon as there is room.
    ///
    /// # Errors
    /// [`Code::Stopping`] when the keeper is gone.
    pub(crate) async fn submit(
        &self,
        envelopes: Vec<Decoded>,
        via: Via,
        bytes: usize,
    ) -> Result<Vec<Outcome>, Refusal> {
        let (reply, outcomes) = oneshot::channel();
        self.send(Message::Facts { envelopes, via, reply }, bytes).await?;
        outcomes.await.map_err(|_| stopping())
    }

    /// Hands any message over as soon as there is room.
    ///
    /// # Errors
    /// [`Code::Stopping`] when the keeper is gone.
    pub(crate) async fn send(&self, message: Message, bytes: usize) -> Result<(), Refusal> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight(bytes)).await;
        self.put(message, room.map_err(|_| stopping())?)
    }

    /// What waits, in KiB.
    pub(crate) fn waiting_kib(&self) -> usize {
        (QUEUE_MAX_KIB as usize).saturating_sub(self.room.available_permits())
    }

    fn room_now(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.room)
            .try_acquire_many_owned(weight(bytes))
            .map_err(|_| Refusal::new(Code::Overloaded, "too much waits for the journal"))
    }

    fn put(&self, message: Message, room: OwnedSemaphorePermit) -> Result<(), Refusal> {
        // Every message weighs at least its share of the room, so with room there is a place.
        self.tx.try_send(Waiting { message, _room: room }).map_err(|_| stopping())
    }
}

/// The answer when the keeper is gone or going.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the collector is on its way out")
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(QUEUE_MAX_KIB).clamp(MESSAGE_MIN_KIB, QUEUE_MAX_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_refuses_and_has_room_again_when_the_keeper_took_some() {
        let (inbox, rx) = inbox();
        let mut taken = 0;
        let refusal = loop {
            match inbox.offer(Vec::new(), Via::Post, 1024 * 1024) {
                Ok(_) => taken += 1,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((taken, refusal.code), (31, Code::Overloaded));
        drop(rx.try_recv());
        assert!(inbox.offer(Vec::new(), Via::Post, 1024 * 1024).is_ok());
    }

    #[test]
    fn as_many_small_messages_as_weigh_fit_in() {
        let (inbox, _rx) = inbox();
        let fits = (0..=MESSAGES_MAX).take_while(|_| inbox.offer(Vec::new(), Via::Post, 1).is_ok()).count();
        assert_eq!(fits, MESSAGES_MAX);
        assert_eq!(inbox.waiting_kib(), QUEUE_MAX_KIB as usize);
    }

    #[test]
    fn without_a_keeper_the_answer_is_stopping() {
        let (inbox, rx) = inbox();
        drop(rx);
        assert_eq!(inbox.offer(Vec::new(), Via::Post, 1).unwrap_err().code, Code::Stopping);
    }
}
