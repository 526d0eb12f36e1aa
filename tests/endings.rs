//! Promise: a planned stop, a restart and a death are told apart, with who asked and what was cleaned up.
//!
//! Each ending is brought about by a real process and read back through HTTP and through the commands; what
//! the page says of the same endings stands in `browser.rs`.

use std::time::{Duration, Instant};

use lastbeat_tests::scenes::{self, CLEAN_PLAN};
use lastbeat_tests::worker::live;
use lastbeat_tests::{Collector, PATIENCE, Terminal, Worker, until};
use lastbeat_wire::report::{Class, Condition, EndingReport, EvidenceKind, Severity, WorkerReport};
use lastbeat_wire::signal::{AgentEnd, CauseKind, CleanupOutcome, StepOutcome};
use serde_json::Value;

/// Deadlines a fifth of the contract's: a silence that takes 10 s there takes 2 s here.
const SCALE: f64 = 0.2;

/// What the collector says of a worker whose newest run has ended.
fn ended(collector: &Collector, who: &str, condition: Condition) -> (WorkerReport, EndingReport) {
    let so = |report: &WorkerReport| report.condition == condition && newest_ending(report).is_some();
    let report = collector.wait_for(who, condition, PATIENCE, so);
    let ending = newest_ending(&report).expect("was just seen");
    (report, ending)
}

fn newest_ending(report: &WorkerReport) -> Option<EndingReport> {
    report.run.as_ref().and_then(|run| run.ending.clone())
}

/// The three forms in which the commands tell of one worker: they agree with HTTP and hold these words.
fn commands_agree(collector: &Collector, who: &str, exit: i32, words: &[&str], story: &[&str]) {
    let status = collector.cli(&["status", who]);
    assert_eq!(status.code, Some(exit), "{status:?}");
    for word in words {
        assert!(status.out.contains(word), "status says no {word:?}: {status:?}");
    }
    let json = collector.cli(&["status", who, "--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap_or_else(|error| panic!("{error}: {json:?}"));
    let told: WorkerReport = serde_json::from_value(json["workers"][0].clone()).expect("the shape of HTTP");
    let asked = collector.worker(who);
    assert_eq!(told.condition, asked.condition);
    assert_eq!(newest_ending(&told), newest_ending(&asked), "status --json and HTTP differ");

    let explain = collector.cli(&["explain", who]);
    assert_eq!(explain.code, Some(0), "{explain:?}");
    // A paragraph is wrapped where the terminal ends.
    let flat = explain.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in story {
        assert!(flat.contains(word), "explain says no {word:?}: {flat}");
    }
}

fn no_alert(collector: &Collector, who: &str) {
    assert_eq!(collector.alerts_of(who), [], "an alert although nothing is wrong");
}

fn promises(collector: &Collector, kept: &str) -> f64 {
    collector.metric("lastbeat_restart_promises_total", &[("service", "trader"), ("kept", kept)])
}

/// The steps of [`CLEAN_PLAN`], both done.
fn cleanup_is_complete(ending: &EndingReport) {
    let steps: Vec<_> = ending
        .cleanup
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.outcome, step.done, step.total))
        .collect();
    assert_eq!(steps[0], ("cancel-orders", Some(StepOutcome::Ok), Some(3), Some(3)));
    assert_eq!((steps[1].0, steps[1].1, steps.len()), ("flush", Some(StepOutcome::Ok), 2));
    assert_eq!(ending.cleanup.outcome, CleanupOutcome::Complete);
}

#[test]
fn ctrl_c_in_a_terminal_is_a_shutdown_by_keyboard() {
    let collector = Collector::start_scaled(SCALE);
    let code = scenes::stopped_by_ctrl_c(&collector, "trader/keyboard");
    assert_eq!(code, 0, "a clean stop ends with exit 0");

    let (report, ending) = ended(&collector, "trader/keyboard", Condition::Stopped);
    let cause = ending.cause.clone().expect("somebody asked");
    assert_eq!((ending.class, report.severity), (Class::Shutdown, Severity::None));
    assert_eq!((cause.kind, cause.signal.as_deref()), (CauseKind::Keyboard, Some("SIGINT")));
    assert_eq!(cause.sender, None, "the kernel has no pid");
    cleanup_is_complete(&ending);
    assert!(!ending.provisional && ending.exit.is_none(), "its own word, and no witness: {ending:?}");
    assert_eq!(ending.evidence.iter().map(|each| each.kind).collect::<Vec<_>>(), [EvidenceKind::Own]);
    let agents = report.run.expect("it ran").agents;
    assert_eq!(agents[0].end, Some(AgentEnd::CancelledExpected), "{agents:?}");
    no_alert(&collector, "trader/keyboard");
    let words = ["System stopped ", " by Ctrl+C; cleanup complete"];
    commands_agree(
        &collector,
        "trader/keyboard",
        0,
        &words,
        &["no error", "Ctrl+C", "cancel-orders ok (3 of 3)"],
    );
}

