//! The one absolute deadline of a stop, handed down to agents and steps, and how far work that moves may move
//! it (D3).
//!
//! Invariant: pure. Time is an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;

/// The most that one extension gives, before scaling; the collector takes no more.
const EXTENSION_MAX: Duration = Duration::from_secs(60);
/// The most that all of them give, before scaling.
const EXTENSIONS_MAX: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// How long a stop may take, the final heartbeat included.
    pub(crate) stop: Duration,
    /// Of that, what the final heartbeat has.
    pub(crate) flush: Duration,
    scale: f64,
    /// A witness that kills at its grace cannot be asked for more.
    is_fixed: bool,
    moved: Mutex<Moved>,
}

#[derive(Debug, Default)]
struct Moved {
    by: Duration,
    /// The step at work and its count at the last extension.
    at_work: Option<(Name, u64)>,
    agents_until: Option<Instant>,
}

impl Deadline {
    pub(crate) fn new(stop: Duration, flush: Duration, scale: f64, is_fixed: bool) -> Self {
        // A budget as long as the deadline would leave no time for the steps.
        let flush = flush.min(stop / 2);
        Self { stop, flush, scale, is_fixed, moved: Mutex::default() }
    }

    /// When agents and steps are cut, for a stop that was asked then.
    pub(crate) fn cut_at(&self, asked_at: Instant) -> Instant {
        asked_at + self.stop.saturating_sub(self.flush) + self.lock().by
    }

    /// Until when agents are waited for before the steps; known once the stop has begun.
    pub(crate) fn agents_until(&self) -> Option<Instant> {
        self.lock().agents_until
    }

    pub(crate) fn wait_for_agents_until(&self, until: Instant) {
        self.lock().agents_until = Some(until);
    }

    /// Moves it by so much, or by what may still be given, when the step's count has moved since the last time.
    /// Gives by how much.
    pub(crate) fn extend(&self, by: Duration, step: &Name, count: u64) -> Option<Duration> {
        if self.is_fixed {
            return None;
        }
        let mut moved = self.lock();
        let stands_still = moved.at_work.as_ref().is_some_and(|(name, then)| name == step && *then == count);
        let left = EXTENSIONS_MAX.mul_f64(self.scale).saturating_sub(moved.by);
        let by = by.min(EXTENSION_MAX.mul_f64(self.scale)).min(left);
        if stands_still || by.is_zero() {
            return None;
        }
        moved.by += by;
        moved.at_work = Some((step.clone(), count));
        Some(by)
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    #[test]
    fn d3_only_work_that_moves_moves_the_deadline_and_not_for_ever() {
        let deadline = Deadline::new(30 * S, 2 * S, 1.0, false);
        let asked_at = Instant::now();
        assert_eq!(deadline.cut_at(asked_at), asked_at + 28 * S);
        assert_eq!(deadline.extend(5 * S, &name("drain"), 1), Some(5 * S));
        assert_eq!(deadline.extend(5 * S, &name("drain"), 1), None, "nothing moved");
        assert_eq!(deadline.extend(5 * S, &name("flush"), 1), Some(5 * S), "another step is at work");
        assert_eq!(deadline.cut_at(asked_at), asked_at + 38 * S);
        for count in 2..11 {
            assert_eq!(deadline.extend(90 * S, &name("drain"), count), Some(60 * S));
        }
        assert_eq!(deadline.extend(90 * S, &name("drain"), 20), Some(50 * S), "ten minutes in all");
        assert_eq!(deadline.extend(S, &name("drain"), 21), None);
    }

    #[test]
    fn under_a_witness_that_kills_the_deadline_does_not_move() {
        let deadline = Deadline::new(30 * S, 2 * S, 1.0, true);
        assert_eq!(deadline.extend(5 * S, &name("drain"), 1), None);
    }

    #[test]
    fn a_flush_budget_leaves_half_of_the_time_to_the_steps() {
        let asked_at = Instant::now();
        assert_eq!(Deadline::new(2 * S, 5 * S, 1.0, false).cut_at(asked_at), asked_at + S);
    }
}
