//! A linked worker that forks and forks: each child does with the inherited run whatever a host might.
//!
//! `lastbeat-test-forker SERVICE/WORKER FORKS` prints `ready PID`, `forked N`, then works on until TERM. Half of the
//! children are forked by the main thread, half by an agent, while other threads keep the client's locks busy. No
//! thread begins or ends meanwhile: that takes locks of the standard library, and a child that is forked at such a
//! moment hangs with or without us.
//! `lastbeat-test-forker SERVICE/WORKER once` forks one child, which connects anew and prints `child PID RUN_ID`; a
//! second one is forked while the parent listens for signals, prints `deaf PID` and does nothing.

use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use fork::{Fork, fork};
use lastbeat::{Agent, BoxError, Lastbeat, Plan};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::runtime::Handle;

/// How long a child may take: far above what any needs; one that waits for a lost lock takes for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a child that panics ends with.
const PANICKED: i32 = 101;

/// What a child does with the run it inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Drops,
    Speaks,
    Stops,
    Returns,
    Panics,
    Vanishes,
}

const DEEDS: [Deed; 6] =
    [Deed::Drops, Deed::Speaks, Deed::Stops, Deed::Returns, Deed::Panics, Deed::Vanishes];

#[expect(clippy::disallowed_methods, reason = "an end that skips every destructor is the point")]
fn vanish() -> ! {
    std::process::exit(0)
}

/// The life of a child. Gives the run back when it is to be dropped on the way out.
fn live(deed: Deed, worker: Lastbeat, agent: &Agent) -> Option<Lastbeat> {
    agent.progress();
    match deed {
        Deed::Drops => {
            drop(worker);
            agent.progress();
            return None;
        }
        Deed::Returns => {}
        Deed::Speaks => {
            worker.ready();
            worker.promise_back_within(Duration::from_secs(60));
            let own = worker.spawn_thread("of-a-child", |agent| {
                agent.progress();
                Ok(())
            });
            own.abort();
            worker.pause();
            assert!(agent.turn_blocking(), "nobody pauses a child");
            worker.draining(1, 2);
            worker.reloading();
            worker.resume();
            worker.flush_at_stop("of-a-child", PATIENCE, |_| Ok(()));
            assert!(agent.deadline().is_none() && worker.summary().is_none());
            agent.spawn_thread("of-a-child", |_| Err("nobody hears of it".into())).cancel();
        }
        Deed::Stops => {
            worker.stop("a child wants to end its parent's run");
            worker.done();
            worker.run_until_stopped_blocking(Plan::new().step_blocking("of-a-child", PATIENCE, |_| Ok(())));
        }
        Deed::Panics => panic!("a child"),
        Deed::Vanishes => vanish(),
    }
    Some(worker)
}

/// Waits for a child; says how it failed, if it did.
fn reap(child: i32, deed: Deed) -> Result<(), BoxError> {
    let child = Pid::from_raw(child).ok_or("no pid")?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG)? {
            return match (deed, status.exit_status()) {
                (Deed::Panics, Some(PANICKED)) => Ok(()),
                // The panic of an agent is caught, in a child too.
                (_, Some(0)) => Ok(()),
                (deed, _) => Err(format!("the child that {deed:?} ended with {status:?}").into()),
            };
        }
        thread::yield_now();
    }
    kill_process(child, Signal::KILL)?;
    Err(format!("the child that {deed:?} hangs").into())
}

/// Keeps the locks of the run busy: those of its tokens, and that of its gate.
fn keep_busy(worker: &Lastbeat, agent: &Agent) {
    let turns = agent.clone();
    thread::spawn(move || while turns.turn_blocking() {});
    let token = worker.stop_requested();
    thread::spawn(move || {
        while !token.is_cancelled() {
            drop(token.child_token());
        }
    });
}

/// Where a process is after it has forked often.
enum Here {
    Parent(Lastbeat),
    Child(#[expect(dead_code, reason = "it is dropped on the way out")] Option<Lastbeat>),
}

/// Forks, and waits for each child. Now and then an agent is just ending in another thread.
fn fork_often(forks: usize, worker: Lastbeat, agent: &Agent, on: &Handle) -> Result<Here, BoxError> {
    for number in 0..forks {
        let deed = DEEDS[number % DEEDS.len()];
        if number % 8 == 0 {
            let _entered = on.enter();
            worker.spawn("short", |_| async { Ok(()) });
        }
        match fork()? {
            Fork::Parent(child) => reap(child, deed)?,
            Fork::Child => return Ok(Here::Child(live(deed, worker, agent))),
        }
    }
    Ok(Here::Parent(worker))
}

fn many(worker: Lastbeat, forks: usize) -> Result<ExitCode, BoxError> {
    // Never dropped: a child that dropped it would wait for threads that are not there.
    let runtime = Box::leak(Box::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?));
    let on = runtime.handle().clone();
    let (give, take) = channel();
    worker.spawn_thread("counts", move |agent| {
        give.send(agent.clone())?;
        while !agent.cancelled_within(Duration::from_millis(1)) {
            agent.progress();
        }
        Ok(())
    });
    let agent = take.recv()?;
    keep_busy(&worker, &agent);
    worker.ready();
    println!("ready {}", std::process::id());
    let worker = match fork_often(forks / 2, worker, &agent, &on)? {
        Here::Parent(worker) => worker,
        child @ Here::Child(_) => {
            drop(child);
            return Ok(ExitCode::SUCCESS);
        }
    };
    // An agent forks the other half. It owns the run meanwhile, so that its children can drop it.
    let ((lend, lent), (give, back)) = (channel(), channel());
    worker.spawn_thread("forks", move |agent| {
        let here = fork_often(forks - forks / 2, lent.recv()?, &agent, &on);
        // In a child nobody receives: what it sends is dropped with it.
        let _ = give.send(here.map_err(|error| error.to_string()));
        Ok(())
    });
    lend.send(worker)?;
    let Here::Parent(worker) = back.recv()?? else { return Err("a child came back".into()) };
    println!("forked {forks}");
    Ok(worker.run_until_stopped_blocking(Plan::new()))
}

fn once(worker: Lastbeat, service: &str, name: &str) -> Result<ExitCode, BoxError> {
    worker.ready();
    println!("ready {}", std::process::id());
    if fork()? == Fork::Child {
        let own = Lastbeat::connect(service, name);
        own.ready();
        println!("child {} {}", std::process::id(), own.run_id());
        return Ok(own.run_until_stopped_blocking(Plan::new()));
    }
    thread::spawn(|| {
        while !catches_term() {
            thread::yield_now();
        }
        if let Ok(Fork::Child) = fork() {
            println!("deaf {}", std::process::id());
            loop {
                thread::park();
            }
        }
    });
    Ok(worker.run_until_stopped_blocking(Plan::new()))
}

/// Whether this process has a handler for TERM.
fn catches_term() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some((service, worker)) = name.split_once('/') else {
        eprintln!("lastbeat-test-forker SERVICE/WORKER FORKS|once");
        return ExitCode::from(2);
    };
    let run = Lastbeat::connect(service, worker);
    let forks = arguments.next().unwrap_or_default();
    let ended = match forks.parse() {
        Ok(forks) => many(run, forks),
        Err(_) => once(run, service, worker),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("failed: {error}");
        ExitCode::FAILURE
    })
}
