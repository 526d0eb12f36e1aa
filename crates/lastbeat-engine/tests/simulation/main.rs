//! Fleets of workers, witnesses, hosts, cut networks, operators and a collector that dies and comes back, on a
//! virtual clock.
//!
//! `script` draws a world from a seed; `world`, `links`, `troubles` and `words` play it; `collector` is the engine
//! with a journal; `oracle` with `truth`, and `rings` with `stands`, know only what was done (`told`) and what the
//! collector said, import nothing of the engine, and say what must not have been said. The same seed plays the same
//! world.
//!
//! `./tests/campaign --help` tells how to play more of them, and how to play one again.
#![allow(clippy::print_stdout)] // A campaign tells how far it is; a replay, its timeline.

mod campaign;
mod collector;
mod links;
mod measure;
mod oracle;
mod random;
mod rings;
mod script;
mod told;
mod troubles;
mod words;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use campaign::{Outcome, campaign, play, report, story};
use lastbeat_engine::Rules;
use script::Size;

/// Small worlds that every test run plays.
const SEEDS: u64 = 400;
/// Worlds of a campaign between two looks at how far it is.
const ROUND: u64 = 64;

#[expect(clippy::disallowed_methods, reason = "the rules are fixed; only what is played is asked")]
fn asked_for(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    asked_for(name)?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "how fast worlds are played is no part of them")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn in_no_world_is_a_planned_stop_alarmed_or_a_death_missed() {
    let outcome =
        campaign(0..number("LASTBEAT_SIM_SEEDS").unwrap_or(SEEDS), Size::Small, &Rules::default(), true);
    if let Some(failure) = outcome.first {
        panic!("{}", report(&failure, Size::Small, &Rules::default()));
    }
    let sums = outcome.sums;
    assert!(sums.deaths.len() > 10 && sums.alerts > 0 && sums.absences > 0, "nothing happened: {sums:?}");
    println!("{} agent-hours, {} processes", sums.agent_hours(), sums.processes);
}

#[test]
fn the_same_seed_plays_the_same_world() {
    let (rules, all) = (Rules::default(), BTreeSet::new());
    for seed in [1, 2, 3] {
        let (first, second) =
            (play(seed, Size::Small, &all, &rules, true), play(seed, Size::Small, &all, &rules, false));
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.timeline, play(seed, Size::Small, &all, &rules, true).timeline);
        assert_ne!(first.trace, play(seed + 1, Size::Small, &all, &rules, false).trace);
    }
    let full = || play(1, Size::Full, &all, &rules, false);
    let (first, second) = (full(), full());
    assert_eq!((first.trace, first.facts, &first.said), (second.trace, second.facts, &second.said));
    assert_eq!(first.rings, second.rings);
}

#[test]
fn a_trouble_that_is_left_out_moves_no_other() {
    let whole = script::Script::of(5, Size::Full, &BTreeSet::new());
    let less = script::Script::of(5, Size::Full, &BTreeSet::from([whole.troubles[0].number]));
    assert_eq!(format!("{:?}", &whole.troubles[1..]), format!("{:?}", less.troubles));
}

#[test]
fn the_oracle_fails_a_collector_that_always_says_live_and_one_that_always_says_lost() {
    let caught = |lie: fn(&mut told::Told)| {
        (0..100).any(|seed| {
            let mut told = play(seed, Size::Small, &BTreeSet::new(), &Rules::default(), false);
            let honest = oracle::complaints(&told).len();
            lie(&mut told);
            oracle::complaints(&told).len() > honest
        })
    };
    assert!(caught(|told| {
        told.said.clear();
        told.rings.clear();
        told.deeds.iter_mut().for_each(|deed| deed.class = None);
    }));
    assert!(caught(|told| told.stood.iter_mut().for_each(|it| it.condition = "live")));
    assert!(caught(|told| told.stood.iter_mut().for_each(|it| it.condition = "failed")));
    assert!(caught(|told| {
        for deed in &mut told.deeds {
            deed.class = Some("lost");
            told.said.push(told::Saying {
                run: deed.run,
                at: deed.started + 1,
                class: Some("lost"),
                inferred: None,
            });
        }
    }));
}

