//! What was done to each process, and what the collector said: all that the oracle is given.
//!
//! Invariant: nothing of the engine is imported here.

use crate::script::{End, Mode};

/// A process life and what was done to it.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) run: u32,
    pub(crate) slot: usize,
    pub(crate) host: usize,
    pub(crate) mode: Mode,
    pub(crate) interval: u64,
    pub(crate) started: u64,
    /// When it was ready, if ever.
    pub(crate) ready: Option<u64>,
    /// When the collector received that, the start, the ask, the final and the exit.
    pub(crate) ready_heard: Option<u64>,
    pub(crate) start_heard: Option<u64>,
    pub(crate) asked_heard: Option<u64>,
    pub(crate) final_heard: Option<u64>,
    pub(crate) exit_heard: Option<u64>,
    /// A live word of it reached the collector last.
    pub(crate) last_heard: u64,
    /// When its end began: what it says from here on is its goodbye.
    pub(crate) leaving: u64,
    /// It said that it would be back within so many ms.
    pub(crate) said_back: Option<u64>,
    /// When it said its final, and what it allowed itself for the stop.
    pub(crate) final_at: Option<u64>,
    pub(crate) deadline: Option<u64>,
    /// By how much the collector has heard it extend that.
    pub(crate) extended: u64,
    pub(crate) ended: u64,
    pub(crate) end: End,
    /// Its witness was told on the command line that it is back within so many ms of a planned stop.
    pub(crate) back: Option<u64>,
    /// Hang-ups that were no request to stop, but to read the configuration anew.
    pub(crate) hangups: Vec<u64>,
    /// The socket of the dead process was seen closed by a listening collector.
    pub(crate) closed_heard: Option<u64>,
    pub(crate) parent: Option<u32>,
    /// It is the same process as the run before it.
    pub(crate) same_as: Option<u32>,
    /// Its progress stood still, from and to.
    pub(crate) hangs: Vec<(u64, u64)>,
    pub(crate) pace: Option<u64>,
    /// It was stopped by SIGSTOP, from and to.
    pub(crate) suspended: Vec<(u64, u64)>,
    /// A hang-up is a reload to it.
    pub(crate) reload: bool,
    /// When its witness was killed, and when the collector saw that link closed.
    pub(crate) orphaned: Option<u64>,
    pub(crate) orphaned_heard: Option<u64>,
    /// When its agent crashed or was cancelled by a stranger, and the collector received that.
    pub(crate) agent_crashed: Option<(u64, Option<u64>)>,
    /// Nothing of it reached the collector for long enough to be taken for dead, from and to.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Nothing of its own voice did.
    pub(crate) own_gaps: Vec<(u64, u64)>,
    /// Who truly asked it to stop, in the word of the contract; none: nobody.
    pub(crate) asker: Option<&'static str>,
    /// The class that was said last, with the cause and the outcome of the cleanup; and how many classes were said
    /// and taken back or changed.
    pub(crate) class: Option<&'static str>,
    pub(crate) cause: Option<&'static str>,
    pub(crate) cleanup: Option<&'static str>,
    pub(crate) changes: usize,
    /// So many amendments are recorded of it.
    pub(crate) amended: usize,
}

/// The verdict on a run changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saying {
    pub(crate) run: u32,
    pub(crate) at: u64,
    pub(crate) class: Option<&'static str>,
    /// When that ending is said to have been, where a deadline that passed is all that it rests on.
    pub(crate) inferred: Option<u64>,
}

/// An alert was open from and to. `slot`: of a worker; else of a host or of the fleet, as all alerts together show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) slot: Option<usize>,
    pub(crate) host: Option<usize>,
    pub(crate) name: &'static str,
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

impl Ring {
    pub(crate) fn open_within(&self, from: u64, to: u64) -> bool {
        self.from <= to && self.to.is_none_or(|end| end >= from)
    }
}

/// The condition that a worker is said to be in, from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stood {
    pub(crate) slot: usize,
    pub(crate) at: u64,
    pub(crate) condition: &'static str,
}

/// An operator's window.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) kind: crate::script::PlanKind,
    pub(crate) slots: Vec<usize>,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A part of the fleet was out of reach.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) slots: Vec<usize>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) half: bool,
}

/// All that was done, and all that was said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) said: Vec<Saying>,
    pub(crate) rings: Vec<Ring>,
    pub(crate) stood: Vec<Stood>,
    /// When the collector did not watch, from and to.
    pub(crate) absences: Vec<(u64, u64)>,
    /// Hosts without power: which, from and to.
    pub(crate) boots: Vec<(usize, u64, u64)>,
    pub(crate) windows: Vec<Window>,
    pub(crate) cuts: Vec<Cut>,
    /// Bad networks: whose, from and to.
    pub(crate) noises: Vec<Cut>,
    pub(crate) until: u64,
    pub(crate) agent_ms: u64,
    pub(crate) facts: usize,
    /// Replay gave something else than was shown.
    pub(crate) replay_differs: Vec<u64>,
    /// Runs of which a word was acknowledged and is not known any more.
    pub(crate) unsafe_acks: Vec<u32>,
    /// Endings that name no evidence.
    pub(crate) bare: Vec<u32>,
    /// A fact of the first changed the class of the second, which is newer.
    pub(crate) meddled: Vec<(u32, u32, u64)>,
    /// A hash of all that was done and said.
    pub(crate) trace: u64,
    /// In words, when it was asked for.
    pub(crate) timeline: Vec<String>,
}
