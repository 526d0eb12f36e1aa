//! The agents that are alive, and what a beat says of them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{Beat, Signal};

use super::Agent;

/// The most agents tracked at once; further ones run and are only counted.
const TRACKED_MAX: usize = 1_024;
/// The most progress counters in one beat, so that it fits into an envelope.
const IN_A_BEAT_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    alive: Mutex<Alive>,
}

#[derive(Debug, Default)]
struct Alive {
    last_key: u64,
    tracked: BTreeMap<u64, Agent>,
    untracked: u64,
}

impl Agents {
    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, agent: &Agent) -> Option<u64> {
        let mut alive = self.lock();
        if alive.tracked.len() >= TRACKED_MAX {
            alive.untracked += 1;
            return None;
        }
        alive.last_key += 1;
        let key = alive.last_key;
        alive.tracked.insert(key, agent.clone());
        Some(key)
    }

    pub(super) fn remove(&self, key: Option<u64>) {
        let mut alive = self.lock();
        let removed = match key {
            Some(key) => alive.tracked.remove(&key),
            None => {
                alive.untracked = alive.untracked.saturating_sub(1);
                None
            }
        };
        // Dropped without the lock: the last clone may be this one, and it frees the host's things.
        drop(alive);
        drop(removed);
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.lock().tracked.is_empty()
    }

    /// Those alive, by name, each name once, and how many more were never tracked.
    pub(crate) fn left(&self) -> (Vec<Name>, u64) {
        let alive = self.lock();
        let mut names: Vec<Name> = alive.tracked.values().map(|agent| agent.shared.name.clone()).collect();
        names.sort();
        names.dedup();
        (names, alive.untracked)
    }

    /// The beat of the moment: the counters of agents that count, first of those that promised to.
    pub(crate) fn beat(&self) -> Signal {
        let mut beat = Beat::default();
        let alive = self.lock();
        let counting = |promised| {
            alive.tracked.values().filter(move |agent| {
                agent.shared.has_progress.load(Ordering::Relaxed)
                    && (agent.shared.promised_ms.load(Ordering::Relaxed) > 0) == promised
            })
        };
        for agent in counting(true).chain(counting(false)).take(IN_A_BEAT_MAX) {
            let progress = agent.shared.progress.load(Ordering::Relaxed);
            *beat.agents.entry(agent.shared.name.clone()).or_default() += progress;
        }
        drop(alive);
        Signal::Beat(beat)
    }
}
