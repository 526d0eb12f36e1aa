//! The round of the courier's thread: turn the link, settle what it brought, send, spool, sleep.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastbeat_wire::{Envelope, FactId};

use crate::clock::{boottime_ms, spool_instant};
use crate::courier::{Flushed, Identity, Shared};
use crate::link::{Event, Link};
use crate::spool::{self, Leftover};
use crate::wake::Sleeper;

/// The most bytes of envelopes in one message. Small: it is put together under the lock.
const MESSAGE_MAX_BYTES: usize = 32 * 1024;
/// The longest sleep, for no reason but to have a limit.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How often a round may panic before the thread is given up.
const PANICS_MAX: u32 = 64;

/// What the thread has in hands.
pub(crate) struct Round {
    shared: Arc<Shared>,
    identity: Identity,
    link: Link,
    sleeper: Sleeper,
    spool_dir: PathBuf,
    errand: Errand,
    /// The courier's own facts wait for the errand.
    leftovers_first: bool,
    spooled: Option<Spooled>,
}

/// The spool file as it was written last.
struct Spooled {
    /// The newest fact in it that waited.
    newest: u64,
    /// The facts in it that no collector has made durable: the file stays as long as there is one.
    unsafe_seqs: BTreeSet<u64>,
}

/// Files of earlier runs of this worker, delivered one after the other once our own facts are sent.
#[derive(Default)]
struct Errand {
    paths: VecDeque<PathBuf>,
    at_hand: Option<AtHand>,
}

/// The file that is being delivered.
struct AtHand {
    file: Leftover,
    read_ms: u64,
    next: usize,
    pending: BTreeSet<FactId>,
}

impl Round {
    pub(crate) fn new(shared: Arc<Shared>, link: Link, sleeper: Sleeper, spool_dir: PathBuf) -> Self {
        let identity = shared.lock().outbox.identity().clone();
        Self {
            shared,
            identity,
            link,
            sleeper,
            spool_dir,
            errand: Errand::default(),
            leftovers_first: false,
            spooled: None,
        }
    }

    /// Goes round until the courier quits.
    ///
    /// A panic in it, a fault of ours, costs the link that was open and not the thread: a worker that falls silent
    /// over a fault of its guest would be taken for dead.
    pub(crate) fn run(mut self) {
        let mut panics = 0;
        loop {
            match std::panic::catch_unwind(AssertUnwindSafe(|| self.go_once())) {
                Ok(true) => break,
                Ok(false) => {}
                Err(payload) => {
                    panics += 1;
                    if panics == PANICS_MAX {
                        std::panic::resume_unwind(payload);
                    }
                    self.errand = Errand::default();
                    self.link.break_off(Instant::now());
                }
            }
        }
        self.link.close();
    }

    /// One round; says whether it was the last.
    fn go_once(&mut self) -> bool {
        let events = self.link.turn(Instant::now());
        if self.settle(events) {
            return true;
        }
        let asides = std::mem::take(&mut self.shared.lock().asides);
        asides.into_iter().for_each(|aside| aside());
        self.send();
        self.see_to_flush();
        let sleep = self.sleep_for();
        self.sleeper.sleep(self.link.watched(), sleep);
        false
    }

