//! Event streams, and the connections below them.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::sse::{self, Event, KeepAlive};
use axum::routing::get;
use futures_util::stream::{self, Stream, StreamExt as _};
use hyper::server::conn::http1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{LIMIT, MORE_THAN_A_SOCKET_HOLDS, Trial, read_to_end, read_until, tally, until};
use crate::http::connection::{Connection, Ways};
use crate::http::leave::Leave;
use crate::http::socket::Peer;
use crate::http::{Farewell, Sse};
use crate::streams::{Streams, Tally};

const FIRST: &str = "data: hello\n\n\r\n";
/// Two events without a name, and the end of the body, as they stand on the wire.
const FAREWELL: &str = "32\r\ndata: {\"type\":\"error\",\"error\":\"server shutdown\"}\n\n\r\n\
                        17\r\ndata: {\"type\":\"done\"}\n\n\r\n\
                        0\r\n\r\n";

/// One event, and no end.
fn endless(first: String) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::iter([Ok(Event::default().data(first))]).chain(stream::pending())
}

async fn hello(farewell: Farewell) -> Sse {
    farewell.sse(endless("hello".into()))
}

async fn flood(farewell: Farewell) -> Sse {
    farewell.sse(endless("x".repeat(MORE_THAN_A_SOCKET_HOLDS)))
}

async fn plain() -> sse::Sse<impl Stream<Item = Result<Event, Infallible>>> {
    sse::Sse::new(endless("hello".into()))
}

