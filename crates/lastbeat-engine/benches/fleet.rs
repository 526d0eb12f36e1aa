//! What a fleet costs: `cargo bench -p lastbeat-engine`, with `LASTBEAT_BENCH_WORKERS=100000` for a smaller one.
//!
//! Each figure is the median of five rounds over the same fleet, in one process; memory is the growth of the resident
//! set while the fleet was built.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_precision_loss, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lastbeat_engine::fact::{Away, FactId, Phase, PhaseTo, Start};
use lastbeat_engine::{Fact, Moment, Roster, Rules, RunId, Source, What};

const ROUNDS: usize = 5;
const COLLECTOR: RunId = RunId(u128::MAX);
/// A service has so many workers, a host so many runs.
const A_SERVICE: usize = 100;

struct Fleet {
    roster: Roster,
    names: Vec<(Arc<str>, Arc<str>)>,
    seqs: Vec<u64>,
    now: Moment,
}

impl Fleet {
    fn of(workers: usize) -> Self {
        let now = Moment::from_millis(1_000_000);
        let service = |number: usize| Arc::from(format!("service-{}", number / A_SERVICE));
        let names = (0..workers).map(|number| (service(number), format!("worker-{number}").into())).collect();
        let rules = Rules { workers_max: workers, ..Rules::default() };
        Self { roster: Roster::new(rules), names, seqs: vec![0; workers], now }
    }

    fn fact(&mut self, number: usize, what: What) -> Fact {
        self.seqs[number] += 1;
        let (service, worker) = self.names[number].clone();
        let id = FactId { run: run(number), source: Source::Own, seq: self.seqs[number] };
        Fact { id, service, worker, taken: self.now, age_ms: 0, what }
    }

    fn say(&mut self, number: usize, what: What) {
        let fact = self.fact(number, what);
        self.roster.step(&fact);
        let _ = self.roster.heard(fact.id.run, Source::Own, self.now);
    }

    fn start(&mut self) {
        for number in 0..self.names.len() {
            let host = Some(format!("host-{}", number / A_SERVICE));
            let version = Some("1.2.3".to_owned());
            let start = Start { goodbye: true, host, version, pid: Some(7), ..Start::default() };
            self.say(number, What::Start(start));
            self.say(number, What::Ready);
            self.roster.linked(run(number), Source::Own, number as u64 + 1);
        }
    }

    fn beat_all(&mut self, order: &[usize]) {
        for number in order {
            let _ = self.roster.heard(run(*number), Source::Own, self.now);
        }
    }
}

fn run(number: usize) -> RunId {
    // Spread like random identities are.
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    RunId(u128::from(mixed) << 64 | number as u128)
}

/// The median time of a piece of work, in ns for each of `many`.
fn median(many: usize, mut work: impl FnMut(usize)) -> f64 {
    median_of(many, |round| {
        let begun = Instant::now();
        work(round);
        begun.elapsed()
    })
}

/// The same of work that says itself how long it took.
fn median_of(many: usize, work: impl FnMut(usize) -> Duration) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS).map(work).collect();
    times.sort();
    times[ROUNDS / 2].as_nanos() as f64 / many as f64
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

fn main() {
    let asked = std::env::var("LASTBEAT_BENCH_WORKERS").ok().and_then(|asked| asked.parse().ok());
    let workers: usize = asked.unwrap_or(1_000_000);
    let mut fleet = Fleet::of(workers);
    let before = resident_bytes();
    let begun = Instant::now();
    fleet.start();
    let built = begun.elapsed().as_nanos() as f64 / (2 * workers) as f64;
    let bytes = resident_bytes().saturating_sub(before) as f64 / workers as f64;

    // Beats come in no order of their names.
    let order: Vec<usize> = (0..workers).map(|place| place.wrapping_mul(7_919) % workers).collect();
    let beat = median(workers, |_| {
        fleet.now = fleet.now.plus(5_000);
        fleet.beat_all(&order);
    });
    let facts = workers.min(100_000);
    let fact = median(facts, |round| {
        let to = if round % 2 == 0 { PhaseTo::Paused } else { PhaseTo::Running };
        for number in &order[..facts] {
            fleet.say(*number, What::Phase(Phase { to, count: None }));
        }
    });
    // Nothing is due: what it costs to ask.
    let idle = median(1, |_| drop(fleet.roster.advance(fleet.now)));
    // Every deadline of old is due and was moved by beats: the dearest sweep of a fleet that is well.
    let sweep = median_of(workers, |_| {
        fleet.now = fleet.now.plus(20_000);
        fleet.beat_all(&order);
        let begun = Instant::now();
        let proposals = fleet.roster.advance(fleet.now);
        let took = begun.elapsed();
        assert!(proposals.is_empty(), "a fleet that beats is well");
        took
    });
    let snapshot = median(1, |_| drop(fleet.roster.snapshot()));
    let away = median(workers, |_| {
        let what = What::Away(Away { from: fleet.now, to: fleet.now.plus(60_000) });
        fleet.now = fleet.now.plus(60_000);
        let id =
            FactId { run: COLLECTOR, source: Source::Observer, seq: fleet.roster.next_seq(Source::Observer) };
        let (service, worker) = ("lastbeat".into(), "collector".into());
        fleet.roster.step(&Fact { id, service, worker, taken: fleet.now, age_ms: 0, what });
    });

    println!("{workers} workers, median of {ROUNDS}");
    println!("{built:>12.0} ns  a fact of a new worker (start, ready)");
    println!("{beat:>12.0} ns  a beat");
    println!("{fact:>12.0} ns  a fact of a known worker, judged");
    println!("{sweep:>12.0} ns  a worker, in a sweep when every deadline is due");
    println!("{idle:>12.0} ns  a sweep when nothing is due");
    println!("{away:>12.0} ns  a worker, when the observer was away");
    println!("{:>12.1} ms  a snapshot", snapshot / 1e6);
    println!("{bytes:>12.0} B   a worker");
}
