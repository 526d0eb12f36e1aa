//! Promise: Ctrl+C ends the interview server in less than two seconds, whatever goes on in it; everybody who was there
//! hears that it goes, every task of it is accounted for by its name, and nothing is left.
//!
//! The server is the client's example, in a terminal; the visitors are a process of their own, and what they saw counts.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use lastbeat_tests::process::{in_session, send, states};
use lastbeat_tests::sockets::Sockets;
use lastbeat_tests::terminal::CTRL_C;
use lastbeat_tests::worker::{live, up};
use lastbeat_tests::{Collector, PATIENCE, Process, Terminal, tools, until};
use lastbeat_wire::report::{Class, Condition, EndingReport, Severity, WorkerReport};
use lastbeat_wire::signal::{AgentEnd, CauseKind, CleanupOutcome, StepOutcome};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const WHO: &str = "interview-server/main";
/// How long a stop may take from the Ctrl+C to the end of the process.
const EXIT_MAX: Duration = Duration::from_secs(2);
/// Who talks: what is said, and the answer.
const TALK: &[&str] = &["I wrote it in Rust", "noted"];
/// Who waits for a question: what its keep-alive says, as soon as the generation is at work.
const ASK: &[&str] = &["next", "thinking"];

/// What the server notes of an interview that its stop ends, and of a question.
const BROKEN_OFF: &str = "the interview is broken off";
const CALLED_OFF: &str = "a question is called off";

/// A collector, and the server in a terminal of its own.
struct Stand {
    collector: Collector,
    server: Terminal,
    address: SocketAddr,
    home: TempDir,
}

/// A moment at which somebody pressed Ctrl+C, by both clocks.
struct Pressed {
    at: Instant,
    wall_ms: u64,
}

impl Stand {
    fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    fn start_with(flags: &[&str], settings: &[(&str, &str)]) -> Self {
        let (collector, home) = (Collector::start(), tempfile::tempdir().expect("a temporary folder"));
        let mut command = collector.command(tools::example("interview_server"));
        command.args(["--listen", "127.0.0.1:0"]).args(flags).envs(settings.iter().copied());
        command.arg("--notes").arg(home.path().join("notes"));
        let server = Terminal::start("interview server", &command);
        let line = server.line("answers, by process");
        assert_eq!(up(&line), server.pid());
        live(&collector, WHO);
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { collector, server, address, home }
    }

    /// So many visitors, each of whom has said what there is to say and got the answer.
    fn visitors(&self, count: usize, talk: &[&str]) -> Process {
        let mut command = tools::command(tools::program("lastbeat-test-visitors"));
        command.arg(format!("ws://{}/interview", self.address)).arg(count.to_string()).args(talk);
        let mut visitors = Process::start("visitors", &mut command);
        visitors.line("all there");
        visitors
    }

    fn press(&mut self, keys: &str) -> Pressed {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later than 1970");
        let pressed =
            Pressed { at: Instant::now(), wall_ms: now.as_millis().try_into().expect("a wall clock") };
        self.server.type_in(keys);
        pressed
    }

    /// Waits for the end of the server, and for the end of all that could be left of it. Gives how long it took.
    fn gone(&mut self, pressed: &Pressed) -> Duration {
        assert_eq!(self.server.end(PATIENCE).exit_code(), 0, "{}", self.server.output());
        let took = pressed.at.elapsed();
        assert_eq!(in_session(self.server.pid()), [0; 0], "processes are left");
        assert!(TcpStream::connect(self.address).is_err(), "somebody still listens");
        took
    }

    /// No socket of the server is open, on either side.
    fn no_socket_is_left(&self) {
        until("sockets to be closed", PATIENCE, || {
            let sockets = Sockets::of_port(self.address.port());
            if sockets == Sockets::default() { Ok(()) } else { Err(format!("{sockets:?}")) }
        });
    }

    fn ended(&self) -> (WorkerReport, EndingReport) {
        let ending = |report: &WorkerReport| report.run.as_ref().and_then(|run| run.ending.clone());
        let report = self.collector.wait_for(WHO, "ended", PATIENCE, |report| ending(report).is_some());
        let ending = ending(&report).expect("was just seen");
        (report, ending)
    }

    /// What the server has written down.
    fn notes(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(self.notes_file()).expect("the notes are saved");
        let mut notes: Vec<String> = notes.lines().map(str::to_owned).collect();
        notes.sort();
        notes
    }

