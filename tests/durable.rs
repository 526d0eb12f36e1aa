//! Promise: a fact that was acknowledged as durable survives kill -9 of the collector, and so do its verdicts.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use lastbeat_tests::scenes::{self, CLEAN_PLAN};
use lastbeat_tests::{Collector, PATIENCE, Process, Worker, tools, until};
use lastbeat_wire::RunId;
use lastbeat_wire::report::{AlertReport, Class, Condition, RunReport, WorkerReport};
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

/// How often the collector is killed.
const KILLS: usize = 30;
/// Deadlines a fifth of the contract's, so that silence and promises are judged between two kills.
const SCALE: f64 = 0.2;
/// Clients that keep it busy; every other one on the link, the others over HTTP.
const CLIENTS: usize = 4;
/// Acknowledgements that each of them must get between two kills, so that each kill strikes at work.
const ACKS_A_KILL: usize = 50;

/// `(run, source, seq)`
type Identity = (RunId, String, u64);

/// A process that works, tells the collector of it, and writes down what was acknowledged.
fn load(collector: &Collector, n: usize) -> Process {
    let mut command = collector.command(tools::program("lastbeat-test-load"));
    command.arg(format!("load/client-{n}"));
    if n % 2 == 1 {
        command.arg("--link");
    }
    Process::start("load", &mut command)
}

/// All that a client saw acknowledged as durable.
fn acked(client: &Process) -> HashSet<Identity> {
    let mut all = HashSet::new();
    let output = client.output();
    let whole = output.rfind('\n').map_or("", |end| &output[..end]);
    for line in whole.lines().filter_map(|line| line.strip_prefix("acked ")) {
        let (run, seqs) = line.split_once(' ').unwrap_or((line, ""));
        let run: RunId = run.parse().expect("a run's identity");
        all.extend(seqs.split(' ').filter_map(|seq| seq.parse().ok()).map(|seq| (run, "self".into(), seq)));
    }
    all
}

