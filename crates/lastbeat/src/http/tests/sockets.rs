//! WebSockets, as their peer sees them.

use std::io::Read as _;
use std::net::TcpStream;

use axum::Router;
use axum::extract::ws::{Message as Said, WebSocketUpgrade};
use axum::routing::get;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use super::{Trial, tally, until};
use crate::http::{self, Farewell};

/// Says each message again.
async fn echo(mut socket: http::WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Said::Text(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Waits for something that never comes, whatever happens to its socket.
async fn deaf(mut socket: http::WebSocket) {
    let _ = socket.send(Said::Text("deaf".into())).await;
    std::future::pending().await
}

fn app() -> Router {
    let echo = async |farewell: Farewell, upgrade: WebSocketUpgrade| farewell.websocket(upgrade, echo);
    let deaf = async |farewell: Farewell, upgrade: WebSocketUpgrade| farewell.websocket(upgrade, deaf);
    let brief = async |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async |mut socket| drop(socket.recv().await))
    };
    let panics = async |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async |mut socket: http::WebSocket| {
            socket.recv().await;
            panic!("on purpose")
        })
    };
    let split = async |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async |socket| {
            let (sink, stream) = socket.split();
            let _ = stream.forward(sink).await;
        })
    };
    let plain = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let hangs_up = async |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async |mut socket: http::WebSocket| {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Said::Close(_)) {
                    return;
                }
            }
        })
    };
    Router::new()
        .route("/hangs-up", get(hangs_up))
        .route("/", get(async || "here"))
        .route("/echo", get(echo))
        .route("/deaf", get(deaf))
        .route("/brief", get(brief))
        .route("/panics", get(panics))
        .route("/split", get(split))
        .route("/plain", get(plain))
}

fn open(trial: &Trial, path: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{}{path}", trial.address);
    tungstenite::client(url, trial.connect()).expect("a handshake").0
}

/// What was said, and the code of the close.
fn hear(peer: &mut WebSocket<TcpStream>) -> (Vec<String>, Option<CloseCode>) {
    let mut heard = Vec::new();
    loop {
        match peer.read() {
            Ok(Message::Text(text)) => heard.push(text.to_string()),
            Ok(Message::Close(frame)) => {
                let code = frame.map(|frame| frame.code);
                // To the end, so that the answer to the close goes out.
                while peer.read().is_ok() {}
                return (heard, code);
            }
            Ok(_) => {}
            Err(_) => return (heard, None),
        }
    }
}

fn say(peer: &mut WebSocket<TcpStream>, text: &str) {
    peer.send(Message::Text(text.into())).expect("it hears");
}

