//! Forks: a child that connects anew is a child of the run it was forked from, never its successor.
//!
//! The names are the same, for the program is; a `start` without its `parent_run` would close the parent's run.

use std::sync::{Mutex, TryLockError};

use lastbeat_wire::RunId;

use crate::courier::Identity;

/// The most runs of one process that are remembered.
const RUNS_MAX: usize = 16;

static MEMORY: Mutex<Memory> = Mutex::new(Memory { pid: 0, runs: Vec::new(), parents: Vec::new() });

struct Memory {
    /// The process that has connected last.
    pid: u32,
    /// Its runs.
    runs: Vec<Identity>,
    /// The runs of the process it was forked from.
    parents: Vec<Identity>,
}

/// Remembers a run of this process; gives the run it was forked from: the one of the same worker, or the newest.
pub(crate) fn parent_of(identity: &Identity) -> Option<RunId> {
    let mut memory = match MEMORY.try_lock() {
        Ok(memory) => memory,
        Err(TryLockError::Poisoned(left)) => left.into_inner(),
        // Two threads connect at once; or they did at the moment of the fork, and it stays locked for ever.
        Err(TryLockError::WouldBlock) => return None,
    };
    memory.parent_of(identity, std::process::id())
}

impl Memory {
    fn parent_of(&mut self, identity: &Identity, pid: u32) -> Option<RunId> {
        if self.pid != pid {
            self.pid = pid;
            self.parents = std::mem::take(&mut self.runs);
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.remove(0);
        }
        self.runs.push(identity.clone());
        let same = |run: &&Identity| run.service == identity.service && run.worker == identity.worker;
        self.parents.iter().rev().find(same).or(self.parents.last()).map(|run| run.run_id)
    }
}

#[cfg(test)]
mod tests {
    use lastbeat_wire::{Name, Source};

    use super::*;

    fn run(number: u128, worker: &str) -> Identity {
        Identity {
            run_id: RunId::from_u128(number),
            source: Source::Own,
            service: Name::new("trader").expect("a name"),
            worker: Name::new(worker).expect("a name"),
        }
    }

    #[test]
    fn a_run_has_a_parent_only_in_a_forked_process_and_that_is_the_run_of_the_same_worker() {
        let mut memory = Memory { pid: 0, runs: Vec::new(), parents: Vec::new() };
        assert_eq!(memory.parent_of(&run(1, "main"), 100), None);
        assert_eq!(memory.parent_of(&run(2, "aux"), 100), None);
        assert_eq!(memory.parent_of(&run(3, "main"), 200), Some(RunId::from_u128(1)));
        assert_eq!(memory.parent_of(&run(4, "other"), 200), Some(RunId::from_u128(2)));
        assert_eq!(memory.parent_of(&run(5, "main"), 300), Some(RunId::from_u128(3)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory { pid: 0, runs: Vec::new(), parents: Vec::new() };
        for number in 0..100 {
            assert_eq!(memory.parent_of(&run(number, "main"), 100), None);
        }
        assert_eq!(memory.runs.len(), RUNS_MAX);
    }
}
