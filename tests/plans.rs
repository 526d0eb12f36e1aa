//! Promise: planned work excuses a stop, never a death; maintenance keeps quiet until its end, and no longer.
//!
//! Orders are given by the commands and over HTTP, and what becomes of real processes inside their windows is read
//! back through HTTP.

use std::time::Duration;

use lastbeat_tests::collector::Reply;
use lastbeat_tests::process::send;
use lastbeat_tests::wait::throughout;
use lastbeat_tests::worker::live;
use lastbeat_tests::{Collector, PATIENCE, Process, Worker, tools, until};
use lastbeat_wire::report::{
    AlertReport, Class, Condition, EndingReport, PlanReport, PlanState, PlansReport, RunState, Severity,
    WorkerReport,
};
use lastbeat_wire::signal::CauseKind;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Deadlines a fifth of the contract's; windows are as long as they say.
const SCALE: f64 = 0.2;
/// A window that ends by itself while a test waits for it.
const SHORT: &str = "4s";
/// After the end of a window, a false alert would have come by then.
const AFTERMATH: Duration = Duration::from_secs(1);

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Announces work by the command, and reads back what was made of it.
fn plan(collector: &Collector, kind: &str, who: &str, window: &str, more: &[&str]) -> PlanReport {
    let mut arguments = vec!["plan", kind, who, "--for", window, "--why=a test", "--who=anna", "--json"];
    arguments.extend(more);
    collector.cli_json(&arguments)
}

fn plans(collector: &Collector) -> Vec<PlanReport> {
    collector.get::<PlansReport>("/v1/plans").plans
}

/// A program that knows nothing of us, under its witness.
fn sleeper(collector: &Collector, who: &str) -> Process {
    let mut command = collector.command(tools::program("lastbeat"));
    command.args(["run", "--worker", who, "--", "sleep", "1000"]);
    let process = Process::start(&format!("lastbeat run {who}"), &mut command);
    live(collector, who);
    process
}

/// Kills a worker's own process, and lets its witness tell of it.
fn kill_inside(collector: &Collector, who: &str, witness: &mut Process) {
    let pid = collector.worker(who).run.and_then(|run| run.pid).expect("its witness told its pid");
    send(pid, Signal::KILL);
    assert_eq!(witness.end(PATIENCE).code(), Some(137));
}

fn ending(report: &WorkerReport) -> Option<&EndingReport> {
    report.run.as_ref().and_then(|run| run.ending.as_ref())
}

fn names(alerts: &[AlertReport]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.name.as_str()).collect()
}

fn no_alert(collector: &Collector, who: &str) {
    assert_eq!(collector.alerts_of(who), [], "an alert although the work was planned");
}

/// A worker that was killed inside its maintenance, as it is shown.
fn killed_in_maintenance(collector: &Collector, who: &str) -> WorkerReport {
    let so = |report: &WorkerReport| ending(report).is_some_and(|ending| ending.class == Class::Killed);
    let report = collector.wait_for(who, "killed inside its maintenance", PATIENCE, so);
    assert_eq!((report.condition, report.severity), (Condition::Maintenance, Severity::None), "{report:#?}");
    assert!(report.words.starts_with("Maintenance until "), "{}", report.words);
    assert!(report.words.contains("(killed"), "{}", report.words);
    no_alert(collector, who);
    report
}

#[test]
fn who_is_killed_in_maintenance_and_back_before_its_end_wakes_nobody() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/back";
    let mut witness = sleeper(&collector, who);
    let made = plan(&collector, "maintenance", who, "10m", &[]);
    kill_inside(&collector, who, &mut witness);
    let report = killed_in_maintenance(&collector, who);
    assert_eq!(report.back_by, Some(made.until));

    let _back = Worker::launch(&collector, who, &[]);
    let running = |report: &WorkerReport| {
        report.run.as_ref().is_some_and(|run| run.state == RunState::Running && run.ready_at.is_some())
    };
    let report = collector.wait_for(who, "back", PATIENCE, running);
    assert_eq!(report.condition, Condition::Maintenance, "until its end");
    let over = collector.cli(&["plan", "end", made.id.as_str()]);
    assert_eq!(over.code, Some(0), "{over:?}");
    live(&collector, who);
    throughout(AFTERMATH, || no_alert(&collector, who));
}

#[test]
fn who_is_still_down_when_maintenance_ends_has_one_alert_from_then_on() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/down";
    let mut witness = sleeper(&collector, who);
    let made = plan(&collector, "maintenance", who, SHORT, &[]);
    kill_inside(&collector, who, &mut witness);
    killed_in_maintenance(&collector, who);

    let alerts = until("the end of the maintenance", PATIENCE, || {
        let alerts = collector.alerts_of(who);
        if alerts.is_empty() { Err(format!("{:#?}", collector.worker(who))) } else { Ok(alerts) }
    });
    assert_eq!(names(&alerts), ["LastbeatMaintenanceOver"]);
    assert_eq!((alerts[0].severity, alerts[0].resolved_at), (Severity::Page, None));
    assert_eq!(alerts[0].since, made.until, "from the end on, not from when we looked");
    let so = |report: &WorkerReport| report.condition == Condition::Failed;
    let report = collector.wait_for(who, Condition::Failed, PATIENCE, so);
    assert_eq!(report.words, "Failed: still down after maintenance");
    throughout(AFTERMATH, || assert_eq!(names(&collector.alerts_of(who)), ["LastbeatMaintenanceOver"]));
}