#[test]
fn a_kill_typed_in_a_shell_is_a_shutdown_by_that_shell() {
    let collector = Collector::start_scaled(SCALE);
    let shell = scenes::stopped_from_a_shell(&collector, "trader/shell", CLEAN_PLAN);

    let (report, ending) = ended(&collector, "trader/shell", Condition::Stopped);
    let cause = ending.cause.clone().expect("somebody asked");
    let sender = cause.sender.expect("bash lives and can be read");
    assert_eq!((ending.class, report.severity), (Class::Shutdown, Severity::None));
    assert_eq!((cause.kind, cause.signal.as_deref()), (CauseKind::Signal, Some("SIGTERM")));
    assert_eq!((sender.pid, sender.comm.as_deref()), (shell.pid(), Some("bash")));
    assert!(sender.cmdline.expect("bash has one").contains("--norc"));
    assert!(sender.tty.expect("bash has a terminal").starts_with("pts/"));
    assert_eq!(
        (sender.ppid, sender.gone, sender.outside_namespace),
        (Some(std::process::id()), false, false)
    );
    cleanup_is_complete(&ending);
    no_alert(&collector, "trader/shell");
    let words = ["System stopped ", " by kill from bash; cleanup complete"];
    let story = [&format!("bash (pid {}", shell.pid()), "SIGTERM", "cancel-orders ok (3 of 3)", "flush ok"];
    commands_agree(&collector, "trader/shell", 0, &words, &story);
}

#[test]
fn ctrl_c_in_the_terminal_of_a_witness_is_one_request_by_keyboard() {
    let collector = Collector::start_scaled(SCALE);
    let mut command = collector.command(lastbeat_tests::tools::program("lastbeat"));
    command.args(["run", "--worker=trader/attached", "--"]);
    command.arg(lastbeat_tests::tools::program("lastbeat-test-worker")).arg("--name=trader/attached");
    command.args(CLEAN_PLAN);
    let mut terminal = Terminal::start("lastbeat run in a terminal", &command);
    lastbeat_tests::worker::up(&terminal.line("ready "));
    live(&collector, "trader/attached");
    terminal.type_in(lastbeat_tests::terminal::CTRL_C);
    assert_eq!(terminal.end(PATIENCE).exit_code(), 0, "the exit status passes through");

    let exited = |report: &WorkerReport| newest_ending(report).is_some_and(|ending| ending.exit.is_some());
    let report = collector.wait_for("trader/attached", "seen to its end", PATIENCE, exited);
    let ending = newest_ending(&report).expect("was just seen");
    assert_eq!((report.condition, ending.class), (Condition::Stopped, Class::Shutdown));
    assert_eq!(ending.cause.clone().expect("somebody asked").kind, CauseKind::Keyboard);
    assert_eq!(ending.exit.clone().expect("was just seen").code, Some(0));
    cleanup_is_complete(&ending);
    assert_eq!(collector.runs("trader/attached").len(), 1, "client and witness speak of one run");
    no_alert(&collector, "trader/attached");
}

#[test]
fn a_step_that_fails_makes_a_degraded_shutdown_and_a_ticket() {
    let collector = Collector::start_scaled(SCALE);
    let plan = ["--step=cancel-orders:ok:2/3", "--step=flush:fail", "--step=audit:ok"];
    drop(scenes::stopped_from_a_shell(&collector, "trader/degraded", &plan));

    let (report, ending) = ended(&collector, "trader/degraded", Condition::Stopped);
    assert_eq!((ending.class, report.severity), (Class::ShutdownDegraded, Severity::Ticket));
    let outcomes: Vec<_> = ending.cleanup.steps.iter().filter_map(|step| step.outcome).collect();
    let wanted = [StepOutcome::Partial, StepOutcome::Failed, StepOutcome::Ok];
    assert_eq!(outcomes, wanted, "each step runs, whatever the one before did");
    assert_eq!(ending.cleanup.outcome, CleanupOutcome::Failed);
    let alerts = collector.alerts_of("trader/degraded");
    assert_eq!(
        alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(),
        ["LastbeatCleanupNotClean"]
    );
    assert_eq!(alerts[0].severity, Severity::Ticket);
    commands_agree(
        &collector,
        "trader/degraded",
        0,
        &["cleanup failed: flush"],
        &["not cleanly", "flush failed"],
    );
}