/// How many facts a client saw acknowledged.
fn acks(client: &Process) -> usize {
    let lines = client.output();
    // The line's first two words are no counts.
    lines.lines().filter(|line| line.starts_with("acked ")).map(|line| line.matches(' ').count() - 1).sum()
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

/// All that is shown of workers that have ended, times that run apart.
#[derive(Debug, PartialEq)]
struct Shown {
    workers: Vec<(WorkerReport, Vec<RunReport>)>,
    alerts: Vec<AlertReport>,
}

fn shown(collector: &Collector, who: &[String]) -> Shown {
    let still = |run: &mut RunReport| {
        // When it was last heard is memory, and a word may still be under way; it is no verdict.
        run.last_beat_at = run.started_at;
        if let Some(ending) = &mut run.ending {
            ending.words = timeless(&ending.words);
        }
    };
    let one = |who: &String| {
        let (mut worker, mut runs) = (collector.worker(who), collector.runs(who));
        worker.words = timeless(&worker.words);
        runs.iter_mut().chain(&mut worker.run).chain(&mut worker.last_ended).for_each(still);
        (worker, runs)
    };
    let alerts = collector.alerts().into_iter().filter(of_ended).collect();
    Shown { workers: who.iter().map(one).collect(), alerts }
}

/// "lost contact 30 s ago" is another minute by minute.
fn timeless(words: &str) -> String {
    const LOST: &str = "Failed: lost contact ";
    if words.starts_with(LOST) { LOST.into() } else { words.into() }
}

fn of_ended(alert: &AlertReport) -> bool {
    alert.service.as_ref().is_some_and(|service| service.as_str() == "ended")
}

/// Ends a real worker in the way whose turn it is; returns its name once that is its verdict. Those that only a
/// deadline shows come first and once: after a return of the collector they take a whole silence timeout.
fn another_ending(collector: &Collector, n: usize) -> String {
    let who = format!("ended/w{n:02}");
    let turn = if n < 2 { n } else { 2 + n % 5 };
    let (condition, class) = match turn {
        0 => {
            scenes::killed_alone(collector, &who);
            (Condition::Failed, Class::Lost)
        }
        1 => {
            scenes::leaves_with_a_promise(collector, &who, "2s");
            (Condition::RestartOverdue, Class::Shutdown)
        }
        2 => {
            drop(scenes::stopped_from_a_shell(collector, &who, CLEAN_PLAN));
            (Condition::Stopped, Class::Shutdown)
        }
        3 => {
            scenes::panics(collector, &who);
            (Condition::Failed, Class::Crashed)
        }
        4 => {
            scenes::killed_under_its_witness(collector, &who).0.end();
            (Condition::Failed, Class::Killed)
        }
        5 => {
            drop(scenes::stopped_from_a_shell(collector, &who, &["--step=flush:fail"]));
            (Condition::Stopped, Class::ShutdownDegraded)
        }
        _ => {
            let mut worker = Worker::start(collector, &who, &[]);
            worker.tell("done");
            worker.end();
            (Condition::Completed, Class::Completed)
        }
    };
    collector.wait_for(&who, (condition, class), PATIENCE, |report| {
        let ending = report.run.as_ref().and_then(|run| run.ending.as_ref());
        report.condition == condition && ending.is_some_and(|ending| ending.class == class)
    });
    who
}

#[test]
fn thirty_kills_under_load_lose_no_acknowledged_fact_and_change_no_verdict() {
    let mut collector = Collector::start_scaled(SCALE);
    let mut clients: Vec<Process> = (0..CLIENTS).map(|n| load(&collector, n)).collect();
    let linked: Vec<Worker> =
        (0..3).map(|n| Worker::start(&collector, &format!("linked/w{n}"), &[])).collect();
    let mut over = Vec::new();
    for kill in 0..KILLS {
        let before: Vec<usize> = clients.iter().map(acks).collect();
        if kill % 3 == 0 {
            over.push(another_ending(&collector, kill / 3));
        }
        until("acknowledgements to everybody since the last kill", PATIENCE, || {
            let since = clients.iter().zip(&before).map(|(client, before)| acks(client) - before);
            let since: Vec<usize> = since.collect();
            if since.iter().all(|acks| *acks >= ACKS_A_KILL) { Ok(()) } else { Err(format!("{since:?}")) }
        });
        let verdicts = shown(&collector, &over);
        collector.kill();
        let acked: HashSet<Identity> = clients.iter().flat_map(acked).collect();
        let lost: Vec<Identity> = acked.difference(&journaled(&collector)).cloned().collect();
        assert!(lost.is_empty(), "kill {kill}: acknowledged and not in the journal: {lost:?}");
        collector.come_back();
        assert_eq!(shown(&collector, &over), verdicts, "kill {kill}: replay gives other verdicts");
    }

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
    let pages: Vec<_> = collector.alerts().into_iter().filter(|alert| !of_ended(alert)).collect();
    assert_eq!(pages, []);
}

/// What must be on disk before it is acknowledged is there because the kernel was asked, not because it was kind:
/// a killed process leaves its pages to the kernel, a power cut does not.
#[test]
fn an_answer_leaves_only_after_the_journal_was_synced() {
    const ANSWERS: usize = 20;
    let home = tempfile::tempdir().expect("a temporary folder");
    let trace = home.path().join("trace");
    let mut command = tools::command("strace");
    command.args([
        "-f",
        "-y",
        "-qq",
        "-s",
        "32",
        "-e",
        "trace=fsync,fdatasync,write,writev,sendto,sendmsg",
        "-o",
    ]);
    command.arg(&trace).arg(tools::program("lastbeat")).args(["serve", "--listen=127.0.0.1:0", "--data-dir"]);
    command.arg(home.path().join("data")).env("LASTBEAT_SPOOL_DIR", home.path().join("spool"));
    let mut traced = Process::start("strace lastbeat serve", &mut command);
    let line = traced.line("lastbeat is at http://");
    let url = line.rsplit(' ').next().expect("it says where it is");

    let mut command = tools::command(tools::program("lastbeat-test-load"));
    command.arg("load/client").env("LASTBEAT_COLLECTOR", url);
    let mut client = Process::start("load", &mut command);
    until("answers", PATIENCE, || {
        let acks = client.output().matches("acked ").count();
        if acks >= ANSWERS { Ok(()) } else { Err(format!("{acks} of {ANSWERS}")) }
    });
    client.say("done");
    assert_eq!(client.end(PATIENCE).code(), Some(0), "{}", client.output());
    for child in lastbeat_tests::process::descendants(traced.pid()) {
        lastbeat_tests::process::send(child, Signal::TERM);
    }
    assert_eq!(traced.end(PATIENCE).code(), Some(0));

    let trace = std::fs::read_to_string(&trace).expect("strace wrote what it saw");
    // A thread's call that another one overtook is told in two lines.
    let (mut syncing, mut synced, mut answers) = (HashSet::new(), false, 0);
    for line in trace.lines() {
        let thread = line.split_whitespace().next().unwrap_or_default();
        if line.contains("sync(") && line.contains("journal.sqlite3") {
            syncing.insert(thread);
        }
        if line.contains("sync") && line.trim_end().ends_with("= 0") && syncing.remove(thread) {
            synced = true;
        }
        if line.contains("\"HTTP/1.1 202") {
            answers += 1;
            assert!(synced, "answer {answers} left before its facts were on disk: {line}\n{trace}");
            synced = false;
        }
    }
    assert!(answers >= ANSWERS, "{answers} answers seen in:\n{trace}");
}