#[test]
fn a_stop_inside_a_planned_restart_is_the_deployments_and_it_is_live_when_it_is_back() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/api";
    let mut witness = sleeper(&collector, who);
    let made = plan(&collector, "restart", "shop", "10m", &["--deploy=42"]);
    assert_eq!((made.worker.as_ref(), made.deploy.as_deref()), (None, Some("42")));
    let names = [("service", "shop"), ("worker", "api")];
    let planned = collector.metric("lastbeat_worker_planned_until_timestamp_seconds", &names);
    assert!((planned - made.until.as_duration().as_secs_f64()).abs() < 0.01, "{planned} {made:?}");

    witness.signal(Signal::TERM);
    witness.end(PATIENCE);
    let so = |report: &WorkerReport| report.condition == Condition::Restarting;
    let report = collector.wait_for(who, Condition::Restarting, PATIENCE, so);
    let ended = ending(&report).expect("it ended");
    let cause = ended.cause.as_ref().expect("it was planned");
    assert_eq!((ended.class, cause.kind), (Class::Shutdown, CauseKind::Deploy), "{ended:#?}");
    assert_eq!((cause.id.as_deref(), cause.who.as_deref()), (Some("42"), Some("anna")));
    assert_eq!(report.back_by, Some(made.until));
    assert!(report.words.starts_with("Restarting, back by "), "{}", report.words);

    let _back = sleeper(&collector, who);
    no_alert(&collector, who);
    assert_eq!(plans(&collector)[0].state, PlanState::Open, "it was back before the end");
}

#[test]
fn a_restart_that_is_not_back_when_its_window_ends_is_overdue_from_then_on() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/late";
    let mut witness = sleeper(&collector, who);
    let made = plan(&collector, "restart", who, SHORT, &[]);
    witness.signal(Signal::TERM);
    witness.end(PATIENCE);
    let so = |report: &WorkerReport| report.condition == Condition::Restarting;
    let report = collector.wait_for(who, Condition::Restarting, PATIENCE, so);
    let kind = ending(&report).and_then(|ended| ended.cause.as_ref()).map(|cause| cause.kind);
    assert_eq!(kind, Some(CauseKind::Operator), "without a deployment it is the operator's");

    let so = |report: &WorkerReport| report.condition == Condition::RestartOverdue;
    let report = collector.wait_for(who, Condition::RestartOverdue, PATIENCE, so);
    assert_eq!(report.since, made.until);
    let alerts = collector.alerts_of(who);
    assert_eq!(names(&alerts), ["LastbeatRestartOverdue"]);
    assert_eq!((alerts[0].severity, alerts[0].since), (Severity::Page, made.until));
}

#[test]
fn a_planned_stop_excuses_the_one_who_was_stopped_and_not_the_one_who_was_killed() {
    let collector = Collector::start_scaled(SCALE);
    let mut stopped = sleeper(&collector, "shop/stopped");
    let mut killed = sleeper(&collector, "shop/killed");
    plan(&collector, "stop", "shop", "10m", &[]);
    stopped.signal(Signal::TERM);
    stopped.end(PATIENCE);
    kill_inside(&collector, "shop/killed", &mut killed);

    let so = |report: &WorkerReport| report.condition == Condition::Failed;
    let report = collector.wait_for("shop/killed", Condition::Failed, PATIENCE, so);
    assert_eq!(ending(&report).map(|ended| ended.class), Some(Class::Killed));
    let alerts = collector.alerts_of("shop/killed");
    assert_eq!((names(&alerts), alerts[0].severity), (vec!["LastbeatWorkerFailed"], Severity::Page));

    let so = |report: &WorkerReport| report.condition == Condition::Stopped;
    let report = collector.wait_for("shop/stopped", Condition::Stopped, PATIENCE, so);
    let ended = ending(&report).expect("it ended");
    let kind = ended.cause.as_ref().map(|cause| cause.kind);
    assert_eq!((ended.class, kind), (Class::Shutdown, Some(CauseKind::Operator)));
    no_alert(&collector, "shop/stopped");
}

