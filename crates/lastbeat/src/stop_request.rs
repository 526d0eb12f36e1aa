//! The request to stop: who asked first, and whether somebody insisted (M7).
//!
//! Invariant: the first cause stands. Time is an argument, so the rule is tested without waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::signal::Cause;
use tokio_util::sync::CancellationToken;

/// Signals within this time of the first are one request: a person mashing Ctrl+C, a group plus a parent's
/// forward. Not scaled: people are not.
pub(crate) const ONE_REQUEST: Duration = Duration::from_secs(1);

/// What a request changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The stop begins.
    First,
    /// Nothing: it is asked already.
    Again,
    /// Somebody insists: what is left is skipped.
    SecondRequest,
}

#[derive(Debug, Default)]
struct Asks {
    first: Option<(Cause, Instant)>,
    first_signal_at: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct StopRequest {
    asks: Mutex<Asks>,
    asked: CancellationToken,
    forced: AtomicBool,
}

impl StopRequest {
    /// A stop asked otherwise than by a signal; it never forces.
    pub(crate) fn ask(&self, cause: Cause, now: Instant) -> Heard {
        let mut asks = self.lock();
        if asks.first.is_some() {
            return Heard::Again;
        }
        asks.first = Some((cause, now));
        Heard::First
    }

    /// A stop signal. After a stop asked otherwise it is the *first* signal (preStop, then TERM).
    pub(crate) fn signal(&self, cause: Cause, now: Instant) -> Heard {
        let mut asks = self.lock();
        match asks.first_signal_at {
            Some(first) if now.saturating_duration_since(first) >= ONE_REQUEST => {
                drop(asks);
                self.force()
            }
            Some(_) => Heard::Again,
            None => {
                asks.first_signal_at = Some(now);
                drop(asks);
                self.ask(cause, now)
            }
        }
    }

    /// Somebody insists otherwise than by a signal.
    pub(crate) fn force(&self) -> Heard {
        if self.forced.swap(true, Ordering::AcqRel) { Heard::Again } else { Heard::SecondRequest }
    }

    /// For how long a further signal would still be the same request.
    pub(crate) fn same_request_for(&self) -> Duration {
        let first = self.lock().first_signal_at;
        first.map_or(Duration::ZERO, |first| ONE_REQUEST.saturating_sub(first.elapsed()))
    }

    /// Lets everybody who waits for the stop go on. After the fact is said, so that it comes first.
    pub(crate) fn announce(&self) {
        self.asked.cancel();
    }

    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.asked
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.lock().first.is_some()
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.forced.load(Ordering::Acquire)
    }

    /// Why and since when.
    pub(crate) fn first(&self) -> Option<(Cause, Instant)> {
        self.lock().first.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lastbeat_wire::signal::CauseKind;

    use super::*;

    const fn cause(kind: CauseKind) -> Cause {
        Cause::of(kind)
    }

    #[test]
    fn three_signals_within_a_second_are_one_request() {
        let (stop, now) = (StopRequest::default(), Instant::now());
        assert_eq!(stop.signal(cause(CauseKind::Keyboard), now), Heard::First);
        for ms in [300, 999] {
            let then = now + Duration::from_millis(ms);
            assert_eq!(stop.signal(cause(CauseKind::Signal), then), Heard::Again);
        }
        assert!(!stop.is_forced());
        assert_eq!(stop.first().map(|(cause, _)| cause.kind), Some(CauseKind::Keyboard));
    }

    #[test]
    fn a_signal_a_second_after_the_first_forces_once() {
        let (stop, now) = (StopRequest::default(), Instant::now());
        stop.signal(cause(CauseKind::Keyboard), now);
        let then = now + ONE_REQUEST;
        assert_eq!(stop.signal(cause(CauseKind::Keyboard), then), Heard::SecondRequest);
        assert!(stop.is_forced());
        assert_eq!(stop.signal(cause(CauseKind::Keyboard), then + ONE_REQUEST), Heard::Again);
    }

    #[test]
    fn a_signal_after_another_kind_of_request_is_the_first_signal() {
        let (stop, now) = (StopRequest::default(), Instant::now());
        assert_eq!(stop.ask(cause(CauseKind::Api), now), Heard::First);
        assert_eq!(stop.ask(cause(CauseKind::Api), now), Heard::Again);
        let later = now + Duration::from_secs(20);
        assert_eq!(stop.signal(cause(CauseKind::Signal), later), Heard::Again);
        assert!(!stop.is_forced());
        assert_eq!(stop.signal(cause(CauseKind::Signal), later + ONE_REQUEST), Heard::SecondRequest);
        assert_eq!(stop.first().map(|(cause, _)| cause.kind), Some(CauseKind::Api));
    }
}
