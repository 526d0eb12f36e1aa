//! What a worker pays for its client: `cargo bench -p lastbeat --bench overhead`, two minutes.
//!
//! Each condition of the collector has a process of its own that measures itself, and the collector stands in
//! another: so heap, CPU time and threads are the client's alone. `LASTBEAT_BENCH_CPU_S=10` shortens the minute in
//! which the client's thread is watched.
#![allow(clippy::print_stdout, reason = "a table for people")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(missing_docs, reason = "a program")]

#[path = "../tests/manners/trouble.rs"]
#[allow(dead_code, reason = "shared with the tests, which need all of it")]
mod trouble;

use std::alloc::System;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lastbeat::{Agent, Lastbeat, Plan};
use trouble::{Kind, Trouble};

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

const CONDITIONS: [(&str, Kind); 4] = [
    ("up", Kind::Up),
    ("down", Kind::Down),
    ("black-holed", Kind::BlackHoled),
    ("one byte a second", Kind::TricklingReceipts),
];
/// How long a call is measured again and again.
const CALLS_FOR: Duration = Duration::from_secs(5);
/// How long a link has to be opened, or not.
const SETTLES: Duration = Duration::from_millis(500);
/// Stops measured with a collector that is well, and with any other, each of which takes its whole budget.
const STOPS: (usize, usize) = (21, 3);
/// Agents alive at once when they are weighed.
const AGENTS: usize = 1_000;
/// The most nanoseconds told apart; what takes longer counts as this.
const NANOS_MAX: usize = 10_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--collector") => be_collector(&arguments[1]),
        Some("--host") => be_host(&arguments[1], arguments[2] == "up"),
        _ => drive(),
    }
}

fn cpu_seconds() -> u64 {
    std::env::var("LASTBEAT_BENCH_CPU_S").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Plays the collector until whoever started this process is gone.
fn be_collector(condition: &str) {
    let kind = CONDITIONS.iter().find(|(name, _)| *name == condition).expect("one of them").1;
    let trouble = Trouble::start(kind);
    println!("{}", trouble.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Figures by name, one a line, for the process that started this one.
fn be_host(what: &str, is_up: bool) {
    match what {
        "calls" => calls(),
        "memory" => memory(),
        "cpu" => cpu(),
        "stops" => stops(if is_up { STOPS.0 } else { STOPS.1 }),
        other => panic!("no such figure: {other}"),
    }
}

fn tell(name: &str, value: f64) {
    println!("{name} {value}");
}

/// How often a call took so many nanoseconds.
struct Times(Vec<u32>);

impl Times {
    /// Of a call, until the time is over.
    fn of(mut call: impl FnMut()) -> Self {
        let mut times = vec![0_u32; NANOS_MAX + 1];
        let until = Instant::now() + CALLS_FOR;
        loop {
            let began = Instant::now();
            call();
            let ended = Instant::now();
            let nanos = (ended - began).as_nanos() as usize;
            times[nanos.min(NANOS_MAX)] += 1;
            if ended >= until {
                return Self(times);
            }
        }
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let mut left = (all as f64 * quantile) as u64;
        for (nanos, count) in self.0.iter().enumerate() {
            match left.checked_sub(u64::from(*count)) {
                Some(rest) => left = rest,
                None => return nanos as f64,
            }
        }
        NANOS_MAX as f64
    }

    fn tell(&self, name: &str) {
        tell(&format!("{name} median"), self.quantile(0.5));
        tell(&format!("{name} p99.9"), self.quantile(0.999));
    }
}

fn an_agent(worker: &Lastbeat) -> Agent {
    let (give, take) = channel();
    worker.spawn_thread("bench", move |agent| {
        give.send(agent.clone())?;
        while !agent.cancelled_within(Duration::from_secs(60)) {}
        Ok(())
    });
    take.recv().expect("it begins")
}

fn calls() {
    let worker = Lastbeat::builder("bench", "calls").interval(Duration::from_millis(500)).connect();
    worker.ready();
    let agent = an_agent(&worker);
    std::thread::sleep(SETTLES);
    Times::of(|| {
        black_box(());
    })
    .tell("clock");
    Times::of(|| agent.progress()).tell("progress");
    // A fact that replaces the one before, said without a pause: far more than any host says.
    let mut done = 0;
    Times::of(|| {
        done += 1;
        worker.draining(done, 1_000_000_000);
    })
    .tell("fact");
}

fn memory() {
    let (heap, resident) = (HEAP.allocated(), resident_kib());
    let worker = Lastbeat::connect("bench", "memory");
    worker.ready();
    std::thread::sleep(SETTLES * 4);
    tell("heap", (HEAP.allocated() - heap) as f64 / 1_024.0);
    tell("heap peak", (HEAP.max_allocated() - heap) as f64 / 1_024.0);
    tell("resident", resident_kib() - resident);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entered = runtime.enter();
    let heap = HEAP.allocated();
    for number in 0..AGENTS {
        worker.spawn(&format!("agent-{number}"), |agent| async move {
            agent.cancelled().await;
            Ok(())
        });
    }
    std::thread::sleep(SETTLES);
    tell("agent", (HEAP.allocated() - heap) as f64 / AGENTS as f64);
    drop(entered);
    drop((runtime, worker));
}

fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its resident set");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// CPU time of the client's thread while beats go out every 5 s.
fn cpu() {
    let worker = Lastbeat::connect("bench", "cpu");
    worker.ready();
    let agent = an_agent(&worker);
    std::thread::sleep(SETTLES);
    let before = thread_cpu_ns();
    let until = Instant::now() + Duration::from_secs(cpu_seconds());
    while Instant::now() < until {
        agent.progress();
        std::thread::sleep(Duration::from_millis(500));
    }
    let per_minute = 60.0 / cpu_seconds() as f64;
    tell("cpu", (thread_cpu_ns() - before) as f64 / 1e6 * per_minute);
    drop(worker);
}

fn thread_cpu_ns() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("linux").flatten();
    let of_client = tasks
        .map(|task| task.path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "lastbeat"));
    let times = of_client.map(|task| fs::read_to_string(task.join("schedstat")).expect("schedstat"));
    times.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// How long `connect` holds its caller, and how long a stop takes that has nothing to do.
fn stops(rounds: usize) {
    let (mut connects, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        let worker = Lastbeat::connect("bench", "stops");
        connects.push(began.elapsed());
        worker.ready();
        std::thread::sleep(SETTLES);
        let began = Instant::now();
        worker.stop("the bench");
        worker.run_until_stopped_blocking(Plan::new());
        drop(worker);
        stops.push(began.elapsed());
    }
    connects.sort();
    stops.sort();
    tell("connect", connects[rounds / 2].as_secs_f64() * 1e6);
    tell("stop median", stops[rounds / 2].as_secs_f64() * 1e3);
    tell("stop worst", stops[rounds - 1].as_secs_f64() * 1e3);
}

/// A process of this same program; ended when it is dropped.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        Self(child)
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().expect("asked for once")).lines().map_while(Result::ok)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Figures = Vec<(String, f64)>;

/// The figures of a host that has a collector in this condition.
fn measured(what: &str, condition: &str) -> Figures {
    let mut collector = Process::start(&["--collector", condition], &[]);
    let url = collector.lines().next().expect("it says where it is");
    let spool = tempfile::tempdir().expect("a directory");
    let env = [
        ("LASTBEAT_COLLECTOR", url.as_str()),
        ("LASTBEAT_SPOOL_DIR", spool.path().to_str().expect("a temporary path is text")),
    ];
    let mut host = Process::start(&["--host", what, condition], &env);
    let figure = |line: String| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a figure");
        (name.to_owned(), value.parse().expect("a number"))
    };
    host.lines().map(figure).collect()
}

