//! Wrong rules, planted on purpose: each must be caught by the simulator, or else by a law, which know nothing of it.
//!
//! `cargo nextest run -p lastbeat-engine --features planted --test planted`; with `UPDATE_GOLDEN=1` it writes what
//! caught which to `docs/figures/planted.md`.
#![cfg(feature = "planted")]
#![allow(dead_code)] // Parts of the simulator and of the stage are for their own tests.
#![allow(clippy::print_stdout)] // The table is worth reading in the log, too.

mod laws {
    pub(crate) mod facts;
    pub(crate) mod law;
}
mod stage;

#[path = "simulation/collector.rs"]
mod collector;
#[path = "simulation/links.rs"]
mod links;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/rings.rs"]
mod rings;
#[path = "simulation/script.rs"]
mod script;
#[path = "simulation/told.rs"]
mod told;
#[path = "simulation/troubles.rs"]
mod troubles;
#[path = "simulation/words.rs"]
mod words;
#[path = "simulation/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use lastbeat_engine::Rules;
use lastbeat_engine::planted::Bug;
use laws::facts::{any_facts, any_life};
use laws::law;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use script::{Script, Size};
use told::Told;
use world::World;

/// Worlds of minutes that a wrong rule is played in until one of them complains; then the laws are asked so many
/// cases each; then it is worlds of hours.
const SMALL: u64 = 1_000;
const CASES: u32 = 100;
const FULL: u64 = 24;
/// So much of a complaint is shown.
const CELL: usize = 140;
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/figures/planted.md");

/// The first that complains, and of what.
struct Caught {
    by: String,
    words: String,
}

fn play(size: Size, seed: u64, rules: &Rules) -> Told {
    World::play(&Script::of(seed, size, &BTreeSet::new()), rules, false)
}

/// What is wrong in a world first, if anything is.
fn complaint(size: Size, seed: u64, rules: &Rules) -> Option<String> {
    oracle::complaints(&play(size, seed, rules)).into_iter().next()
}

/// The first of these worlds that complains; what is said of the right rules as well has caught nothing.
fn by_a_world(size: Size, seeds: u64, rules: &Rules) -> Option<Caught> {
    (0..seeds).find_map(|seed| {
        let words = complaint(size, seed, rules)?;
        let right = complaint(size, seed, &Rules::default());
        let by = format!("{size:?} world {seed}").to_lowercase();
        right.is_none().then_some(Caught { by, words })
    })
}

fn caught(bug: Bug) -> Option<Caught> {
    let rules = Rules::wrong(bug);
    by_a_world(Size::Small, SMALL, &rules)
        .or_else(|| by_a_law(&rules))
        .or_else(|| by_a_world(Size::Full, FULL, &rules))
}

/// Asks a law one case.
type Law = fn(&mut TestRunner, &Rules) -> Result<(), String>;

const LAWS: [(&str, Law); 4] = [
    ("order is nothing", |cases, rules| {
        law::order_is_nothing(&drawn(&any_facts(), cases), drawn(&any::<u64>(), cases), rules)
    }),
    ("cached equals rebuilt", |cases, rules| law::cached_equals_rebuilt(&drawn(&any_facts(), cases), rules)),
    ("replay equals live", |cases, rules| law::replay_equals_live(&drawn(&any_life(), cases), rules)),
    ("counts equal a recount", |cases, rules| law::counts_equal_a_recount(&drawn(&any_life(), cases), rules)),
];

/// The first law that does not hold; always asked the same cases.
fn by_a_law(rules: &Rules) -> Option<Caught> {
    LAWS.into_iter().find_map(|(name, holds)| {
        let mut cases = TestRunner::deterministic();
        (1..=CASES).find_map(|case| {
            let words = holds(&mut cases, rules).err()?;
            Some(Caught { by: format!("law \"{name}\", case {case}"), words })
        })
    })
}

fn drawn<S: Strategy>(strategy: &S, cases: &mut TestRunner) -> S::Value {
    strategy.new_tree(cases).expect("nothing is filtered").current()
}