/// A rule, and how it is bent.
type Bend = (&'static str, fn(&mut Rules));

#[test]
fn a_rule_that_is_bent_is_noticed() {
    let bends: &[Bend] = &[
        ("a closed link is waited for too long", |rules| rules.link_ms = 60_000),
        ("silence is called a death too early", |rules| rules.lost_intervals = 3),
        ("a promise is cut short", |rules| rules.promise_max_ms = 9_000),
        ("a start has too little time", |rules| rules.start_ms = 1_000),
        ("work may stand still for ever", |rules| rules.stuck_intervals = 1_000),
        ("nobody hears of a stopped process", |rules| rules.suspended_ms = 3_600_000),
        ("one death is a crash loop", |rules| rules.loop_endings = 1),
    ];
    for (how, bend) in bends {
        let mut rules = Rules::default();
        bend(&mut rules);
        assert!(campaign(0..SEEDS, Size::Small, &rules, true).first.is_some(), "{how}: nobody complained");
    }
}

/// `./tests/campaign` runs this; without what it sets there is nothing to do.
#[test]
#[ignore = "takes minutes; ./tests/campaign runs it"]
fn a_campaign() {
    let size = if number("LASTBEAT_SIM_SMALL").is_some() { Size::Small } else { Size::Full };
    if let Some(seed) = number("LASTBEAT_SIM_SEED") {
        let left_out = asked_for("LASTBEAT_SIM_WITHOUT").unwrap_or_default();
        let without = left_out.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        let (timeline, complaints) = story(seed, size, &without, &Rules::default());
        println!("{timeline}\n");
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        println!("Nothing is wrong in this world.");
        return;
    }
    let (hours, seeds) =
        (number("LASTBEAT_SIM_HOURS").unwrap_or(0), number("LASTBEAT_SIM_SEEDS").unwrap_or(SEEDS));
    let outcome = simulate(hours, seeds, size);
    let Some(first) = &outcome.first else { return };
    let every = number("LASTBEAT_SIM_EVERY").is_some();
    for (sort, (count, failure)) in &outcome.sorts {
        println!("{count} of {sort} The first, seed {}: {}", failure.seed, failure.complaint);
        if every {
            println!("{}\n", report(failure, size, &Rules::default()));
        }
    }
    if !every {
        println!("\n{}", report(first, size, &Rules::default()));
    }
    panic!("{} violations", outcome.sums.violations);
}

#[expect(clippy::disallowed_methods, reason = "the figure of a campaign is a page of the documentation")]
fn record(path: &str, page: &str) {
    std::fs::write(path, page).expect("the record can be written");
    println!("recorded in {path}");
}

/// Plays on until both the hours and the seeds are reached, and says how far it is every few seconds.
fn simulate(hours: u64, seeds: u64, size: Size) -> Outcome {
    let (began, mut told) = (now(), now());
    let mut all = Outcome::default();
    let mut next = number("LASTBEAT_SIM_FROM").unwrap_or(0);
    while next < seeds || all.sums.agent_hours() < hours {
        let until = if next < seeds { seeds.min(next + ROUND) } else { next + ROUND };
        let round = campaign(next..until, size, &Rules::default(), false);
        next = until;
        // At once: whoever waits for a long campaign may want to look at it now.
        if let Some(failure) = &round.first {
            println!("seed {}: {}", failure.seed, failure.complaint);
        }
        all.add(round);
        if told.elapsed().as_secs() >= 5 {
            told = now();
            let (spent, sums) = (began.elapsed().as_secs_f64(), &all.sums);
            let done = share(next, seeds).min(share(sums.agent_hours(), hours));
            println!(
                "{next} seeds, {} agent-hours, {} violations, {:.0} agent-hours a second, {:.0} s left",
                sums.agent_hours(),
                sums.violations,
                sums.agent_ms as f64 / 3_600_000.0 / spent,
                spent / done - spent
            );
        }
    }
    let summary = summary(&all, next, began.elapsed().as_secs_f64(), cpu_seconds());
    println!("\n{summary}");
    if let Some(path) = asked_for("LASTBEAT_SIM_RECORD") {
        let machine = asked_for("LASTBEAT_SIM_MACHINE").unwrap_or_default();
        let page = format!(
            "# Simulation\n\nWritten by `./tests/campaign simulate --hours {hours} --seeds {seeds} --record`{machine}.\n\n{summary}"
        );
        record(&path, &page);
    }
    all
}

/// How much of what was asked for is done.
fn share(done: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) }
}

/// What this process has used of all cores, as the kernel tells it in hundredths of a second; none elsewhere.
#[expect(clippy::disallowed_methods, reason = "what a campaign costs, the kernel tells in a file")]
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold anything; the numbers come after its bracket. User and system time are the
    // 14th and 15th of all.
    let (_, numbers) = stat.rsplit_once(") ")?;
    let spent = numbers.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Some(spent.sum::<Result<f64, _>>().ok()? / 100.0)
}

fn summary(outcome: &Outcome, seeds: u64, seconds: f64, cpu: Option<f64>) -> String {
    let sums = &outcome.sums;
    let simulated = sums.agent_ms as f64 / 1_000.0;
    let mut text = String::from("| what | figure |\n|---|---:|\n");
    let mut row = |what: &str, figure: String| {
        let _ = writeln!(text, "| {what} | {figure} |");
    };
    row("seeds (worlds)", seeds.to_string());
    row("agent-hours", sums.agent_hours().to_string());
    row("processes", sums.processes.to_string());
    row("facts judged", sums.facts.to_string());
    row("absences of the collector", sums.absences.to_string());
    row("alerts that opened", sums.alerts.to_string());
    row("violations", sums.violations.to_string());
    row("false alarms (I1, I4, I11)", sums.false_alarms.to_string());
    row("misses (I2, I3)", sums.misses.to_string());
    row("wall time, s", format!("{seconds:.0}"));
    if let Some(cpu) = cpu {
        row("CPU time, s", format!("{cpu:.0}"));
        row("simulated seconds a CPU-second", format!("{:.0}", sums.world_ms as f64 / 1_000.0 / cpu));
        row("simulated agent-seconds a CPU-second", format!("{:.0}", simulated / cpu));
    }
    row("trace", format!("{:016x}", sums.trace));
    format!("{text}\n{}", sums.table())
}
