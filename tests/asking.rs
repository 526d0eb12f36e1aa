//! Promise: a worker that allows it can be asked to stop, to pause and to go on, and says then who asked and why.
//!
//! Operators ask by the commands; real workers hear it on their links, and what they did is read back through HTTP.

use std::time::Duration;

use lastbeat_tests::collector::{Answer, answer};
use lastbeat_tests::process::send;
use lastbeat_tests::{Collector, PATIENCE, Process, Terminal, Worker, tools, until};
use lastbeat_wire::report::{Class, Condition, EndingReport, RunState, WorkerReport};
use lastbeat_wire::signal::{CauseKind, CleanupOutcome};
use rustix::process::Signal;

/// Deadlines a fifth of the contract's.
const SCALE: f64 = 0.2;

fn is(condition: Condition) -> impl Fn(&WorkerReport) -> bool {
    move |report| report.condition == condition
}

fn waits_in(step: &'static str) -> impl Fn(&WorkerReport) -> bool {
    move |report| {
        let at_work = report.run.as_ref().and_then(|run| run.step.as_ref());
        at_work.is_some_and(|name| name.as_str() == step)
    }
}

fn ending(report: &WorkerReport) -> &EndingReport {
    report.run.as_ref().and_then(|run| run.ending.as_ref()).unwrap_or_else(|| panic!("{report:#?}"))
}

/// What a command printed about a worker, when it had nothing to complain of.
fn said(answer: &Answer, who: &str) -> String {
    assert_eq!(answer.complaint, "", "no progress is shown where nobody looks on");
    let line = answer.out.strip_prefix(&format!("{who}: ")).and_then(|line| line.strip_suffix('\n'));
    line.unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// A refusal: nothing printed, exit 1, and the complaint.
fn refused(answer: &Answer) -> &str {
    assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""), "{answer:?}");
    &answer.complaint
}

fn is_gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_stop_is_the_operators_and_is_waited_for() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/api";
    let mut worker = Worker::start(&collector, who, &["--stoppable", "--step=flush:ok"]);
    let stopped = collector.cli(&["stop", who, "--who=anna@desk", "--why=a new disk"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let report = collector.worker(who);
    assert_eq!(said(&stopped, who), report.words);
    let time = report.words.strip_prefix("System stopped ").expect("the words of the contract");
    let (time, by) = time.split_once(' ').expect("a time and an author");
    assert!(time.len() == 8 && time.bytes().filter(|sign| *sign == b':').count() == 2, "{time}");
    assert_eq!(by, "by operator anna@desk; cleanup complete");
    assert_eq!(report.condition, Condition::Stopped);
    let ended = ending(&report);
    let cause = ended.cause.as_ref().expect("somebody asked");
    assert_eq!((ended.class, cause.kind), (Class::Shutdown, CauseKind::Operator));
    assert_eq!((cause.who.as_deref(), cause.why.as_deref()), (Some("anna@desk"), Some("a new disk")));
    assert!(worker.end().success());
    assert_eq!(collector.alerts(), []);

    let again = collector.cli(&["stop", who]);
    assert!(refused(&again).contains("(not_running)"), "{again:?}");
}

#[test]
fn who_asks_is_the_person_at_the_keyboard_unless_it_is_said() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/api";
    let mut worker = Worker::start(&collector, who, &["--stoppable"]);
    let mut command = collector.command(tools::program("lastbeat"));
    command.args(["stop", who, "--no-wait"]).env("USER", "ben").env_remove("SUDO_USER");
    let asked = answer("lastbeat stop", &mut command);
    let run = collector.worker(who).run.expect("a run").run_id;
    assert_eq!(asked.out, format!("asked to stop: {who} (run {run})\n"), "{asked:?}");
    assert_eq!(asked.code, Some(0));
    worker.end();
    let report = collector.wait_for(who, Condition::Stopped, PATIENCE, is(Condition::Stopped));
    let cause = ending(&report).cause.as_ref().expect("somebody asked");
    assert!(cause.who.as_ref().is_some_and(|who| who.starts_with("ben@")), "{cause:?}");
    assert_eq!(cause.why, None);
    let words = format!("by operator {}", cause.who.as_deref().unwrap_or_default());
    assert!(report.words.ends_with(&words), "without steps nothing is said of a cleanup: {}", report.words);
}

#[test]
fn a_witnessed_worker_is_gone_when_its_stop_is_reported() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/api";
    let mut worker = Worker::start_witnessed(&collector, who, &[], &["--stoppable", "--step=flush:ok"]);
    let stopped = collector.cli(&["stop", who, "--who=anna"]);
    assert!(is_gone(worker.pid()), "its exit was waited for: {stopped:?}");
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let report = collector.worker(who);
    let ended = ending(&report);
    assert_eq!(ended.exit.as_ref().and_then(|exit| exit.code), Some(0));
    let kind = ended.cause.as_ref().map(|cause| cause.kind);
    assert_eq!((ended.class, kind), (Class::Shutdown, Some(CauseKind::Operator)), "no signal was sent");
    assert!(worker.end().success());
}

