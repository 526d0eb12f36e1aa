//! What a run shares with its agents, its threads and the panic hook: who asked, what is said, and when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::reply::Request;
use lastbeat_wire::signal::{Asked, Cause, CauseKind, Phase, PhaseTo, Signal};
use lastbeat_wire::{Name, RunId};
use tracing::Span;

use crate::BoxError;
use crate::agent::Agents;
use crate::clock::whole_ms;
use crate::courier::Courier;
use crate::deadline::Deadline;
use crate::events;
use crate::gate::Gate;
use crate::link::Asking;
use crate::sender::cut;
use crate::spawn::OwnTasks;
use crate::step::Planned;
use crate::stop_request::{Heard, StopRequest};
use crate::streams::Streams;
use crate::summary::Summary;
use crate::wait::Pulse;

/// The longest promise to be back: 10 min.
const BACK_WITHIN_MAX: Duration = Duration::from_secs(600);
/// The longest reason kept, in bytes.
const REASON_MAX_BYTES: usize = 256;
/// The most buffers that register a flush.
const FLUSHES_MAX: usize = 64;

/// What a host does to read its configuration anew.
pub(crate) type Reload = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// See the module.
pub(crate) struct Inner {
    pub(crate) courier: Courier,
    pub(crate) agents: Agents,
    pub(crate) own_tasks: OwnTasks,
    pub(crate) stop: StopRequest,
    pub(crate) deadline: Deadline,
    pub(crate) gate: Gate,
    pub(crate) streams: Arc<Streams>,
    /// Rings when an agent or a step ends, when the stop begins, and when somebody insists on it.
    pub(crate) pulse: Pulse,
    pub(crate) title: String,
    pub(crate) run_id: RunId,
    pub(crate) environment: Option<String>,
    pub(crate) scale: f64,
    pub(crate) flush_budget: Duration,
    pub(crate) heeds: Heeds,
    pub(crate) is_ready: AtomicBool,
    /// One more than the promise in ms, so that 0 means none.
    pub(crate) promise: AtomicU64,
    /// The stop has begun, or the run has ended without one. Whoever sets it says what is said last.
    pub(crate) is_over: AtomicBool,
    pub(crate) flushes: Mutex<Vec<Planned>>,
    pub(crate) summary: Mutex<Option<Arc<Summary>>>,
    pub(crate) span: Span,
}

/// What a run listens to beside SIGINT, SIGTERM and itself.
#[derive(Clone, Default)]
pub(crate) struct Heeds {
    /// SIGHUP is a stop.
    pub(crate) hangup: bool,
    /// SIGQUIT is a stop.
    pub(crate) quit: bool,
    /// SIGHUP from a process is a reload.
    pub(crate) reload: Option<Reload>,
    /// The collector may ask for a stop.
    pub(crate) stop: bool,
    /// The collector may ask for a pause.
    pub(crate) pause: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("title", &self.title)
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Heeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hangup, quit, reload, stop, pause } = self;
        f.debug_struct("Heeds")
            .field("hangup", hangup)
            .field("quit", quit)
            .field("reload", &reload.is_some())
            .field("stop", stop)
            .field("pause", pause)
            .finish()
    }
}

impl Inner {
    pub(crate) fn say(&self, signal: Signal) {
        self.courier.say(signal);
    }

    pub(crate) fn promise_ms(&self) -> Option<u64> {
        self.promise.load(Ordering::Acquire).checked_sub(1)
    }

    pub(crate) fn promise_back_within(&self, within: Duration) {
        if within > BACK_WITHIN_MAX {
            crate::events::quietly(|| {
                tracing::warn!(
                    asked_ms = whole_ms(within),
                    promised_ms = whole_ms(BACK_WITHIN_MAX),
                    "a restart promise holds for ten minutes at most"
                )
            });
        }
        self.promise.store(whole_ms(within.min(BACK_WITHIN_MAX)) + 1, Ordering::Release);
    }

