//! What the read side answers, in golden files beside those of what travels: scripts and the page read these fields.
//!
//! After a change that is meant, run with `UPDATE_GOLDEN=1` and read the difference as a promise to keep.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use lastbeat_wire::report::*;
use lastbeat_wire::signal::*;
use lastbeat_wire::{Name, RunId, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(last: u8) -> RunId {
    format!("0190d1f0-0000-7000-8000-00000000000{last}").parse().unwrap()
}

fn at(time: &str) -> Timestamp {
    format!("2026-01-05T{time}Z").parse().unwrap()
}

fn cause() -> Cause {
    let sender = Sender {
        pid: 790,
        uid: 1_000,
        ppid: Some(788),
        comm: Some("bash".into()),
        cmdline: Some("bash".into()),
        tty: Some("pts/3".into()),
        gone: false,
        outside_namespace: false,
    };
    Cause { signal: Some("SIGTERM".into()), sender: Some(sender), ..Cause::of(CauseKind::Signal) }
}

fn ending() -> EndingReport {
    let step = Step {
        outcome: Some(StepOutcome::Partial),
        done: Some(2),
        total: Some(3),
        attempts: Some(1),
        duration_ms: Some(640),
        failed_items: vec!["order-7".into()],
        ..Step::begun(name("cancel-orders"))
    };
    EndingReport {
        class: Class::ShutdownDegraded,
        severity: Severity::Ticket,
        words: "Stopped, cleanup partial: cancel-orders 2 of 3".into(),
        at: at("12:03:07"),
        during: None,
        provisional: false,
        cause: Some(cause()),
        cleanup: CleanupReport {
            outcome: CleanupOutcome::Partial,
            duration_ms: Some(812),
            steps: vec![step],
            abandoned: vec![name("audit")],
            untracked: 1,
            children_left: vec![Child { pid: 815, comm: "sleep".into() }],
            streams_farewell: 4,
            streams_cut: 1,
            items_flushed: 120,
            items_dropped: 2,
        },
        exit: Some(Exit { code: Some(0), signal: None, core_dumped: false, killed_by_witness: false }),
        panic: Some(Panic {
            message: "order book crossed".into(),
            location: Some("src/book.rs:212:9".into()),
        }),
        back_within_ms: Some(30_000),
        evidence: vec![
            Evidence { kind: EvidenceKind::Own, facts: vec!["final #42".into()] },
            Evidence { kind: EvidenceKind::Witness, facts: vec!["exit #9".into()] },
        ],
        output_tail: vec!["Shutting down".into()],
    }
}

fn run_report() -> RunReport {
    RunReport {
        run_id: run(1),
        state: RunState::Ended,
        flags: vec![],
        pid: Some(812),
        host: Some("h1".into()),
        version: Some("4.8.1".into()),
        environment: Some("live".into()),
        linked: true,
        witnessed: true,
        interval_ms: 5_000,
        started_at: at("11:00:00"),
        ready_at: Some(at("11:00:02")),
        last_beat_at: at("12:03:06"),
        stop_deadline_at: None,
        step: None,
        drain: None,
        cause: Some(cause()),
        ending: Some(ending()),
        agents: vec![AgentReport::new(name("price-feed"), None, Some(AgentEnd::CancelledExpected), None)],
    }
}

fn stopping() -> RunReport {
    RunReport {
        run_id: run(2),
        state: RunState::Stopping,
        flags: vec![Flag::Overdue],
        stop_deadline_at: Some(at("12:04:40")),
        step: Some(name("flush")),
        drain: Some((14, 60)),
        ending: None,
        agents: vec![AgentReport::new(name("price-feed"), Some(AgentState::Stuck), None, Some("NaN".into()))],
        ..run_report()
    }
}

fn amendment() -> Amendment {
    Amendment {
        run_id: run(1),
        at: at("12:04:00"),
        from: "lost".into(),
        to: "shutdown_degraded".into(),
        because: "final beat delivered late".into(),
    }
}

fn worker() -> WorkerReport {
    WorkerReport {
        service: name("trader"),
        worker: name("main"),
        condition: Condition::Stopping,
        words: "Stopping, 12 s left: flush".into(),
        severity: Severity::None,
        since: at("12:04:10"),
        back_by: Some(at("12:05:10")),
        run: Some(stopping()),
        last_ended: Some(run_report()),
        amendments: vec![amendment()],
    }
}

/// Holds an answer to its file, and reads it back as it was.
fn holds<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(file: &str, value: &T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reports").join(file);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden, text, "{file} changed: what is read must never change silently");
    assert_eq!(&serde_json::from_str::<T>(&golden).unwrap(), value, "{file}");
}

#[test]
fn workers_and_runs_are_read_as_they_were_promised() {
    holds("workers.json", &WorkersReport { workers: vec![worker()] });
    holds("runs.json", &RunsReport { runs: vec![stopping(), run_report()] });
    let fact = FactReport {
        source: Source::Witness,
        seq: 9,
        at: at("12:03:07"),
        age_ms: 12,
        signal: serde_json::json!({"type": "exit", "code": 0}),
    };
    let (service, worker) = (name("trader"), name("main"));
    let amendments = vec![amendment()];
    holds("run.json", &RunDetail { service, worker, run: run_report(), amendments, facts: vec![fact] });
}

#[test]
fn alerts_are_read_as_they_were_promised() {
    let open = AlertReport {
        name: "LastbeatWorkerFailed".into(),
        severity: Severity::Page,
        service: Some(name("trader")),
        worker: Some(name("main")),
        host: Some("h1".into()),
        since: at("12:03:07"),
        resolved_at: None,
        because: "killed (SIGKILL)".into(),
    };
    let of_the_fleet = AlertReport {
        name: "LastbeatObserverOrNetwork".into(),
        service: None,
        worker: None,
        host: None,
        resolved_at: Some(at("12:09:00")),
        because: "30 of 40 silent".into(),
        ..open.clone()
    };
    let notice = NoticeReport {
        name: "LastbeatStoppedByHangup".into(),
        service: name("trader"),
        worker: name("main"),
        at: at("12:03:07"),
        because: "its terminal closed".into(),
    };
    holds("alerts.json", &AlertsReport { alerts: vec![open, of_the_fleet], notices: vec![notice] });
}

#[test]
fn status_and_plans_are_read_as_they_were_promised() {
    let counts = BTreeMap::from([("live".to_owned(), 4), ("restarting".to_owned(), 1)]);
    let service = ServiceReport {
        service: name("trader"),
        words: "Live 4 of 5, 1 restarting".into(),
        severity: Severity::None,
        counts: counts.clone(),
    };
    let collector = CollectorReport {
        id: run(7),
        epoch: 3,
        state: CollectorState::Recovering,
        version: "0.1.0".into(),
        started_at: at("11:00:00"),
        now: at("12:05:00"),
    };
    let (sentence, lead) = ("All 5 workers are well".into(), "trader/main is restarting.".into());
    holds("status.json", &StatusReport { sentence, lead, counts, services: vec![service], collector });
    let plan = PlanReport {
        id: name("3f9a1c0b7d42"),
        kind: PlanKind::Restart,
        service: name("trader"),
        worker: Some(name("main")),
        from: at("12:00:00"),
        until: at("12:10:00"),
        state: PlanState::Open,
        who: Some("anna@h1".into()),
        why: Some("new order book".into()),
        deploy: Some("42".into()),
    };
    holds("plans.json", &PlansReport { plans: vec![plan] });
    holds("asked.json", &AskedReport { run_id: run(1), at: at("12:03:07") });
    holds("forgotten.json", &ForgottenReport { service: name("trader"), worker: name("main") });
}

/// Metrics, alert rules and scripts match on these words.
#[test]
fn the_words_of_the_read_side_are_these() {
    let words = BTreeMap::from([
        ("condition", Condition::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>()),
        ("class", Class::ALL.iter().map(|word| word.as_str()).collect()),
        ("severity", Severity::ALL.iter().map(|word| word.as_str()).collect()),
        ("state", RunState::ALL.iter().map(|word| word.as_str()).collect()),
        ("flag", Flag::ALL.iter().map(|word| word.as_str()).collect()),
        ("evidence", EvidenceKind::ALL.iter().map(|word| word.as_str()).collect()),
        ("collector", CollectorState::ALL.iter().map(|word| word.as_str()).collect()),
        ("plan", PlanState::ALL.iter().map(|word| word.as_str()).collect()),
    ]);
    let words: BTreeMap<String, Vec<String>> = words
        .into_iter()
        .map(|(of, words)| (of.to_owned(), words.into_iter().map(str::to_owned).collect()))
        .collect();
    holds("words.json", &words);
}
