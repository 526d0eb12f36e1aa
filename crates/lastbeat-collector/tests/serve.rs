//! A collector on a real port: links, goodbyes, and an end that waits for nobody for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lastbeat_collector::{Config, RunError, run};
use lastbeat_wire::reply::{Bye, ByeReason, Frame};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tungstenite::{Message, WebSocket, client};

const RUN: &str = "0190d1f0-0000-7000-8000-000000000001";
/// No event of these tests takes longer than this; a wait that does has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl Served {
    fn start(dir: &TempDir, back_by: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let config =
            Config { back_by, scale: 0.1, ..Config::new(dir.path().join("data"), dir.path().join("spool")) };
        let ended = tokio::spawn(run(config, listener, async {
            let _ = stopped.await;
        }));
        Self { address, stop, ended }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(LIMIT, self.ended).await.unwrap().unwrap().unwrap();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn get(address: SocketAddr, path: &str) -> Value {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{text}"))
}

/// Orders something; its status and its answer.
fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let (mut stream, body) = (connect(address), body.to_string());
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{text}")))
}

fn link(address: SocketAddr) -> WebSocket<TcpStream> {
    client(format!("ws://{address}/v1/link"), connect(address)).unwrap().0
}

fn say(link: &mut WebSocket<TcpStream>, seq: u64, signal: &Value) -> Frame {
    let envelope = json!({ "v": 1, "run_id": RUN, "source": "self", "seq": seq,
        "service": "trader", "worker": "main", "signal": signal });
    link.send(Message::text(envelope.to_string())).unwrap();
    hear(link)
}

fn hear(link: &mut WebSocket<TcpStream>) -> Frame {
    serde_json::from_str(link.read().unwrap().to_text().unwrap()).unwrap()
}

fn start() -> Value {
    json!({ "type": "start", "capabilities": ["goodbye"] })
}