    /// Applies what the link brought; says whether to quit.
    fn settle(&mut self, events: Vec<Event>) -> bool {
        for event in events {
            match event {
                Event::Opened => {
                    crate::events::quietly(|| tracing::debug!("the link to the collector is open"));
                    let mut state = self.shared.lock();
                    state.outbox.link_opened();
                    // The start is told again with an old identity: only a beat shows that we live now.
                    if let Some(beat) = &mut state.beat {
                        beat.next = Instant::now();
                    }
                    drop(state);
                    self.errand = Errand::begin(&self.spool_dir, &self.identity);
                }
                Event::Acked(id, durable) => {
                    self.shared.lock().outbox.acked(id, durable);
                    let is_own = (self.identity.run_id, self.identity.source) == (id.run_id, id.source);
                    if let Some(spooled) = self.spooled.as_mut().filter(|_| durable && is_own) {
                        spooled.unsafe_seqs.remove(&id.seq);
                    }
                    self.errand.acked(id, durable);
                }
                Event::Refused(id, why) => {
                    crate::events::quietly(
                        || tracing::warn!(seq = id.seq, %why, "the collector refused a fact"),
                    );
                    self.shared.lock().outbox.refused(id);
                    self.errand.refused(id);
                }
                Event::Bye(bye) => {
                    crate::events::quietly(
                        || tracing::info!(reason = ?bye.reason, back_by = ?bye.back_by, "the collector says goodbye"),
                    );
                }
                Event::Asked(asking, request) => {
                    let obey = self.shared.lock().obey.clone();
                    let obey = obey.filter(|_| self.identity.run_id == request.run_id);
                    // Without the lock: whoever obeys says so through the outbox.
                    match obey {
                        Some(obey) => obey(asking, request),
                        // Not a warning: a collector that asks on and on must not fill the host's log.
                        None => crate::events::quietly(
                            || tracing::debug!(?asking, run = %request.run_id, "nobody here takes this request"),
                        ),
                    }
                }
                Event::Closed(why) => {
                    crate::events::quietly(|| tracing::debug!(%why, "no link to the collector"));
                    self.errand = Errand::default();
                }
            }
        }
        self.shared.lock().quit
    }

    /// Sends what waits: facts first, then a beat that is due, then what earlier runs left behind.
    fn send(&mut self) {
        if !self.link.can_send() {
            return;
        }
        let now = Instant::now();
        self.look_for_leftovers();
        self.errand.take_up_next(&self.identity);
        let held_back = self.leftovers_first && !self.errand.is_done();
        let mut state = self.shared.lock();
        let facts =
            if held_back { Vec::new() } else { state.outbox.take_unsent(boottime_ms(), MESSAGE_MAX_BYTES) };
        let beat_due = match &mut state.beat {
            Some(beat) if facts.is_empty() && beat.next <= now => {
                beat.next = now + beat.every;
                Some(Arc::clone(&beat.make))
            }
            _ => None,
        };
        drop(state);
        if !facts.is_empty() {
            let (ids, texts): (Vec<FactId>, Vec<String>) = facts.into_iter().unzip();
            self.link.send(ids, array_of(texts), now);
        } else if let Some(make) = beat_due {
            let signal = make();
            let beat = self.shared.lock().outbox.beat(signal);
            if let Some(text) = beat.as_ref().and_then(|beat| serde_json::to_string(beat).ok()) {
                self.link.send(beat.iter().map(Envelope::id).collect(), text, now);
            }
        } else if let Some((ids, text)) = self.errand.next_message() {
            self.link.send(ids, text, now);
        }
    }

    /// Looks into the spool once more when what lies there is to go first.
    fn look_for_leftovers(&mut self) {
        if !self.leftovers_first && self.shared.lock().leftovers_first {
            self.leftovers_first = true;
            self.errand = Errand::begin(&self.spool_dir, &self.identity);
        }
    }

    fn see_to_flush(&mut self) {
        let now = Instant::now();
        let state = self.shared.lock();
        let unsafe_seqs: BTreeSet<u64> = state.outbox.waiting_seqs().collect();
        let Some(newest) = unsafe_seqs.last().copied() else {
            let flushing = state.flush.is_some();
            drop(state);
            if self.spooled.take_if(|spooled| spooled.unsafe_seqs.is_empty()).is_some() {
                spool::remove(&self.shared.spool_path);
            }
            if flushing {
                self.answer(Flushed::Delivered);
            }
            return;
        };
        let Some(flush) = state.flush else { return };
        self.link.hurry(now);
        let over = now >= flush.until || state.outbox.only_refused_wait();
        // Whatever waits and is older than the newest in the file was there when the file was written.
        let is_safe = |spooled: &Option<Spooled>| spooled.as_ref().is_some_and(|it| it.newest >= newest);
        let must_spool = !is_safe(&self.spooled) && (over || now >= flush.spool_at || !self.link.is_open());
        let envelopes = must_spool.then(|| state.outbox.to_spool(boottime_ms()));
        drop(state);
        let waiting = unsafe_seqs.len();
        if let Some(envelopes) = envelopes {
            match spool::write(&self.shared.spool_path, &spool_instant(), &envelopes) {
                Ok(()) => self.spooled = Some(Spooled { newest, unsafe_seqs }),
                Err(error) => {
                    crate::events::quietly(
                        || tracing::warn!(path = %self.shared.spool_path.display(), %error, "the spool cannot be written"),
                    );
                }
            }
        }
        if over {
            let safe = is_safe(&self.spooled);
            self.answer(if safe { Flushed::Spooled(waiting) } else { Flushed::Failed });
        }
    }

