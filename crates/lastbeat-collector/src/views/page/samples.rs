//! Reports made by hand, for the tests of the page.

use jiff::Timestamp;
use lastbeat_wire::report::{
    AgentReport, AlertReport, Amendment, Class, CleanupReport, CollectorReport, CollectorState, Condition,
    EndingReport, Evidence, EvidenceKind, FactReport, Flag, RunDetail, RunReport, RunState, ServiceReport,
    Severity, StatusReport, WorkerReport,
};
use lastbeat_wire::signal::{
    AgentEnd, Cause, CauseKind, CleanupOutcome, Exit, Panic, Sender, Step, StepOutcome,
};
use lastbeat_wire::{Name, RunId, Source};

pub(crate) fn at(text: &str) -> Timestamp {
    format!("2026-01-05T{text}Z").parse().expect("a time of that day")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name from the allow-list")
}

pub(crate) fn collector() -> CollectorReport {
    CollectorReport {
        id: RunId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        epoch: 3,
        state: CollectorState::Live,
        version: "0.1.0".to_owned(),
        started_at: at("01:00:00"),
        now: at("03:14:20"),
    }
}

pub(crate) fn run(number: u128) -> RunReport {
    RunReport {
        run_id: RunId::from_u128(0x0190_0000_0000_7000_8000_0000_0001_0000 + number),
        state: RunState::Running,
        flags: Vec::new(),
        pid: Some(812),
        host: Some("lon-3".to_owned()),
        version: Some("4.8.1".to_owned()),
        environment: Some("live".to_owned()),
        linked: true,
        witnessed: true,
        interval_ms: 5000,
        started_at: at("02:00:00"),
        ready_at: Some(at("02:00:02")),
        last_beat_at: at("03:14:18"),
        stop_deadline_at: None,
        step: None,
        drain: None,
        cause: None,
        ending: None,
        agents: vec![AgentReport::new(name("price-feed"), None, None, None)],
    }
}

pub(crate) fn ending(class: Class, severity: Severity, words: &str, cause: Option<Cause>) -> EndingReport {
    EndingReport {
        class,
        severity,
        words: words.to_owned(),
        at: at("03:02:25"),
        during: None,
        provisional: false,
        cause,
        cleanup: CleanupReport {
            outcome: CleanupOutcome::NoneDeclared,
            duration_ms: None,
            steps: Vec::new(),
            abandoned: Vec::new(),
            untracked: 0,
            children_left: Vec::new(),
            streams_farewell: 0,
            streams_cut: 0,
            items_flushed: 0,
            items_dropped: 0,
        },
        exit: Some(Exit { code: Some(0), signal: None, core_dumped: false, killed_by_witness: false }),
        panic: None,
        back_within_ms: None,
        evidence: vec![
            Evidence { kind: EvidenceKind::Own, facts: vec!["final #42".to_owned()] },
            Evidence { kind: EvidenceKind::Witness, facts: vec!["exit #9".to_owned()] },
        ],
        output_tail: Vec::new(),
    }
}

pub(crate) fn ended(number: u128, ending: EndingReport) -> RunReport {
    RunReport { state: RunState::Ended, last_beat_at: ending.at, ending: Some(ending), ..run(number) }
}

pub(crate) fn by_bash() -> Cause {
    let sender = Sender {
        pid: 790,
        uid: 1000,
        ppid: Some(644),
        comm: Some("bash".to_owned()),
        cmdline: Some("-bash".to_owned()),
        tty: Some("pts/3".to_owned()),
        gone: false,
        outside_namespace: false,
    };
    Cause { signal: Some("SIGTERM".to_owned()), sender: Some(sender), ..Cause::of(CauseKind::Signal) }
}

pub(crate) fn worker(
    service: &str,
    name_: &str,
    condition: Condition,
    words: &str,
    run: RunReport,
) -> WorkerReport {
    let severity = run.ending.as_ref().map_or(Severity::None, |ending| ending.severity);
    let since = run.ending.as_ref().map_or(run.started_at, |ending| ending.at);
    WorkerReport {
        service: name(service),
        worker: name(name_),
        condition,
        words: words.to_owned(),
        severity,
        since,
        back_by: None,
        run: Some(run),
        last_ended: None,
        amendments: Vec::new(),
    }
}

