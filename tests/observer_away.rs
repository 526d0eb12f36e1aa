//! Promise: no absence of the collector makes a false `lost`, and what happened meanwhile is known afterwards.

use std::time::{Duration, Instant};

use lastbeat_tests::scenes::CLEAN_PLAN;
use lastbeat_tests::wait::throughout;
use lastbeat_tests::{Collector, PATIENCE, Worker, until};
use lastbeat_wire::report::{Class, Condition, WorkerReport};
use lastbeat_wire::signal::{CauseKind, CleanupOutcome};
use rustix::process::Signal;

/// Deadlines a fifth of the contract's: a beat each second, silence after 6 s.
const SCALE: f64 = 0.2;
/// Pure silence: max(6T, 15 s) with T = 5 s.
const SILENCE: Duration = Duration::from_secs(30);
/// Workers that live on.
const FLEET: usize = 20;

/// How a collector goes.
enum Going {
    Stopped,
    StoppedToBeBack,
    Killed,
}

#[test]
fn a_collector_that_is_stopped_takes_nobody_for_dead_afterwards() {
    away(&Going::Stopped);
}

#[test]
fn a_collector_that_restarts_takes_nobody_for_dead_afterwards() {
    away(&Going::StoppedToBeBack);
}

#[test]
fn a_collector_that_is_killed_takes_nobody_for_dead_afterwards() {
    away(&Going::Killed);
}

/// A new container without the old volume, a restored backup: who lives is live, and nobody failed to start.
#[test]
fn a_collector_that_forgot_everything_finds_its_fleet_live() {
    const START: Duration = Duration::from_secs(60);
    let mut collector = Collector::start_scaled(SCALE / 2.0);
    let fleet: Vec<Worker> = (0..3).map(|n| Worker::start(&collector, &format!("fleet/w{n}"), &[])).collect();
    collector.kill();
    std::fs::remove_dir_all(collector.data_dir()).expect("the journal is gone");
    collector.come_back();
    for worker in &fleet {
        lastbeat_tests::worker::live(&collector, worker.who());
    }
    // Past the start deadline, by which a run that never said `ready` again would have failed.
    throughout(collector.scaled(START) + Duration::from_secs(2), || {
        for worker in collector.workers() {
            assert_eq!(worker.condition, Condition::Live, "{worker:#?}");
        }
        assert_eq!(collector.alerts(), []);
    });
}

fn away(going: &Going) {
    let mut collector = Collector::start_scaled(SCALE);
    if matches!(going, Going::StoppedToBeBack) {
        collector.stop();
        collector.come_back_with(&["--back-by=30s"]);
    }
    let fleet: Vec<Worker> =
        (0..FLEET).map(|n| Worker::launch(&collector, &format!("fleet/w{n:02}"), &[])).collect();
    let mut leaver = Worker::launch(&collector, "fleet/leaver", CLEAN_PLAN);
    let mut victim = Worker::start_witnessed(&collector, "fleet/victim", &[], &[]);
    for worker in fleet.iter().chain([&leaver]) {
        lastbeat_tests::worker::live(&collector, worker.who());
    }

    match going {
        Going::Stopped | Going::StoppedToBeBack => {
            assert_eq!(collector.stop().code(), Some(0), "a collector that is asked to stop ends cleanly");
        }
        Going::Killed => collector.kill(),
    }
    let gone = Instant::now();
    leaver.signal(Signal::TERM);
    victim.signal(Signal::KILL);
    assert_eq!(leaver.end().code(), Some(0), "a stop needs no collector");
    assert_eq!(victim.end().code(), Some(137), "nor does a witness");
    let absence = collector.scaled(SILENCE) + Duration::from_secs(1);
    until("the absence to be longer than the silence timeout", absence * 2, || {
        if gone.elapsed() >= absence { Ok(()) } else { Err("still within it".into()) }
    });
    collector.come_back();

    // Nobody ran `flush`: what they said meanwhile lay beside the collector.
    let newest = |report: &WorkerReport| report.run.as_ref().and_then(|run| run.ending.clone());
    let report = collector.wait_for("fleet/leaver", Condition::Stopped, PATIENCE, |report| {
        report.condition == Condition::Stopped
    });
    let ending = newest(&report).expect("it is stopped");
    assert_eq!(report.amendments, [], "its stop was never taken for anything else");
    assert_eq!((ending.class, ending.cleanup.outcome), (Class::Shutdown, CleanupOutcome::Complete));
    assert!(matches!(ending.cause.expect("it was asked").kind, CauseKind::Signal | CauseKind::Supervisor));
    let report = collector.wait_for("fleet/victim", Condition::Failed, PATIENCE, |report| {
        report.condition == Condition::Failed
    });
    assert_eq!(newest(&report).expect("it failed").class, Class::Killed);

    // One silence timeout from the return, and the two seconds within which a verdict has to fall.
    throughout(collector.scaled(SILENCE) + Duration::from_secs(2), || nobody_is_lost(&collector));
    for worker in &fleet {
        lastbeat_tests::worker::live(&collector, worker.who());
        let runs = collector.runs(worker.who());
        assert_eq!(runs.len(), 1, "one process, one run: {runs:#?}");
        assert_eq!(runs[0].pid, Some(worker.pid()));
    }
    assert_eq!(
        collector.status().collector.epoch,
        if matches!(going, Going::StoppedToBeBack) { 3 } else { 2 }
    );
}

/// Every worker of the fleet is live or not judged yet, none of its runs has ended, and nobody is paged for it.
fn nobody_is_lost(collector: &Collector) {
    let workers = collector.workers();
    assert_eq!(workers.len(), FLEET + 2);
    for report in workers.iter().filter(|report| report.worker.as_str().starts_with('w')) {
        assert!(matches!(report.condition, Condition::Live | Condition::Unknown), "{report:#?}");
        let ending = report.run.as_ref().and_then(|run| run.ending.as_ref());
        assert!(ending.is_none() && report.last_ended.is_none(), "{report:#?}");
        assert_eq!(report.amendments, [], "a verdict that has to be taken back was false");
    }
    let alerts = collector.alerts();
    let paged: Vec<_> = alerts.iter().filter_map(|alert| alert.worker.as_ref()).map(|w| w.as_str()).collect();
    assert!(paged.iter().all(|worker| *worker == "victim"), "{alerts:#?}");
}
