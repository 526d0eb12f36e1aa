//! Mass silence: when half of a fleet falls silent at once, it is rather the network or the observer than so many
//! deaths (D7).
//!
//! Invariant: declared and ended only by facts of the observer; what is counted here only proposes them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::fact::RunId;
use crate::moment::Moment;
use crate::rules::Rules;
use crate::run::Run;

/// The most mass silences that are remembered; the newest may be open.
pub const SILENCES_MAX: usize = 16;

/// The most members that one fact tells of.
pub const MEMBERS_MAX: usize = 4_096;

/// A silence of half a fleet, one alert (I11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// When it was noticed.
    pub since: Moment,
    /// When its hosts were heard again.
    pub until: Option<Moment>,
    /// How many runs fell silent.
    pub members: usize,
    /// How many were watched.
    pub of: u64,
}

/// Counts who is silent, for one look at the fleet.
#[derive(Debug, Default)]
pub(crate) struct Count<'a> {
    watched: usize,
    hosts: HashSet<&'a str>,
    silent: usize,
    new: Vec<RunId>,
    silent_hosts: HashSet<&'a str>,
}

impl<'a> Count<'a> {
    /// Counts a run that is watched; `is_new`: it would be a new member.
    pub(crate) fn add(&mut self, run: &'a Run, is_silent: bool, is_new: bool) {
        let host = run.host_name().unwrap_or_default();
        self.watched += 1;
        self.hosts.insert(host);
        if is_silent {
            self.silent += 1;
            if is_new {
                self.new.push(run.id);
            }
            self.silent_hosts.insert(host);
        }
    }

    /// The new members of a mass silence and how many were watched, when it is one: at least half of at least eight
    /// runs on at least two hosts. One silent host is a host's own trouble.
    pub(crate) fn verdict(self, rules: &Rules) -> Option<(Vec<RunId>, u64)> {
        let enough = self.watched >= rules.mass_runs && self.hosts.len() >= rules.mass_hosts;
        let many = self.silent * rules.mass_one_in >= self.watched;
        let spread = self.silent_hosts.len() >= rules.mass_hosts;
        (enough && many && spread).then(|| (self.new, u64::try_from(self.watched).unwrap_or(u64::MAX)))
    }
}

/// The open silence, and whose word it waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    /// Oldest first; only the last may be open.
    pub(crate) told: Vec<Silence>,
    /// Who was told to be silent, in this silence; the same after a replay.
    members: HashSet<RunId>,
    /// Those of them that were heard since, which only memory knows.
    heard: HashSet<RunId>,
    /// Hosts with members, of which no member was heard since.
    pub(crate) waiting: BTreeSet<Arc<str>>,
    /// When the fleet was last counted and found well: not to count it anew for each of many deadlines.
    pub(crate) counted: Option<Moment>,
    /// When it was last asked whether all members are settled.
    pub(crate) settled: Option<Moment>,
}

impl Guard {
    /// The silence that is not over.
    pub(crate) fn open(&self) -> Option<&Silence> {
        self.told.last().filter(|silence| silence.until.is_none())
    }

    /// More members, of a new silence or of the open one.
    pub(crate) fn declare(&mut self, at: Moment, members: &[RunId], of: u64) {
        if self.open().is_none() {
            if self.told.len() == SILENCES_MAX {
                self.told.remove(0);
            }
            self.told.push(Silence { since: at, until: None, members: 0, of });
            self.members.clear();
            self.waiting.clear();
        }
        for member in members {
            self.heard.remove(member);
            self.members.insert(*member);
        }
        if let Some(silence) = self.told.last_mut() {
            (silence.members, silence.of) = (self.members.len(), silence.of.max(of));
        }
    }

    /// It is over; gives its members.
    pub(crate) fn end(&mut self, at: Moment) -> HashSet<RunId> {
        if let Some(silence) = self.told.last_mut().filter(|silence| silence.until.is_none()) {
            silence.until = Some(at);
        }
        self.waiting.clear();
        self.heard.clear();
        std::mem::take(&mut self.members)
    }

    /// Whether a run is a member that was not heard since.
    pub(crate) fn misses(&self, run: RunId) -> bool {
        self.members.contains(&run) && !self.heard.contains(&run)
    }

    /// The members that were not heard since.
    pub(crate) fn missed(&self) -> impl Iterator<Item = RunId> {
        self.members.iter().copied().filter(|member| !self.heard.contains(member))
    }

    /// A live word of a run on this host: only a member's shows that the silence ends there.
    pub(crate) fn heard(&mut self, run: RunId, host: Option<&str>) {
        if self.misses(run) {
            self.heard.insert(run);
            self.waiting.remove(host.unwrap_or_default());
        }
    }

    /// Whether a member was heard of each of its hosts.
    pub(crate) fn is_over(&self) -> bool {
        self.open().is_some() && self.waiting.is_empty()
    }
}
