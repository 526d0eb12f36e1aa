//! Who may ask for a stop: the program, a dependency, an operator by the collector, and the end of the work.

use std::time::Duration;

use lastbeat::Plan;
use lastbeat_wire::RunId;
use lastbeat_wire::reply::{Frame, Request};
use lastbeat_wire::signal::{Agent, AgentEnd, Asked, CauseKind, ClassHint, PhaseTo, Signal, StepOutcome};

use crate::peer::{Peer, builder, cleanup};

fn request(run_id: RunId, force: bool) -> Request {
    Request { run_id, who: Some("ada@desk".into()), why: Some("a new disk".into()), force }
}

fn next_asked(peer: &mut Peer) -> Asked {
    let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    let Signal::Asked(asked) = heard.envelope.signal else { panic!("it was asked for") };
    asked
}

#[test]
fn an_operator_stops_a_worker_that_allowed_it_and_the_cause_says_who_and_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).stoppable().pausable().connect();
    let start = peer.next_fact().envelope.signal;
    assert!(matches!(start, Signal::Start(start) if start.capabilities == ["goodbye", "stop", "pause"]));
    peer.order(Frame::Pause(request(worker.run_id(), false)));
    let paused = peer.next(|heard| matches!(heard.envelope.signal, Signal::Phase(_))).envelope.signal;
    assert!(matches!(paused, Signal::Phase(phase) if phase.to == PhaseTo::Paused));
    peer.order(Frame::Resume(request(worker.run_id(), false)));
    let resumed = peer.next(|heard| matches!(heard.envelope.signal, Signal::Phase(_))).envelope.signal;
    assert!(matches!(resumed, Signal::Phase(phase) if phase.to == PhaseTo::Running));

    // Meant for another run of this host's links.
    peer.order(Frame::Stop(request(RunId::from_u128(7), false)));
    peer.order(Frame::Stop(request(worker.run_id(), false)));
    let asked = next_asked(&mut peer);
    assert_eq!(asked.cause.kind, CauseKind::Operator);
    assert_eq!(
        (asked.cause.who.as_deref(), asked.cause.why.as_deref()),
        (Some("ada@desk"), Some("a new disk"))
    );
    worker.run_until_stopped_blocking(Plan::new());
    let fin = peer.final_of(worker.run_id());
    assert_eq!((fin.class_hint, fin.cause), (Some(ClassHint::Shutdown), Some(asked.cause)));
}

#[test]
fn a_worker_that_allowed_nothing_is_not_stopped_by_the_collector() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    peer.order(Frame::Pause(request(worker.run_id(), false)));
    peer.order(Frame::Stop(request(worker.run_id(), true)));
    // Two beats: the requests were read between them.
    for _ in 0..2 {
        peer.next(|heard| matches!(heard.envelope.signal, Signal::Beat(_)));
    }
    assert!(!worker.stop_requested().is_cancelled());
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    let facts = peer.facts_to_the_final();
    assert!(!facts.iter().any(|fact| matches!(fact, Signal::Phase(_))), "{facts:?}");
}

#[test]
fn an_operator_who_forces_skips_what_is_left_and_both_requests_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).stoppable().connect();
    let run_id = worker.run_id();
    peer.order(Frame::Stop(request(run_id, false)));
    next_asked(&mut peer);
    let long = Duration::from_secs(9);
    let stopping = std::thread::spawn(move || {
        let plan =
            Plan::new()
                .step("drain", long, |_| std::future::pending())
                .step("flush", long, |_| async { Ok(()) });
        worker.run_until_stopped_blocking(plan);
        worker.summary().expect("the stop is over")
    });
    peer.next(|heard| matches!(heard.envelope.signal, Signal::Step(_)));
    peer.order(Frame::Stop(request(run_id, true)));
    assert_eq!(next_asked(&mut peer).cause.kind, CauseKind::Operator);
    let cleanup = cleanup(peer.final_of(run_id));
    assert!(cleanup.forced);
    assert!(cleanup.steps.iter().all(|step| step.outcome == Some(StepOutcome::Skipped)), "{cleanup:?}");
    let summary = stopping.join().expect("it stops");
    assert!(summary.to_string().contains("cleanup skipped by a second request"), "{summary}");
}

#[test]
fn a_lost_dependency_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.stop_for_dependency("postgres", "no connection for 60 s");
    worker.run_until_stopped_blocking(Plan::new());
    let cause = peer.final_of(worker.run_id()).cause.expect("a stop has a cause");
    assert_eq!((cause.kind, cause.name.as_deref()), (CauseKind::Dependency, Some("postgres")));
    assert_eq!(cause.reason.as_deref(), Some("no connection for 60 s"));
}

fn end_of_main(peer: &mut Peer) -> Agent {
    let heard =
        peer.next(|heard| matches!(&heard.envelope.signal, Signal::Agent(agent) if agent.end.is_some()));
    let Signal::Agent(agent) = heard.envelope.signal else { panic!("it was asked for") };
    assert_eq!(agent.name.as_str(), "main");
    agent
}

#[tokio::test(flavor = "current_thread")]
async fn one_wrapped_future_is_a_whole_worker_when_it_is_stopped_when_it_ends_and_when_it_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let code = |code| format!("{code:?}");
    let success = code(std::process::ExitCode::SUCCESS);

    let worker = builder(&peer.url(), dir.path()).connect();
    let asks = &worker;
    let main = async {
        asks.stop("the test");
        std::future::pending().await
    };
    assert_eq!(code(worker.run(main).await), success);
    peer.next(|heard| heard.envelope.signal == Signal::Ready);
    assert_eq!(end_of_main(&mut peer).end, Some(AgentEnd::CancelledExpected));
    assert_eq!(peer.final_of(worker.run_id()).class_hint, Some(ClassHint::Shutdown));

    let worker = builder(&peer.url(), dir.path()).connect();
    assert_eq!(code(worker.run(async { Ok(()) }).await), success);
    assert_eq!(end_of_main(&mut peer).end, Some(AgentEnd::Completed));
    assert_eq!(peer.final_of(worker.run_id()).class_hint, Some(ClassHint::Completed));

    let worker = builder(&peer.url(), dir.path()).connect();
    assert_ne!(code(worker.run(async { Err("no such market".into()) }).await), success);
    let ended = end_of_main(&mut peer);
    assert_eq!((ended.end, ended.error.as_deref()), (Some(AgentEnd::Crashed), Some("no such market")));
    assert_eq!(peer.final_of(worker.run_id()).class_hint, Some(ClassHint::Crashed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_nobody_tracks_are_counted_at_the_end_and_change_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.spawn("tracked", |agent| async move {
        agent.cancelled().await;
        Ok(())
    });
    for _ in 0..3 {
        drop(tokio::spawn(std::future::pending::<()>()));
    }
    worker.stop("the test");
    worker.run_until_stopped(Plan::new().step("flush", Duration::from_secs(5), |_| async { Ok(()) })).await;
    let cleanup = cleanup(peer.final_of(worker.run_id()));
    assert_eq!((cleanup.untracked, cleanup.abandoned), (3, vec![]));
    assert!(worker.summary().is_some_and(|summary| summary.is_clean() && summary.is_delivered()));
}
