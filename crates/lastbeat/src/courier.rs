//! The courier: carries one voice's facts to the collector, on the one thread that does all I/O.
//!
//! `say` puts a fact into the outbox and rings; the thread sends it at once, reads the receipts, beats,
//! dials again when the link is gone, and at a flush puts on disk what no collector has. The client and
//! the witness use this same code.
//!
//! Invariant: nobody but this thread touches the socket and the spool; the lock is never held over either.
//! Invariant: in a forked child, which has no such thread, everything here does nothing.
//!
//! What the thread does is in `round`.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use lastbeat_wire::reply::Request;
use lastbeat_wire::signal::{Beat, Signal};
use lastbeat_wire::{Name, RunId, Source};

use crate::clock::{boottime_ms, spool_instant};
use crate::config::{Address, Config};
use crate::link::{Asking, Link};
use crate::outbox::Outbox;
use crate::round::Round;
use crate::spool;
use crate::wake::{Bell, Sleeper};

/// How long a flush waits for an open link before it writes the spool all the same.
const SPOOL_AFTER: Duration = Duration::from_millis(250);
/// How long, beyond its budget, a flush waits for the disk.
const DISK_GRACE: Duration = Duration::from_millis(500);
/// How long a courier waits for its thread when it goes.
const JOIN_GRACE: Duration = Duration::from_millis(500);
/// How long a panic hook tries to tell of the panic.
const HOOK_PATIENCE: Duration = Duration::from_millis(100);
/// How long it waits between two tries.
const HOOK_RETRY: Duration = Duration::from_micros(100);
/// The most things to be done on the thread for a panic hook that wait at once.
const ASIDES_MAX: usize = 16;
/// The longest interval and budget taken, so that no sum of times overflows.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Who speaks, of which run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The run spoken of.
    pub run_id: RunId,
    /// The voice.
    pub source: Source,
    /// The service's name.
    pub service: Name,
    /// The worker's name.
    pub worker: Name,
}

/// What became of the facts at the end of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The collector has them all, durably, but for those it refused that tell of no ending: they are counted
    /// as [dropped](Courier::dropped).
    Delivered,
    /// So many wait in the spool directory, an ending that the collector refused among them.
    Spooled(usize),
    /// They could be neither delivered nor spooled.
    Failed,
}

/// Makes the beat of the moment.
pub(crate) type MakeBeat = Arc<dyn Fn() -> Signal + Send + Sync>;

/// Does what an operator asks of the run.
pub(crate) type Obey = Arc<dyn Fn(Asking, Request) + Send + Sync>;

/// Done on the courier's thread, for one who must not do it where it is.
pub(crate) type Aside = Box<dyn FnOnce() + Send>;

/// Carries one voice's facts to the collector, on a thread of its own.
///
/// Dropping it ends the thread; what was not flushed before is lost.
pub struct Courier {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// The process that has the thread; a forked child has not.
    pub(crate) pid: u32,
    pub(crate) spool_path: PathBuf,
    pub(crate) bell: Option<Arc<Bell>>,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
}

pub(crate) struct State {
    pub(crate) outbox: Outbox,
    pub(crate) beat: Option<BeatPlan>,
    /// None: the run is not to be asked.
    pub(crate) obey: Option<Obey>,
    pub(crate) asides: Vec<Aside>,
    pub(crate) flush: Option<Flush>,
    pub(crate) flushed: Option<Flushed>,
    /// What lies in the spool goes before whatever is still to be said.
    pub(crate) leftovers_first: bool,
    pub(crate) quit: bool,
    pub(crate) alive: bool,
}

pub(crate) struct BeatPlan {
    pub(crate) every: Duration,
    pub(crate) next: Instant,
    pub(crate) make: MakeBeat,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Flush {
    pub(crate) spool_at: Instant,
    pub(crate) until: Instant,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("spool_path", &self.shared.spool_path).finish_non_exhaustive()
    }
}

