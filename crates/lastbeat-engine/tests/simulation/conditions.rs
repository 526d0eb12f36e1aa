//! The oracle on conditions: a worker whose newest run has ended is said to be gone, the way it went, until somebody
//! comes; and one that is well is said to live.
//!
//! Invariant: nothing of the engine is imported here.

use crate::oracle::{Loud, Oracle, REPORTED, loudness};
use crate::script::End;
use crate::told::Deed;

/// What may be said of a worker that came to a bad end and was not replaced.
const DOWN: &[&str] = &["failed", "crash_loop", "restart_overdue", "maintenance"];
/// What may be said of a worker that ended well enough to wake nobody.
const GONE: &[&str] = &["stopped", "completed", "restarting", "restart_overdue", "crash_loop", "maintenance"];
/// What is never said of a worker whose run is well and in reach. A link may close on any day and be there again at
/// once: for that long it is unreachable.
const LOST: &[&str] = &["failed", "crash_loop", "restart_overdue", "restarting", "stopped", "completed"];

impl Oracle<'_> {
    fn condition_at(&self, slot: usize, at: u64) -> Option<&'static str> {
        let of_slot = self.stood.get(&slot)?;
        of_slot.iter().rev().find(|stood| stood.at <= at).map(|stood| stood.condition)
    }

    /// I1, I3: what is said of the worker when the end of its newest run was told, and when it is well.
    pub(crate) fn stands_wrong(&self, deed: &Deed) -> Vec<String> {
        [self.ended_and_not_said(deed), self.well_and_not_said(deed)].into_iter().flatten().collect()
    }

    fn ended_and_not_said(&self, deed: &Deed) -> Option<String> {
        let heard = self.exit_heard(deed)?;
        let at = heard + REPORTED;
        let alone =
            self.by_slot[&deed.slot].iter().all(|it| it.run == deed.run || it.ended + REPORTED < deed.ended);
        let newest = self.successors(deed).all(|next| next.started > at);
        let watched = self.told.absences.iter().all(|(left, back)| at < *left || *back < heard);
        let told = self.said_at(deed, at)?;
        if deed.end == End::Alive
            || deed.parent.is_some()
            || !alone
            || !newest
            || !watched
            || at >= self.told.until
        {
            return None;
        }
        let condition = self.condition_at(deed.slot, at)?;
        let (rule, right) = match loudness(told) {
            Loud::Page if self.is_excused(deed, at) => return None,
            Loud::Page => ("I3", DOWN),
            Loud::Ticket | Loud::Silent => ("I1", GONE),
        };
        (!right.contains(&condition)).then(|| {
            format!(
                "{rule}: w{:02} is said to be {condition} at {at}, when run {} has been called {told}",
                deed.slot, deed.run
            )
        })
    }

    fn well_and_not_said(&self, deed: &Deed) -> Option<String> {
        let at = self.well_since(deed)?;
        let condition = self.condition_at(deed.slot, at)?;
        LOST.contains(&condition).then(|| {
            format!(
                "I1: w{:02} is said to be {condition} at {at}, and run {} is ready and in reach for a minute",
                deed.slot, deed.run
            )
        })
    }
}
