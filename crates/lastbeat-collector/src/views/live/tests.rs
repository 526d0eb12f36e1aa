//! Streams of a collector without a port: what is told, when, and how it ends.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use lastbeat_wire::reply::{Bye, ByeReason};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::assembly;
use crate::trial::{Trial, envelope, request, run, start};
use crate::views::AppState;

/// A stream that is silent for this long has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A reader of one stream.
struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Told {
    event: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(trial: &Trial, path: &str) -> Self {
        Self::open_of(&trial.parts.state, path).await
    }

    async fn open_of(state: &AppState, path: &str) -> Self {
        let response = ask(state, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; none when the stream has ended.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim_start().to_owned()
                };
                let told = (!block.starts_with(':')).then(|| Told {
                    event: field("event:"),
                    id: field("id:"),
                    data: serde_json::from_str(&field("data:")).unwrap(),
                });
                self.text = rest.to_owned();
                match told {
                    Some(told) => return Some(told),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(LIMIT, self.body.next()).await.expect("the stream is silent")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event of which something holds.
    async fn until(&mut self, mut holds: impl FnMut(&Told) -> bool) -> Told {
        loop {
            let told = self.next().await.expect("the stream has ended");
            if holds(&told) {
                return told;
            }
        }
    }
}

async fn ask(state: &AppState, path: &str) -> Response {
    let request = request(Method::GET, path).body(Body::empty()).unwrap();
    assembly::app(state.clone()).oneshot(request).await.unwrap()
}

/// The piece with an id, if it was sent.
fn piece<'a>(told: &'a Told, id: &str) -> Option<&'a str> {
    told.data["html"].as_array()?.iter().find(|piece| piece[0] == id)?[1].as_str()
}

async fn is_live(trial: &Trial) {
    let ready = envelope(run(1), "self", 2, json!({"type": "ready"}));
    trial.post(json!([envelope(run(1), "self", 1, start()), ready])).await;
    trial.until(|snapshot| snapshot.roster.worker("trader", "main").is_some()).await;
}

#[tokio::test]
async fn a_page_is_told_everything_once_and_then_what_differs() {
    let trial = Trial::new().await;
    let mut events = Events::open(&trial, "/v1/events?as=html").await;
    let first = events.next().await.unwrap();
    assert_eq!((first.event.as_str(), first.id.as_str()), ("snapshot", "1.1"));
    assert_eq!(first.data["collector"], json!(trial.parts.state.identity.id));
    assert_eq!(first.data["epoch"], 1);
    assert!(piece(&first, "head").unwrap().contains("No worker has reported yet"), "{first:?}");
    assert_eq!(first.data["order"]["g:live"], json!([]));

    is_live(&trial).await;
    let row = events.until(|told| piece(told, "w:trader/main").is_some_and(|row| row.contains("Live"))).await;
    assert_eq!(row.event, "delta");
    assert!(row.data["at"].is_string() && row.data["epoch"] == 1, "{row:?}");

    let beat = events.until(|told| piece(told, "lb:trader/main").is_some()).await;
    assert!(piece(&beat, "w:trader/main").is_none(), "only the cell that differs: {beat:?}");
    trial.stop().await;
}

#[tokio::test]
async fn a_page_hears_the_time_each_second_although_nothing_happens() {
    let trial = Trial::new().await;
    let mut events = Events::open(&trial, "/v1/events?as=html&page=/").await;
    let first = events.next().await.unwrap();
    let second = events.until(|told| told.data["html"].is_null()).await;
    assert_eq!(second.event, "delta");
    assert!(second.data["order"].is_null() && second.data["title"].is_null(), "{second:?}");
    assert_ne!(second.data["at"], first.data["at"]);
    trial.stop().await;
}

#[tokio::test]
async fn a_worker_page_and_a_run_page_are_live_too() {
    let trial = Trial::new().await;
    let page = format!("/v1/events?as=html&page=/runs/{}", run(1));
    let mut worker = Events::open(&trial, "/v1/events?as=html&page=/workers/trader/main").await;
    let first = worker.next().await.unwrap();
    assert!(piece(&first, "head").unwrap().contains("No such worker has reported"), "{first:?}");

    is_live(&trial).await;
    worker.until(|told| piece(told, "runs").is_some_and(|runs| runs.contains("Running"))).await;
    let mut of_run = Events::open(&trial, &page).await;
    let received = of_run.next().await.unwrap();
    assert!(piece(&received, "received").unwrap().contains("ready #2"), "{received:?}");

    let cause = json!({"kind": "api"});
    let asked = envelope(run(1), "self", 3, json!({"type": "asked", "cause": cause}));
    let goodbye = json!({"type": "final", "class_hint": "shutdown", "cause": cause});
    trial.post(json!([asked, envelope(run(1), "self", 4, goodbye)])).await;
    worker.until(|told| piece(told, "head").is_some_and(|head| head.contains("System stopped"))).await;
    of_run.until(|told| piece(told, "received").is_some_and(|facts| facts.contains("final #4"))).await;
    trial.stop().await;
}

