//! Counters of what was refused, skipped or delivered late. They begin at 0 with each start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lastbeat_wire::Code;

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub(crate) fn bump(&self) {
        self.add(1);
    }

    /// Counts some.
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }

    /// The count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long something took, each time: what a histogram is made of.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    under: [Counter; LATENCY_BOUNDS_US.len()],
    count: Counter,
    sum_us: AtomicU64,
}

/// The bounds of a [`Latency`], in µs: from a commit on a fast disk to one that makes people wait.
pub(crate) const LATENCY_BOUNDS_US: [u64; 9] =
    [500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];

impl Latency {
    /// Counts one.
    pub(crate) fn took(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        for (under, _) in self.under.iter().zip(LATENCY_BOUNDS_US).filter(|(_, bound)| us <= *bound) {
            under.bump();
        }
        self.sum_us.fetch_add(us, Relaxed);
        self.count.bump();
    }

    /// How many took no longer than each of [`LATENCY_BOUNDS_US`], how many there were, and their sum in µs.
    pub(crate) fn get(&self) -> ([u64; LATENCY_BOUNDS_US.len()], u64, u64) {
        (self.under.each_ref().map(Counter::get), self.count.get(), self.sum_us.load(Relaxed))
    }
}

/// One counter for each code.
#[derive(Debug)]
struct ByCode([Counter; Code::ALL.len()]);

// Arrays of more than 32 have no default of their own.
impl Default for ByCode {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    rejected: ByCode,
    /// Fields of envelopes that this version does not know, and kept.
    pub(crate) unknown_fields: Counter,
    /// Facts delivered from spool files.
    pub(crate) spool_facts: Counter,
    /// Spool files set aside: damaged, or refused for good.
    pub(crate) spool_damaged: Counter,
    /// Rows of the journal that the replay could not read.
    pub(crate) unreadable_rows: Counter,
    /// Connections closed because too many were open.
    pub(crate) connections_refused: Counter,
    /// Voices that cannot be asked anything on their link, because too many can.
    pub(crate) mailboxes_refused: Counter,
    /// Batches that the journal could not take.
    pub(crate) journal_failures: Counter,
    /// How long appends to the journal took, their commit included.
    pub(crate) journal_appends: Latency,
}

impl Counters {
    /// Counts one refusal.
    pub(crate) fn reject(&self, code: Code) {
        self.rejected.0[Self::place(code)].bump();
    }

    /// How often a code was given.
    pub(crate) fn rejected(&self, code: Code) -> u64 {
        self.rejected.0[Self::place(code)].get()
    }

    fn place(code: Code) -> usize {
        // ALL lists every variant in the order of declaration.
        code as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_counter() {
        let counters = Counters::default();
        for code in Code::ALL {
            counters.reject(*code);
        }
        assert!(Code::ALL.iter().all(|code| counters.rejected(*code) == 1));
    }
}