/// A peer whose handler is at work: it has answered.
fn talking(trial: &Trial, path: &str) -> WebSocket<TcpStream> {
    let mut peer = open(trial, path);
    say(&mut peer, "hello");
    assert_eq!(peer.read().expect("an answer"), Message::Text("hello".into()));
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_hears_whether_the_server_will_be_back() {
    for (will_be_back, code) in [(false, CloseCode::Away), (true, CloseCode::Restart)] {
        for path in ["/echo", "/split"] {
            let trial = Trial::of(app()).await;
            let mut peer = talking(&trial, path);
            trial.leave.take(will_be_back);
            assert_eq!(hear(&mut peer), (vec![], Some(code)), "{path}");
            assert_eq!(trial.ends().await, tally(1, 0, 0), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_ignores_the_stop_is_dropped_in_time_for_a_goodbye() {
    let trial = Trial::of(app()).await;
    let mut peer = open(&trial, "/deaf");
    assert_eq!(peer.read().expect("a word"), Message::Text("deaf".into()));
    trial.leave.take(false);
    trial.leave.hurry.cancel();
    assert_eq!(hear(&mut peer), (vec![], Some(CloseCode::Away)));
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_word_may_be_said_after_the_stop() {
    let last_word = async |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async |mut socket: http::WebSocket| {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
            assert!(socket.is_leaving());
            let _ = socket.send(Said::Text("saved".into())).await;
        })
    };
    let trial = Trial::of(Router::new().route("/", get(last_word))).await;
    let mut peer = talking(&trial, "/");
    trial.leave.take(false);
    assert_eq!(hear(&mut peer), (vec!["saved".into()], Some(CloseCode::Away)));
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_answer_the_close_is_cut() {
    let trial = Trial::of(app()).await;
    let _peer = talking(&trial, "/echo");
    trial.leave.take(false);
    trial.leave.cut.cancel();
    assert_eq!(trial.ends().await, tally(0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_without_a_farewell_is_waited_for_and_counted_when_it_is_cut() {
    let trial = Trial::of(app()).await;
    let mut cut = open(&trial, "/plain");
    let mut closes = open(&trial, "/plain");
    until(|| trial.open() == 2).await;
    trial.leave.take(false);
    closes.close(None).expect("it hears");
    assert_eq!(hear(&mut closes).0, Vec::<String>::new());
    until(|| trial.open() == 1).await;
    assert!(!trial.serving.is_finished(), "one is open yet");
    trial.leave.cut.cancel();
    assert_eq!(trial.ends().await, tally(0, 1, 0));
    assert_eq!(hear(&mut cut), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_leaves_is_neither_cut_nor_said_goodbye_to() {
    let trial = Trial::of(app()).await;
    for path in ["/echo", "/hangs-up"] {
        let mut closes = open(&trial, path);
        let code = CloseCode::Library(4_000);
        closes.close(Some(CloseFrame { code, reason: "".into() })).expect("it hears");
        assert_eq!(hear(&mut closes), (vec![], Some(code)), "{path}: its own close is answered");
    }
    drop(talking(&trial, "/echo"));
    until(|| trial.streams.tally() == tally(0, 0, 3)).await;
    // While it is said goodbye to: the close comes, and it goes without an answer.
    let mut during = talking(&trial, "/echo");
    trial.leave.take(false);
    let mut byte = [0];
    during.get_mut().peek(&mut byte).expect("a close");
    drop(during);
    assert_eq!(trial.ends().await, tally(0, 0, 4));
}

/// Whether there is a place for one more.
fn is_served(trial: &Trial) -> bool {
    let mut heard = Vec::new();
    // Closed unheard, and perhaps with a reset, where there is none.
    let _ = trial.get("/").take(8).read_to_end(&mut heard);
    heard == b"HTTP/1.1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_takes_a_place_for_as_long_as_it_is_open() {
    let trial = Trial::with(app(), |server| server.connections_max(1)).await;
    let peer = talking(&trial, "/echo");
    assert!(!is_served(&trial));
    drop(peer);
    until(|| is_served(&trial)).await;
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(0, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_takes_no_place_where_those_are_apart() {
    let trial = Trial::with(app(), |server| server.connections_max(1).upgraded_apart()).await;
    let mut peer = talking(&trial, "/echo");
    until(|| is_served(&trial)).await;
    trial.leave.take(false);
    assert_eq!(hear(&mut peer).1, Some(CloseCode::Away));
    assert_eq!(trial.ends().await, tally(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_handler_is_told_to_its_peer() {
    let trial = Trial::of(app()).await;
    for (path, code) in [("/brief", CloseCode::Normal), ("/panics", CloseCode::Error)] {
        let mut peer = open(&trial, path);
        say(&mut peer, "go");
        assert_eq!(hear(&mut peer), (vec![], Some(code)), "{path}");
    }
    trial.leave.take(false);
    assert_eq!(trial.ends().await, tally(0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_was_given_away_is_cut_whoever_holds_it() {
    let (give, mut given) = mpsc::channel(1);
    let give_away = async move |farewell: Farewell, upgrade: WebSocketUpgrade| {
        farewell.websocket(upgrade, async move |socket| drop(give.send(socket).await))
    };
    let trial = Trial::of(Router::new().route("/", get(give_away))).await;
    let mut peer = open(&trial, "/");
    let mut held: http::WebSocket = given.recv().await.expect("a socket");
    trial.leave.take(false);
    trial.leave.hurry.cancel();
    trial.leave.cut.cancel();
    assert_eq!(hear(&mut peer), (vec![], None), "although somebody holds it");
    assert!(held.send(Said::Text("still there?".into())).await.is_err());
    drop(held);
    assert_eq!(trial.ends().await, tally(0, 1, 0));
}
