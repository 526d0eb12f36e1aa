//! The witness: it starts a program, passes signals on, sees its real end and tells the collector.
//!
//! Lives here: one life from start to wait status ([`Life`]); what is heard ([`ears`]) and what a signal
//! does ([`forward`]), the child process ([`child`]), the one-use claim by which a linked client joins this
//! run ([`claim`]).
//!
//! Invariant: the child never suffers from the collector. Nothing here waits for the network before the
//! child has ended, and then no longer than the flush budget.
//! Invariant: the child is reaped last, so its pid cannot be another process's while it is signalled.

pub(crate) mod child;
pub(crate) mod claim;
pub(crate) mod ears;
pub(crate) mod forward;

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use lastbeat::witness::Courier;
use lastbeat::witness::sender::Heard;
use lastbeat_wire::Signal;
use lastbeat_wire::signal::SignalSeen;

use self::child::Child;
use self::ears::{Ears, Event};
use self::forward::{Meaning, Passing, Requests, SIGCHLD};

/// How long after the child's end its SIGCHLD is waited for. It comes within a millisecond, unless whoever
/// started us has blocked it.
const LAST_SIGNALS_LIMIT: Duration = Duration::from_millis(100);

/// How long a signal is waited for that the child seems to have died of and that was not heard. A key at the terminal
/// and a stop of a whole control group strike us both, and a child without a handler is faster than our threads.
const ONE_STROKE: Duration = Duration::from_millis(250);

/// The child's life as its witness sees it.
pub(crate) struct Life<'a> {
    pub(crate) child: Child,
    pub(crate) courier: &'a Courier,
    pub(crate) grace: Duration,
}

impl Life<'_> {
    /// Watches until the child has ended; says each signal as it comes. Gives the wait status, and whether
    /// the KILL was ours.
    pub(crate) fn watch(mut self, ears: Ears) -> std::io::Result<(ExitStatus, bool)> {
        let pid = self.child.pid();
        ears.watch(pid);
        let mut requests = Requests::default();
        let mut kill_at: Option<Instant> = None;
        let mut last_signals_until: Option<Instant> = None;
        let mut killed = false;
        let (mut heard_of, mut struck_by) = (BTreeSet::new(), None);
        loop {
            let next = [last_signals_until, kill_at].into_iter().flatten().min();
            let event = match next {
                Some(at) => ears.events.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => ears.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Heard(heard)) if heard.number == SIGCHLD => {
                    // Signals are heard lowest number first and those that are told of are below SIGCHLD's:
                    // what came well before the child's end has been said by now.
                    let Some(end) = child::end_of(pid) else { continue };
                    struck_by = child::asked_by(&end).filter(|signal| !heard_of.contains(signal));
                    if struck_by.is_none() {
                        break;
                    }
                    last_signals_until = Instant::now().checked_add(ONE_STROKE);
                    kill_at = None;
                }
                Ok(Event::Heard(heard)) => {
                    let number = heard.number;
                    heard_of.insert(number);
                    let asks = self.pass(heard, &mut requests);
                    if struck_by == Some(number) {
                        break;
                    }
                    if asks && kill_at.is_none() && last_signals_until.is_none() && !killed {
                        kill_at = Instant::now().checked_add(self.grace);
                    }
                }
                Ok(Event::Ended) => {
                    last_signals_until =
                        last_signals_until.or_else(|| Instant::now().checked_add(LAST_SIGNALS_LIMIT));
                    kill_at = None;
                }
                Err(RecvTimeoutError::Timeout) if last_signals_until.is_some() => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill_all();
                    killed = true;
                    kill_at = None;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.reap()?;
        ears.close();
        Ok((status, killed))
    }

    /// Passes a signal on or not, tells of it or not, and says whether it asks the child to stop.
    fn pass(&self, heard: Heard, requests: &mut Requests) -> bool {
        let origin = forward::origin(
            heard.number,
            heard.kind,
            heard.sender.as_ref().map(|sender| sender.pid),
            std::process::id(),
        );
        let meaning = forward::meaning(heard.number, origin, heard.kind);
        let repeated = meaning == Meaning::Ask && requests.is_repeat(heard.number, Instant::now());
        let forwarded = match forward::passing(self.child.attachment(), origin) {
            // The child has it from where we have it, or it is none of the child's business.
            Passing::Swallow => true,
            Passing::Forward if repeated => false,
            Passing::Forward => self.child.signal(heard.number),
        };
        if meaning != Meaning::Errand {
            self.courier.say(Signal::SignalSeen(SignalSeen {
                signal: heard.signal,
                sender: heard.sender,
                forwarded,
                kind: Some(heard.kind),
            }));
        }
        meaning == Meaning::Ask
    }
}
