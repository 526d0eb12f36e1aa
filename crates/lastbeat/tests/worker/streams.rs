//! A server as an agent of a worker: when it goes, and what the final heartbeat says of its streams.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::sse::Event;
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use lastbeat::http::{Farewell, Server, Sse, serve};
use lastbeat::{Lastbeat, Plan};
use lastbeat_wire::signal::{AgentEnd, Cleanup, Signal, StepOutcome};
use tokio::net::TcpListener;

use crate::peer::{LIMIT, Peer, builder, cleanup};

const FIRST: &str = "data: ";
/// The most that a stalled reader's socket takes is less.
const FLOOD_BYTES: usize = 16 * 1024 * 1024;

async fn hello(farewell: Farewell) -> Sse {
    endless(&farewell, "hello".into())
}

async fn flood(farewell: Farewell) -> Sse {
    endless(&farewell, "x".repeat(FLOOD_BYTES))
}

fn endless(farewell: &Farewell, first: String) -> Sse {
    let first = stream::iter([Ok::<_, Infallible>(Event::default().data(first))]);
    farewell.sse(first.chain(stream::pending()))
}

fn app() -> Router {
    Router::new().route("/hello", get(hello)).route("/flood", get(flood))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// A reader of an event stream that has begun.
fn read(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(client, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").expect("it reads");
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(FIRST.as_bytes()) {
        client.read_exact(&mut byte).expect("the stream begins");
        read.push(byte[0]);
    }
    client
}

fn rest_of(mut client: TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

fn end_of(peer: &mut Peer, name: &str) -> Option<AgentEnd> {
    let heard = peer.next(|heard| {
        matches!(&heard.envelope.signal, Signal::Agent(agent) if agent.name.as_str() == name && agent.end.is_some())
    });
    match heard.envelope.signal {
        Signal::Agent(agent) => agent.end,
        other => panic!("it was asked for an agent, not {other:?}"),
    }
}

fn final_of(peer: &mut Peer, worker: &Lastbeat) -> Cleanup {
    cleanup(peer.final_of(worker.run_id()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_no_goodbye_is_cut_before_the_steps_begin() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (listener, address) = listen().await;
    serve(&worker, listener, app());
    let (reads, stalls) = (read(address, "/hello"), read(address, "/flood"));
    worker.stop("the test");
    let plan = Plan::new().agents_first(Duration::from_millis(500)).step(
        "drop-sessions",
        Duration::from_secs(2),
        async move |_| if TcpStream::connect(address).is_err() { Ok(()) } else { Err("it listens".into()) },
    );
    worker.run_until_stopped(plan).await;
    assert_eq!(end_of(&mut peer, "http"), Some(AgentEnd::CancelledExpected));
    let cleanup = final_of(&mut peer, &worker);
    assert_eq!((cleanup.streams_farewell, cleanup.streams_cut), (1, 1));
    assert_eq!(cleanup.steps[0].outcome, Some(StepOutcome::Ok), "{cleanup:#?}");
    assert_eq!((cleanup.abandoned.len(), cleanup.untracked), (0, 0));
    assert!(rest_of(reads).contains("server shutdown"));
    drop(stalls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_called_off_says_goodbye_while_its_run_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (listener, address) = listen().await;
    let handle = Server::new(listener, app()).name("preview").spawn(&worker);
    let reads = read(address, "/hello");
    handle.cancel();
    assert_eq!(end_of(&mut peer, "preview"), Some(AgentEnd::CancelledExpected));
    assert!(rest_of(reads).contains("server shutdown"));
    worker.stop("the test");
    worker.run_until_stopped(Plan::new()).await;
    assert_eq!(final_of(&mut peer, &worker).streams_farewell, 1, "it is the run's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_aborted_cuts_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (listener, address) = listen().await;
    let handle = serve(&worker, listener, app());
    let reads = read(address, "/hello");
    handle.abort();
    assert_eq!(end_of(&mut peer, "http"), Some(AgentEnd::CancelledUnexpected));
    assert!(!rest_of(reads).contains("server shutdown"));
    worker.stop("the test");
    worker.run_until_stopped(Plan::new()).await;
    assert_eq!(final_of(&mut peer, &worker).streams_cut, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_nobody_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (listener, address) = listen().await;
    serve(&worker, listener, app());
    let _unused = TcpStream::connect(address).expect("it listens");
    worker.stop("the test");
    let asked = Instant::now();
    worker.run_until_stopped(Plan::new()).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let cleanup = final_of(&mut peer, &worker);
    assert_eq!((cleanup.streams_farewell, cleanup.streams_cut), (0, 0));
}
