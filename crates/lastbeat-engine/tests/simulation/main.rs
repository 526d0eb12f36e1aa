//! temporary
#![allow(dead_code)]
mod collector;
mod links;
mod oracle;
mod random;
mod rings;
mod script;
mod told;
mod troubles;
mod words;
mod world;
use std::collections::{BTreeMap, BTreeSet};
#[test]
fn go() {
    let rules = lastbeat_engine::Rules::default();
    let env = |n: &str| std::env::var(n).ok().and_then(|v| v.parse::<u64>().ok());
    let size = if env("SMALL").is_some() { script::Size::Small } else { script::Size::Full };
    let t0 = std::time::Instant::now();
    if let Some(seed) = env("SEED") {
        let mut without = BTreeSet::new();
        let fails = |w: &BTreeSet<u32>, key: &str| {
            let s = script::Script::of(seed, size, w);
            oracle::complaints(&world::World::play(&s, &rules, false)).iter().any(|c| c.starts_with(key))
        };
        let s = script::Script::of(seed, size, &without);
        let first = oracle::complaints(&world::World::play(&s, &rules, false));
        let key = std::env::var("KEY").ok().unwrap_or_else(|| first[0][..3].to_string());
        println!("{first:#?}");
        loop {
            let before = without.len();
            for n in s.numbers() { if !without.contains(&n) { without.insert(n); if !fails(&without, &key) { without.remove(&n); } } }
            if without.len() == before { break; }
        }
        let s = script::Script::of(seed, size, &without);
        let told = world::World::play(&s, &rules, true);
        println!("{}\n{:#?}", told.timeline.join("\n"), oracle::complaints(&told));
        println!("lag {} drizzle {}", s.lag, s.drizzle);
        return;
    }
    let mut kinds: BTreeMap<String, (usize, u64, String)> = BTreeMap::new();
    let mut h = 0;
    for seed in 0..env("SEEDS").unwrap_or(100) {
        let s = script::Script::of(seed, size, &BTreeSet::new());
        let told = world::World::play(&s, &rules, false);
        h += told.agent_ms;
        for c in oracle::complaints(&told) {
            let words: Vec<String> = c.split_whitespace().map(|w| w.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()).take(12).collect();
            let key = words.join(" ");
            let e = kinds.entry(key).or_insert((0, seed, c.clone()));
            e.0 += 1;
        }
    }
    let mut v: Vec<_> = kinds.into_values().collect();
    v.sort_by_key(|e| std::cmp::Reverse(e.0));
    for (n, seed, c) in v.iter().take(40) { println!("{n:5} seed {seed}: {c}"); }
    println!("{} h in {:?}", h / 3_600_000, t0.elapsed());
}
