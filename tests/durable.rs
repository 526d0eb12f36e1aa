//! Promise: a fact that was acknowledged as durable survives kill -9 of the collector, and so do its verdicts.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use lastbeat_tests::scenes::{self, CLEAN_PLAN};
use lastbeat_tests::{Collector, PATIENCE, Process, Worker, tools, until};
use lastbeat_wire::RunId;
use lastbeat_wire::report::{AlertReport, RunReport, WorkerReport};
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

/// How often the collector is killed.
const KILLS: usize = 30;
/// Clients that keep it busy over HTTP.
const CLIENTS: usize = 4;
/// Acknowledgements that must come in between two kills, so that each kill strikes at work.
const ACKS_A_KILL: usize = 200;

/// `(run, source, seq)`
type Identity = (RunId, String, u64);

/// A process that works, tells the collector of it, and writes down what was acknowledged.
fn load(collector: &Collector, n: usize) -> Process {
    let mut command = collector.command(tools::program("lastbeat-test-load"));
    command.arg(format!("load/client-{n}"));
    Process::start("load", &mut command)
}

/// All that these clients saw acknowledged as durable.
fn acked(clients: &[Process]) -> HashSet<Identity> {
    let mut all = HashSet::new();
    for client in clients {
        let output = client.output();
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        for line in whole.lines().filter_map(|line| line.strip_prefix("acked ")) {
            let (run, seqs) = line.split_once(' ').unwrap_or((line, ""));
            let run: RunId = run.parse().expect("a run's identity");
            all.extend(
                seqs.split(' ').filter_map(|seq| seq.parse().ok()).map(|seq| (run, "self".into(), seq)),
            );
        }
    }
    all
}

/// What the journal of a dead collector holds: read from a copy, so that nothing is mended on the way.
fn journaled(collector: &Collector) -> HashSet<Identity> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_files(&collector.data_dir(), copy.path());
    let path = copy.path().join("journal.sqlite3");
    let journal = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a journal");
    let check: String = journal.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("readable");
    assert_eq!(check, "ok");
    let mut rows = journal.prepare("SELECT run_id, source, seq FROM facts").expect("the facts");
    let identity = |row: &rusqlite::Row<'_>| {
        let run: [u8; 16] = row.get(0)?;
        Ok((RunId::from_u128(u128::from_be_bytes(run)), row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))
    };
    rows.query_map([], identity).expect("readable").collect::<Result<_, _>>().expect("readable")
}

fn copy_files(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status().expect("cp is there");
    assert!(copied.success());
}

/// Every run that has ended, as it is shown, and the words for its worker.
fn shown(collector: &Collector, who: &[String]) -> Vec<(String, Vec<RunReport>)> {
    let words = |report: &WorkerReport| format!("{} {:?}", report.words, report.amendments);
    let verdicts = |who: &String| {
        let mut runs = collector.runs(who);
        // When it was last heard is memory, and a word may still be under way; it is no verdict.
        runs.iter_mut().for_each(|run| run.last_beat_at = run.started_at);
        runs
    };
    who.iter().map(|who| (words(&collector.worker(who)), verdicts(who))).collect()
}

/// Ends a real worker in the way whose turn it is; returns its name.
fn another_ending(collector: &Collector, n: usize) -> String {
    let who = format!("ended/w{n:02}");
    match n % 5 {
        0 => drop(scenes::stopped_from_a_shell(collector, &who, CLEAN_PLAN)),
        1 => scenes::panics(collector, &who),
        2 => drop(scenes::killed_under_its_witness(collector, &who).0.end()),
        3 => drop(scenes::stopped_from_a_shell(collector, &who, &["--step=flush:fail"])),
        _ => {
            let mut worker = Worker::start(collector, &who, &[]);
            worker.tell("done");
            worker.end();
        }
    }
    let over = |report: &WorkerReport| {
        let ending = report.run.as_ref().and_then(|run| run.ending.as_ref());
        ending.is_some_and(|ending| !ending.provisional)
    };
    collector.wait_for(&who, "over", PATIENCE, over);
    who
}

#[test]
fn thirty_kills_under_load_lose_no_acknowledged_fact_and_change_no_verdict() {
    let mut collector = Collector::start();
    let mut clients: Vec<Process> = (0..CLIENTS).map(|n| load(&collector, n)).collect();
    let linked: Vec<Worker> =
        (0..3).map(|n| Worker::start(&collector, &format!("linked/w{n}"), &[])).collect();
    let mut over = Vec::new();
    let mut known = 0;
    for kill in 0..KILLS {
        let before = acked(&clients).len();
        if kill % 3 == 0 {
            over.push(another_ending(&collector, kill / 3));
        }
        known = until("acknowledgements since the last kill", PATIENCE, || {
            let now = acked(&clients).len();
            if now >= before + ACKS_A_KILL {
                Ok(now)
            } else {
                Err(format!("{} of {ACKS_A_KILL}", now - before))
            }
        });
        let verdicts = shown(&collector, &over);
        collector.kill();
        let lost: Vec<Identity> = acked(&clients).difference(&journaled(&collector)).cloned().collect();
        assert!(lost.is_empty(), "kill {kill}: acknowledged and not in the journal: {lost:?}");
        collector.come_back();
        assert_eq!(shown(&collector, &over), verdicts, "kill {kill}: replay gives other verdicts");
    }
    assert!(known >= KILLS * ACKS_A_KILL);

    for client in &mut clients {
        client.say("done");
        assert_eq!(client.end(PATIENCE).code(), Some(0), "{}", client.output());
    }
    for worker in &linked {
        lastbeat_tests::worker::live(&collector, worker.who());
        assert_eq!(collector.runs(worker.who()).len(), 1);
        worker.signal(Signal::TERM);
    }
    // Nobody was taken for dead in all that.
    let of_ended = |alert: &AlertReport| alert.service.as_ref().is_some_and(|it| it.as_str() == "ended");
    let pages: Vec<_> = collector.alerts().into_iter().filter(|alert| !of_ended(alert)).collect();
    assert_eq!(pages, []);
}
