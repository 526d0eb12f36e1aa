//! Promise: who holds a stream open hears that the server goes, and what hears nothing is counted.
//!
//! The server is the client's own example, the readers are processes of their own: what they read is what counts.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lastbeat_tests::terminal::CTRL_C;
use lastbeat_tests::worker::{live, up};
use lastbeat_tests::{Collector, PATIENCE, Process, Terminal, tools, until};
use lastbeat_wire::report::{Class, Condition, EndingReport, Severity, WorkerReport};
use lastbeat_wire::signal::{CauseKind, CleanupOutcome};
use rustix::process::Signal;
use serde_json::Value;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

const WHO: &str = "agentsmithy/api";
/// Deadlines a fifth of the contract's: streams have 1 s to say goodbye, the whole stop has 6 s.
const SCALE: f64 = 0.2;
const STOP_DEADLINE: Duration = Duration::from_secs(6);
/// The last two events of a stream whose server goes.
const FAREWELL: [&str; 2] = [r#"{"type":"error","error":"server shutdown"}"#, r#"{"type":"done"}"#];
/// A prompt so long that the answer fills a socket within a few words.
const LONG: usize = 1024 * 1024;

/// The address in the line that the example prints, once it also takes a stop.
fn address(collector: &Collector, line: &str) -> SocketAddr {
    up(line);
    live(collector, WHO);
    let url = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    url.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
}

fn start(collector: &Collector, arguments: &[&str]) -> (Process, SocketAddr) {
    let mut command = collector.command(tools::example("agentsmithy"));
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    let mut server = Process::start("agentsmithy", &mut command);
    let line = server.line("answers, by process");
    let address = address(collector, &line);
    (server, address)
}

/// Clients that all have their first event.
fn readers(server: SocketAddr, count: usize, prompt_bytes: usize, flags: &[&str]) -> Process {
    let mut command = tools::command(tools::program("lastbeat-test-readers"));
    command.args([server.to_string(), count.to_string(), prompt_bytes.to_string()]).args(flags);
    let mut readers = Process::start("readers", &mut command);
    readers.line("all read");
    readers
}

/// What each of them read, once all have come to their end.
fn read_by(mut readers: Process) -> Vec<Value> {
    let said = readers.last_words(PATIENCE);
    said.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Each of them has read the whole goodbye, then the end of the answer and of the connection.
fn all_heard(read: &[Value], count: usize) {
    assert_eq!(read.len(), count);
    for reader in read {
        let last: Vec<&str> = reader["last"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(last.ends_with(&FAREWELL), "{reader}");
        assert!(last[0].contains("\"token\""), "the goodbye is said once: {reader}");
        assert_eq!((&reader["named"], &reader["ended"]), (&0.into(), &"whole".into()), "{reader}");
    }
}

fn ended(collector: &Collector) -> (WorkerReport, EndingReport) {
    let ending = |report: &WorkerReport| report.run.as_ref().and_then(|run| run.ending.clone());
    let report = collector.wait_for(WHO, "ended", PATIENCE, |report| ending(report).is_some());
    let ending = ending(&report).expect("was just seen");
    (report, ending)
}

fn streams(ending: &EndingReport) -> (u64, u64) {
    (ending.cleanup.streams_farewell, ending.cleanup.streams_cut)
}

fn has_no_complaint(output: &str) {
    for word in ["ERROR", "WARN", "panicked"] {
        assert!(!output.contains(word), "the server complains:\n{output}");
    }
}

/// Waits until the kernel takes no more of what the server writes to its only stalled reader: what is on its way
/// to there has stood still for some words of the answer.
fn is_full(server: SocketAddr) {
    let (mut queued, mut since) = (0, Instant::now());
    until("a socket that is full", PATIENCE, || {
        let now = most_queued(server);
        if now != queued {
            (queued, since) = (now, Instant::now());
        }
        let stands_still = queued > 0 && since.elapsed() > Duration::from_millis(500);
        if stands_still { Ok(()) } else { Err(format!("{queued} bytes on their way")) }
    });
}

/// The most bytes that wait in one of the server's sockets.
fn most_queued(server: SocketAddr) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells of its sockets");
    let port = format!(":{:04X}", server.port());
    let queued = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        let (to_send, _) = words.nth(2)?.split_once(':')?;
        if local.ends_with(&port) { u64::from_str_radix(to_send, 16).ok() } else { None }
    });
    queued.max().unwrap_or(0)
}