    fn answer(&self, flushed: Flushed) {
        let mut state = self.shared.lock();
        if state.flush.take().is_some() {
            state.flushed = Some(flushed);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    fn sleep_for(&self) -> Duration {
        let now = Instant::now();
        let state = self.shared.lock();
        // A beat that is due and cannot be sent yet waits for the socket, not for the clock.
        let can_send = self.link.can_send();
        let beat = state.beat.as_ref().filter(|_| can_send).map(|beat| beat.next);
        let flush = state.flush.map(|flush| {
            if self.spooled.is_none() && now < flush.spool_at { flush.spool_at } else { flush.until }
        });
        drop(state);
        let due = [self.link.due_at(now), beat, flush].into_iter().flatten().min();
        due.map_or(SLEEP_MAX, |due| due.saturating_duration_since(now).min(SLEEP_MAX))
    }
}

impl Errand {
    fn begin(dir: &Path, identity: &Identity) -> Self {
        Self { paths: spool::leftovers(dir, identity, &spool_instant()), at_hand: None }
    }

    /// All files are delivered, or left to others.
    fn is_done(&self) -> bool {
        self.at_hand.is_none() && self.paths.is_empty()
    }

    /// Reads the next file, when the one before is safe. One that is not to be delivered after all is passed over.
    fn take_up_next(&mut self, identity: &Identity) {
        while self.at_hand.is_none() {
            let Some(path) = self.paths.pop_front() else { return };
            self.at_hand = Leftover::read(path, identity, &spool_instant()).map(|file| AtHand {
                file,
                read_ms: boottime_ms(),
                next: 0,
                pending: BTreeSet::new(),
            });
        }
    }

    /// The next part of the file at hand.
    fn next_message(&mut self) -> Option<(Vec<FactId>, String)> {
        self.at_hand.as_mut()?.next_message()
    }

    fn acked(&mut self, id: FactId, durable: bool) {
        if let Some(at_hand) = self.at_hand.as_mut().filter(|_| durable)
            && at_hand.pending.remove(&id)
            && at_hand.pending.is_empty()
            && at_hand.next == at_hand.file.envelopes.len()
        {
            at_hand.file.remove();
            self.at_hand = None;
        }
    }

    /// The file stays for whoever can tell a person; the next one gets its turn.
    fn refused(&mut self, id: FactId) {
        self.at_hand.take_if(|at_hand| at_hand.pending.contains(&id));
    }
}

impl AtHand {
    fn next_message(&mut self) -> Option<(Vec<FactId>, String)> {
        let waited_ms = boottime_ms().saturating_sub(self.read_ms);
        let (mut ids, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        for envelope in &self.file.envelopes[self.next..] {
            let aged = Envelope { age_ms: envelope.age_ms.saturating_add(waited_ms), ..envelope.clone() };
            let text = serde_json::to_string(&aged).ok()?;
            if !ids.is_empty() && bytes + text.len() > MESSAGE_MAX_BYTES {
                break;
            }
            bytes += text.len();
            ids.push(aged.id());
            texts.push(text);
        }
        self.next += ids.len();
        self.pending.extend(&ids);
        (!ids.is_empty()).then(|| (ids, array_of(texts)))
    }
}

/// One array of them; each is let go as soon as it is copied.
fn array_of(texts: Vec<String>) -> String {
    let mut array = String::with_capacity(texts.iter().map(|text| text.len() + 1).sum::<usize>() + 2);
    for text in texts {
        array.push(if array.is_empty() { '[' } else { ',' });
        array.push_str(&text);
    }
    array.push(']');
    array
}
