//! The stop: every step has its outcome, and the clock holds whatever a step does.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lastbeat::{BoxError, Plan};
use lastbeat_wire::signal::{CauseKind, ClassHint, Signal, Step, StepOutcome};

use crate::peer::{LIMIT, Peer, builder, cleanup, final_in};

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

fn outcomes(steps: &[Step]) -> Vec<(&str, Option<StepOutcome>)> {
    steps.iter().map(|step| (step.name.as_str(), step.outcome)).collect()
}

fn panics() -> Result<(), BoxError> {
    panic!("out of stamps")
}

#[test]
fn the_next_step_runs_whatever_the_last_one_did_and_each_says_how_it_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (release, released) = channel::<()>();
    let plan = Plan::new()
        .step("counts", LONG, |step| async move {
            step.total(3);
            step.done(2);
            step.skipped(1);
            Ok(())
        })
        .step("partial", LONG, |step| async move {
            step.total(3);
            step.done(2);
            step.failed_item("order 7");
            Ok(())
        })
        .step("fails", LONG, |_| async { Err("disk full".into()) })
        .step("panics", LONG, |_| async { panics() })
        .step("never-ends", SHORT, |_| std::future::pending())
        .step_blocking("blocks", SHORT, move |_| Ok(released.recv()?))
        .step_blocking("panics-too", LONG, |_| panics())
        .step_blocking("last", LONG, |_| Ok(()));
    worker.stop("the test");
    worker.run_until_stopped_blocking(plan);
    drop(release);

    let facts = peer.facts_to_the_final();
    let Some(Signal::Final(fin)) = facts.last().cloned() else { panic!("a final comes last") };
    let rows = cleanup(fin).steps;
    assert_eq!(
        outcomes(&rows),
        [
            ("counts", Some(StepOutcome::Ok)),
            ("partial", Some(StepOutcome::Partial)),
            ("fails", Some(StepOutcome::Failed)),
            ("panics", Some(StepOutcome::Failed)),
            ("never-ends", Some(StepOutcome::TimedOut)),
            ("blocks", Some(StepOutcome::TimedOut)),
            ("panics-too", Some(StepOutcome::Failed)),
            ("last", Some(StepOutcome::Ok)),
        ]
    );
    assert_eq!((rows[0].done, rows[0].total, rows[0].skipped), (Some(2), Some(3), Some(1)));
    assert_eq!(rows[1].failed_items, ["order 7"]);
    assert_eq!(rows[2].error.as_deref(), Some("disk full"));
    assert_eq!(rows[3].error.as_deref(), Some("panicked: out of stamps"));
    let told: Vec<&Step> = facts
        .iter()
        .filter_map(|fact| if let Signal::Step(step) = fact { Some(step) } else { None })
        .collect();
    assert_eq!(told.len(), 16, "each step tells its begin and its end");
    assert_eq!((told[0].outcome, told[0].timeout_ms), (None, Some(5_000)));
}

#[test]
fn a_stop_is_told_before_its_steps_with_its_cause_and_deadline() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).back_within(Duration::from_secs(3_600)).connect();
    worker.stop("moving house");
    worker.stop("a second reason that does not count");
    worker.run_until_stopped_blocking(Plan::new().step("flush", LONG, |_| async { Ok(()) }));
    let facts = peer.facts_to_the_final();
    let names: Vec<&str> = facts.iter().map(Signal::type_name).collect();
    assert_eq!(names, ["start", "asked", "step", "step", "final"]);
    let Signal::Asked(asked) = &facts[1] else { panic!("asked comes second") };
    assert_eq!(asked.deadline_ms, Some(10_000));
    assert_eq!((asked.cause.kind, asked.cause.reason.as_deref()), (CauseKind::Api, Some("moving house")));
    let Signal::Final(fin) = &facts[4] else { panic!("a final comes last") };
    assert_eq!(fin.class_hint, Some(ClassHint::Shutdown));
    assert_eq!(fin.cause.as_ref(), Some(&asked.cause));
    assert_eq!(fin.back_within_ms, Some(600_000), "ten minutes is the most that can be promised");
}