#[test]
fn a_plan_and_the_end_of_one_survive_a_kill_of_the_collector() {
    let mut collector = Collector::start_scaled(SCALE);
    let who = "shop/db";
    let mut witness = sleeper(&collector, who);
    let ended = plan(&collector, "stop", who, "20m", &[]);
    let open = plan(&collector, "maintenance", who, "10m", &[]);
    assert_eq!(collector.cli(&["plan", "end", ended.id.as_str()]).code, Some(0));
    // What was answered is on disk: nothing lies between the answer and the kill.
    collector.kill();
    kill_outside(&mut witness);
    collector.come_back();
    let after = plans(&collector);
    assert_eq!((&after[0], after[1].id.clone(), after[1].state), (&open, ended.id, PlanState::Over));
    assert_eq!(after.len(), 2);
    assert!(after[1].until < ended.until, "it was ended before its time");
    killed_in_maintenance(&collector, who);
}

/// Kills the child of a witness whose collector is away; the witness leaves what it saw in the spool.
fn kill_outside(witness: &mut Process) {
    let children = lastbeat_tests::process::descendants(witness.pid());
    let [child] = children[..] else { panic!("{children:?}") };
    send(child, Signal::KILL);
    assert_eq!(witness.end(PATIENCE).code(), Some(137));
}

#[test]
fn who_has_ended_can_be_forgotten_and_who_is_live_can_not() {
    let collector = Collector::start_scaled(SCALE);
    let mut gone = sleeper(&collector, "shop/gone");
    let _here = sleeper(&collector, "shop/here");
    kill_inside(&collector, "shop/gone", &mut gone);
    until("its alert", PATIENCE, || {
        let alerts = collector.alerts_of("shop/gone");
        if alerts.is_empty() { Err(format!("{:#?}", collector.worker("shop/gone"))) } else { Ok(()) }
    });

    let refused = collector.cli(&["forget", "shop/here"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.complaint.contains("(run_open)"), "{refused:?}");
    let reply = collector.post("/v1/workers/shop/here/forget", &JSON, b"").expect("an answer");
    assert_eq!((reply.status, code(&reply).as_str()), (409, "run_open"));

    let forgotten = collector.cli(&["forget", "shop/gone"]);
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    let left: Vec<String> = collector.workers().iter().map(|worker| worker.worker.to_string()).collect();
    assert_eq!(left, ["here"]);
    assert_eq!(collector.alerts(), []);
    assert_eq!(collector.cli(&["status"]).code, Some(0));
    let again = collector.post("/v1/workers/shop/gone/forget", &JSON, b"{}").expect("an answer");
    assert_eq!((again.status, code(&again).as_str()), (404, "not_found"));
}

fn code(reply: &Reply) -> String {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"));
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_plan_that_is_not_whole_is_refused_by_its_code_and_leaves_nothing() {
    let collector = Collector::start_scaled(SCALE);
    let good = json!({ "kind": "stop", "service": "shop", "for": "10m", "why": "a test" });
    let with = |field: &str, value: Value| {
        let mut plan = good.clone();
        plan[field] = value;
        plan.to_string()
    };
    for (body, status, expected) in [
        ("{".to_owned(), 400, "malformed_json"),
        ("{}".to_owned(), 422, "bad_plan"),
        (with("kind", json!("nap")), 422, "bad_plan"),
        (with("service", json!("a b")), 422, "bad_name"),
        (with("worker", json!("x".repeat(129))), 422, "bad_name"),
        (with("for", json!("soon")), 422, "bad_plan"),
        (with("for", json!("500ms")), 422, "bad_plan"),
        (with("for", json!("1000h")), 422, "bad_plan"),
        (with("for_ms", json!(1_000)), 422, "bad_plan"),
        (with("why", json!("x".repeat(1_025))), 422, "bad_plan"),
        (with("wroker", json!("api")), 422, "bad_plan"),
        ("x".repeat(1_048_577), 413, "body_too_large"),
    ] {
        let reply = collector.post("/v1/plans", &JSON, body.as_bytes()).expect("an answer");
        assert_eq!((reply.status, code(&reply).as_str()), (status, expected), "{body:.80}");
    }
    let good = good.to_string();
    let reply = collector.post("/v1/plans", &[("content-type", "text/plain")], good.as_bytes());
    assert_eq!(reply.expect("an answer").status, 415);
    let foreign = [JSON[0], ("origin", "http://evil.example")];
    let reply = collector.post("/v1/plans", &foreign, good.as_bytes());
    assert_eq!(code(&reply.expect("an answer")), "foreign_origin");
    let reply = collector.request("DELETE", "/v1/plans/nosuch").expect("an answer");
    assert_eq!((reply.status, code(&reply).as_str()), (404, "unknown_plan"));
    let reply = collector.request("PUT", "/v1/plans").expect("an answer");
    assert_eq!((reply.status, code(&reply).as_str()), (405, "method_not_allowed"));
    assert_eq!(plans(&collector), []);

    let reply = collector.post("/v1/plans", &JSON, good.as_bytes()).expect("an answer");
    assert_eq!(reply.status, 201, "{reply:?}");
    let made: PlanReport = serde_json::from_str(&reply.body).expect("a plan");
    assert_eq!(made.until.as_millisecond() - made.from.as_millisecond(), 600_000);
    assert_eq!(plans(&collector), [made]);
}
