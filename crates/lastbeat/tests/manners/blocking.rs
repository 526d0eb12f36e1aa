//! `progress()` is an atomic, and whatever waits for the network or the disk does so on the client's own threads.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::LIMIT;
use crate::host::{connect, ordered, say};
use crate::process::Start;
use crate::trouble::{Kind, Trouble};

const BEGINS: &str = "progress begins";
const ENDS: &str = "progress ends";

/// A host with a thread that counts all the time, between two system calls that mark where.
pub(crate) fn host() {
    let worker = connect();
    let over = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&over);
    let counting = worker.spawn_thread("counting", move |agent| {
        let mut marker = File::create("/dev/null")?;
        marker.write_all(BEGINS.as_bytes())?;
        while !theirs.load(Ordering::Relaxed) {
            agent.progress();
        }
        marker.write_all(ENDS.as_bytes())?;
        Ok(())
    });
    worker.ready();
    say("up");
    assert_eq!(ordered(), "stop");
    over.store(true, Ordering::Relaxed);
    while !counting.is_finished() {
        std::thread::yield_now();
    }
    // On a thread of its own it would be one of the client's.
    worker.stop("the test");
    worker.run_until_stopped_blocking(lastbeat::Plan::new());
    say("over");
}

/// What each thread of the host did, one text a thread.
fn traced(kind: Kind) -> Vec<String> {
    let traces = tempfile::tempdir().expect("a directory");
    let prefix = traces.path().join("thread").display().to_string();
    let under = ["strace", "-ff", "-qq", "-s", "64", "-o", &prefix];
    let trouble = Trouble::start(kind);
    let mut host = Start { under: &under, ..Start::of("counts", trouble.url()) }.process();
    host.says("up");
    trouble.has_played(4, LIMIT);
    host.order("stop");
    host.says("over");
    assert_eq!(host.end().code(), Some(0), "{kind:?}");
    texts_in(traces.path())
}

fn texts_in(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("the traces");
    files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect()
}

#[test]
fn progress_makes_no_system_call_and_only_our_threads_touch_the_network_and_the_disk() {
    for kind in Kind::CONDITIONS {
        let threads = traced(kind);
        let counting = threads.iter().find(|trace| trace.contains(BEGINS)).expect("the marks are traced");
        let between = counting.split(BEGINS).nth(1).and_then(|rest| rest.split(ENDS).next());
        let between = between.expect("between the marks");
        // The rest of the line of the first mark, and the beginning of the line of the second.
        let calls: Vec<&str> = between.lines().skip(1).filter(|line| !line.starts_with("write(")).collect();
        assert_eq!(calls, [] as [&str; 0], "{kind:?}");

        let is_ours = |trace: &&String| trace.contains("PR_SET_NAME, \"lastbeat");
        let (ours, theirs): (Vec<&String>, Vec<&String>) = threads.iter().partition(is_ours);
        let waits = ["connect(", "sendto(", "recvfrom(", "fsync(", "rename(", "AF_INET"];
        for trace in theirs {
            // To ring for one of our threads is one byte, to a socket that never blocks.
            let rings = |line: &str| line.starts_with("sendto(") && line.contains("\", 1, MSG_");
            let waits = |line: &&str| waits.iter().any(|wait| line.contains(wait)) && !rings(line);
            let found: Vec<&str> = trace.lines().filter(waits).collect();
            assert_eq!(found, [] as [&str; 0], "{kind:?}: a thread of the host");
        }
        let dials = ours.iter().filter(|trace| trace.contains("AF_INET")).count();
        assert_eq!(dials, 1, "{kind:?}: one thread dials, and it is traced");
    }
}