#[test]
fn who_did_not_allow_it_is_not_asked_and_the_refusal_says_what_to_do() {
    let collector = Collector::start_scaled(SCALE);
    let closed = Worker::start(&collector, "shop/closed", &[]);
    let _stoppable = Worker::start(&collector, "shop/stoppable", &["--stoppable"]);
    for (arguments, wish) in [
        (&["stop", "shop/closed"][..], "stop"),
        (&["stop", "shop/closed", "--force"], "stop"),
        (&["pause", "shop/closed"], "pause"),
        (&["resume", "shop/closed"], "resume"),
        (&["pause", "shop/stoppable"], "pause"),
    ] {
        let answer = collector.cli(arguments);
        let said = refused(&answer);
        assert!(
            said.contains(&format!("did not say that it may be asked to {wish} (not_opted_in)")),
            "{said}"
        );
        assert!(said.contains("\nhint: send its process SIGTERM where it runs; "), "{said}");
        assert!(said.contains("Builder::stoppable()"), "{said}");
    }
    let answer = collector.cli(&["stop", "shop/closed"]);
    assert!(answer.complaint.contains(&format!("(pid {} on ", closed.pid())), "{answer:?}");
    let live = |report: WorkerReport| (report.worker.to_string(), report.condition);
    let left: Vec<_> = collector.workers().into_iter().map(live).collect();
    assert_eq!(left, [("closed".to_owned(), Condition::Live), ("stoppable".to_owned(), Condition::Live)]);
}

#[test]
fn a_forced_stop_skips_what_is_left_and_says_so() {
    let collector = Collector::start();
    let who = "trader/main";
    let arguments = ["--stoppable", "--step=drain:hang", "--step=flush:ok", "--step-timeout=60s"];
    let mut worker = Worker::start(&collector, who, &arguments);
    assert_eq!(collector.cli(&["stop", who, "--no-wait", "--who=anna"]).code, Some(0));
    collector.wait_for(who, "in its drain", PATIENCE, waits_in("drain"));
    // A second request without force changes nothing.
    let asked = collector.cli(&["stop", who, "--timeout=1s"]);
    let complaint = refused(&asked);
    assert!(complaint.starts_with(&format!("error: {who} has not stopped: asked ")), "{complaint}");
    assert!(complaint.contains(" s ago, it is shown as: Stopping, "), "{complaint}");
    assert!(complaint.contains(&format!("\nhint: lastbeat stop {who} --force")), "{complaint}");

    let forced = collector.cli(&["stop", who, "--force", "--who=ben"]);
    assert_eq!(forced.code, Some(0), "it was to skip its cleanup: {forced:?}");
    assert_eq!(said(&forced, who), "Stopped, cleanup skipped (second request)");
    let report = collector.worker(who);
    let ended = ending(&report);
    assert_eq!((ended.class, ended.cleanup.outcome), (Class::ShutdownAborted, CleanupOutcome::Skipped));
    let first = ended.cause.as_ref().and_then(|cause| cause.who.as_deref());
    assert_eq!(first, Some("anna"), "who asked first is the cause");
    worker.end();
}

#[test]
fn a_stop_that_is_not_clean_is_exit_1_and_its_words() {
    let collector = Collector::start_scaled(SCALE);
    for (who, step, class, words) in [
        ("shop/failing", "flush:fail", Class::ShutdownDegraded, "Stopped, cleanup failed: flush"),
        ("shop/partial", "orders:ok:2/3", Class::ShutdownDegraded, "Stopped, cleanup partial: orders 2 of 3"),
        ("shop/cut", "drain:hang", Class::ShutdownTimeout, "Failed: stop timed out: drain"),
    ] {
        let step = format!("--step={step}");
        let mut worker = Worker::start(&collector, who, &["--stoppable", &step, "--step-timeout=500ms"]);
        let stopped = collector.cli(&["stop", who]);
        assert_eq!((stopped.code, said(&stopped, who).as_str()), (Some(1), words), "{stopped:?}");
        assert_eq!(ending(&collector.worker(who)).class, class);
        worker.end();
    }
}

