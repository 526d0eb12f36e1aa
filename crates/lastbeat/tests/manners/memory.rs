//! Whatever a host says and whatever its collector does, the client takes at most a mebibyte of heap.

use std::time::{Duration, Instant};

use lastbeat::{Lastbeat, Plan};
use lastbeat_wire::spool::{Instant as SpoolInstant, encode, file_name};
use lastbeat_wire::{Envelope, RunId, Signal, Source};

use crate::host::{connect, counts_until_cancelled, ordered, say};
use crate::process::Start;
use crate::trouble::{Kind, Trouble};
use crate::{HEAP, HEAP_MAX_BYTES, LIMIT};

/// Agents whose newest word is state.
const AGENTS: usize = 56;
/// More than the outbox takes of anything.
const MANY: usize = 200;
/// Longer than any text that is kept.
const LONG: usize = 5_000;

/// A host that says as much as it can: all agents that are kept, then far more facts than are kept, each with more
/// text than is kept, and a plan with more rows than a final holds.
pub(crate) fn host() {
    let before = HEAP.allocated();
    let worker = connect();
    let connected = HEAP.allocated().saturating_sub(before);
    for number in 0..AGENTS {
        let name = format!("{number:0>128}");
        worker.spawn_thread(&name, |agent| counts_until_cancelled(&agent));
    }
    worker.ready();
    fill(&worker);
    let full = HEAP.allocated().saturating_sub(before);
    say(&format!("up {}", worker.run_id()));
    assert_eq!(ordered(), "stop");
    fill(&worker);
    let mut plan = Plan::new();
    for number in 0..MANY {
        plan = plan.step_blocking(&format!("step-{number}"), Duration::from_secs(1), |step| {
            step.total(100);
            (0..30).for_each(|item| step.failed_item(&format!("{item:0>200}")));
            Err("e".repeat(LONG).into())
        });
    }
    worker.stop(&"w".repeat(LONG));
    worker.run_until_stopped_blocking(plan);
    let peak = HEAP.max_allocated().saturating_sub(before);
    say(&format!("took {connected} {full} {peak}"));
}

fn fill(worker: &Lastbeat) {
    for number in 0..MANY {
        // One after the other, so that what is counted is the client's and not two hundred threads'.
        let fails = worker.spawn_thread(&format!("fails-{number}"), |_| Err("e".repeat(LONG).into()));
        while !fails.is_finished() {
            std::thread::yield_now();
        }
        assert!(std::panic::catch_unwind(|| panic!("{}", "p".repeat(LONG))).is_err());
    }
}

fn takes(kind: Kind) {
    let trouble = Trouble::start(kind);
    let mut host = Start::of("says_much", trouble.url()).process();
    let run: RunId = host.says("up").parse().expect("a run's identity");
    trouble.has_played(2, LIMIT);
    host.order("stop");
    let took = host.says("took");
    let bytes: Vec<usize> = took.split(' ').map(|bytes| bytes.parse().expect("a number")).collect();
    assert!(bytes.iter().all(|bytes| *bytes <= HEAP_MAX_BYTES), "{kind:?}: connected, full, peak: {bytes:?}");
    assert_eq!(host.end().code(), Some(0), "{kind:?}");
    assert!(trouble.has_the_final_of(run) || host.has_spooled_its_final(run), "{kind:?}: the final is lost");
    println!("{kind:?}: connected {}, full {}, peak {} bytes", bytes[0], bytes[1], bytes[2]);
}

#[test]
fn a_host_that_says_all_it_can_gives_the_client_a_mebibyte_at_most() {
    for kind in [
        Kind::Up,
        Kind::Down,
        Kind::BlackHoled,
        Kind::TricklingReceipts,
        Kind::NeverDurable,
        Kind::AsksWithoutEnd,
    ] {
        takes(kind);
    }
}

#[test]
fn what_earlier_runs_left_is_delivered_file_by_file_within_a_mebibyte() {
    let trouble = Trouble::start(Kind::Up);
    let mut start = Start::of("plain", trouble.url());
    let spool = tempfile::tempdir().expect("a directory");
    start.spool = Some(spool.path());
    let earlier: Vec<RunId> = (1..=12).map(RunId::from_u128).collect();
    for run in &earlier {
        leave_a_full_spool(spool.path(), *run);
    }
    let mut host = start.process();
    host.says("up");
    let until = Instant::now() + LIMIT;
    while !earlier.iter().all(|run| trouble.has_the_final_of(*run)) {
        assert!(Instant::now() < until, "all of them are delivered");
        std::thread::sleep(Duration::from_millis(5));
    }
    host.order("stop");
    let words = host.says("stopped");
    let peak: usize = words.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a number");
    assert!(peak <= HEAP_MAX_BYTES, "{peak} bytes");
    println!("12 spool files: peak {peak} bytes");
    assert_eq!(host.end().code(), Some(0));
    assert_eq!(host.files(), [] as [std::path::PathBuf; 0], "what is durable is removed");
}

/// As large a file as a full outbox makes.
fn leave_a_full_spool(dir: &std::path::Path, run_id: RunId) {
    let name = |text: &str| lastbeat_wire::Name::new(text).expect("a name");
    let (service, worker) = (name("manners"), name("host"));
    let envelope = |seq: u64, signal: Signal| Envelope {
        v: lastbeat_wire::envelope::VERSION,
        run_id,
        source: Source::Own,
        seq,
        service: service.clone(),
        worker: worker.clone(),
        age_ms: 0,
        signal,
    };
    let mut facts = vec![envelope(1, Signal::Start(lastbeat_wire::signal::Start::default()))];
    for seq in 2..66 {
        let mut step = lastbeat_wire::signal::Step::begun(name("step"));
        step.error = Some("e".repeat(1_024));
        step.failed_items = vec!["i".repeat(100); 20];
        facts.push(envelope(seq, Signal::Step(step)));
    }
    facts.push(envelope(66, Signal::Final(lastbeat_wire::signal::Final::default())));
    let written = SpoolInstant { boot_id: None, boottime_ms: 0, wall_ms: 0 };
    let bytes = encode(&written, &facts).expect("it can be written");
    std::fs::write(dir.join(file_name(run_id, Source::Own)), bytes).expect("it is written");
}
