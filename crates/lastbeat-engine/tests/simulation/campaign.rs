//! Campaigns: many worlds on all cores, and the smallest world of a failing seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lastbeat_engine::Rules;

use crate::measure::Sums;
use crate::oracle;
use crate::script::{Script, Size};
use crate::told::Told;
use crate::world::World;

/// A world that was not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) complaint: String,
}

/// How a campaign went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sums: Sums,
    /// The failure with the lowest seed.
    pub(crate) first: Option<Failure>,
    /// Of each sort of complaint how many there were, and the one with the lowest seed.
    pub(crate) sorts: BTreeMap<String, (usize, Failure)>,
}

impl Outcome {
    fn complain(&mut self, failure: Failure) {
        let sort = sort_of(&failure.complaint).join(" ");
        let known = self.sorts.entry(sort).or_insert_with(|| (0, failure.clone()));
        known.0 += 1;
        self.first.get_or_insert(failure);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sums.add(other.sums);
        self.first = self.first.take().into_iter().chain(other.first).min_by_key(|failure| failure.seed);
        for (sort, (count, failure)) in other.sorts {
            let known = self.sorts.entry(sort).or_insert_with(|| (0, failure.clone()));
            known.0 += count;
            if failure.seed < known.1.seed {
                known.1 = failure;
            }
        }
    }
}

/// Plays one world.
pub(crate) fn play(seed: u64, size: Size, without: &BTreeSet<u32>, rules: &Rules, record: bool) -> Told {
    World::play(&Script::of(seed, size, without), rules, record)
}

/// Plays the worlds of these seeds under these rules, which may carry a planted bug.
#[expect(
    clippy::disallowed_methods,
    reason = "worlds know nothing of each other and are played side by side"
)]
pub(crate) fn campaign(seeds: Range<u64>, size: Size, rules: &Rules, stop_at_first: bool) -> Outcome {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        let mut outcome = Outcome::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let told = play(seed, size, &BTreeSet::new(), rules, false);
            let complaints = oracle::complaints(&told);
            outcome.sums.add_world(seed, &told, &complaints);
            stop.fetch_or(stop_at_first && !complaints.is_empty(), Ordering::Relaxed);
            for complaint in complaints {
                outcome.complain(Failure { seed, complaint });
            }
        }
        outcome
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a world panicked; its message is above"))
            .collect()
    });
    let mut all = Outcome::default();
    for outcome in outcomes {
        all.add(outcome);
    }
    all
}

/// What makes two complaints the same: the rule, and the alert that it is about.
fn sort_of(complaint: &str) -> Vec<&str> {
    complaint.split(' ').take(if complaint.starts_with("I1:") { 2 } else { 1 }).collect()
}

/// The smallest world in which the same complaint is heard: all that can be left out, is.
pub(crate) fn shrink(failure: &Failure, size: Size, rules: &Rules) -> BTreeSet<u32> {
    let sort = sort_of(&failure.complaint);
    let fails = |without: &BTreeSet<u32>| {
        let complaints = oracle::complaints(&play(failure.seed, size, without, rules, false));
        complaints.iter().any(|complaint| sort_of(complaint) == sort)
    };
    let mut without = BTreeSet::new();
    let numbers = Script::of(failure.seed, size, &without).numbers();
    // Halves first, then quarters, down to single ones, until nothing more can go.
    let mut many = numbers.len();
    while many > 0 {
        let mut went = false;
        for part in numbers.chunks(many) {
            let fewer: BTreeSet<u32> = without.iter().chain(part).copied().collect();
            if fewer.len() > without.len() && fails(&fewer) {
                without = fewer;
                went = true;
            }
        }
        if !went || many > 1 {
            many /= 2;
        }
    }
    without
}

/// The timeline of a world and what is wrong with it, in words.
pub(crate) fn story(seed: u64, size: Size, without: &BTreeSet<u32>, rules: &Rules) -> (String, Vec<String>) {
    let told = play(seed, size, without, rules, true);
    (told.timeline.join("\n"), oracle::complaints(&told))
}

/// The command that plays exactly this world again.
pub(crate) fn command(seed: u64, size: Size, without: &BTreeSet<u32>) -> String {
    let numbers: Vec<String> = without.iter().map(u32::to_string).collect();
    let without =
        if numbers.is_empty() { String::new() } else { format!(" --without {}", numbers.join(",")) };
    let small = if size == Size::Small { " --small" } else { "" };
    format!("./tests/campaign replay --seed {seed}{small}{without}")
}

/// A failure as a person wants to read it: the smallest world that shows it, and how to play it again.
pub(crate) fn report(failure: &Failure, size: Size, rules: &Rules) -> String {
    let without = shrink(failure, size, rules);
    let (timeline, complaints) = story(failure.seed, size, &without, rules);
    let command = command(failure.seed, size, &without);
    format!(
        "seed {}: {}\n\nThe smallest world that shows it:\n{timeline}\n\n{}\n\n{command}",
        failure.seed,
        failure.complaint,
        complaints.join("\n")
    )
}