#[test]
fn a_step_that_hangs_is_cut_and_pages_as_a_timeout() {
    let collector = Collector::start_scaled(SCALE);
    let plan = ["--step=flush:hang", "--step-timeout=500ms"];
    drop(scenes::stopped_from_a_shell(&collector, "trader/hangs", &plan));

    let (report, ending) = ended(&collector, "trader/hangs", Condition::Failed);
    assert_eq!((ending.class, report.severity), (Class::ShutdownTimeout, Severity::Page));
    assert_eq!(ending.cleanup.steps[0].outcome, Some(StepOutcome::TimedOut));
    commands_agree(
        &collector,
        "trader/hangs",
        1,
        &["stop timed out: flush"],
        &["an error", "flush timed out"],
    );
}

#[test]
fn a_kept_restart_promise_is_restarting_then_live() {
    let collector = Collector::start_scaled(SCALE);
    scenes::leaves_with_a_promise(&collector, "trader/restarts", "30s");

    let (report, ending) = ended(&collector, "trader/restarts", Condition::Restarting);
    assert_eq!((ending.class, ending.back_within_ms), (Class::Shutdown, Some(30_000)));
    let promised = report.back_by.expect("it promised").as_second() - ending.at.as_second();
    assert!((29..=31).contains(&promised), "a promise is not scaled: {promised} s");
    commands_agree(&collector, "trader/restarts", 0, &["Restarting, back by "], &["no error"]);
    let names = [("service", "trader"), ("worker", "restarts")];
    let until = collector.metric("lastbeat_worker_planned_until_timestamp_seconds", &names);
    assert!((until - report.back_by.expect("it promised").as_millisecond() as f64 / 1_000.0).abs() < 0.01);

    let successor = Worker::start(&collector, "trader/restarts", &[]);
    let report = collector.worker("trader/restarts");
    assert_eq!((report.condition, report.back_by, report.words.as_str()), (Condition::Live, None, "Live"));
    let run = report.run.expect("it runs");
    assert_eq!((run.pid, run.ending), (Some(successor.pid()), None));
    let runs = collector.runs("trader/restarts");
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].ending.as_ref().map(|ending| ending.class), Some(Class::Shutdown));
    no_alert(&collector, "trader/restarts");
    let story = ["trader/restarts: Live", "Before that: System stopped ", "no error"];
    commands_agree(&collector, "trader/restarts", 0, &["Live"], &story);
    assert_eq!(promises(&collector, "true"), 1.0);
}

#[test]
fn a_broken_restart_promise_is_overdue_and_pages() {
    let collector = Collector::start_scaled(SCALE);
    scenes::leaves_with_a_promise(&collector, "trader/overdue", "2s");

    let so = |report: &WorkerReport| report.condition == Condition::RestartOverdue;
    let report = collector.wait_for("trader/overdue", Condition::RestartOverdue, PATIENCE, so);
    assert_eq!(report.severity, Severity::Page);
    let ending = newest_ending(&report).expect("it ended");
    assert_eq!(ending.class, Class::Shutdown, "the stop itself went well");
    let since = report.since.as_millisecond() - ending.at.as_millisecond();
    assert!(
        (1_950..=2_050).contains(&since),
        "overdue from its promise on, not from when we looked: {since} ms"
    );
    let alerts = collector.alerts_of("trader/overdue");
    let seen: Vec<_> = alerts.iter().map(|alert| (alert.name.as_str(), alert.severity)).collect();
    assert_eq!(seen, [("LastbeatRestartOverdue", Severity::Page)]);
    let story = ["trader/overdue: Failed: restart overdue since ", "no successor was ready in time"];
    commands_agree(&collector, "trader/overdue", 1, &["Failed: restart overdue since "], &story);

    let _late = Worker::start(&collector, "trader/overdue", &[]);
    assert_eq!(collector.worker("trader/overdue").condition, Condition::Live, "late is better than never");
    assert_eq!(promises(&collector, "false"), 1.0);
}

