//! A world of workers, witnesses, cut networks and a collector that dies and comes back, on a virtual clock.
//!
//! `world` plays it and knows the engine; `oracle` knows only what was done to each process and what the
//! collector said, imports nothing of the engine, and says what must not have been said. A seed is a world:
//! the same seed plays the same world. `LASTBEAT_SIM_SEEDS=5000` plays more of them, `LASTBEAT_SIM_SEED=17` one,
//! with its timeline.
#![allow(clippy::print_stdout)] // A campaign tells how much it played; a seed, its timeline.

mod oracle;
mod random;
mod world;

use world::World;

/// Worlds that every test run plays.
const SEEDS: u64 = 400;

#[expect(
    clippy::disallowed_methods,
    reason = "the rules are fixed; only how many worlds are played is asked"
)]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn in_no_world_is_a_planned_stop_alarmed_or_a_death_missed() {
    if let Some(seed) = asked_for("LASTBEAT_SIM_SEED") {
        let told = World::play(seed);
        println!("{}", told.timeline.join("\n"));
        assert_eq!(oracle::complaints(&told), Vec::<String>::new());
        return;
    }
    let (mut agent_hours, mut endings) = (0.0, 0);
    for seed in 0..asked_for("LASTBEAT_SIM_SEEDS").unwrap_or(SEEDS) {
        let told = World::play(seed);
        let complaints = oracle::complaints(&told);
        assert!(
            complaints.is_empty(),
            "LASTBEAT_SIM_SEED={seed}:\n{}\n\n{}",
            complaints.join("\n"),
            told.timeline.join("\n")
        );
        agent_hours += told.agent_hours;
        endings += told.deeds.len();
    }
    assert!(endings > 0 && agent_hours > 0.0, "nothing happened in any world");
    println!("{agent_hours:.0} agent-hours, {endings} processes");
}

#[test]
fn the_same_seed_plays_the_same_world() {
    for seed in [1, 2, 3] {
        assert_eq!(World::play(seed).timeline, World::play(seed).timeline);
    }
}

#[test]
fn the_oracle_fails_a_collector_that_always_says_live_and_one_that_always_says_lost() {
    let caught = |lie: fn(&mut oracle::Told)| {
        (0..100).any(|seed| {
            let mut told = World::play(seed);
            lie(&mut told);
            !oracle::complaints(&told).is_empty()
        })
    };
    assert!(caught(|told| {
        told.said.clear();
        told.alerts.clear();
    }));
    assert!(caught(|told| {
        for deed in &told.deeds {
            told.said.push(oracle::Saying {
                run: deed.run,
                at: deed.started + 1,
                class: Some("lost".into()),
            });
        }
    }));
}