/// Reads a path until something holds of it, one answer after the other.
fn until(address: SocketAddr, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2_000 {
        let answer = get(address, path);
        if holds(&answer) {
            return answer;
        }
        std::thread::yield_now();
    }
    panic!("{path} never came to hold: {}", get(address, path));
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_acknowledged_and_its_close_is_seen_at_once() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(&dir, None);
    let address = served.address;
    on_a_thread(move || {
        let mut first = link(address);
        let Frame::Receipt(receipt) = say(&mut first, 1, &start()) else { panic!() };
        assert!(receipt.acks[0].durable);
        let Frame::Receipt(receipt) = say(&mut first, 2, &json!({ "type": "beat" })) else { panic!() };
        assert!(!receipt.acks[0].durable);
        let Frame::Receipt(receipt) = say(&mut first, 3, &json!({ "type": "no such thing" })) else {
            panic!()
        };
        assert_eq!(receipt.rejected[0].code, "unknown_type");
        say(&mut first, 3, &json!({ "type": "ready" }));
        until(address, "/v1/workers/trader/main", |worker| worker["condition"] == "live");

        // A newer link of the same voice counts; the close of the older one says nothing.
        let mut second = link(address);
        say(&mut second, 1, &start());
        drop(first);
        say(&mut second, 4, &json!({ "type": "beat" }));
        drop(second);
        until(address, "/v1/workers/trader/main", |worker| worker["condition"] == "unreachable");
        let detail = get(address, &format!("/v1/runs/{RUN}"));
        let closed = detail["facts"].as_array().unwrap().iter();
        assert_eq!(closed.filter(|fact| fact["signal"]["type"] == "link_closed").count(), 1);
    })
    .await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_may_be_asked_hears_it_on_its_newest_link_while_that_is_open() {
    const STOP: &str = "/v1/workers/trader/main/stop";
    let dir = TempDir::new().unwrap();
    let served = Served::start(&dir, None);
    let address = served.address;
    on_a_thread(move || {
        let stoppable = json!({ "type": "start", "capabilities": ["goodbye", "stop"] });
        let mut first = link(address);
        say(&mut first, 1, &stoppable);
        let mut newest = link(address);
        say(&mut newest, 1, &stoppable);
        // The older link says more, and is not the one to be asked for that.
        say(&mut first, 2, &json!({ "type": "beat" }));
        say(&mut first, 1, &stoppable);
        let (status, asked) = post(address, STOP, &json!({ "who": "anna@desk", "why": "new disk" }));
        assert_eq!((status, &asked["run_id"]), (202, &json!(RUN)), "{asked}");
        let Frame::Stop(request) = hear(&mut newest) else { panic!() };
        let (who, why) = (request.who.as_deref(), request.why.as_deref());
        assert_eq!(
            (request.run_id.to_string().as_str(), who, why),
            (RUN, Some("anna@desk"), Some("new disk"))
        );
        assert!(!request.force);

        // A request between two messages takes no receipt's place.
        let (status, _) = post(address, STOP, &json!({ "force": true }));
        assert_eq!(status, 202);
        let Frame::Stop(request) = hear(&mut newest) else { panic!() };
        assert!(request.force);
        let Frame::Receipt(receipt) = say(&mut newest, 3, &json!({ "type": "ready" })) else { panic!() };
        assert_eq!((receipt.acks.len(), receipt.acks[0].seq), (1, 3));
        let (status, refused) = post(address, "/v1/workers/trader/main/pause", &json!({}));
        assert_eq!((status, &refused["error"]["code"]), (409, &json!("not_opted_in")));

        drop(newest);
        until(address, "/v1/workers/trader/main", |worker| worker["condition"] == "unreachable");
        let (status, refused) = post(address, STOP, &json!({}));
        assert_eq!((status, &refused["error"]["code"]), (409, &json!("not_linked")));
        // Whoever is left says its start again, and is asked again.
        let Frame::Receipt(_) = say(&mut first, 1, &stoppable) else { panic!("it was asked before") };
        assert_eq!(post(address, STOP, &json!({})).0, 202);
        assert!(matches!(hear(&mut first), Frame::Stop(_)));
        let facts = get(address, &format!("/v1/runs/{RUN}"))["facts"].clone();
        let said: Vec<&Value> =
            facts.as_array().unwrap().iter().map(|fact| &fact["signal"]["type"]).collect();
        assert!(!said.contains(&&json!("asked")), "the run itself says that it was asked: {said:?}");
    })
    .await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_delivers_for_an_earlier_one_is_no_sign_of_life_of_that_one() {
    const EARLIER: &str = "0190d1f0-0000-7000-8000-000000000000";
    const BETWEEN_MS: i64 = 50;
    let dir = TempDir::new().unwrap();
    let served = Served::start(&dir, None);
    let address = served.address;
    on_a_thread(move || {
        let of_earlier = |seq: u64, signal: Value| {
            json!({ "v": 1, "run_id": EARLIER, "source": "self", "seq": seq, "service": "trader",
                "worker": "main", "signal": signal })
        };
        let told = |link: &mut WebSocket<TcpStream>, facts: &Value| {
            link.send(Message::text(facts.to_string())).unwrap();
            let Frame::Receipt(receipt) = hear(link) else { panic!() };
            receipt.acks.iter().map(|ack| (ack.seq, ack.durable)).collect::<Vec<_>>()
        };
        let millis =
            |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let begun = [of_earlier(1, start()), of_earlier(2, json!({ "type": "ready" }))];
        let mut earlier = link(address);
        assert_eq!(told(&mut earlier, &json!(begun)), [(1, true), (2, true)]);
        drop(earlier);
        let path = format!("/v1/runs/{EARLIER}");
        let shown = until(address, &path, |run| run["run"]["ready_at"].is_string());
        let heard = millis(&shown["run"]["last_beat_at"]);
        until(address, "/v1/status", |status| millis(&status["collector"]["now"]) > heard + BETWEEN_MS);

        let mut linked = link(address);
        say(&mut linked, 1, &start());
        say(&mut linked, 2, &json!({ "type": "ready" }));
        // From its spool: the state, so that the rest can be placed, and what nobody had taken.
        let mut last = of_earlier(3, json!({ "type": "final", "class_hint": "completed" }));
        last["age_ms"] = json!(BETWEEN_MS / 2);
        let file = json!([begun[0], begun[1], last]);
        assert_eq!(told(&mut linked, &file), [(1, true), (2, true), (3, true)]);
        let run = until(address, &path, |run| run["run"]["ending"]["class"] == "completed")["run"].take();
        assert_eq!(run["last_beat_at"], run["ending"]["at"], "its last word is its last sign of life");
        let worker = get(address, "/v1/workers/trader/main");
        assert_eq!((&worker["condition"], &worker["run"]["run_id"]), (&json!("live"), &json!(RUN)));
    })
    .await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_goodbye_to_links_and_closes_them_with_the_code_of_its_reason() {
    for (back_by, reason, code) in
        [(None, ByeReason::Stopped, 1001), (Some(Duration::from_secs(30)), ByeReason::Restarting, 1012)]
    {
        let dir = TempDir::new().unwrap();
        let served = Served::start(&dir, back_by);
        let address = served.address;
        let mut linked = on_a_thread(move || {
            let mut linked = link(address);
            say(&mut linked, 1, &start());
            linked
        })
        .await;
        served.stop().await;
        on_a_thread(move || {
            let Frame::Bye(Bye { reason: said, back_by: promised }) = hear(&mut linked) else { panic!() };
            assert_eq!((said, promised.is_some()), (reason, back_by.is_some()));
            let Message::Close(Some(close)) = linked.read().unwrap() else { panic!() };
            assert_eq!(u16::from(close.code), code);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_keeps_a_collector_from_stopping() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(&dir, None);
    let address = served.address;
    let held = on_a_thread(move || {
        get(address, "/healthz");
        let silent = connect(address);
        let mut slow = connect(address);
        slow.write_all(b"POST /v1/beats HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
        let mut halfway = connect(address);
        write!(halfway, "POST /v1/beats HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n")
            .unwrap();
        halfway.write_all(b"Content-Length: 900\r\n\r\n{").unwrap();
        let mut stalled = link(address);
        say(&mut stalled, 1, &start());
        (silent, slow, halfway, stalled)
    })
    .await;
    served.stop().await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_in_use_is_said_to_be() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(&dir, None);
    let address = served.address;
    on_a_thread(move || get(address, "/healthz")).await;
    let second = Served::start(&dir, None);
    let failed = tokio::time::timeout(LIMIT, second.ended).await.unwrap().unwrap().unwrap_err();
    let RunError::Journal { source } = failed else { panic!("{failed}") };
    assert!(source.to_string().starts_with("another collector works on the data directory"));
    served.stop().await;
}