#[test]
fn a_hundred_readers_hear_the_goodbye_after_ctrl_c() {
    let collector = Collector::start();
    let mut command = collector.command(tools::example("agentsmithy"));
    command.args(["--listen", "127.0.0.1:0"]);
    let mut server = Terminal::start("agentsmithy", &command);
    let address = address(&collector, &server.line("answers, by process"));
    let readers = readers(address, 100, 5, &[]);

    let asked = Instant::now();
    server.type_in(CTRL_C);
    assert_eq!(server.end(PATIENCE).exit_code(), 0);
    let took = asked.elapsed();
    eprintln!("100 readers: exit {} ms after Ctrl+C", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}: nobody had to be waited for");
    all_heard(&read_by(readers), 100);

    let (report, ending) = ended(&collector);
    let cause = ending.cause.as_ref().map(|cause| cause.kind);
    assert_eq!((ending.class, cause), (Class::Shutdown, Some(CauseKind::Keyboard)), "{ending:#?}");
    assert_eq!((streams(&ending), ending.cleanup.outcome), ((100, 0), CleanupOutcome::Complete));
    assert_eq!((ending.cleanup.untracked, report.severity), (0, Severity::None), "{ending:#?}");
    let farewells = [("service", "agentsmithy"), ("how", "farewell")];
    assert_eq!(collector.metric("lastbeat_streams_closed_total", &farewells), 100.0);
    assert_eq!(collector.alerts(), []);
    has_no_complaint(&server.output());
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_shown_and_holds_nobody_up() {
    let collector = Collector::start_scaled(SCALE);
    let (mut server, address) = start(&collector, &[]);
    let mut stalled = readers(address, 1, LONG, &["--stall"]);
    let others = readers(address, 99, 5, &[]);
    is_full(address);

    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.end(STOP_DEADLINE).success(), "inside its deadline");
    eprintln!("99 readers and one that stalls: exit {} ms after TERM", asked.elapsed().as_millis());
    all_heard(&read_by(others), 99);
    stalled.say("read the rest");
    let rest = read_by(stalled);
    assert_eq!(rest[0]["ended"], "cut", "{rest:?}");
    assert!(!rest[0].to_string().contains("shutdown"), "{rest:?}");

    let (report, ending) = ended(&collector);
    assert_eq!((ending.class, streams(&ending)), (Class::ShutdownDegraded, (99, 1)), "{ending:#?}");
    assert_eq!(ending.cleanup.outcome, CleanupOutcome::Partial);
    // Cut before the steps, which therefore had their time.
    assert_eq!(
        (&ending.cleanup.steps[0].name.as_str(), ending.cleanup.abandoned.len()),
        (&"save-sessions", 0)
    );
    assert_eq!((report.condition, report.severity), (Condition::Stopped, Severity::Ticket));
    assert!(report.words.contains("1 stream cut"), "{}", report.words);
    let status = collector.cli(&["status", WHO]);
    assert!(status.out.contains("1 stream cut"), "{status:?}");
    let page = collector.request("GET", &format!("/workers/{WHO}")).expect("a page");
    assert!(page.body.contains("1 stream cut"), "{}", page.body);
    assert_eq!(
        collector.metric("lastbeat_streams_closed_total", &[("service", "agentsmithy"), ("how", "cut")]),
        1.0
    );
}

#[test]
fn a_second_request_does_not_wait_for_streams_and_says_that_they_were_cut() {
    let collector = Collector::start();
    let (mut server, address) = start(&collector, &[]);
    let stalled = readers(address, 1, LONG, &["--stall"]);
    is_full(address);
    server.signal(Signal::TERM);
    server.line("stop requested");
    let first = Instant::now();
    // Sooner it is the same request.
    until("the time of one request to pass", PATIENCE, || {
        let passed = first.elapsed();
        if passed > Duration::from_millis(1100) { Ok(()) } else { Err(format!("{passed:?}")) }
    });
    server.signal(Signal::TERM);
    server.end(Duration::from_secs(3));
    drop(stalled);
    let (_, ending) = ended(&collector);
    assert_eq!((ending.class, streams(&ending)), (Class::ShutdownAborted, (0, 1)), "{ending:#?}");
}

#[test]
fn a_client_that_leaves_before_the_stop_is_no_error() {
    let collector = Collector::start();
    let (mut server, address) = start(&collector, &[]);
    let mut leaves = readers(address, 3, 5, &[]);
    let stays = readers(address, 2, 5, &[]);
    // As when a browser is closed: the kernel ends its connections.
    leaves.kill();
    server.signal(Signal::TERM);
    let said = server.last_words(PATIENCE);
    all_heard(&read_by(stays), 2);
    let (_, ending) = ended(&collector);
    assert_eq!((ending.class, streams(&ending)), (Class::Shutdown, (2, 0)), "{ending:#?}");
    has_no_complaint(&said);
}

fn talk(server: SocketAddr) -> WebSocket<MaybeTlsStream<TcpStream>> {
    let stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let (mut socket, _) = tungstenite::client(format!("ws://{server}/talk"), MaybeTlsStream::Plain(stream))
        .expect("a handshake");
    socket.send(Message::Text("hello".into())).expect("it hears");
    assert_eq!(socket.read().expect("an answer"), Message::Text("You said hello".into()));
    socket
}

/// How a WebSocket is closed by a server that is asked to stop.
fn closed(arguments: &[&str]) -> (CloseCode, String) {
    let collector = Collector::start();
    let (mut server, address) = start(&collector, arguments);
    let mut socket = talk(address);
    server.signal(Signal::TERM);
    let close = match socket.read().expect("a last word") {
        Message::Close(Some(close)) => (close.code, close.reason.to_string()),
        other => panic!("{other:?} is no close"),
    };
    // As long as its close is not answered the server waits; reading on answers it.
    assert_eq!(server.ended(), None);
    while socket.read().is_ok() {}
    assert!(server.end(PATIENCE).success());
    let (_, ending) = ended(&collector);
    assert_eq!((ending.class, streams(&ending)), (Class::Shutdown, (1, 0)), "{ending:#?}");
    close
}

#[test]
fn a_websocket_hears_that_the_server_goes() {
    assert_eq!(closed(&[]), (CloseCode::Away, "server shutdown".into()));
}

#[test]
fn a_websocket_hears_that_the_server_will_be_back() {
    assert_eq!(closed(&["--back-within", "30"]), (CloseCode::Restart, "server restart".into()));
}
