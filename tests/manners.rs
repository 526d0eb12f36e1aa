//! Promise: what a worker may never suffer from our client, where only whole processes can show it.
//!
//! The rows that one process can show stand in the client's own `tests/manners`.

use std::collections::BTreeMap;
use std::time::Duration;

use lastbeat_tests::{Collector, PATIENCE, Process, tools, until, worker};
use lastbeat_wire::report::{Condition, RunReport, RunState, RunsReport};
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use serde_json::Value;

/// How often a process forks while it is connected.
const FORKS: usize = 10_000;
/// How long that may take in all; each child has ten seconds of its own.
const FORKS_LIMIT: Duration = Duration::from_secs(240);

fn forker(collector: &Collector, who: &str, forks: &str) -> Process {
    let mut command = collector.command(tools::program("lastbeat-test-forker"));
    // A thousand children panic; each says so in a line.
    command.args([who, forks]).env("RUST_BACKTRACE", "0");
    Process::start(&format!("forker {who}"), &mut command)
}

/// What a stopped collector has journaled of processes: by run, voice and type of fact, how often.
fn facts(collector: &Collector) -> BTreeMap<(Vec<u8>, String, String), Vec<Value>> {
    let path = collector.data_dir().join("journal.sqlite3");
    let journal = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a journal");
    let mut rows =
        journal.prepare("SELECT run_id, source, signal_json FROM facts ORDER BY row").expect("facts");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?));
    let mut facts: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for fact in rows.query_map([], read).expect("readable") {
        let (run, source, json): (Vec<u8>, String, String) = fact.expect("a row");
        let signal: Value = serde_json::from_str(&json).expect("a signal is JSON");
        let kind = signal["type"].as_str().expect("it has a type").to_owned();
        facts.entry((run, source, kind)).or_default().push(signal);
    }
    facts
}

fn runs_of(collector: &Collector, who: &str) -> Result<Vec<RunReport>, String> {
    collector.try_get::<RunsReport>(&format!("/v1/workers/{who}/runs")).map(|report| report.runs)
}

#[test]
fn ten_thousand_forked_children_say_nothing_and_end_nothing_of_their_parents_run() {
    let mut collector = Collector::start();
    let who = "manners/forks";
    let mut parent = forker(&collector, who, &FORKS.to_string());
    parent.line_within(&format!("forked {FORKS}"), FORKS_LIMIT);
    worker::live(&collector, who);
    assert_eq!(collector.workers().len(), 1);
    assert_eq!(collector.runs(who).len(), 1, "no child is a run");
    assert_eq!(collector.alerts(), []);

    parent.signal(Signal::TERM);
    assert_eq!(parent.end(PATIENCE).code(), Some(0), "{}", parent.output());
    collector.wait_for(who, Condition::Stopped, PATIENCE, |report| report.condition == Condition::Stopped);
    assert_eq!(collector.alerts(), []);
    collector.stop();

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for ((_, source, kind), signals) in facts(&collector) {
        assert_eq!(source, "self", "nobody concluded anything: {kind} {signals:?}");
        for signal in signals {
            let name = signal["name"].as_str();
            let known = name.is_none_or(|name| ["short", "counts", "forks"].contains(&name));
            assert!(known, "only children start that agent: {signal}");
            let end = signal["end"].as_str();
            assert!(matches!(end, None | Some("completed" | "cancelled_expected")), "{signal}");
            assert!(signal["cause"]["kind"] != "api", "only children ask for that: {signal}");
            assert!(signal["back_within_ms"].is_null(), "only children promise that: {signal}");
        }
        *counts.entry(kind).or_default() += 1;
    }
    let kinds: Vec<(&str, usize)> = counts.iter().map(|(kind, runs)| (kind.as_str(), *runs)).collect();
    assert_eq!(kinds, [("agent", 1), ("asked", 1), ("final", 1), ("ready", 1), ("start", 1)]);
}

#[test]
fn a_child_that_connects_anew_is_no_successor_and_a_signal_to_a_child_asks_nothing_of_its_parent() {
    let collector = Collector::start();
    let who = "manners/once";
    let mut parent = forker(&collector, who, "once");
    let line = parent.line("child ");
    let mut words = line.split(' ').skip(1).map(str::to_owned);
    let (child_pid, child_run) = (words.next().expect("a pid"), words.next().expect("a run"));
    let child_pid: u32 = child_pid.parse().expect("a number");
    let line = parent.line("deaf ");
    let deaf: u32 = line.strip_prefix("deaf ").expect("a pid").parse().expect("a number");

    let runs = until("both runs to live", PATIENCE, || {
        let runs = runs_of(&collector, who)?;
        let ready = runs.iter().filter(|run| run.ready_at.is_some()).count();
        if ready == 2 { Ok(runs) } else { Err(format!("{runs:#?}")) }
    });
    assert!(runs.iter().all(|run| run.ending.is_none()), "{runs:#?}");

    // The handlers of the parent are the child's too; what they write must not reach the parent.
    lastbeat_tests::process::send(deaf, Signal::TERM);
    // The other child is asked in earnest, and says so of its own run alone.
    lastbeat_tests::process::send(child_pid, Signal::TERM);
    let runs = until("the child's run to end", PATIENCE, || {
        let runs = runs_of(&collector, who)?;
        let over = runs.iter().any(|run| run.run_id.to_string() == child_run && run.ending.is_some());
        if over { Ok(runs) } else { Err(format!("{runs:#?}")) }
    });
    let of_parent = runs.iter().find(|run| run.run_id.to_string() != child_run).expect("the parent's run");
    assert!(of_parent.ending.is_none() && of_parent.state == RunState::Running, "{of_parent:#?}");
    worker::live(&collector, who);
    assert_eq!(collector.alerts(), []);
    lastbeat_tests::process::send(deaf, Signal::KILL);
    parent.signal(Signal::TERM);
    assert_eq!(parent.end(PATIENCE).code(), Some(0), "{}", parent.output());
}