#[tokio::test]
async fn an_alert_that_opens_is_told_to_the_overview() {
    let trial = Trial::new().await;
    is_live(&trial).await;
    let mut events = Events::open(&trial, "/v1/events?as=html").await;
    let first = events.next().await.unwrap();
    assert!(piece(&first, "alerts").unwrap().contains("id=\"alerts\" hidden"), "{first:?}");
    let gone = json!({"type": "final", "class_hint": "crashed"});
    trial.post(json!([envelope(run(1), "self", 3, gone)])).await;
    let told = events.until(|told| piece(told, "alerts").is_some()).await;
    let alerts = piece(&told, "alerts").unwrap();
    assert!(alerts.contains("LastbeatWorkerFailed") && alerts.contains(r#"id="alerts">"#), "{alerts}");
    assert_eq!(told.data["title"], "1 failed: lastbeat");
    trial.stop().await;
}

#[tokio::test]
async fn data_comes_as_a_snapshot_and_deltas() {
    let trial = Trial::new().await;
    let mut events = Events::open(&trial, "/v1/events").await;
    let first = events.next().await.unwrap();
    assert_eq!((first.event.as_str(), &first.data["workers"]), ("snapshot", &json!([])));
    assert_eq!(first.data["status"]["collector"]["epoch"], 1);
    is_live(&trial).await;
    let delta = events.until(|told| told.data["workers"][0]["condition"] == "live").await;
    assert_eq!(delta.event, "delta");
    assert_eq!(delta.data["collector"], first.data["collector"]);
    trial.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_a_goodbye_and_no_new_one_begins() {
    let trial = Trial::new().await;
    for path in ["/v1/events", "/v1/events?as=html"] {
        let (goes, bye) = watch::channel(None);
        let state = AppState { bye, ..trial.parts.state.clone() };
        let mut events = Events::open_of(&state, path).await;
        events.next().await.unwrap();
        let back_by = Some("2026-01-05T12:03:40Z".to_owned());
        goes.send_replace(Some(Bye { reason: ByeReason::Restarting, back_by }));
        let bye = events.until(|told| told.event == "bye").await;
        assert_eq!(
            (&bye.data["reason"], &bye.data["back_by"]),
            (&json!("restarting"), &json!("2026-01-05T12:03:40Z"))
        );
        assert!(bye.data["at"].is_string() && bye.data["epoch"] == 1, "{bye:?}");
        assert!(events.next().await.is_none(), "nothing follows a goodbye");
        assert_eq!(ask(&state, path).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    trial.stop().await;
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_with_a_code() {
    let trial = Trial::new().await;
    for query in ["as=xml", "page=/", "as=html&page=/nowhere", "as=html&page=x", "what=1"] {
        let (status, body) = trial.get(&format!("/v1/events?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert!(body.contains("bad_query"), "{query}: {body}");
    }
    trial.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let trial = Trial::new().await;
    let app = super::with_places(1).with_state(trial.parts.state.clone());
    let open = || app.clone().oneshot(request(Method::GET, "/v1/events").body(Body::empty()).unwrap());
    let first = open().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(open().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    assert_eq!(open().await.unwrap().status(), StatusCode::OK, "a reader that leaves makes room");
    trial.stop().await;
}

#[tokio::test]
async fn pages_are_served_with_their_status_and_their_assets_with_a_tag() {
    let trial = Trial::new().await;
    is_live(&trial).await;
    let path = format!("/runs/{}", run(1));
    for (path, status, text) in [
        ("/", StatusCode::OK, "trader/"),
        ("/?condition=live&service=trader", StatusCode::OK, "Only trader"),
        ("/workers/trader/main", StatusCode::OK, "Live"),
        (&path, StatusCode::OK, "start #1"),
        ("/workers/no/such", StatusCode::NOT_FOUND, "No such worker has reported"),
        ("/runs/nonsense", StatusCode::NOT_FOUND, "No such run is known"),
        ("/style.css", StatusCode::OK, "--live"),
        ("/lastbeat.js", StatusCode::OK, "export function truth"),
    ] {
        let (got, body) = trial.get(path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    let app = assembly::app(trial.parts.state.clone());
    let first =
        app.clone().oneshot(request(Method::GET, "/lastbeat.js").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    let again =
        request(Method::GET, "/lastbeat.js").header(header::IF_NONE_MATCH, &first.headers()[header::ETAG]);
    let again = app.oneshot(again.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    trial.stop().await;
}