#[test]
fn a_worker_that_is_held_does_not_answer_and_stops_when_it_is_let_go() {
    let collector = Collector::start_scaled(SCALE);
    let who = "shop/held";
    let mut worker = Worker::start(&collector, who, &["--stoppable"]);
    worker.signal(Signal::STOP);
    let asked = collector.cli(&["stop", who, "--timeout=1s"]);
    let complaint = refused(&asked);
    let expected =
        format!("error: {who} has not stopped: asked 1 s ago, it has not answered; it is shown as: ");
    assert!(complaint.starts_with(&expected), "{complaint}");
    assert!(complaint.ends_with(&format!("\nhint: lastbeat explain {who}\n")), "{complaint}");
    send(worker.pid(), Signal::CONT);
    assert!(worker.end().success());
    let report = collector.wait_for(who, Condition::Stopped, PATIENCE, is(Condition::Stopped));
    assert_eq!(ending(&report).class, Class::Shutdown);
}

#[test]
fn a_worker_pauses_and_goes_on_also_for_a_collector_that_came_back() {
    let mut collector = Collector::start_scaled(SCALE);
    let who = "trader/main";
    let mut worker = Worker::start(&collector, who, &["--stoppable", "--pausable"]);
    for _ in 0..2 {
        let run = collector.worker(who).run.expect("a run").run_id;
        let asked = until("its link", PATIENCE, || {
            let asked = collector.cli(&["pause", who, "--why=the exchange is down"]);
            if asked.code == Some(0) {
                return Ok(asked.out);
            }
            // Its new link tells again what it may be asked.
            assert!(refused(&asked).contains("(not_linked)"), "{asked:?}");
            Err(asked.complaint)
        });
        assert_eq!(asked, format!("asked to pause: {who} (run {run})\n"));
        let report = collector.wait_for(who, Condition::Paused, PATIENCE, is(Condition::Paused));
        assert_eq!(
            (report.words.as_str(), report.run.map(|run| run.state)),
            ("Paused", Some(RunState::Paused))
        );
        let asked = collector.cli(&["resume", who]);
        assert_eq!((asked.code, asked.out), (Some(0), format!("asked to resume: {who} (run {run})\n")));
        collector.wait_for(who, Condition::Live, PATIENCE, is(Condition::Live));

        collector.kill();
        collector.come_back();
    }
    until("its link", PATIENCE, || match collector.cli(&["pause", who]) {
        asked if asked.code == Some(0) => Ok(()),
        asked => Err(asked.complaint),
    });
    collector.wait_for(who, Condition::Paused, PATIENCE, is(Condition::Paused));
    let stopped = collector.cli(&["stop", who]);
    assert_eq!(stopped.code, Some(0), "who holds still can be stopped: {stopped:?}");
    assert!(worker.end().success());
}

#[test]
fn a_collector_that_restarts_while_a_stop_is_waited_for_loses_nothing_of_it() {
    let mut collector = Collector::start();
    let who = "trader/main";
    let arguments = ["--stoppable", "--step=drain:hang", "--step-timeout=4s"];
    let mut worker = Worker::start(&collector, who, &arguments);
    let mut command = collector.command(tools::program("lastbeat"));
    let mut waiting = Process::start("lastbeat stop", command.args(["stop", who, "--who=anna"]));
    collector.wait_for(who, "in its drain", PATIENCE, waits_in("drain"));
    collector.kill();
    collector.come_back();
    assert_eq!(waiting.end(PATIENCE).code(), Some(1));
    assert_eq!(waiting.output(), format!("{who}: Failed: stop timed out: drain\n"));
    let report = collector.worker(who);
    let asked_by = ending(&report).cause.as_ref().and_then(|cause| cause.who.as_deref());
    assert_eq!(asked_by, Some("anna"));
    worker.end();
}

#[test]
fn at_a_terminal_one_line_says_how_far_a_stop_is() {
    let collector = Collector::start_scaled(SCALE);
    let who = "trader/main";
    let arguments = ["--stoppable", "--step=drain:hang", "--step-timeout=2s"];
    let mut worker = Worker::start(&collector, who, &arguments);
    let mut command = collector.command(tools::program("lastbeat"));
    let mut terminal = Terminal::start("lastbeat stop", command.args(["stop", who]).env("TERM", "xterm"));
    assert_eq!(terminal.end(PATIENCE + Duration::from_secs(2)).exit_code(), 1);
    let shown = until("all that was shown", PATIENCE, || {
        let shown = terminal.output();
        if shown.ends_with('\n') { Ok(shown) } else { Err(shown) }
    });
    assert!(shown.contains(&format!("\r\u{1b}[K{who}: Stopping, ")), "{shown:?}");
    let (progress, last) = shown.rsplit_once("\r\u{1b}[K").expect("progress is taken back at the end");
    assert_eq!(last, format!("{who}: Failed: stop timed out: drain\r\n"));
    assert!(!progress.contains('\n'), "it is one line: {progress:?}");
    worker.end();
}
