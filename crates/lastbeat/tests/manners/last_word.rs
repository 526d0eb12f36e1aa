//! The final heartbeat survives: a collector that is away, a KILL at any moment, a disk that fails or hangs.

use std::time::{Duration, Instant};

use lastbeat::RunId;

use crate::LIMIT;
use crate::process::{Process, Start};
use crate::trouble::{Kind, Trouble};

/// How long beyond its budget a flush waits for the disk, and then for its thread.
const DISK_GRACE: Duration = Duration::from_secs(1);
/// What a loaded machine, and a tracer, may add to a deadline.
const SLACK: Duration = Duration::from_secs(1);

/// A host without a collector that is stopped under a tracer.
fn stopped_under(tracer: &[&str], spool: Option<&std::path::Path>) -> (Process, RunId) {
    let trouble = Trouble::start(Kind::Down);
    let mut host = Start { under: tracer, spool, ..Start::of("plain", trouble.url()) }.process();
    let run = host.says("up").parse().expect("a run's identity");
    host.order("stop");
    (host, run)
}

#[test]
fn the_spool_is_written_synced_renamed_and_its_directory_synced() {
    let folder = tempfile::tempdir().expect("a directory");
    let trace = folder.path().join("trace").display().to_string();
    let calls = "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink";
    let tracer = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", calls, "-e", "signal=none", "-o", &trace];
    let (mut host, run) = stopped_under(&tracer, None);
    host.says("stopped");
    assert_eq!(host.end().code(), Some(0));
    assert!(host.has_spooled_its_final(run));

    let text = std::fs::read_to_string(&trace).expect("a trace");
    let mut done: Vec<&str> = text.lines().filter_map(|line| step_of(line, &run.to_string())).collect();
    // A long file is written in pieces.
    done.dedup();
    assert_eq!(done, ["create", "write", "sync", "rename", "open dir", "sync dir"], "{text}");
}

/// What a traced call does to the spool, if anything.
fn step_of(line: &str, run: &str) -> Option<&'static str> {
    let call = line.split_once(' ')?.1.trim_start();
    let is_of_file = call.contains(run) && call.contains(".tmp");
    let is_of_dir = call.contains("/spool>") || call.contains("/spool\"");
    let succeeded = !call.contains("= -1");
    match call.split('(').next()? {
        "openat" if is_of_file && call.contains("O_CREAT") => Some("create"),
        "openat" if is_of_dir && call.contains("O_RDONLY") && !call.contains("O_DIRECTORY") && succeeded => {
            Some("open dir")
        }
        "write" if is_of_file => Some("write"),
        "fsync" | "fdatasync" if is_of_file && succeeded => Some("sync"),
        "fsync" | "fdatasync" if is_of_dir && succeeded => Some("sync dir"),
        "rename" | "renameat" | "renameat2" if is_of_file && succeeded => Some("rename"),
        _ => None,
    }
}

/// Kills at each call that makes the file. What lies there afterwards is whole or not there, and what is whole is
/// delivered by the next run.
#[test]
fn a_kill_at_any_step_of_the_spool_leaves_a_whole_file_or_none() {
    let mut whole = 0;
    for at in ["fsync:signal=KILL:when=1", "rename:signal=KILL:when=1", "fsync:signal=KILL:when=2"] {
        let spool = tempfile::tempdir().expect("a directory");
        let inject = format!("inject={at}");
        let tracer = ["strace", "-f", "-qq", "-e", "trace=fsync,rename", "-e", &inject, "-o", "/dev/null"];
        let (mut host, run) = stopped_under(&tracer, Some(spool.path()));
        assert_ne!(host.end().code(), Some(0), "{at}: it was killed");
        let is_whole = host.has_spooled_its_final(run);
        whole += usize::from(is_whole);

        let trouble = Trouble::start(Kind::Up);
        let next = Start { spool: Some(spool.path()), ..Start::of("plain", trouble.url()) };
        let mut next = next.process();
        next.says("up");
        let until = Instant::now() + LIMIT;
        while is_whole && !trouble.has_the_final_of(run) {
            assert!(Instant::now() < until, "{at}: the next run delivers it");
            std::thread::sleep(Duration::from_millis(5));
        }
        next.order("stop");
        next.says("stopped");
        assert_eq!(next.spooled(), [], "{at}: nothing waits any more");
    }
    assert!(whole >= 1, "once it is renamed it is there");
}

#[test]
fn a_disk_that_fails_or_hangs_costs_the_file_and_not_the_host() {
    for (trouble, what) in [
        ("the disk fails", "fsync:error=EIO"),
        ("the disk is full", "rename:error=ENOSPC"),
        ("the disk hangs", "fsync:delay_enter=60000000"),
    ] {
        let inject = format!("inject={what}");
        let tracer = ["strace", "-f", "-qq", "-e", "trace=fsync,rename", "-e", &inject, "-o", "/dev/null"];
        let (host, _) = stopped_under(&tracer, None);
        let words = host.says("stopped");
        let took = words.split(' ').next().and_then(|ms| ms.parse().ok()).expect("a number");
        let took = Duration::from_millis(took);
        assert!(took <= Duration::from_secs(1) + DISK_GRACE + SLACK, "{trouble}: {took:?}");
        println!("{trouble}: the stop took {took:?}");
        assert_eq!(host.spooled(), [], "{trouble}: what is not on disk is not said to be");
    }
}

#[test]
fn with_the_default_settings_a_stop_takes_two_seconds_more_at_most() {
    for kind in [Kind::Down, Kind::BlackHoled, Kind::TricklingReceipts] {
        let trouble = Trouble::start(kind);
        let mut host = Start::of("defaults", trouble.url()).process();
        let run: RunId = host.says("up").parse().expect("a run's identity");
        trouble.has_played(2, LIMIT);
        host.order("stop");
        let words = host.says("stopped");
        let took: u64 = words.split(' ').next().and_then(|ms| ms.parse().ok()).expect("a number");
        assert!(Duration::from_millis(took) <= Duration::from_secs(2) + SLACK, "{kind:?}: {took} ms");
        assert_eq!(host.end().code(), Some(0));
        assert!(host.has_spooled_its_final(run), "{kind:?}");
    }
}