/// A witness that speaks for whoever will start its program again.
const PROMISING: &[&str] = &["run", "--back-by=30s", "--worker"];

#[test]
fn a_witness_that_was_told_to_be_back_is_restarting_after_a_term() {
    let collector = Collector::start_scaled(SCALE);
    let who = "trader/supervised-stop";
    let mut command = collector.command(lastbeat_tests::tools::program("lastbeat"));
    command.args(PROMISING).args([who, "--", "sleep", "1000"]);
    let mut witness = lastbeat_tests::Process::start("lastbeat run --back-by", &mut command);
    live(&collector, who);
    witness.signal(rustix::process::Signal::TERM);
    assert_eq!(witness.end(PATIENCE).code(), Some(143), "128 + 15 passes through");

    let (report, ending) = ended(&collector, who, Condition::Restarting);
    assert_eq!((ending.class, ending.back_within_ms), (Class::Shutdown, Some(30_000)));
    let promised = report.back_by.expect("it promised").as_second() - ending.at.as_second();
    assert!((29..=31).contains(&promised), "{promised} s");
    no_alert(&collector, who);
    commands_agree(&collector, who, 0, &["Restarting, back by "], &["no error", "promised to be back by"]);
}

#[test]
fn a_witness_that_was_told_to_be_back_is_stopped_after_a_ctrl_c() {
    let collector = Collector::start_scaled(SCALE);
    let who = "trader/stopped-by-hand";
    let mut command = collector.command(lastbeat_tests::tools::program("lastbeat"));
    command.args(PROMISING).args([who, "--", "sleep", "1000"]);
    let mut terminal = Terminal::start("lastbeat run --back-by in a terminal", &command);
    live(&collector, who);
    terminal.type_in(lastbeat_tests::terminal::CTRL_C);
    assert_eq!(terminal.end(PATIENCE).exit_code(), 130, "128 + 2 passes through");

    let (report, ending) = ended(&collector, who, Condition::Stopped);
    assert_eq!(ending.cause.clone().expect("somebody asked").kind, CauseKind::Keyboard);
    let promised = (ending.back_within_ms, report.back_by);
    assert_eq!((ending.class, promised), (Class::Shutdown, (None, None)), "a person promises nothing");
    no_alert(&collector, who);
    commands_agree(&collector, who, 0, &["System stopped ", " by Ctrl+C"], &["no error", "Next: nothing."]);
}

#[test]
fn what_a_worker_could_not_deliver_is_read_beside_a_running_collector() {
    let collector = Collector::start_scaled(SCALE);
    let who = "trader/cut-off";
    let mut command = collector.command(lastbeat_tests::tools::program("lastbeat-test-worker"));
    // Nobody listens on a port below 1024 that no service has.
    command.env("LASTBEAT_COLLECTOR", "http://127.0.0.1:1").arg(format!("--name={who}")).args(CLEAN_PLAN);
    let mut worker = lastbeat_tests::Process::start("a worker whose collector is elsewhere", &mut command);
    let pid = lastbeat_tests::worker::up(&worker.line("ready "));
    lastbeat_tests::process::send(pid, rustix::process::Signal::TERM);
    assert_eq!(worker.end(PATIENCE).code(), Some(0), "a stop needs no collector");

    let gone = Instant::now();
    let (report, ending) = ended(&collector, who, Condition::Stopped);
    let took = gone.elapsed();
    // The directory is read each second; what is read is shown at once.
    assert!(took <= Duration::from_secs(2), "its last words were read {took:?} after they were written");
    assert_eq!((ending.class, report.amendments.len()), (Class::Shutdown, 0));
    cleanup_is_complete(&ending);
    assert_eq!(report.run.expect("it ran").pid, Some(pid));
}