    fn notes_file(&self) -> PathBuf {
        self.home.path().join("notes")
    }

    fn agents(&self) -> BTreeMap<String, Option<AgentEnd>> {
        let agents = self.collector.worker(WHO).run.expect("it ran").agents;
        agents.into_iter().map(|agent| (agent.name.to_string(), agent.end)).collect()
    }
}

/// What each of them saw, once all have come to their end.
fn seen_by(mut visitors: Process) -> Vec<Value> {
    let output = visitors.last_words(PATIENCE);
    output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Each of them heard that the server goes, soon after somebody said so, and then the end of the connection.
fn all_heard(seen: &[Value], count: usize, pressed: &Pressed) {
    assert_eq!(seen.len(), count);
    for visitor in seen {
        let heard = (&visitor["code"], &visitor["reason"], &visitor["ended"]);
        assert_eq!(heard, (&1001.into(), &"server shutdown".into(), &"in order".into()), "{visitor}");
        let after = visitor["closed_ms"].as_u64().expect("a time").checked_sub(pressed.wall_ms);
        assert!(after.is_some_and(|ms| ms < 2_000), "closed {after:?} ms after the Ctrl+C: {visitor}");
    }
}

/// The agents of a server in which so many questions are under way, each with this end.
fn all_agents(asking: usize, end: AgentEnd) -> BTreeMap<String, Option<AgentEnd>> {
    let of_seats = (1..=asking).flat_map(|seat| [format!("generation-{seat}"), format!("keepalive-{seat}")]);
    let names = ["cleanup", "http"].map(str::to_owned).into_iter().chain(of_seats);
    names.map(|name| (name, Some(end))).collect()
}

/// What the server has written down when these are the notes of each seat.
fn notes(seats: usize, of_each: &[&str]) -> Vec<String> {
    let of_seat = |seat| of_each.iter().map(move |note| format!("seat {seat}: {note}"));
    let mut notes: Vec<String> = (1..=seats).flat_map(of_seat).collect();
    notes.sort();
    notes
}

/// One clean stop: `count` visitors who have said this, then Ctrl+C in the terminal.
fn is_stopped_cleanly(case: &str, count: usize, talk: &[&str], keys: &str) -> Stand {
    let mut stand = Stand::start(&[]);
    let visitors = (count > 0).then(|| stand.visitors(count, talk));
    let open = Sockets { listening: 1, connected: 2 * count };
    assert_eq!(Sockets::of_port(stand.address.port()), open, "what is looked for afterwards is there now");
    assert_eq!(in_session(stand.server.pid()), [stand.server.pid()]);
    let asking = if talk == ASK { count } else { 0 };

    let pressed = stand.press(keys);
    let took = stand.gone(&pressed);
    eprintln!("{case}: exit {} ms after Ctrl+C", took.as_millis());
    assert!(took < EXIT_MAX, "{case}: the exit took {took:?}");
    all_heard(&visitors.map(seen_by).unwrap_or_default(), count, &pressed);
    stand.no_socket_is_left();

    let (report, ending) = stand.ended();
    let cause = ending.cause.as_ref().map(|cause| (cause.kind, cause.signal.as_deref()));
    assert_eq!(
        (ending.class, cause),
        (Class::Shutdown, Some((CauseKind::Keyboard, Some("SIGINT")))),
        "{ending:#?}"
    );
    assert_eq!((report.condition, report.severity), (Condition::Stopped, Severity::None));
    assert!(report.words.ends_with(" by Ctrl+C; cleanup complete"), "{}", report.words);
    assert_eq!(stand.agents(), all_agents(asking, AgentEnd::CancelledExpected));
    let cleanup = &ending.cleanup;
    assert_eq!((cleanup.outcome, cleanup.untracked), (CleanupOutcome::Complete, 0), "{cleanup:#?}");
    assert_eq!((cleanup.streams_farewell, cleanup.streams_cut), (count as u64, 0));
    let steps: Vec<_> =
        cleanup.steps.iter().map(|step| (step.name.as_str(), step.outcome, step.total)).collect();
    let ok = Some(StepOutcome::Ok);
    assert_eq!(steps, [("close-sessions", ok, Some(count as u64)), ("save-notes", ok, None)]);
    assert_eq!(cleanup.items_flushed, stand.notes().len() as u64);
    assert_eq!(stand.collector.alerts(), []);
    for word in ["ERROR", "WARN", "panicked"] {
        assert!(!stand.server.output().contains(word), "it complains:\n{}", stand.server.output());
    }
    stand
}

#[test]
fn ctrl_c_ends_an_idle_server() {
    let stand = is_stopped_cleanly("idle", 0, &[], CTRL_C);
    assert_eq!(stand.notes(), [""; 0]);
}

#[test]
fn ctrl_c_ends_a_server_whose_users_are_silent() {
    is_stopped_cleanly("3 silent users", 3, &[], CTRL_C);
}

#[test]
fn ctrl_c_ends_it_in_the_middle_of_conversations_and_what_was_said_is_kept() {
    let stand = is_stopped_cleanly("3 users mid-conversation", 3, TALK, CTRL_C);
    assert_eq!(stand.notes(), notes(3, &["I wrote it in Rust", BROKEN_OFF]));
}

#[test]
fn ctrl_c_ends_it_in_the_middle_of_a_generation_with_the_keep_alive_of_that() {
    let stand = is_stopped_cleanly("1 user mid-generation", 1, ASK, CTRL_C);
    assert_eq!(stand.notes(), notes(1, &[CALLED_OFF, BROKEN_OFF]));
}

#[test]
fn ctrl_c_ends_it_with_fifty_users_each_in_the_middle_of_a_generation() {
    let stand = is_stopped_cleanly("50 users mid-generation", 50, ASK, CTRL_C);
    assert_eq!(stand.notes(), notes(50, &[CALLED_OFF, BROKEN_OFF]));
}

#[test]
fn three_ctrl_c_at_once_are_one_request() {
    is_stopped_cleanly("3 times Ctrl+C", 1, ASK, &CTRL_C.repeat(3));
}

#[test]
fn further_ctrl_c_within_a_second_of_the_first_skip_nothing() {
    let mut stand = Stand::start(&["--slow-step"]);
    let pressed = stand.press(CTRL_C);
    // From then on another signal is one of its own; before, the kernel would make one of them.
    stand.server.line("stop requested");
    stand.press(CTRL_C);
    stand.press(CTRL_C);
    assert!(pressed.at.elapsed() < Duration::from_secs(1), "too late to be one request");
    stand.gone(&pressed);
    let (_, ending) = stand.ended();
    assert_eq!(ending.class, Class::Shutdown, "{ending:#?}");
    let outcomes: Vec<_> = ending.cleanup.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes, [Some(StepOutcome::Ok); 3]);
}

