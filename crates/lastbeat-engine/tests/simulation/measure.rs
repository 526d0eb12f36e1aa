//! What a campaign counts: how much was played, and how long deaths went unnoticed.
//!
//! Invariant: nothing of the engine is imported here.

use std::collections::BTreeMap;

use crate::oracle::{Loud, Oracle, START, STOP, loudness};
use crate::script::{DAWN, End};
use crate::told::{Deed, Told};

/// Times from a death to its page, in ms; of what failed by taking too long, from its deadline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    /// The time within which this share of them was.
    pub(crate) fn within(&self, percent: usize) -> Option<u64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(place).copied()
    }
}

/// The deaths of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deaths {
    pub(crate) count: usize,
    /// Nothing stood between the worker and the collector.
    pub(crate) in_reach: Times,
    /// Whatever stood there: cuts, bad networks, a collector that was away.
    pub(crate) all: Times,
}

/// How much was played, and how it went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    pub(crate) worlds: u64,
    pub(crate) agent_ms: u64,
    /// How long the worlds lasted, however many lived in them.
    pub(crate) world_ms: u64,
    pub(crate) processes: usize,
    pub(crate) facts: usize,
    pub(crate) absences: usize,
    pub(crate) alerts: usize,
    pub(crate) false_alarms: usize,
    pub(crate) misses: usize,
    pub(crate) violations: usize,
    pub(crate) deaths: BTreeMap<(&'static str, &'static str), Deaths>,
    /// The same for the same worlds, whatever order they were played in.
    pub(crate) trace: u64,
}

impl Sums {
    pub(crate) fn add_world(&mut self, seed: u64, told: &Told, complaints: &[String]) {
        self.worlds += 1;
        self.agent_ms += told.agent_ms;
        self.world_ms += told.until - DAWN;
        self.processes += told.deeds.len();
        self.facts += told.facts;
        self.absences += told.absences.len();
        self.alerts += told.rings.len();
        self.violations += complaints.len();
        let of = |rules: &[&str]| {
            complaints.iter().filter(|it| rules.iter().any(|rule| it.starts_with(rule))).count()
        };
        self.false_alarms += of(&["I1:", "I4:", "I11:"]);
        self.misses += of(&["I2:", "I3:"]);
        self.trace = self.trace.wrapping_add((told.trace ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let oracle = Oracle::new(told);
        for deed in &told.deeds {
            self.add_death(&oracle, deed);
        }
    }

    fn add_death(&mut self, oracle: &Oracle<'_>, deed: &Deed) {
        let Some(kind) = kind(deed.end) else { return };
        let Some(by) = oracle.due(deed).filter(|_| deed.class.is_some_and(|it| loudness(it) == Loud::Page))
        else {
            return;
        };
        let how = match oracle.reported(deed) {
            Some(at) if oracle.exit_heard(deed) == Some(at) => "by its witness",
            Some(_) => "by its last word",
            None => "by silence",
        };
        let deaths = self.deaths.entry((kind, how)).or_default();
        deaths.count += 1;
        let from = failed_at(deed);
        if let Some(rang) = oracle.rang(deed, from, by.max(from)) {
            deaths.all.0.push(rang - from);
            if !oracle.is_disturbed(deed, from.saturating_sub(20_000), by) {
                deaths.in_reach.0.push(rang - from);
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.agent_ms += other.agent_ms;
        self.world_ms += other.world_ms;
        self.processes += other.processes;
        self.facts += other.facts;
        self.absences += other.absences;
        self.alerts += other.alerts;
        self.false_alarms += other.false_alarms;
        self.misses += other.misses;
        self.violations += other.violations;
        self.trace = self.trace.wrapping_add(other.trace);
        for (kind, more) in other.deaths {
            let deaths = self.deaths.entry(kind).or_default();
            deaths.count += more.count;
            deaths.in_reach.0.extend(more.in_reach.0);
            deaths.all.0.extend(more.all.0);
        }
    }

    pub(crate) const fn agent_hours(&self) -> u64 {
        self.agent_ms / 3_600_000
    }

    /// The deaths by kind, as a table.
    pub(crate) fn table(&self) -> String {
        let seconds =
            |ms: Option<u64>| ms.map_or("-".into(), |ms| format!("{}.{:03}", ms / 1_000, ms % 1_000));
        let mut table = String::from(
            "| death | noticed | deaths | paged after, p50 s | p99 s | with cuts and outages, p99 s |\n\
             |---|---|---:|---:|---:|---:|\n",
        );
        for ((kind, how), deaths) in &self.deaths {
            let (p50, p99) = (deaths.in_reach.within(50), deaths.in_reach.within(99));
            let all = deaths.all.within(99);
            table += &format!(
                "| {kind} | {how} | {} | {} | {} | {} |\n",
                deaths.count,
                seconds(p50),
                seconds(p99),
                seconds(all)
            );
        }
        table
    }
}

/// When it failed: a stop or a start that takes too long does so at its deadline, and not when somebody ends it at
/// last.
fn failed_at(deed: &Deed) -> u64 {
    let asked = deed.asked_heard.unwrap_or(deed.leaving).max(deed.leaving);
    match deed.end {
        End::Unready => deed.start_heard.unwrap_or(deed.started).max(deed.started) + START,
        End::TimedOut => asked + STOP,
        // It asked twice for more, and its second request came without any progress.
        End::Overstayed => asked + STOP + deed.extended / 2,
        End::Alive
        | End::Stopped
        | End::Promised(_)
        | End::Extended
        | End::Done
        | End::Unclean
        | End::WrongCode
        | End::Forced
        | End::Panicked
        | End::Killed
        | End::OutOfMemory
        | End::Segv
        | End::Exited
        | End::Silent
        | End::NeverReady
        | End::Watchdog
        | End::Reexecuted
        | End::PowerLost => deed.ended,
    }
}

const fn kind(end: End) -> Option<&'static str> {
    match end {
        End::Alive
        | End::Stopped
        | End::Promised(_)
        | End::Extended
        | End::Done
        | End::Unclean
        | End::WrongCode
        | End::Forced
        | End::Silent
        | End::Reexecuted => None,
        End::TimedOut | End::Overstayed => Some("stop timed out"),
        End::Panicked => Some("panic"),
        End::Killed => Some("KILL"),
        End::OutOfMemory => Some("out of memory"),
        End::Segv => Some("SEGV"),
        End::Exited => Some("exit 1"),
        End::NeverReady => Some("exit before ready"),
        End::Unready => Some("never ready"),
        End::Watchdog => Some("hung, then killed"),
        End::PowerLost => Some("power of its host"),
    }
}
