//! Hosts: who runs where, and which of them booted anew.
//!
//! Invariant: the same whatever the order of the facts; each boot is known by the earliest start that told it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fact::Start;
use crate::moment::Moment;
use crate::run::Run;

/// The most boots of one host that are remembered; the oldest goes first.
pub const BOOTS_MAX: usize = 8;

/// What is known of one host.
#[derive(Debug, Clone, Default)]
struct Host {
    /// Each boot with the earliest start that told it.
    boots: BTreeMap<Arc<str>, Moment>,
    /// The workers that have or had a run there, by their place in the roster.
    workers: BTreeSet<usize>,
}

/// All hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    by_name: BTreeMap<Arc<str>, Host>,
}

impl Hosts {
    /// Takes what a start told of its host, whichever start of a run turns out to count. True when what is known of
    /// the host's boots has changed.
    pub(crate) fn take(&mut self, place: usize, start: &Start, started: Moment) -> bool {
        let Some(name) = start.host.as_deref() else { return false };
        let host = self.by_name.entry(name.into()).or_default();
        host.workers.insert(place);
        let Some(boot) = start.boot_id.as_deref() else { return false };
        let known = host.boots.get(boot).copied();
        if known.is_some_and(|known| known <= started) {
            return false;
        }
        host.boots.insert(boot.into(), started);
        if host.boots.len() > BOOTS_MAX {
            let oldest = host.boots.iter().min_by_key(|(_, first)| **first).map(|(boot, _)| Arc::clone(boot));
            oldest.map(|oldest| host.boots.remove(&oldest));
        }
        true
    }

    /// When the host of a run first told another boot id, after the run had started.
    pub(crate) fn rebooted(&self, run: &Run) -> Option<Moment> {
        let (name, boot, started) = (run.host_name()?, run.boot_id()?, run.dossier.started_at()?);
        let host = self.by_name.get(name)?;
        let later = host.boots.iter().filter(|(other, first)| ***other != *boot && **first > started);
        later.map(|(_, first)| *first).min()
    }

    /// The workers that have or had a run on a host.
    pub(crate) fn workers(&self, name: &str) -> impl Iterator<Item = usize> + '_ {
        self.by_name.get(name).into_iter().flat_map(|host| host.workers.iter().copied())
    }

    /// A worker has no run there any more; a host without any is forgotten.
    pub(crate) fn forget(&mut self, place: usize, name: &str) {
        if let Some(host) = self.by_name.get_mut(name) {
            host.workers.remove(&place);
            if host.workers.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}