    /// Whether the stop is over and its summary told.
    pub(crate) fn is_told(&self) -> bool {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// When agents and steps are cut, once a stop is asked.
    pub(crate) fn cut_at(&self) -> Option<Instant> {
        self.stop.first().map(|(_, asked_at)| self.deadline.cut_at(asked_at))
    }

    /// A stop asked otherwise than by a signal.
    pub(crate) fn ask(&self, cause: Cause) {
        if !self.courier.is_forked() && self.stop.ask(cause.clone(), Instant::now()) == Heard::First {
            self.begin(cause);
        }
    }

    /// Somebody insists by `lastbeat stop --force`: asked for the first time or not, what is left is skipped.
    fn force(&self, cause: Cause) {
        if self.courier.is_forked() {
            return;
        }
        self.ask(cause.clone());
        if self.stop.force() == Heard::SecondRequest {
            self.insist(cause);
        }
    }

    /// A stop asked by a signal.
    #[cfg(unix)]
    pub(crate) fn signalled(&self, heard: crate::sender::Heard) {
        let cause = Cause { signal: Some(heard.signal), sender: heard.sender, ..Cause::of(heard.kind) };
        match self.stop.signal(cause.clone(), Instant::now()) {
            Heard::First => self.begin(cause),
            Heard::SecondRequest => self.insist(cause),
            Heard::Again => {}
        }
    }

    fn begin(&self, cause: Cause) {
        events::stop_requested(&self.span, &cause, self.deadline.stop);
        self.tell_asked(cause);
        self.stop.announce();
    }

    fn insist(&self, cause: Cause) {
        events::stop_forced(&self.span, &cause);
        self.tell_asked(cause);
        self.pulse.ring();
    }

    fn tell_asked(&self, cause: Cause) {
        let deadline_ms = Some(whole_ms(self.deadline.stop));
        self.say(Signal::Asked(Asked { cause, deadline_ms }));
    }

    /// Says that the run goes to a phase. A run that stops has none.
    pub(crate) fn go_to(&self, to: PhaseTo, done: Option<u64>, total: Option<u64>) {
        if !self.courier.is_forked() && !self.stop.is_asked() {
            self.say(Signal::Phase(Phase { to, done, total }));
        }
    }

    pub(crate) fn pause(&self) {
        if !self.courier.is_forked() && self.gate.close() {
            self.go_to(PhaseTo::Paused, None, None);
        }
    }

    pub(crate) fn resume(&self) {
        if self.courier.is_forked() {
            return;
        }
        self.gate.open();
        self.go_to(PhaseTo::Running, None, None);
    }

    /// What an operator asks by the collector. Called on the courier's thread: nothing here waits.
    pub(crate) fn obey(&self, asking: Asking, request: Request) {
        let Request { who, why, force, .. } = request;
        let cause = Cause { who: who.map(short), why: why.map(short), ..Cause::of(CauseKind::Operator) };
        match asking {
            Asking::Stop if self.heeds.stop && force => self.force(cause),
            Asking::Stop if self.heeds.stop => self.ask(cause),
            Asking::Pause if self.heeds.pause => self.pause(),
            Asking::Resume if self.heeds.pause => self.resume(),
            Asking::Stop | Asking::Pause | Asking::Resume => {
                // Not a warning: a collector that asks on and on must not fill the host's log.
                crate::events::quietly(|| {
                    tracing::debug!(?asking, "the collector asks for what this worker did not allow")
                });
            }
        }
    }

    pub(crate) fn register(&self, flush: Planned) {
        if self.courier.is_forked() {
            return;
        }
        let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        if flushes.len() < FLUSHES_MAX {
            flushes.push(flush);
        } else {
            crate::events::quietly(
                || tracing::warn!(name = %flush.name, "no more than {FLUSHES_MAX} buffers can register"),
            );
        }
    }
}

/// A text of somebody else's, cut to what a cause may carry.
pub(crate) fn short(text: impl AsRef<str>) -> String {
    cut(text.as_ref(), REASON_MAX_BYTES).to_owned()
}

/// A name that the wire takes: what is not allowed in one becomes a dash.
pub(crate) fn usable_name(text: &str) -> Name {
    if let Ok(name) = Name::new(text) {
        return name;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '@' | '-');
    let usable: String = text
        .chars()
        .take(lastbeat_wire::id::NAME_MAX_BYTES)
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    crate::events::quietly(|| tracing::warn!(said = text, %usable, "a name is 1 to 128 of [A-Za-z0-9._:@-]"));
    Name::new(&usable)
        .or_else(|_| Name::new("unnamed"))
        .expect("\"unnamed\" is 7 letters, which the allow-list holds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_the_wire_would_refuse_is_made_usable() {
        assert_eq!(usable_name("price feed/é").as_str(), "price-feed--");
        assert_eq!(usable_name("").as_str(), "unnamed");
        assert_eq!(usable_name(&"é".repeat(500)).as_str(), "-".repeat(128));
    }
}
