//! The way of time: absences of the observer, deadlines, the mark of the axis.
//!
//! What was watched ends at the newest pulse. A round or a pulse that comes late is an absence: either way facts
//! may lie somewhere unheard.

use lastbeat_engine::fact::Away;
use lastbeat_engine::{Source, What};
use tracing::info;

use super::{Keeper, TICK};

/// A round or a pulse that comes this much later than it should is an absence (D6), before scaling.
const LATE_MS: f64 = 2_000.0;
/// A scaled lateness is never below this: a busy machine is late by as much.
const LATE_MIN_MS: f64 = 250.0;
/// Expiries can open further deadlines that are due too, but not for ever.
const ROUNDS_MAX: usize = 16;
/// The mark of the axis is never older.
const MARK_EVERY_MS: u64 = 5_000;

/// The longest time between two rounds, or two pulses, that is no absence yet.
pub(super) fn absence_ms(scale: f64) -> u64 {
    let late_ms = (LATE_MS * scale).max(LATE_MIN_MS);
    // Two seconds times a scale; far below 2^53.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
    let late_ms = late_ms as u64;
    late_ms + u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX)
}

impl Keeper {
    /// Lets time pass: whatever deadline is due becomes a journaled fact. Called when nothing waits. False when
    /// it may not judge now.
    pub(super) fn judge(&mut self) -> bool {
        let now = self.clock.now();
        self.owes_absence |= now.since(self.watched_until) > self.absence_ms;
        if self.owes_absence {
            // The absence lasts until a pulse comes; it is one fact then.
            let deaf = now.since(self.pulsed) > self.absence_ms;
            if deaf || !self.come_back() {
                return false;
            }
        }
        if !self.write_observations() {
            return false;
        }
        for _ in 0..ROUNDS_MAX {
            let proposals: Vec<_> =
                self.roster.advance(now).into_iter().map(|proposal| (now, proposal)).collect();
            if proposals.is_empty() {
                break;
            }
            // Not written, not judged: the same deadlines are proposed again.
            if let Err(waiting) = self.write_proposals(proposals) {
                for (_, proposal) in &waiting {
                    self.roster.reschedule(proposal);
                }
                return false;
            }
        }
        // Not to this round: it only shows that the keeper itself is awake.
        self.watched_until = self.pulsed.max(self.watched_until);
        true
    }

    /// Journals the time since it last watched as an absence; nothing inferred may rest on it.
    pub(super) fn come_back(&mut self) -> bool {
        let away = Away { from: self.watched_until, to: self.clock.now() };
        let mut facts: Vec<_> =
            self.about_none(Source::Observer, away.to, What::Away(away)).into_iter().collect();
        self.number(&mut facts);
        match self.write_facts(facts) {
            Ok(refused) if refused.is_empty() => {}
            Ok(_) | Err(_) => return false,
        }
        self.owes_absence = false;
        self.watched_until = away.to;
        self.recovering_until = away.to.plus(self.rules.silence_ms(self.rules.interval_ms));
        info!(away_ms = away.to.since(away.from), "the collector was away and is back");
        true
    }

    /// Marks the axis when the last mark is old.
    pub(super) fn mark_axis_when_due(&mut self) {
        if self.clock.now().since(self.marked) >= MARK_EVERY_MS {
            self.mark_axis();
        }
    }

    /// Marks the axis: a successor counts its predecessor's absence from here.
    pub(super) fn mark_axis(&mut self) {
        let mark = self.clock.mark();
        match self.journal.append(&[], mark) {
            Ok(_) => {}
            // Told when it happened.
            Err(crate::journal::JournalError::ReadOnly) => {}
            Err(failure) => self.tell_of(&failure),
        }
        // Also after a failure: not tried again with every round.
        self.marked = mark.moment;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_down_collector_is_not_away_because_its_machine_is_busy() {
        assert_eq!(absence_ms(1.0), 2_250);
        assert_eq!(absence_ms(0.01), 500);
    }
}
