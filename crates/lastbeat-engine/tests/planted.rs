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

#[path = "simulation/campaign.rs"]
mod campaign;
#[path = "simulation/collector.rs"]
mod collector;
#[path = "simulation/links.rs"]
mod links;
#[path = "simulation/measure.rs"]
mod measure;
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

use std::fmt::Write as _;

use campaign::{Failure, campaign};
use lastbeat_engine::Rules;
use lastbeat_engine::planted::Bug;
use laws::facts::{any_facts, any_life};
use laws::law;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use script::Size;

/// Worlds of minutes, and then of hours, that a wrong rule is played in until one of them complains.
const WORLDS: [(Size, u64); 2] = [(Size::Small, 300), (Size::Full, 40)];
/// Cases that each law is asked.
const CASES: u32 = 500;
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/figures/planted.md");

/// The first that complains, and of what.
struct Caught {
    by: String,
    complaint: String,
}

/// The first world that complains.
fn by_the_simulator(rules: &Rules) -> Option<Caught> {
    WORLDS.into_iter().find_map(|(size, seeds)| {
        let mut left = 0..seeds;
        while let Some(Failure { seed, complaint }) = campaign(left.clone(), size, rules, true).first {
            // What is said of the right rules as well has caught nothing.
            let right = campaign(seed..seed + 1, size, &Rules::default(), true);
            if right.first.is_none() {
                return Some(Caught { by: format!("{size:?} world {seed}").to_lowercase(), complaint });
            }
            left.start = seed + 1;
        }
        None
    })
}

/// The first law that does not hold; always asked the same cases.
fn by_a_law(rules: &Rules) -> Option<Caught> {
    let order = |case: &mut TestRunner| {
        law::order_is_nothing(&drawn(&any_facts(), case), drawn(&any::<u64>(), case), rules)
    };
    let cached = |case: &mut TestRunner| law::cached_equals_rebuilt(&drawn(&any_facts(), case), rules);
    let replay = |case: &mut TestRunner| law::replay_equals_live(&drawn(&any_life(), case), rules);
    let counts = |case: &mut TestRunner| law::counts_equal_a_recount(&drawn(&any_life(), case), rules);
    let laws: [(&str, &dyn Fn(&mut TestRunner) -> Result<(), String>); 4] = [
        ("order is nothing", &order),
        ("cached equals rebuilt", &cached),
        ("replay equals live", &replay),
        ("counts equal a recount", &counts),
    ];
    laws.into_iter().find_map(|(name, holds)| {
        let mut cases = TestRunner::deterministic();
        (1..=CASES).find_map(|case| {
            let complaint = holds(&mut cases).err()?;
            Some(Caught { by: format!("law \"{name}\", case {case}"), complaint })
        })
    })
}

fn drawn<S: Strategy>(strategy: &S, cases: &mut TestRunner) -> S::Value {
    strategy.new_tree(cases).expect("nothing is filtered").current()
}

#[test]
fn the_right_rules_are_complained_of_by_nobody() {
    let right = Rules::default();
    for (size, seeds) in WORLDS {
        assert_eq!(campaign(0..seeds, size, &right, true).first, None, "{size:?}");
    }
    assert!(by_a_law(&right).is_none());
}

#[test]
fn every_wrong_rule_is_caught() {
    let mut table = HEAD.to_owned();
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let rules = Rules::wrong(*bug);
        let caught = by_the_simulator(&rules).or_else(|| by_a_law(&rules));
        let (by, complaint) = match caught {
            Some(caught) => (caught.by, in_a_cell(&caught.complaint)),
            None => {
                missed.push(bug.as_str());
                ("nothing".to_owned(), String::new())
            }
        };
        println!("{} by {by}: {complaint}", bug.as_str());
        writeln!(table, "{} {by} | {complaint} |", begins(*bug)).expect("a string takes everything");
    }
    if asked("UPDATE_GOLDEN") {
        std::fs::write(FIGURES, &table).expect("the figures are written");
    }
    assert!(missed.is_empty(), "nothing caught {missed:#?}");
}

#[test]
fn the_list_names_every_wrong_rule_and_no_other() {
    let told = std::fs::read_to_string(FIGURES).expect("UPDATE_GOLDEN=1 writes the figures");
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), Bug::ALL.len());
    for (row, bug) in rows.iter().zip(Bug::ALL) {
        assert!(row.starts_with(&begins(*bug)), "UPDATE_GOLDEN=1 writes this row anew: {row}");
    }
}

const HEAD: &str = "\
# Planted bugs

Wrong rules that the engine is given on purpose (feature `planted`, never in what ships), and what caught each of them
first: a world of the simulator, or else a law that is asked random facts. `cargo nextest run -p lastbeat-engine
--features planted --test planted` plays them all; with `UPDATE_GOLDEN=1` it writes this page.

| wrong rule | what is wrong | caught by | with the words |
|---|---|---|---|
";

/// How the row of a wrong rule begins.
fn begins(bug: Bug) -> String {
    format!("| `{}` | {} |", bug.as_str(), bug.wrong())
}

/// The first line of a complaint, short enough to be read in a table.
fn in_a_cell(complaint: &str) -> String {
    let line = complaint.lines().next().unwrap_or_default();
    line.chars().take(160).map(|letter| if letter == '|' { '/' } else { letter }).collect()
}

#[expect(clippy::disallowed_methods, reason = "only whether the figures are written is asked")]
fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