#[test]
fn the_right_rules_are_complained_of_by_nobody() {
    let right = Rules::default();
    for (size, seeds) in [(Size::Small, SMALL), (Size::Full, FULL)] {
        for seed in 0..seeds {
            assert_eq!(complaint(size, seed, &right), None, "{size:?} world {seed}");
        }
    }
    assert!(by_a_law(&right).is_none());
}

#[test]
fn an_engine_that_always_says_the_same_is_caught_within_a_hundred_worlds() {
    for bug in [Bug::AlwaysLive, Bug::AlwaysLost, Bug::StandsAlwaysLive] {
        assert!(by_a_world(Size::Small, 100, &Rules::wrong(bug)).is_some(), "{bug:?}");
    }
}

#[test]
fn every_wrong_rule_is_caught() {
    let bugs = Bug::ALL.to_vec();
    let caught = on_all_cores(bugs, caught);
    let row = |bug: &Bug| match caught.get(bug).and_then(Option::as_ref) {
        Some(Caught { by, words }) => format!("{} {by} | {} |", begins(*bug), in_a_cell(words)),
        None => format!("{} nothing yet | |", begins(*bug)),
    };
    let table: String = Bug::ALL.iter().map(|bug| row(bug) + "\n").collect();
    println!("{table}");
    if asked("UPDATE_GOLDEN") {
        write_figures(&format!("{HEAD}{table}"));
    }
    let missed: Vec<&Bug> = caught.iter().filter(|(_, it)| it.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "nothing caught {missed:?}");
}

#[expect(clippy::disallowed_methods, reason = "wrong rules are played side by side")]
fn on_all_cores<T: Send>(bugs: Vec<Bug>, what: impl Fn(Bug) -> T + Sync) -> BTreeMap<Bug, T> {
    let (bugs, all) = (Mutex::new(bugs), Mutex::new(BTreeMap::new()));
    let next = || bugs.lock().expect("nobody panicked").pop();
    let work = || {
        while let Some(bug) = next() {
            let found = what(bug);
            all.lock().expect("nobody panicked").insert(bug, found);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    all.into_inner().expect("nobody panicked")
}

#[test]
fn the_list_names_every_wrong_rule_and_no_other() {
    let told = figures();
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), Bug::ALL.len());
    for (row, bug) in rows.iter().zip(Bug::ALL) {
        assert!(row.starts_with(&begins(*bug)), "UPDATE_GOLDEN=1 writes this row anew: {row}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the figures are a page of the documentation")]
fn write_figures(page: &str) {
    std::fs::write(FIGURES, page).expect("the figures are written");
}

#[expect(clippy::disallowed_methods, reason = "the figures are a page of the documentation")]
fn figures() -> String {
    std::fs::read_to_string(FIGURES).expect("UPDATE_GOLDEN=1 writes the figures")
}

const HEAD: &str = "\
# Planted bugs

Wrong rules that the engine is given on purpose (feature `planted`, in nothing that ships), and what caught each of them
first: a world of the simulator by its seed, or a law by its case. Both know nothing of what is planted, and complain of
nothing in these worlds and cases when the rules are right. \"Nothing yet\" is a hole in the simulator or its oracle.

`cargo nextest run -p lastbeat-engine --features planted --test planted` catches them again; with `UPDATE_GOLDEN=1` it
writes this page.

| wrong rule | what is wrong | caught by | with the words |
|---|---|---|---|
";

/// How the row of a wrong rule begins.
fn begins(bug: Bug) -> String {
    format!("| `{}` | {} |", bug.as_str(), bug.wrong())
}

/// The beginning of a complaint, short enough to be read in a table.
fn in_a_cell(complaint: &str) -> String {
    let line = complaint.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    if line.chars().count() <= CELL { line } else { line.chars().take(CELL).chain(['…']).collect() }
}

#[expect(clippy::disallowed_methods, reason = "only whether the figures are written is asked")]
fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