#[test]
fn a_panic_is_a_crash_with_its_message_and_place() {
    let collector = Collector::start_scaled(SCALE);
    scenes::panics(&collector, "trader/panics");

    let (report, ending) = ended(&collector, "trader/panics", Condition::Failed);
    assert_eq!((ending.class, report.severity, ending.cause.clone()), (Class::Crashed, Severity::Page, None));
    let panic = ending.panic.clone().expect("it panicked");
    assert_eq!(panic.message, "the till is empty");
    let place = panic.location.expect("a panic has a place");
    assert!(place.contains("worker.rs:"), "{place}");
    let alerts = collector.alerts_of("trader/panics");
    assert_eq!(alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), ["LastbeatWorkerFailed"]);
    let story = ["an error", "the till is empty", "worker.rs:"];
    commands_agree(&collector, "trader/panics", 1, &["Failed: panic", "the till is empty"], &story);
}

#[test]
fn a_panic_under_a_witness_is_a_crash_with_exit_101() {
    let collector = Collector::start_scaled(SCALE);
    let mut worker = Worker::start_witnessed(&collector, "trader/panics-seen", &[], &[]);
    worker.tell("panic the till is empty");
    assert_eq!(worker.end().code(), Some(101), "the exit status passes through");

    let exited = |report: &WorkerReport| newest_ending(report).is_some_and(|ending| ending.exit.is_some());
    let report = collector.wait_for("trader/panics-seen", "seen to its end", PATIENCE, exited);
    let ending = newest_ending(&report).expect("was just seen");
    assert_eq!((report.condition, ending.class), (Condition::Failed, Class::Crashed));
    assert_eq!(ending.exit.expect("was just seen").code, Some(101));
    assert_eq!(ending.panic.expect("it panicked").message, "the till is empty");
    assert_eq!(collector.runs("trader/panics-seen").len(), 1, "client and witness speak of one run");
}

#[test]
fn a_kill_under_a_witness_pages_within_a_second() {
    let collector = Collector::start();
    let (mut witness, dead) = scenes::killed_under_its_witness(&collector, "trader/killed");
    let alert = until("an alert of trader/killed", PATIENCE, || {
        let alerts = collector.alerts_of("trader/killed");
        alerts.first().cloned().ok_or_else(|| format!("{alerts:?}"))
    });
    let took = dead.elapsed();
    assert!(took <= Duration::from_secs(1), "the alert took {took:?} from the KILL");
    assert_eq!((alert.name.as_str(), alert.severity), ("LastbeatWorkerFailed", Severity::Page));
    assert_eq!(alert.resolved_at, None);
    assert_eq!(witness.end().code(), Some(137), "128 + 9 passes through");

    let (report, ending) = ended(&collector, "trader/killed", Condition::Failed);
    assert_eq!((ending.class, report.severity, ending.provisional), (Class::Killed, Severity::Page, false));
    assert_eq!(ending.exit.clone().expect("it was seen").signal.as_deref(), Some("SIGKILL"));
    assert!(ending.evidence.iter().any(|each| each.kind == EvidenceKind::Witness), "{ending:?}");
    commands_agree(
        &collector,
        "trader/killed",
        1,
        &["Failed: killed (SIGKILL)"],
        &["an error", "cannot be known"],
    );
}

#[test]
fn a_kill_without_a_witness_is_unreachable_at_once_and_lost_at_its_deadline() {
    let collector = Collector::start_scaled(SCALE);
    scenes::killed_alone(&collector, "trader/lost");
    let killed = Instant::now();
    let so = |report: &WorkerReport| report.condition == Condition::Unreachable;
    let report = collector.wait_for("trader/lost", Condition::Unreachable, PATIENCE, so);
    let seen = killed.elapsed();
    assert!(seen <= Duration::from_secs(1), "a closed link is seen at once, not after {seen:?}");
    assert!(report.words.starts_with("Unreachable "), "{}", report.words);
    assert_eq!(report.run.expect("it ran").ending, None);
    no_alert(&collector, "trader/lost");
    let story = ["trader/lost: Unreachable ", "last seen ", "was last heard "];
    commands_agree(&collector, "trader/lost", 0, &["Unreachable "], &story);

    let (report, ending) = ended(&collector, "trader/lost", Condition::Failed);
    let took = killed.elapsed();
    let limit = collector.scaled(Duration::from_secs(10));
    assert!(took >= limit.mul_f64(0.9), "lost after {took:?}, before its deadline of {limit:?}");
    // I3: within the deadline and two seconds.
    assert!(took <= limit + Duration::from_secs(2), "lost after {took:?}, the deadline was {limit:?}");
    assert_eq!((ending.class, ending.provisional, ending.exit.clone()), (Class::Lost, true, None));
    assert_eq!(ending.evidence.iter().map(|each| each.kind).collect::<Vec<_>>(), [EvidenceKind::Inferred]);
    assert!(report.words.starts_with("Failed: lost contact "), "{}", report.words);
    let alerts = collector.alerts_of("trader/lost");
    assert_eq!(alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), ["LastbeatWorkerFailed"]);
    commands_agree(&collector, "trader/lost", 1, &["Failed: lost contact "], &["taken for dead"]);
}