#[test]
fn a_task_that_does_not_listen_is_named_and_the_exit_comes_at_the_deadline() {
    let mut stand = Stand::start_with(&["--deaf"], &[("LASTBEAT_STOP_DEADLINE", "3s")]);
    let visitors = stand.visitors(1, ASK);
    let pressed = stand.press(CTRL_C);
    let took = stand.gone(&pressed);
    eprintln!("a task that does not listen: exit {} ms after Ctrl+C", took.as_millis());
    // Half of the deadline belongs to the final beat, which needs little of it: agents are cut at 1.5 s.
    assert!((1_450..3_000).contains(&took.as_millis()), "the exit took {took:?}");
    all_heard(&seen_by(visitors), 1, &pressed);

    let (report, ending) = stand.ended();
    assert_eq!((ending.class, report.severity), (Class::ShutdownDegraded, Severity::Ticket), "{ending:#?}");
    assert_eq!(report.words, "Stopped, 1 agent abandoned: deaf");
    let mut agents = all_agents(1, AgentEnd::CancelledExpected);
    agents.insert("deaf".into(), Some(AgentEnd::Abandoned));
    assert_eq!(stand.agents(), agents);
    let cleanup = &ending.cleanup;
    assert!(cleanup.steps.iter().all(|step| step.outcome == Some(StepOutcome::Ok)), "{cleanup:#?}");
    assert_eq!((cleanup.outcome, cleanup.untracked), (CleanupOutcome::Partial, 0));
    let alerts: Vec<_> = stand.collector.alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(alerts, ["LastbeatCleanupNotClean"]);
}

