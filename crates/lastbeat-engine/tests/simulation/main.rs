//! temporary
#![allow(dead_code)]
mod collector;
mod links;
mod random;
mod script;
mod told;
mod troubles;
mod words;
mod world;
use std::collections::BTreeSet;
#[test]
fn go() {
    let rules = lastbeat_engine::Rules::default();
    let t0 = std::time::Instant::now();
    let (mut h, mut f, mut d) = (0, 0, 0);
    for seed in 0..20 {
        let s = script::Script::of(seed, script::Size::Full, &BTreeSet::new());
        let told = world::World::play(&s, &rules, false);
        h += told.agent_ms; f += told.facts; d += told.deeds.len();
        println!("{seed} {} rings {} replay {:?} bare {:?} med {:?}", told.deeds.len(), told.rings.len(), told.replay_differs, told.bare, told.meddled);
    }
    println!("{} agent-hours {} facts {} deeds in {:?}", h / 3600_000, f, d, t0.elapsed());
}