#[test]
fn a_job_that_is_done_is_completed() {
    let collector = Collector::start_scaled(SCALE);
    let mut worker = Worker::start(&collector, "nightly/report", &[]);
    worker.tell("done");
    assert_eq!(worker.end().code(), Some(0));
    let (report, ending) = ended(&collector, "nightly/report", Condition::Completed);
    assert_eq!((ending.class, ending.cause, report.words.as_str()), (Class::Completed, None, "Completed"));
    no_alert(&collector, "nightly/report");
}

/// One run with two voices.
fn joined(report: &WorkerReport) -> bool {
    report.run.as_ref().is_some_and(|run| run.linked && run.witnessed)
}

#[test]
fn a_linked_worker_that_leaves_without_a_goodbye_exited_silently() {
    let collector = Collector::start_scaled(SCALE);
    let mut worker = Worker::start_witnessed(&collector, "trader/silent", &[], &[]);
    // What leaves before its first word has arrived cannot be told from a program that was never linked.
    collector.wait_for("trader/silent", "joined by its client", PATIENCE, joined);
    worker.tell("exit 0");
    assert_eq!(worker.end().code(), Some(0));
    let (report, ending) = ended(&collector, "trader/silent", Condition::Stopped);
    assert_eq!((ending.class, report.severity), (Class::ExitedSilently, Severity::Ticket));
    let alerts = collector.alerts_of("trader/silent");
    assert_eq!(
        alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(),
        ["LastbeatExitedSilently"]
    );
}

#[test]
fn a_program_that_ends_before_it_is_ready_failed_to_start() {
    let collector = Collector::start_scaled(SCALE);
    let mut command = collector.command(lastbeat_tests::tools::program("lastbeat"));
    command.args(["run", "--worker=trader/stillborn", "--"]);
    command.arg(lastbeat_tests::tools::program("lastbeat-test-worker"));
    command.args(["--name=trader/stillborn", "--never-ready"]);
    let mut witness = lastbeat_tests::Process::start("lastbeat run", &mut command);
    witness.line("connected ");
    collector.wait_for("trader/stillborn", "joined by its client", PATIENCE, joined);
    witness.say("exit 3");
    assert_eq!(witness.end(PATIENCE).code(), Some(3));
    let (report, ending) = ended(&collector, "trader/stillborn", Condition::Failed);
    assert_eq!((ending.class, report.severity), (Class::StartFailed, Severity::Page));
    assert_eq!(report.words, "Failed to start: exit 3");
}

#[test]
fn a_successor_that_is_faster_than_the_silence_supersedes() {
    let collector = Collector::start_scaled(SCALE);
    scenes::killed_alone(&collector, "trader/supervised");
    let _successor = Worker::start(&collector, "trader/supervised", &[]);
    let runs = until("the older run to be superseded", PATIENCE, || {
        let runs = collector.runs("trader/supervised");
        let class = runs.get(1).and_then(|run| run.ending.as_ref()).map(|ending| ending.class);
        if class == Some(Class::Superseded) { Ok(runs) } else { Err(format!("{runs:#?}")) }
    });
    assert_eq!(runs.len(), 2);
    assert_eq!(collector.worker("trader/supervised").condition, Condition::Live);
    no_alert(&collector, "trader/supervised");
}

#[test]
fn several_ctrl_c_within_a_second_are_one_request() {
    let collector = Collector::start_scaled(SCALE);
    let mut terminal = Worker::start_in_terminal(&collector, "trader/masher", CLEAN_PLAN);
    terminal.type_in("\x03\x03\x03");
    assert_eq!(terminal.end(PATIENCE).exit_code(), 0);
    let (_, ending) = ended(&collector, "trader/masher", Condition::Stopped);
    assert_eq!(ending.class, Class::Shutdown);
    cleanup_is_complete(&ending);
}