#[test]
fn a_second_ctrl_c_after_a_second_forces_and_the_final_beat_lists_what_was_skipped() {
    let mut stand = Stand::start(&["--slow-step"]);
    let visitors = stand.visitors(1, ASK);
    let pressed = stand.press(CTRL_C);
    all_heard(&seen_by(visitors), 1, &pressed);
    let at_work = |report: &WorkerReport| {
        report.run.as_ref().and_then(|run| run.step.as_ref()).is_some_and(|step| step.as_str() == "slow")
    };
    let report = stand.collector.wait_for(WHO, "in its slow step", PATIENCE, at_work);
    assert_eq!(report.condition, Condition::Stopping);
    // Until then it would be the same request.
    until("a second to pass", PATIENCE, || {
        let passed = pressed.at.elapsed();
        if passed > Duration::from_millis(1_100) { Ok(()) } else { Err(format!("{passed:?}")) }
    });

    let insisted = stand.press(CTRL_C);
    let took = stand.gone(&insisted);
    eprintln!("forced: exit {} ms after the second Ctrl+C", took.as_millis());
    assert!(took < EXIT_MAX, "the exit took {took:?} from the second Ctrl+C on");
    stand.no_socket_is_left();
    let (report, ending) = stand.ended();
    assert_eq!((ending.class, report.severity), (Class::ShutdownAborted, Severity::Ticket), "{ending:#?}");
    assert_eq!(report.words, "Stopped, cleanup skipped (second Ctrl+C)");
    let skipped = ["slow", "close-sessions", "save-notes"]
        .map(|name| (name, Some(StepOutcome::Skipped), Some("a second request to stop")));
    let steps = ending.cleanup.steps.iter();
    let steps: Vec<_> =
        steps.map(|step| (step.name.as_str(), step.outcome, step.why_skipped.as_deref())).collect();
    assert_eq!(steps, skipped);
    assert!(!stand.notes_file().exists(), "a step that was skipped has not run");
    assert_eq!(stand.agents(), all_agents(1, AgentEnd::CancelledExpected));
}

#[test]
fn visitors_who_do_not_answer_are_cut_and_counted_and_hold_nobody_up() {
    let mut stand = Stand::start(&[]);
    let visitors = stand.visitors(3, ASK);
    visitors.signal(Signal::STOP);
    until("all threads of the visitors to stand still", PATIENCE, || match states(visitors.pid()) {
        states if states.chars().all(|state| state == 'T') => Ok(()),
        states => Err(states),
    });
    let pressed = stand.press(CTRL_C);
    let took = stand.gone(&pressed);
    eprintln!("3 users that do not answer: exit {} ms after Ctrl+C", took.as_millis());
    assert!(took < EXIT_MAX, "the exit took {took:?}");
    visitors.signal(Signal::CONT);
    for visitor in seen_by(visitors) {
        assert_eq!(
            (&visitor["code"], &visitor["reason"]),
            (&1001.into(), &"server shutdown".into()),
            "{visitor}"
        );
    }
    stand.no_socket_is_left();
    let (report, ending) = stand.ended();
    assert_eq!((ending.class, report.severity), (Class::ShutdownDegraded, Severity::Ticket), "{ending:#?}");
    assert_eq!(report.words, "Stopped, 3 streams cut");
    assert_eq!((ending.cleanup.streams_farewell, ending.cleanup.streams_cut), (0, 3));
    assert_eq!(stand.agents(), all_agents(3, AgentEnd::CancelledExpected));
}

#[test]
fn a_generation_ends_its_keep_alive_when_it_is_done_and_when_its_user_leaves() {
    let stand = Stand::start(&[]);
    let _stays = stand.visitors(1, ASK);
    let leaves = stand.visitors(1, ASK);
    send(leaves.pid(), Signal::KILL);

    let ends = |seat: u32| {
        let agents = stand.agents();
        let end = |name: &str| agents.get(&format!("{name}-{seat}")).copied().flatten();
        end("generation").zip(end("keepalive")).ok_or_else(|| format!("{agents:?}"))
    };
    let called_off = (AgentEnd::CancelledExpected, AgentEnd::CancelledExpected);
    assert_eq!(until("the second question to be called off", PATIENCE, || ends(2)), called_off);
    // 41 words at four a second.
    let done = (AgentEnd::Completed, AgentEnd::CancelledExpected);
    assert_eq!(until("the first question to be done", PATIENCE, || ends(1)), done);
    assert_eq!(stand.collector.worker(WHO).condition, Condition::Live);
    assert_eq!(stand.collector.alerts(), []);
}
