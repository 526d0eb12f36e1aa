//! Promise: the rows of the table of endings that the client alone decides come out right with real processes.
//!
//! What is right is read from the table itself: class, cause, cleanup, the page's words, the alerts.

use std::time::Duration;

use lastbeat_tests::process::send;
use lastbeat_tests::rows::{Row, without_numbers};
use lastbeat_tests::scenes::kill_from_a_shell;
use lastbeat_tests::worker::live;
use lastbeat_tests::{Collector, PATIENCE, Process, Terminal, tools, until};
use lastbeat_wire::report::{Condition, WorkerReport};
use rustix::process::Signal;

/// Deadlines a fifth of the contract's.
const SCALE: f64 = 0.2;
const WHO: &str = "trader/actor";

/// One play: a collector of its own, and an actor.
struct Play {
    collector: Collector,
    actor: Process,
    pid: u32,
}

impl Play {
    fn of(part: &str) -> Self {
        let collector = Collector::start_scaled(SCALE);
        let mut command = collector.command(tools::program("lastbeat-test-actor"));
        command.arg(format!("--name={WHO}")).arg(part);
        let mut actor = Process::start(&format!("the actor of {part}"), &mut command);
        let pid = lastbeat_tests::worker::up(&actor.line("ready "));
        live(&collector, WHO);
        Self { collector, actor, pid }
    }

    /// Somebody types `kill -TERM` into a shell; gives what the collector says when the worker has ended.
    fn stopped_from_a_shell(mut self, number: u32) {
        let _shell = kill_from_a_shell(self.pid);
        self.actor.end(PATIENCE);
        self.is_right(number, "signal", Condition::Stopped);
    }

    /// The collector says of the ended run what the table says.
    fn is_right(&self, number: u32, cause: &str, condition: Condition) {
        let row = Row::of(number);
        let report = self.collector.wait_for(WHO, condition, PATIENCE, |report| {
            report.condition == condition && ending(report).is_some()
        });
        let ending = ending(&report).expect("was just seen");
        let expected = &row.expect.ends[0];
        assert_eq!(ending.class.as_str(), expected.class, "row {number}: {report:?}");
        assert_eq!(ending.cause.as_ref().map(|cause| cause.kind.as_str()), Some(cause), "row {number}");
        let cleanup = expected.cleanup.as_deref().expect("the row has a cleanup");
        assert_eq!(ending.cleanup.outcome.as_str(), cleanup, "row {number}");
        if expected.cause.as_deref() == Some(cause) {
            assert_eq!(without_numbers(&report.words), without_numbers(row.last_words()), "row {number}");
        }
        self.alerts_are_right(&row);
    }

    /// The run goes on, and the collector says of it what the table says.
    fn goes_on(&self, number: u32, condition: Condition) -> WorkerReport {
        let row = Row::of(number);
        let report =
            self.collector.wait_for(WHO, condition, PATIENCE, |report| report.condition == condition);
        assert!(ending(&report).is_none(), "row {number}: {report:?}");
        assert_eq!(without_numbers(&report.words), without_numbers(row.last_words()), "row {number}");
        self.alerts_are_right(&row);
        report
    }

    fn alerts_are_right(&self, row: &Row) {
        let expected: Vec<(&str, &str)> =
            row.expect.alerts.iter().map(|alert| (alert.name.as_str(), alert.severity.as_str())).collect();
        until("the alerts of the table", PATIENCE, || {
            let open = self.collector.alerts_of(WHO);
            let told: Vec<(&str, &str)> =
                open.iter().map(|alert| (alert.name.as_str(), alert.severity.as_str())).collect();
            if told == expected { Ok(()) } else { Err(format!("{told:?}, not {expected:?}")) }
        });
    }
}

fn ending(report: &WorkerReport) -> Option<lastbeat_wire::report::EndingReport> {
    report.run.as_ref().and_then(|run| run.ending.clone())
}

#[test]
fn row_20_a_drain_that_moves_gets_its_time() {
    let mut play = Play::of("drain");
    let shell = kill_from_a_shell(play.pid);
    let drains = |report: &WorkerReport| {
        report.condition == Condition::Stopping && report.words.ends_with(" left: drain")
    };
    play.collector.wait_for(WHO, Condition::Stopping, PATIENCE, drains);
    play.actor.end(PATIENCE);
    drop(shell);
    play.is_right(20, "signal", Condition::Stopped);
    let ended = ending(&play.collector.worker(WHO)).expect("it has ended");
    assert_eq!((ended.cleanup.steps[0].done, ended.cleanup.steps[0].total), (Some(60), Some(60)));
    let took = Duration::from_millis(ended.cleanup.duration_ms.expect("it took a while"));
    assert!(took > Duration::from_secs(1), "longer than the deadline before it moved: {took:?}");
}

