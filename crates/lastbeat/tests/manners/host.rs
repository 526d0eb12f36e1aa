//! The client never fails, panics, stops or fills its host, whatever its collector does and wherever the host is.

use std::io::BufRead as _;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use lastbeat::{Agent, BoxError, Lastbeat, Plan, RunId};
use lastbeat_wire::signal::ClassHint;
use tokio::runtime::Builder as Runtime;

use crate::process::{BUDGET_MS, MARK, Process, ROLE, Start};
use crate::trouble::{Kind, Trouble};
use crate::{HEAP, HEAP_MAX_BYTES, LIMIT};

/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(1);

/// Where a host is when its worker ends.
const PLACES: [&str; 7] =
    ["plain", "current_thread", "multi_thread", "dropped", "dropped_in_runtime", "in_drop", "unwinding"];

/// Not a test by itself: the body of the processes that the tests start.
#[test]
fn a_host() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "counts" => crate::blocking::host(),
        "says_much" => crate::memory::host(),
        "connects_and_drops" => crate::traces::host(),
        "panicking_log" => crate::log::host(),
        place => live(place),
    }
}

/// A worker with the settings of the process's environment.
pub(crate) fn connect() -> Lastbeat {
    let budget_ms = std::env::var(BUDGET_MS).expect("set for each host").parse().expect("a number");
    Lastbeat::builder("manners", "host")
        .interval(Duration::from_millis(500))
        .stop_deadline(Duration::from_secs(10))
        .flush_budget(Duration::from_millis(budget_ms))
        .connect()
}

pub(crate) fn say(line: &str) {
    println!("{MARK} {line}");
}

/// Waits for an order.
pub(crate) fn ordered() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("text");
    line.trim().to_owned()
}

pub(crate) fn counts_until_cancelled(agent: &Agent) -> Result<(), BoxError> {
    while !agent.cancelled_within(Duration::from_millis(1)) {
        agent.progress();
    }
    Ok(())
}

fn live(place: &str) {
    let runtime = match place {
        "current_thread" | "dropped_in_runtime" => Some(Runtime::new_current_thread().build()),
        "multi_thread" => Some(Runtime::new_multi_thread().worker_threads(2).build()),
        _ => None,
    };
    let runtime = runtime.map(|built| built.expect("a runtime"));
    let before = HEAP.allocated();
    let entered = runtime.as_ref().map(|runtime| runtime.enter());
    let worker = if place == "defaults" { Lastbeat::connect("manners", "host") } else { connect() };
    worker.spawn_thread("counts", |agent| counts_until_cancelled(&agent));
    worker.spawn("waits", |agent| async move {
        agent.cancelled().await;
        Ok(())
    });
    worker.ready();
    drop(entered);
    say(&format!("up {}", worker.run_id()));
    assert_eq!(ordered(), "stop");
    let asked_by_others = worker.stop_requested().is_cancelled();
    let began = Instant::now();
    match place {
        "current_thread" | "multi_thread" => {
            worker.stop("the test");
            runtime.as_ref().expect("made above").block_on(worker.run_until_stopped(plan()));
            drop(worker);
        }
        "dropped" => drop(worker),
        "dropped_in_runtime" => runtime.as_ref().expect("made above").block_on(async { drop(worker) }),
        "in_drop" => drop(StopsWhenDropped(worker)),
        "unwinding" => {
            let unwound = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let _stops = StopsWhenDropped(worker);
                panic!("in the host");
            }));
            assert!(unwound.is_err());
        }
        _ => {
            worker.stop("the test");
            worker.run_until_stopped_blocking(plan());
            drop(worker);
        }
    }
    let (took, peak) = (began.elapsed().as_millis(), HEAP.max_allocated().saturating_sub(before));
    say(&format!("stopped {took} {peak} {asked_by_others}"));
}

fn plan() -> Plan {
    Plan::new().step("flush", Duration::from_secs(5), |_| async { Ok(()) })
}

/// A host that does its shutdown in a destructor.
struct StopsWhenDropped(Lastbeat);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.stop("the test");
        self.0.run_until_stopped_blocking(plan());
    }
}

