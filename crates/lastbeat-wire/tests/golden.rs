//! The bytes that must never change silently: one golden file for every type, and one for every answer.
//!
//! After a change that is meant, run with `UPDATE_GOLDEN=1` and read the difference as a promise to keep.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lastbeat_wire::id::{Name, RunId, Source};
use lastbeat_wire::reply::{Ack, Bye, ByeReason, Frame, Receipt, Rejected, Request};
use lastbeat_wire::signal::*;
use lastbeat_wire::{Code, Envelope, decode_one};
use serde::Serialize;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run() -> RunId {
    "0190d1f0-0000-7000-8000-000000000001".parse().unwrap()
}

fn start() -> Start {
    Start {
        interval_ms: Some(5_000),
        grace_ms: Some(30_000),
        accept_exit: vec![3],
        capabilities: vec!["goodbye".into()],
        boot_id: Some("0b0f7d5e-52c1-4d56-9f0c-5a3b4d1f2e10".into()),
        pid: Some(812),
        pid_ns: Some(4_026_531_836),
        start_ticks: Some(12_345),
        host: Some("h1".into()),
        version: Some("4.8.1".into()),
        environment: Some("live".into()),
        parent_run: Some(run()),
    }
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

fn step() -> Step {
    Step {
        outcome: Some(StepOutcome::Partial),
        done: Some(2),
        total: Some(3),
        skipped: Some(0),
        attempts: Some(1),
        duration_ms: Some(640),
        timeout_ms: Some(5_000),
        error: Some("order 7 refused".into()),
        failed_items: vec!["order-7".into()],
        ..Step::begun(name("cancel-orders"))
    }
}

/// One of every type. A type that is missing here fails `every_type_has_a_golden_file`.
fn one_of_each() -> Vec<Signal> {
    let child = Child { pid: 815, comm: "sleep".into() };
    let cleanup = Cleanup {
        duration_ms: Some(812),
        steps: vec![step()],
        abandoned: vec![name("audit")],
        untracked: 1,
        children_left: vec![child.clone()],
        streams_farewell: 4,
        streams_cut: 1,
        items_flushed: 120,
        items_dropped: 2,
        forced: false,
    };
    vec![
        Signal::Start(start()),
        Signal::Ready,
        Signal::Beat(Beat { agents: BTreeMap::from([(name("price-feed"), 42)]) }),
        Signal::Phase(Phase { to: PhaseTo::Draining, done: Some(14), total: Some(60) }),
        Signal::Agent(Agent {
            name: name("price-feed"),
            state: None,
            end: Some(AgentEnd::CancelledExpected),
            progress_every_ms: Some(5_000),
            error: None,
        }),
        Signal::Asked(Asked { cause: cause(), deadline_ms: Some(30_000) }),
        Signal::Extend(Extend { by_ms: 5_000, step: Some(name("drain")), counter: Some(15) }),
        Signal::Step(step()),
        Signal::Panic(Panic {
            message: "order book crossed".into(),
            location: Some("src/book.rs:212:9".into()),
        }),
        Signal::Final(Final {
            class_hint: Some(ClassHint::Shutdown),
            cause: Some(cause()),
            cleanup: Some(cleanup),
            back_within_ms: Some(30_000),
        }),
        Signal::WitnessStart(WitnessStart { start: start(), ready: true, back_within_ms: Some(30_000) }),
        Signal::WitnessBeat,
        Signal::SignalSeen(SignalSeen {
            signal: "SIGTERM".into(),
            sender: cause().sender,
            forwarded: true,
            kind: Some(CauseKind::Signal),
        }),
        Signal::Notify(Notify { ready: true, status: Some("serving".into()), ..Notify::default() }),
        Signal::Stopped,
        Signal::Continued,
        Signal::Oom(Oom { kills: Some(1) }),
        Signal::OutputTail(OutputTail { lines: vec!["Shutting down".into()] }),
        Signal::LeftBehind(LeftBehind { threads: 3, children: vec![child], sockets: 2 }),
        Signal::Exit(Exit {
            code: None,
            signal: Some("SIGKILL".into()),
            core_dumped: false,
            killed_by_witness: true,
        }),
        Signal::LinkClosed(LinkClosed { voice: Source::Own }),
        Signal::Expired(Expired {
            which: Deadline::Silence,
            due_ms: 1_030_000,
            last_seen_ms: Some(1_000_000),
        }),
        Signal::Seen,
        Signal::Away(Away { from_ms: 1_000_000, to_ms: 1_600_000 }),
        Signal::MassSilence(MassSilence { members: vec![run()], of: 40 }),
        Signal::Plan(Plan {
            id: name("3f9a1c0b7d42"),
            kind: PlanKind::Restart,
            service: name("trader"),
            worker: Some(name("main")),
            for_ms: 600_000,
            who: Some("anna@h1".into()),
            why: Some("new order book".into()),
            deploy: Some("42".into()),
        }),
        Signal::PlanEnd(PlanEnd { id: name("3f9a1c0b7d42") }),
        Signal::Forget(Forget { service: name("trader"), worker: name("main") }),
    ]
}

fn envelope(signal: Signal) -> Envelope {
    let source = TYPES.iter().find(|(kind, _)| *kind == signal.type_name()).unwrap().1;
    let (service, worker) = (name("trader"), name("main"));
    Envelope { v: 1, run_id: run(), source, seq: 7, service, worker, age_ms: 12, signal }
}

fn holds(file: &str, value: &impl Serialize) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden, text, "{file} changed: what travels must never change silently");
    golden
}

#[test]
fn every_type_has_a_golden_file_and_is_read_back_the_same() {
    let all = one_of_each();
    let said: Vec<&str> = all.iter().map(Signal::type_name).collect();
    let known: Vec<&str> = TYPES.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(said, known, "every type once, in the order of the list");
    for signal in all {
        let envelope = envelope(signal);
        let file = format!("{}.json", envelope.signal.type_name());
        let golden = holds(&file, &envelope);
        if matches!(envelope.source, Source::Operator | Source::Observer) {
            assert_eq!(decode_one(golden.as_bytes()).unwrap_err().code, Code::WrongSource);
        } else {
            let read = decode_one(golden.as_bytes()).unwrap();
            assert_eq!((read.envelope, read.unknown_fields), (envelope, 0), "{file}");
        }
    }
}

#[test]
fn the_answers_have_golden_files() {
    let receipt = Receipt {
        acks: vec![Ack { run_id: run(), source: Source::Own, seq: 7, durable: true }],
        accepted: 1,
        rejected: vec![Rejected {
            index: 1,
            code: Code::UnknownType.to_string(),
            message: "signal type \"hum\"".into(),
        }],
    };
    holds("receipt_frame.json", &Frame::Receipt(receipt));
    let bye = Bye { reason: ByeReason::Restarting, back_by: Some("2026-01-05T12:05:10Z".into()) };
    holds("bye_frame.json", &Frame::Bye(bye));
    let request = |force| Request {
        run_id: run(),
        who: Some("ada".into()),
        why: Some("the disk is to be changed".into()),
        force,
    };
    holds("stop_frame.json", &Frame::Stop(request(true)));
    holds("pause_frame.json", &Frame::Pause(request(false)));
    holds("resume_frame.json", &Frame::Resume(request(false)));
    let codes: Vec<(&str, u16)> = Code::ALL.iter().map(|code| (code.as_str(), code.status())).collect();
    holds("codes.json", &codes);
}