#[test]
fn row_23_an_order_that_is_not_cancelled_is_a_partial_cleanup_by_its_label() {
    Play::of("partial").stopped_from_a_shell(23);
}

#[test]
fn row_24_what_is_done_at_the_third_time_is_done() {
    Play::of("third-time").stopped_from_a_shell(24);
}

#[test]
fn row_25_a_full_disk_is_a_failed_flush() {
    Play::of("full-disk").stopped_from_a_shell(25);
}

#[test]
fn row_31_an_agent_that_ignores_its_cancellation_is_abandoned_by_name() {
    Play::of("deaf").stopped_from_a_shell(31);
}

#[test]
fn row_33_the_same_signal_by_two_ways_is_one_request() {
    let mut play = Play::of("clean");
    let mut shell = Terminal::bash();
    shell.type_in(&format!("kill -TERM {0}; kill -TERM {0}\r", play.pid));
    play.actor.end(PATIENCE);
    play.is_right(33, "signal", Condition::Stopped);
}

#[test]
fn row_34_an_agent_that_somebody_cancels_makes_its_worker_degraded() {
    let mut play = Play::of("cancelled");
    play.actor.say("go");
    play.goes_on(34, Condition::Degraded);
}

#[test]
fn row_35_an_agent_that_panics_makes_its_worker_degraded() {
    let mut play = Play::of("panics");
    play.actor.say("go");
    play.goes_on(35, Condition::Degraded);
}

#[test]
fn row_48_a_worker_whose_work_is_deadlocked_hangs_although_it_beats() {
    let mut play = Play::of("deadlocks");
    play.actor.say("go");
    play.goes_on(48, Condition::Hung);
}

#[test]
fn row_52_a_terminal_that_closes_is_named_as_the_cause() {
    let collector = Collector::start_scaled(SCALE);
    // A terminal emulator of its own, so that its end closes the terminal in which the shell and the actor are. Such a
    // shell passes the hang-up on to what it started. `true`, or it would become the actor itself.
    let emulator = "import pty, sys; pty.spawn(['bash', '--norc', '--noprofile', '-i', '-c', sys.argv[1]])";
    let mut command = collector.command("python3");
    let actor = tools::program("lastbeat-test-actor");
    command.args(["-c", emulator]).arg(format!("'{}' --name={WHO} clean; true", actor.display()));
    let terminal = Terminal::start("a terminal emulator", &command);
    lastbeat_tests::worker::up(&terminal.line("ready "));
    live(&collector, WHO);
    send(terminal.pid(), Signal::KILL);
    let report = collector
        .wait_for(WHO, Condition::Stopped, PATIENCE, |report| report.condition == Condition::Stopped);
    let ending = ending(&report).expect("it has ended");
    let row = Row::of(52);
    assert_eq!(ending.class.as_str(), row.expect.ends[0].class, "{report:?}");
    assert_eq!(ending.cause.map(|cause| cause.kind.as_str()), Some("terminal_hangup"), "{}", report.words);
    assert_eq!(without_numbers(&report.words), without_numbers(row.last_words()));
    assert_eq!(collector.alerts_of(WHO), []);
}

#[test]
fn row_53_a_sender_that_is_gone_is_said_to_be_gone_or_named_never_guessed() {
    let mut play = Play::of("clean");
    let mut kill =
        Process::start("/bin/kill", tools::command("/bin/kill").arg("-TERM").arg(play.pid.to_string()));
    kill.end(PATIENCE);
    play.actor.end(PATIENCE);
    let report = play
        .collector
        .wait_for(WHO, Condition::Stopped, PATIENCE, |report| report.condition == Condition::Stopped);
    let sender = ending(&report).and_then(|ending| ending.cause).and_then(|cause| cause.sender);
    let sender = sender.expect("somebody sent it");
    // A race that the kernel decides: what could be read is true, and what could not is not there.
    if sender.gone {
        assert_eq!(without_numbers(&report.words), without_numbers(Row::of(53).last_words()));
        assert!(sender.comm.is_none() && sender.cmdline.is_none());
    } else {
        assert_eq!(sender.comm.as_deref(), Some("kill"));
    }
    play.alerts_are_right(&Row::of(53));
}