/// One host at one place with one collector: it lives, it stops in time, and its final is not lost.
fn meets(kind: Kind, place: &str) {
    let trouble = Trouble::start(kind);
    // A healthy collector costs nothing of a budget, however long.
    let budget = if kind == Kind::Up { Duration::from_secs(8) } else { Duration::from_secs(1) };
    let mut host = Start { budget, ..Start::of(place, trouble.url()) }.process();
    let run: RunId = host.says("up").parse().expect("a run's identity");
    trouble.has_played(3, LIMIT);
    host.order("stop");
    let words = host.says("stopped");
    let words: Vec<&str> = words.split(' ').collect();
    let took = Duration::from_millis(words[0].parse().expect("a number"));
    let peak: usize = words[1].parse().expect("a number");
    let in_time = if kind == Kind::Up { budget / 2 } else { budget + SLACK };
    assert!(took <= in_time, "{kind:?}, {place}: the stop took {took:?}");
    assert!(peak <= HEAP_MAX_BYTES, "{kind:?}, {place}: {peak} bytes");
    assert_eq!(words[2], "false", "{kind:?}, {place}: nobody may ask this run");
    assert_eq!(host.end().code(), Some(0), "{kind:?}, {place}");
    let delivered = trouble.has_the_final_of(run);
    assert!(delivered || host.has_spooled_its_final(run), "{kind:?}, {place}: the final is lost");
    if kind == Kind::Up {
        assert_eq!(host.files(), [] as [std::path::PathBuf; 0], "{place}");
    }
    assert!(!trouble.was_followed(), "{place}: a redirect leads to a stranger");
}

/// So many at a time: each is mostly waiting.
fn all_meet(meetings: &[(Kind, &str)]) {
    for some in meetings.chunks(6) {
        std::thread::scope(|scope| {
            let hosts: Vec<_> =
                some.iter().map(|(kind, place)| scope.spawn(|| meets(*kind, place))).collect();
            hosts.into_iter().for_each(|host| host.join().expect("see above"));
        });
    }
}

#[test]
fn no_answer_of_a_hostile_collector_hurts_its_host() {
    let meetings: Vec<_> = Kind::HOSTILE.iter().map(|kind| (*kind, "plain")).collect();
    all_meet(&meetings);
    meets(Kind::AsksWithoutEnd, "plain");
}

#[test]
fn wherever_a_host_ends_its_worker_it_ends_in_time_and_is_heard_of() {
    let meetings: Vec<_> =
        PLACES.iter().flat_map(|place| Kind::CONDITIONS.map(|kind| (kind, *place))).collect();
    all_meet(&meetings);
}

/// A program that a stranger would write, where every panic aborts. Its crash is told although no guard runs.
fn abort_guest() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort-guest");
    std::fs::create_dir_all(folder.join("src")).expect("a folder");
    let client = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"abort-guest\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nlastbeat = {{ path = {client:?}, default-features = false }}\n\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n\n[workspace]\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("it is written");
    std::fs::write(folder.join("src/main.rs"), include_str!("abort_guest.rs")).expect("it is written");
    // The versions that everything else here is built with.
    let lock = std::path::Path::new(client).join("../../Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).expect("a lock file");
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo is there");
    assert!(built.success());
    folder.join("target/debug/abort-guest")
}

#[test]
fn where_panics_abort_a_crash_is_told_in_time_and_so_is_a_stop() {
    use std::os::unix::process::ExitStatusExt as _;
    let guest = abort_guest();
    for kind in Kind::CONDITIONS {
        for order in ["panic", "stop"] {
            let trouble = Trouble::start(kind);
            let budget = Duration::from_secs(1);
            let start = Start { budget, ..Start::of("abort", trouble.url()) };
            let mut host: Process = start.run(&mut std::process::Command::new(&guest));
            let run: RunId = host.says("up").parse().expect("a run's identity");
            trouble.has_played(2, LIMIT);
            let began = Instant::now();
            host.order(order);
            let status = host.end();
            // What the kernel takes to end a process is in it too.
            assert!(began.elapsed() <= budget + 2 * SLACK, "{kind:?}, {order}: {:?}", began.elapsed());
            let expected = if order == "panic" { (None, Some(6)) } else { (Some(0), None) };
            assert_eq!((status.code(), status.signal()), expected, "{kind:?}, {order}");
            let fin = trouble.final_of(run).or_else(|| host.spooled_final_of(run));
            let hint = if order == "panic" { ClassHint::Crashed } else { ClassHint::Shutdown };
            assert_eq!(fin.and_then(|fin| fin.class_hint), Some(hint), "{kind:?}, {order}");
        }
    }
}