pub(crate) fn status(sentence: &str, lead: &str, workers: &[WorkerReport]) -> StatusReport {
    let mut status = StatusReport {
        sentence: sentence.to_owned(),
        lead: lead.to_owned(),
        counts: std::collections::BTreeMap::new(),
        services: Vec::new(),
        collector: collector(),
    };
    for worker in workers {
        *status.counts.entry(worker.condition.to_string()).or_default() += 1;
        if status.services.iter().all(|service| service.service != worker.service) {
            let all = workers.iter().filter(|other| other.service == worker.service);
            let live = all.clone().filter(|other| other.condition == Condition::Live).count();
            status.services.push(ServiceReport {
                service: worker.service.clone(),
                words: format!("Live {live} of {}", all.count()),
                severity: worker.severity,
                counts: std::collections::BTreeMap::new(),
            });
        }
    }
    status
}

pub(crate) fn alert(worker: &str, severity: Severity) -> AlertReport {
    AlertReport {
        name: "LastbeatWorkerFailed".to_owned(),
        severity,
        service: Some(name("trading-loop")),
        worker: Some(name(worker)),
        host: Some("lon-3".to_owned()),
        since: at("03:02:25"),
        resolved_at: None,
        because: "it was killed".to_owned(),
    }
}

/// A stop that left an order open and an agent behind, first judged lost.
pub(crate) fn partial_stop() -> WorkerReport {
    let step = |name_: &str, outcome, done, ms, timeout| Step {
        outcome: Some(outcome),
        done: Some(done),
        total: Some(3),
        attempts: Some(1),
        duration_ms: Some(ms),
        timeout_ms: Some(timeout),
        ..Step::begun(name(name_))
    };
    let mut told = ending(
        Class::ShutdownDegraded,
        Severity::Ticket,
        "Stopped, cleanup partial: cancel-orders 2 of 3",
        Some(by_bash()),
    );
    told.cleanup.outcome = CleanupOutcome::TimedOut;
    told.cleanup.duration_ms = Some(11_040);
    told.cleanup.steps = vec![
        step("pause-intake", StepOutcome::Ok, 3, 0, 2000),
        Step {
            failed_items: vec!["order 88213".to_owned()],
            error: Some("the exchange answered 503".to_owned()),
            attempts: Some(3),
            ..step("cancel-orders", StepOutcome::Partial, 2, 5200, 8000)
        },
        Step {
            why_skipped: Some("only in dry_run".to_owned()),
            duration_ms: None,
            ..step("reset-sandbox", StepOutcome::Skipped, 0, 0, 1000)
        },
        step("flush", StepOutcome::Ok, 3, 840, 5000),
        step("tell-risk-desk", StepOutcome::TimedOut, 0, 5000, 5000),
    ];
    told.cleanup.abandoned = vec![name("audit-tail")];
    told.cleanup.items_flushed = 118;
    told.output_tail = vec!["stop asked".to_owned(), "WARN cancel orders: 2 of 3".to_owned()];
    let mut run = ended(47, told);
    run.agents = vec![
        AgentReport::new(name("price-feed"), None, Some(AgentEnd::CancelledExpected), None),
        AgentReport::new(
            name("audit-tail"),
            None,
            Some(AgentEnd::Abandoned),
            Some("waits for a lock".to_owned()),
        ),
    ];
    let amendment = Amendment {
        run_id: run.run_id,
        at: at("03:04:12"),
        from: "lost".to_owned(),
        to: "shutdown_degraded".to_owned(),
        because: "final beat delivered late".to_owned(),
    };
    let words = "Stopped, cleanup partial: cancel-orders 2 of 3";
    WorkerReport {
        amendments: vec![amendment],
        ..worker("trading-loop", "live", Condition::Stopped, words, run)
    }
}