#[test]
fn a_job_that_is_done_is_completed_and_names_no_cause() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.done();
    worker.run_until_stopped_blocking(Plan::new());
    let fin = peer.final_of(worker.run_id());
    assert_eq!((fin.class_hint, fin.cause), (Some(ClassHint::Completed), None));
}

#[test]
fn the_stop_deadline_cuts_the_step_at_work_and_those_it_leaves_no_time_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).stop_deadline(Duration::from_millis(1_500)).connect();
    worker.stop("the test");
    let plan =
        Plan::new().step("hangs", LONG, |_| std::future::pending()).step("late", LONG, |_| async { Ok(()) });
    let began = Instant::now();
    worker.run_until_stopped_blocking(plan);
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    let rows = cleanup(peer.final_of(worker.run_id())).steps;
    assert_eq!(
        outcomes(&rows),
        [("hangs", Some(StepOutcome::TimedOut)), ("late", Some(StepOutcome::TimedOut))]
    );
    assert_eq!(rows[1].why_skipped.as_deref(), Some("the stop deadline passed before it began"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_step_that_blocks_the_only_thread_of_the_runtime_cannot_stop_the_clock() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let run_id = worker.run_id();
    let (release, released) = channel::<()>();
    // Nobody but the peer ends the step, and only after it has heard the final.
    let watcher = std::thread::spawn(move || {
        let fin = peer.final_of(run_id);
        release.send(()).expect("the step waits");
        fin
    });
    worker.stop("the test");
    // Long enough that even a busy machine begins the step before it is cut.
    let plan = Plan::new().step("blocks", Duration::from_secs(2), move |_| async move {
        released.recv_timeout(LIMIT)?;
        Ok(())
    });
    worker.run_until_stopped(plan).await;
    let rows = cleanup(watcher.join().expect("the final is heard")).steps;
    assert_eq!(outcomes(&rows), [("blocks", Some(StepOutcome::TimedOut))]);
}

#[tokio::test]
async fn steps_have_the_timers_of_the_hosts_runtime() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.stop("the test");
    let plan = Plan::new().step("pauses", LONG, |_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    });
    worker.run_until_stopped(plan).await;
    let rows = cleanup(peer.final_of(worker.run_id())).steps;
    assert_eq!(outcomes(&rows), [("pauses", Some(StepOutcome::Ok))]);
}

#[test]
fn a_worker_dropped_by_a_panic_says_that_it_crashed_and_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let builder = builder(&peer.url(), dir.path());
    let came_down = std::thread::spawn(move || {
        let _worker = builder.connect();
        panic!("no more stamps");
    })
    .join();
    assert!(came_down.is_err());
    // Other tests of this process may panic on purpose meanwhile, and a hook hears them all.
    let heard = peer.next(
        |heard| matches!(&heard.envelope.signal, Signal::Panic(panic) if panic.message == "no more stamps"),
    );
    let Signal::Panic(panic) = heard.envelope.signal else { panic!("it was asked for") };
    assert!(panic.location.is_some_and(|location| location.contains("stop.rs:")));
    let fin = peer.final_of(heard.envelope.run_id);
    assert_eq!(fin.class_hint, Some(ClassHint::Crashed));
}

#[test]
fn a_worker_dropped_without_a_stop_says_a_bare_goodbye() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let run_id = worker.run_id();
    drop(worker);
    let fin = peer.final_of(run_id);
    assert_eq!((fin.class_hint, fin.cause, fin.cleanup), (None, None, None));
    assert!(final_in(&peer_is_quiet(&mut peer)).is_none());
}

/// The next thing a peer hears from a second worker: the first one says nothing after its final.
fn peer_is_quiet(peer: &mut Peer) -> lastbeat_wire::Envelope {
    let dir = tempfile::tempdir().expect("a directory");
    let _second = builder(&peer.url(), dir.path()).connect();
    let next = peer.next_fact().envelope;
    assert!(matches!(next.signal, Signal::Start(_)), "{next:?}");
    next
}