impl Courier {
    /// Starts the thread. Never fails: where no thread can be had, a flush spools.
    #[must_use]
    pub fn start(identity: Identity, config: &Config) -> Self {
        let (bell, sleeper) = match crate::wake::pair() {
            Ok((bell, sleeper)) => (Some(Arc::new(bell)), Some(sleeper)),
            Err(error) => {
                crate::events::quietly(
                    || tracing::warn!(%error, "no descriptor for the client's thread: facts will be spooled at the end"),
                );
                (None, None)
            }
        };
        let shared = Arc::new(Shared {
            pid: std::process::id(),
            spool_path: spool::path_of(&config.spool_dir, identity.run_id, identity.source),
            bell: bell.clone(),
            state: Mutex::new(State {
                outbox: Outbox::new(identity),
                beat: None,
                obey: None,
                asides: Vec::new(),
                flush: None,
                flushed: None,
                leftovers_first: false,
                quit: false,
                alive: false,
            }),
            changed: Condvar::new(),
        });
        if let (Some(bell), Some(sleeper)) = (bell, sleeper) {
            Self::start_thread(&shared, config, bell, sleeper);
        }
        Self { shared }
    }

    fn start_thread(shared: &Arc<Shared>, config: &Config, bell: Arc<Bell>, sleeper: Sleeper) {
        let address = match Address::parse("collector", &config.collector) {
            Ok(address) => address,
            Err(error) => {
                crate::events::quietly(
                    || tracing::warn!(%error, "no link to a collector: facts will be spooled at the end"),
                );
                return;
            }
        };
        let link = Link::new(address, config, bell, Instant::now());
        let theirs = Arc::clone(shared);
        let spool_dir = config.spool_dir.clone();
        shared.lock().alive = true;
        let started = std::thread::Builder::new().name(THREAD_NAME.into()).spawn(move || {
            let round = Round::new(Arc::clone(&theirs), link, sleeper, spool_dir);
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| round.run()));
            // First, for what is told next goes to the host's log, which may be what failed.
            theirs.lock().alive = false;
            theirs.changed.notify_all();
            if ended.is_err() {
                crate::events::quietly(|| {
                    tracing::error!("the client's thread failed: facts will be spooled at the end")
                });
            }
        });
        if let Err(error) = started {
            crate::events::quietly(
                || tracing::warn!(%error, "no thread for the client: facts will be spooled at the end"),
            );
            shared.lock().alive = false;
        }
    }

    /// Says a fact; it is sent at once. Never blocks, never fails: what does not fit is counted.
    ///
    /// Beats are not said but kept up by [`Courier::keep_beating`].
    pub fn say(&self, signal: Signal) {
        if self.is_forked() || !signal.is_durable() {
            return;
        }
        self.shared.lock().outbox.say(signal, boottime_ms());
        self.ring();
    }

    /// As [`Courier::say`], from a panic hook: gives up when the lock cannot be had soon. A thread that
    /// panics inside this module would hold it itself; any other holder lets go within microseconds, or, on a
    /// machine without a free core, within a few time slices. Says whether it was said. The aside is done on the
    /// courier's thread.
    pub(crate) fn say_from_hook(&self, signal: Signal, aside: Aside) -> bool {
        if self.is_forked() {
            return false;
        }
        let until = Instant::now() + HOOK_PATIENCE;
        loop {
            let held = match self.shared.state.try_lock() {
                Ok(state) => Some(state),
                // See `Shared::lock`: what a panic left behind is whole.
                Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut state) = held {
                state.outbox.say(signal, boottime_ms());
                if state.asides.len() < ASIDES_MAX {
                    state.asides.push(aside);
                }
                drop(state);
                self.ring();
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(HOOK_RETRY);
        }
    }

    /// From now on, what other speakers of this worker left in the spool goes before whatever is still to be
    /// said: a witness calls it when its child is gone, so that the child's last words come before its exit (D4).
    pub fn deliver_leftovers_first(&self) {
        if let Some(mut state) = self.shared.lock_unless_forked() {
            state.leftovers_first = true;
        }
        self.ring();
    }

    /// Beats from now on, each interval, while the link is open, until a final is said.
    pub fn keep_beating(&self, interval: Duration) {
        let make: MakeBeat = match self.shared.lock_unless_forked() {
            Some(state) if state.outbox.identity().source == Source::Witness => {
                Arc::new(|| Signal::WitnessBeat)
            }
            _ => Arc::new(|| Signal::Beat(Beat::default())),
        };
        self.keep_beating_with(interval, make);
    }

    /// As [`Courier::keep_beating`], with what each beat says.
    pub(crate) fn keep_beating_with(&self, every: Duration, make: MakeBeat) {
        let every = every.min(SPAN_MAX);
        if let Some(mut state) = self.shared.lock_unless_forked() {
            state.beat = Some(BeatPlan { every, next: Instant::now() + every, make });
        }
        self.ring();
    }

    /// From now on, does what an operator asks of this run. Called on the courier's thread, so it must not wait.
    pub(crate) fn obey_with(&self, obey: Obey) {
        if let Some(mut state) = self.shared.lock_unless_forked() {
            state.obey = Some(obey);
        }
    }

    /// Waits until the collector has everything, at most for the budget; what is left is spooled.
    ///
    /// Returns at once when all is acknowledged. Without a link the spool is written first and delivery
    /// tried for the rest of the budget, so that a KILL in between costs nothing.
    #[must_use]
    pub fn flush(&self, budget: Duration) -> Flushed {
        let Some(mut state) = self.shared.lock_unless_forked() else { return Flushed::Failed };
        let (now, budget) = (Instant::now(), budget.min(SPAN_MAX));
        state.flush = Some(Flush { spool_at: now + SPOOL_AFTER.min(budget / 4), until: now + budget });
        state.flushed = None;
        self.ring();
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, budget + DISK_GRACE, |state| state.alive && state.flushed.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.flush = None;
        match (state.flushed.take(), state.alive) {
            (Some(flushed), _) => flushed,
            (None, true) => Flushed::Failed,
            (None, false) => {
                let waiting = state.outbox.waiting();
                if waiting == 0 {
                    return Flushed::Delivered;
                }
                let envelopes = state.outbox.to_spool(boottime_ms());
                drop(state);
                match spool::write(&self.shared.spool_path, &spool_instant(), &envelopes) {
                    Ok(()) => Flushed::Spooled(waiting),
                    Err(_) => Flushed::Failed,
                }
            }
        }
    }

    /// How many facts were given up because the outbox was full or the collector refused them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock_unless_forked().map_or(0, |state| state.outbox.dropped())
    }

    /// Whether this is a forked child of the process that started the courier.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.is_forked()
    }

    fn ring(&self) {
        if let Some(bell) = &self.shared.bell {
            bell.ring();
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        let Some(mut state) = self.shared.lock_unless_forked() else { return };
        state.quit = true;
        self.ring();
        // The thread itself may be the last that holds the run, for as long as it makes a beat.
        if std::thread::current().name() == Some(THREAD_NAME) {
            return;
        }
        drop(
            self.shared
                .changed
                .wait_timeout_while(state, JOIN_GRACE, |state| state.alive)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole facts behind: each is put in or taken out in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a forked child the lock may be held for ever, by a thread that is not there.
    fn lock_unless_forked(&self) -> Option<MutexGuard<'_, State>> {
        (!self.is_forked()).then(|| self.lock())
    }

    fn is_forked(&self) -> bool {
        self.pid != std::process::id()
    }
}

/// The name of the I/O thread.
pub(crate) const THREAD_NAME: &str = "lastbeat";

#[cfg(test)]
mod tests {
    use lastbeat_wire::signal::Start;

    use std::net::TcpListener;
    use std::path::Path;

    use lastbeat_wire::reply::{Ack, Frame, Receipt, Rejected};

    use super::*;

    fn identity() -> Identity {
        Identity {
            run_id: RunId::from_u128(7),
            source: Source::Own,
            service: Name::new("trader").expect("a name"),
            worker: Name::new("main").expect("a name"),
        }
    }

    fn courier_of(pid: u32, spool_dir: &Path) -> Courier {
        let identity = identity();
        let shared = Shared {
            pid,
            spool_path: spool::path_of(spool_dir, identity.run_id, identity.source),
            bell: None,
            state: Mutex::new(State {
                outbox: Outbox::new(identity),
                beat: None,
                obey: None,
                asides: Vec::new(),
                flush: None,
                flushed: None,
                leftovers_first: false,
                quit: false,
                alive: false,
            }),
            changed: Condvar::new(),
        };
        Courier { shared: Arc::new(shared) }
    }

    #[test]
    fn in_a_forked_child_nothing_is_said_or_spooled() {
        let dir = tempfile::tempdir().expect("a directory");
        let child = courier_of(std::process::id() + 1, dir.path());
        // The parent's thread held the lock when it forked: in the child it is never let go.
        let shared = Arc::clone(&child.shared);
        let _held = shared.lock();
        child.say(Signal::Ready);
        child.keep_beating(Duration::from_secs(1));
        assert_eq!(child.flush(Duration::from_secs(5)), Flushed::Failed);
        drop(child);
        assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 0);
    }

    #[test]
    fn without_a_thread_a_flush_spools_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let courier = courier_of(std::process::id(), dir.path());
        courier.say(Signal::Start(Start::default()));
        courier.say(Signal::Ready);
        assert_eq!(courier.flush(Duration::from_secs(60)), Flushed::Spooled(2));
        assert!(courier.shared.spool_path.exists());
    }

    #[test]
    fn a_panic_is_told_although_an_earlier_one_poisoned_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let courier = courier_of(std::process::id(), dir.path());
        let shared = Arc::clone(&courier.shared);
        let poisoned = std::thread::spawn(move || {
            let _held = shared.lock();
            panic!("under the lock");
        });
        assert!(poisoned.join().is_err());
        assert!(courier.say_from_hook(Signal::Ready, Box::new(|| ())));
        assert_eq!(courier.shared.lock().outbox.waiting(), 1);
    }

    #[test]
    fn a_spool_file_stays_while_a_fact_in_it_is_not_durable_although_nothing_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (mut config, _) = Config::read(|_| None);
        config.collector = format!("http://{}", listener.local_addr().expect("its address"));
        config.spool_dir = dir.path().to_owned();
        let courier = Courier::start(identity(), &config);
        courier.say(Signal::Start(Start::default()));
        courier.say(Signal::Stopped);
        assert_eq!(courier.flush(Duration::from_millis(50)), Flushed::Spooled(2), "nobody answers yet");

        let stream = listener.accept().expect("the courier dialled").0;
        let mut socket = tungstenite::accept(stream).expect("a link");
        socket.read().expect("both facts in one message");
        let Identity { run_id, source, .. } = identity();
        let receipt = Frame::Receipt(Receipt {
            accepted: 1,
            acks: vec![Ack { run_id, source, seq: 1, durable: true }],
            rejected: vec![Rejected { index: 1, code: "bad_field".into(), message: "the test".into() }],
        });
        let answer = serde_json::to_string(&receipt).expect("a receipt is JSON");
        socket.send(tungstenite::Message::text(answer)).expect("the courier reads");
        assert_eq!(courier.flush(Duration::from_secs(20)), Flushed::Delivered);
        assert_eq!(courier.dropped(), 1);
        assert!(courier.shared.spool_path.exists(), "somebody may still want to know what was refused");
    }
}
