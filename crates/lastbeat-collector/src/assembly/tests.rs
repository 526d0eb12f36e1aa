use std::convert::Infallible;
use std::future::pending;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use lastbeat_wire::spool as spool_file;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;

use super::*;
use crate::trial::{LISTEN, Trial, envelope, run};

/// Nothing of these tests takes as long; what does hangs. Less than the limits that a peer has in normal life.
const LIMIT: Duration = Duration::from_secs(5);
/// What the sockets of these tests hold in each direction.
const ROOM: usize = 1024;

async fn ends(state: &AppState) {
    state.tracker.close();
    tokio::time::timeout(LIMIT, state.tracker.wait()).await.unwrap();
}

/// Opens a link on a socket that holds little.
async fn link(state: &AppState) -> DuplexStream {
    let (near, mut far) = duplex(ROOM);
    let app = TowerToHyperService::new(app(state.clone()));
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(near), app).with_upgrades());
    let ask = format!(
        "GET /v1/link HTTP/1.1\r\nHost: {LISTEN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    far.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    far
}

#[tokio::test]
async fn a_link_that_takes_no_goodbye_is_cut_at_the_deadline() {
    let trial = Trial::new().await;
    let state = &trial.parts.state;
    let mut far = link(state).await;
    // Its answers to pings are not read: they fill the socket.
    let mut ping = [0; 131];
    (ping[0], ping[1]) = (0x89, 0x80 | 125);
    for _ in 0..10 * ROOM / ping.len() {
        far.write_all(&ping).await.unwrap();
    }
    trial.parts.bye.send_replace(Some(Bye { reason: ByeReason::Stopped, back_by: None }));
    // One thread runs all tasks of this test: the goodbye begins, and stalls, before the cut.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    state.stop.cancel();
    ends(state).await;
}

#[tokio::test]
async fn a_keeper_that_hangs_does_not_keep_the_spool_from_being_left() {
    let trial = Trial::new().await;
    let (inbox, mail) = inbox::inbox();
    let state = AppState { inbox, tracker: TaskTracker::new(), ..trial.parts.state.clone() };
    let beat = envelope(run(1), "self", 1, json!({ "type": "ready" }));
    let bytes = spool_file::encode(&clock::spool_instant(), &[serde_json::from_value(beat).unwrap()]);
    let file = trial.config.spool_dir.join("a.self.spool");
    std::fs::create_dir_all(&trial.config.spool_dir).unwrap();
    std::fs::write(&file, bytes.unwrap()).unwrap();

    state.tracker.spawn(read_spool(trial.config.clone(), state.clone()));
    while state.inbox.waiting_kib() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    state.stop.cancel();
    ends(&state).await;
    assert!(file.exists());
    drop(mail);
}

#[tokio::test]
async fn what_does_not_end_when_it_is_cut_is_not_waited_for() {
    let mut trial = Trial::new().await;
    trial.config.scale = 0.001;
    trial.parts.state.tracker.spawn(pending::<Infallible>());
    tokio::time::timeout(LIMIT, take_leave(&trial.config, &trial.parts)).await.unwrap();
    assert!(trial.parts.state.stop.is_cancelled());
}

#[tokio::test]
async fn a_peer_that_sends_no_whole_head_is_cut() {
    let trial = Trial::new().await;
    let state = &trial.parts.state;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(serve(listener, app(state.clone()), state.clone(), Duration::from_millis(50)));
    for head in ["", "POST /v1/beats HTTP/1.1\r\nHost: x\r\nContent-Le"] {
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(LIMIT, slow.read_to_end(&mut answer)).await.expect("it is cut").unwrap();
    }
    trial.parts.bye.send_replace(Some(Bye { reason: ByeReason::Stopped, back_by: None }));
    tokio::time::timeout(LIMIT, served).await.expect("it ends with the goodbye").unwrap();
}

#[tokio::test]
async fn not_ready_can_be_seen_before_anybody_is_told_to_go() {
    let trial = Trial::new().await;
    assert_eq!(trial.get("/readyz").await.0, 200);
    let mut leave = pin!(take_leave(&trial.config, &trial.parts));
    let is_under_way =
        std::future::poll_fn(|cx| std::task::Poll::Ready(leave.as_mut().poll(cx).is_pending()));
    assert!(is_under_way.await);
    assert_eq!(trial.get("/readyz").await.0, 503);
    assert!(trial.parts.state.bye.borrow().is_none(), "nobody sees what comes with the closing of the port");
    tokio::time::timeout(LIMIT, leave).await.unwrap();
    assert!(trial.parts.state.bye.borrow().is_some());
}

#[tokio::test]
async fn a_full_inbox_holds_the_pulse_up_and_lets_it_go_with_the_goodbye() {
    let trial = Trial::new().await;
    let (inbox, mail) = inbox::inbox();
    let state = AppState { inbox, tracker: TaskTracker::new(), ..trial.parts.state.clone() };
    let full = usize::try_from(inbox::QUEUE_MAX_KIB).unwrap() * 1024;
    let _outcomes = state.inbox.offer(Vec::new(), inbox::Via::Post, full).unwrap();
    state.tracker.spawn(pulse(state.clone()));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(mail.try_recv().unwrap().message, Message::Facts { .. }));
    let pulse = loop {
        match mail.try_recv() {
            Ok(waiting) => break waiting.message,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(matches!(pulse, Message::Pulse { .. }));
    trial.parts.bye.send_replace(Some(Bye { reason: ByeReason::Stopped, back_by: None }));
    ends(&state).await;
    assert!(mail.try_recv().is_err(), "one waits at a time");
}