fn app() -> Router {
    Router::new().route("/hello", get(hello)).route("/flood", get(flood)).route("/plain", get(plain))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_hears_two_unnamed_events_and_the_end() {
    let trial = Trial::of(app()).await;
    let mut readers: Vec<_> = (0..10).map(|_| trial.get("/hello")).collect();
    for reader in &mut readers {
        read_until(reader, FIRST);
    }
    trial.leave.take(false);
    for reader in &mut readers {
        assert_eq!(read_to_end(reader), FAREWELL);
    }
    assert_eq!(trial.ends().await, tally(10, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_itself_is_let_go_before_the_goodbye() {
    let (held, gone) = oneshot::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(Some(held)));
    let app = Router::new().route(
        "/",
        get(async move |farewell: Farewell| {
            let held = held.lock().expect("no panic").take();
            farewell.sse(endless("hello".into()).map(move |event| {
                let _ = &held;
                event
            }))
        }),
    );
    let trial = Trial::of(app).await;
    let mut reader = trial.get("/");
    read_until(&mut reader, FIRST);
    trial.leave.take(false);
    assert_eq!(read_to_end(&mut reader), FAREWELL);
    assert!(gone.await.is_err(), "it was dropped");
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_keep_a_quiet_stream_alive_until_the_goodbye() {
    let app = Router::new().route(
        "/",
        get(async |farewell: Farewell| {
            let often = KeepAlive::new().interval(Duration::from_millis(1)).text("still here");
            farewell.sse(endless("hello".into())).keep_alive(often)
        }),
    );
    let trial = Trial::of(app).await;
    let mut reader = trial.get("/");
    read_until(&mut reader, FIRST);
    read_until(&mut reader, ": still here\n\n\r\n");
    trial.leave.take(false);
    assert!(read_to_end(&mut reader).ends_with(FAREWELL));
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut() {
    let trial = Trial::of(app()).await;
    let mut reader = trial.get("/flood");
    read_until(&mut reader, "data: ");
    let mut other = trial.get("/hello");
    read_until(&mut other, FIRST);
    trial.leave.take(false);
    // The one that reads is served to its end beside the one that does not.
    assert_eq!(read_to_end(&mut other), FAREWELL);
    trial.leave.cut.cancel();
    assert_eq!(trial.ends().await, tally(1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_neither_cut_nor_said_goodbye_to() {
    let trial = Trial::of(app()).await;
    let mut before = trial.get("/hello");
    read_until(&mut before, FIRST);
    let mut during = trial.get("/flood");
    read_until(&mut during, "data: ");
    drop(before);
    until(|| trial.streams.tally() == tally(0, 0, 1)).await;
    trial.leave.take(false);
    // All that this one was sent before its goodbye waits in the socket yet.
    drop(during);
    assert_eq!(trial.ends().await, tally(0, 0, 2));
}

#[tokio::test]
async fn a_client_whose_leaving_nobody_has_noticed_yet_is_not_said_goodbye_to() {
    let trial = Trial::of(app()).await;
    let mut client = tokio::net::TcpStream::connect(trial.address).await.expect("it listens");
    client.write_all(b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it reads");
    let mut read = Vec::new();
    while !read.ends_with(FIRST.as_bytes()) {
        client.read_buf(&mut read).await.expect("the stream begins");
    }
    // On one thread, with nothing awaited in between: the server comes to know both in one turn.
    drop(client);
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(0, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_comes_to_its_own_end_needs_no_goodbye() {
    let app = Router::new()
        .route("/", get(async |farewell: Farewell| farewell.sse(endless("hello".into()).take(1))));
    let trial = Trial::of(app).await;
    let mut reader = trial.get("/");
    read_until(&mut reader, "0\r\n\r\n");
    trial.leave.take(false);
    assert_eq!(read_to_end(&mut reader), "");
    assert_eq!(trial.ends().await, tally(0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_without_a_farewell_is_counted_when_it_is_cut() {
    let trial = Trial::of(app()).await;
    let mut reader = trial.get("/plain");
    read_until(&mut reader, FIRST);
    trial.leave.take(false);
    trial.leave.cut.cancel();
    assert_eq!(trial.ends().await, tally(0, 1, 0));
    let mut rest = Vec::new();
    // Cut in the middle: neither events nor the end of the body.
    let _ = reader.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_head_is_no_stream() {
    let trial = Trial::of(app()).await;
    let mut client = trial.connect();
    for path in ["/hello", "/plain"] {
        write!(client, "HEAD {path} HTTP/1.1\r\nhost: test\r\n\r\n").expect("it reads");
        assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    }
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_and_nobody_else_is_waited_for() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (they_begin, they_go) = (Arc::clone(&begun), Arc::clone(&go));
    let slow = async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        they_begin.notify_one();
        they_go.notified().await;
        peer.to_string()
    };
    let trial = Trial::of(Router::new().route("/slow", get(slow)).route("/", get(async || "quick"))).await;
    let _silent = trial.connect();
    let mut kept = trial.get("/");
    read_until(&mut kept, "quick");
    let mut client = trial.get("/slow");
    let own = client.local_addr().expect("its address");
    begun.notified().await;
    trial.leave.take(false);
    // Idle connections are closed at once, and so are those that were never used.
    assert_eq!(read_to_end(&mut kept), "");
    go.notify_one();
    assert!(read_to_end(&mut client).ends_with(&format!("\r\n\r\n{own}")));
    let address = trial.address;
    assert_eq!(trial.ends().await, tally(0, 0, 0));
    assert!(std::net::TcpStream::connect(address).is_err(), "it listens no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_place_is_closed_unheard_and_counted() {
    let refused = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&refused);
    let trial = Trial::with(app(), |server| {
        server.connections_max(1).on_refused(move || {
            theirs.fetch_add(1, Ordering::SeqCst);
        })
    })
    .await;
    let mut reader = trial.get("/hello");
    read_until(&mut reader, FIRST);
    let mut refused_one = trial.connect();
    let mut heard = Vec::new();
    let _ = refused_one.read_to_end(&mut heard);
    assert_eq!((heard, refused.load(Ordering::SeqCst)), (Vec::new(), 1));
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_and_an_answer_that_is_not_taken_have_their_limits() {
    let short = Duration::from_millis(50);
    let trial = Trial::with(app(), |server| server.head_max(short).take_max(short)).await;
    let mut silent = trial.connect();
    assert_eq!(read_to_end(&mut silent), "", "closed, for no head came");
    let mut reader = trial.get("/flood");
    read_until(&mut reader, "data: ");
    // It takes nothing from here on. Before anybody asks for a stop this is the client's fault, not a cut.
    until(|| trial.streams.tally() == tally(0, 0, 1)).await;
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(0, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_dropped_cuts_what_is_open() {
    let trial = Trial::of(app()).await;
    let mut reader = trial.get("/hello");
    read_until(&mut reader, FIRST);
    trial.serving.abort();
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    until(|| trial.streams.tally() == tally(0, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_another_server_the_extractor_says_what_is_missing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let serving = tokio::spawn(axum::serve(listener, app()).into_future());
    let mut client = std::net::TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a limit");
    client.write_all(b"GET /hello HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("it reads");
    let answer = read_to_end(&mut client);
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("lastbeat::http::serve"), "{answer}");
    client.shutdown(Shutdown::Both).ok();
    serving.abort();
}

/// A stream whose reader holds it up with less than the server's own buffer holds: the goodbye is handed over as a
/// whole, and waits there.
struct HeldUp {
    leave: Arc<Leave>,
    streams: Arc<Streams>,
    reader: DuplexStream,
    serving: JoinHandle<()>,
}

impl HeldUp {
    async fn begin() -> Self {
        let (held, gone) = oneshot::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(Some(held)));
        let app = Router::new().route(
            "/",
            get(async move |farewell: Farewell| {
                let held = held.lock().expect("no panic").take();
                farewell.sse(endless("x".repeat(8 * 1024)).map(move |event| {
                    let _ = &held;
                    event
                }))
            }),
        );
        let streams = Arc::new(Streams::default());
        let (asked, cut) = (CancellationToken::new(), CancellationToken::new());
        let leave = Arc::new(Leave::new(asked, cut, Arc::clone(&streams)));
        let ways = Arc::new(Ways { http: http1::Builder::new(), app, take_max: LIMIT });
        let (near, mut reader) = duplex(1024);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let serving =
            tokio::spawn(Connection::new(&leave, Peer::default(), Arc::default()).serve(near, peer, ways));
        reader.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it reads");
        until(|| streams.at_the_end().cut == 1).await;
        leave.take(false);
        // Let go in the poll in which the goodbye is handed over, and this is the only thread.
        assert!(gone.await.is_err());
        Self { leave, streams, reader, serving }
    }

    async fn ends(self) -> Tally {
        tokio::time::timeout(LIMIT, self.serving).await.expect("it ends").expect("without a panic");
        self.streams.at_the_end()
    }
}

#[tokio::test]
async fn a_goodbye_that_is_not_written_out_is_none() {
    let held_up = HeldUp::begin().await;
    held_up.leave.cut.cancel();
    assert_eq!(held_up.ends().await, tally(0, 1, 0));
}

#[tokio::test]
async fn a_goodbye_that_is_read_at_last_is_one() {
    let mut held_up = HeldUp::begin().await;
    let mut read = String::new();
    held_up.reader.read_to_string(&mut read).await.expect("it ends in order");
    assert!(read.ends_with(FAREWELL), "{read}");
    assert_eq!(held_up.ends().await, tally(1, 0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_during_the_goodbye_has_left() {
    let HeldUp { leave, streams, reader, serving } = HeldUp::begin().await;
    drop(reader);
    let (near, _) = duplex(1);
    assert_eq!(HeldUp { leave, streams, reader: near, serving }.ends().await, tally(0, 0, 1));
}