/// What is measured, what is needed, and in which unit. A need of 0 is none.
const ROWS: [(&str, &str, &str, f64); 14] = [
    ("calls", "clock median", "ns, two readings of the clock alone, median", 0.0),
    ("calls", "clock p99.9", "ns, two readings of the clock alone, p99.9", 0.0),
    ("calls", "progress median", "ns, progress() and two readings, median", 0.0),
    ("calls", "progress p99.9", "ns, progress() and two readings, p99.9", 1_000.0),
    ("calls", "fact median", "ns, a fact said and two readings, in a flood, median", 0.0),
    ("calls", "fact p99.9", "ns, a fact said and two readings, in a flood, p99.9", 0.0),
    ("cpu", "cpu", "ms of CPU a minute, the client's thread, a beat each 5 s", 0.0),
    ("memory", "heap", "KiB of heap, connected", 1_024.0),
    ("memory", "heap peak", "KiB of heap, at most", 1_024.0),
    ("memory", "resident", "KiB of resident memory, stacks included", 1_024.0),
    ("memory", "agent", "B of heap an agent, its task of tokio's included", 0.0),
    ("stops", "connect", "us that connect() takes, median", 0.0),
    ("stops", "stop median", "ms that a stop takes with nothing to do, median", 0.0),
    ("stops", "stop worst", "ms that a stop takes with nothing to do, worst", 2_000.0),
];

fn drive() {
    // The minute of CPU is mostly sleep, so all four wait for it together; the rest is measured one by one.
    let cpu: Vec<Figures> = std::thread::scope(|scope| {
        let waits = CONDITIONS.map(|(condition, _)| scope.spawn(move || measured("cpu", condition)));
        waits.map(|wait| wait.join().expect("it measures")).into()
    });
    let all: Vec<Figures> = CONDITIONS
        .iter()
        .zip(cpu)
        .map(|((condition, _), cpu)| {
            let others = ["calls", "memory", "stops"].into_iter().flat_map(|what| measured(what, condition));
            cpu.into_iter().chain(others).collect()
        })
        .collect();
    for (condition, _) in CONDITIONS {
        print!("{condition:>18}");
    }
    println!("{:>10}", "at most");
    for (_, name, unit, need) in ROWS {
        for figures in &all {
            let value = figures.iter().find(|(found, _)| found == name).expect("it was measured").1;
            print!("{value:>18.1}");
        }
        let need = if need > 0.0 { format!("{need}") } else { String::new() };
        println!("{need:>10}  {unit}");
    }
}