/// One worker of each kind that the page can meet.
pub(crate) fn fleet() -> Vec<WorkerReport> {
    let killed = EndingReport {
        exit: Some(Exit { signal: Some("SIGKILL".to_owned()), ..Exit::default() }),
        evidence: vec![Evidence { kind: EvidenceKind::Witness, facts: vec!["exit #9".to_owned()] }],
        ..ending(Class::Killed, Severity::Page, "Failed: killed (SIGKILL)", None)
    };
    let panicked = EndingReport {
        panic: Some(Panic {
            message: "attempt to subtract with overflow".to_owned(),
            location: Some("src/margin.rs:88:13".to_owned()),
        }),
        exit: Some(Exit { code: Some(101), ..Exit::default() }),
        ..ending(Class::Crashed, Severity::Page, "Failed: panic \"attempt to subtract with overflow\"", None)
    };
    let lost = EndingReport {
        provisional: true,
        exit: None,
        evidence: vec![Evidence { kind: EvidenceKind::Inferred, facts: vec!["expired #1".to_owned()] }],
        ..ending(Class::Lost, Severity::Page, "Failed: lost contact 12 min ago", None)
    };
    let planned = |words: &str, back| EndingReport {
        back_within_ms: back,
        ..ending(Class::Shutdown, Severity::None, words, Some(Cause::of(CauseKind::Keyboard)))
    };
    let with = |flag, number| RunReport { flags: vec![flag], last_beat_at: at("03:14:08"), ..run(number) };
    let stopped = "System stopped 03:02:25 by Ctrl+C; cleanup complete";
    let mut workers = vec![
        worker("market-watch", "agent-3", Condition::Failed, "Failed: killed (SIGKILL)", ended(1, killed)),
        worker("trading-loop", "risk", Condition::Failed, &panicked.words.clone(), ended(2, panicked)),
        worker(
            "interview-server",
            "ws-4",
            Condition::Failed,
            "Failed: lost contact 12 min ago",
            RunReport { witnessed: false, ..ended(3, lost) },
        ),
        worker(
            "acm2",
            "api",
            Condition::RestartOverdue,
            "Failed: restart overdue since 03:02:55",
            ended(4, planned(stopped, Some(30_000))),
        ),
        partial_stop(),
        worker(
            "interview-server",
            "ws-6",
            Condition::Unreachable,
            "Unreachable 12 s, last seen 03:14:08",
            with(Flag::Unreachable, 6),
        ),
        worker(
            "interview-server",
            "generator-1",
            Condition::Restarting,
            "Restarting, back by 03:15:10",
            ended(7, planned(stopped, Some(60_000))),
        ),
        worker(
            "interview-server",
            "ws-2",
            Condition::Stopping,
            "Stopping, 12 s left: flush",
            RunReport { state: RunState::Stopping, cause: Some(by_bash()), ..run(8) },
        ),
        worker("acm2", "eval-3", Condition::Live, "Late 12 s", with(Flag::Overdue, 9)),
        WorkerReport {
            last_ended: Some(ended(10, planned(stopped, None))),
            ..worker("market-watch", "api", Condition::Live, "Live", run(11))
        },
        worker("market-watch", "web", Condition::Stopped, stopped, ended(12, planned(stopped, None))),
        worker(
            "nightly",
            "backup",
            Condition::Completed,
            "Completed",
            ended(13, ending(Class::Completed, Severity::None, "Completed", None)),
        ),
    ];
    workers[6].back_by = Some(at("03:15:10"));
    workers
}

pub(crate) fn detail() -> RunDetail {
    let worker = partial_stop();
    let fact = |source, seq, text: &str, signal: &str| FactReport {
        source,
        seq,
        at: at(text),
        age_ms: 0,
        signal: serde_json::from_str(signal).expect("JSON"),
    };
    RunDetail {
        service: worker.service,
        worker: worker.worker,
        run: worker.run.expect("a run was made"),
        amendments: worker.amendments,
        facts: vec![
            fact(Source::Own, 1, "02:00:00", r#"{"type":"start","pid":812}"#),
            fact(Source::Own, 2, "02:00:02", r#"{"type":"ready"}"#),
            FactReport {
                age_ms: 107_000,
                ..fact(Source::Own, 42, "03:04:12", r#"{"type":"final","class_hint":"shutdown"}"#)
            },
            fact(Source::Witness, 9, "03:04:12", r#"{"type":"exit","code":0}"#),
        ],
    }
}
