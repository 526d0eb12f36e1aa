//! Requests, from the operator's program to the mailbox of a link, without a port.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use futures_util::FutureExt as _;
use lastbeat_wire::reply::{Bye, ByeReason, Frame, Request};
use lastbeat_wire::{Code, RunId, Source};
use serde_json::{Value, json};

use crate::ingest::switchboard::{Extension, MAILBOX_MAX};
use crate::keeper::inbox;
use crate::trial::{Trial, envelope, request, run, start};

const STOP: &str = "/v1/workers/trader/main/stop";
const PAUSE: &str = "/v1/workers/trader/main/pause";
const RESUME: &str = "/v1/workers/trader/main/resume";

/// A run of `trader/main` starts, and says what it may be asked.
async fn starts(trial: &Trial, run: RunId, capabilities: &[&str]) {
    let (status, answer) =
        trial.post(envelope(run, "self", 1, json!({ "type": "start", "capabilities": capabilities }))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
}

/// The mailbox of a link that speaks for a run.
fn link(trial: &Trial, run: RunId, number: u64) -> Extension {
    let mut link = Extension::new(Arc::clone(&trial.parts.state.switchboard), number);
    assert!(link.speak_for((run, Source::Own)));
    link
}

fn heard(link: &mut Extension) -> Option<Frame> {
    link.heard().now_or_never()
}

fn plain(run_id: RunId) -> Request {
    Request { run_id, who: None, why: None, force: false }
}

async fn refused(trial: &Trial, path: &str, body: impl ToString, code: Code) -> Value {
    let before = trial.rejected(code);
    let (status, answer) = trial.order(Method::POST, path, body).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (code.status(), &json!(code.as_str())),
        "{answer}"
    );
    assert_eq!(trial.rejected(code), before + 1);
    answer
}

#[tokio::test]
async fn each_request_goes_down_the_link_of_the_run_with_who_and_why() {
    let trial = Trial::new().await;
    starts(&trial, run(1), &["goodbye", "stop", "pause"]).await;
    let mut link = link(&trial, run(1), 7);
    let said = json!({ "who": "anna@desk", "why": "new disk", "force": true });
    let (status, answer) = trial.order(Method::POST, STOP, said).await;
    assert_eq!((status, &answer["run_id"]), (StatusCode::ACCEPTED, &json!(run(1))), "{answer}");
    assert!(answer["at"].as_str().unwrap().ends_with('Z'), "{answer}");
    let forced =
        Request { run_id: run(1), who: Some("anna@desk".into()), why: Some("new disk".into()), force: true };
    assert_eq!(heard(&mut link), Some(Frame::Stop(forced)));

    // A body may be absent, and so may each of its fields.
    for (path, body, frame) in [
        (STOP, "", Frame::Stop(plain(run(1)))),
        (PAUSE, "{}", Frame::Pause(plain(run(1)))),
        (RESUME, r#"{"force":false}"#, Frame::Resume(plain(run(1)))),
    ] {
        assert_eq!(trial.order(Method::POST, path, body).await.0, StatusCode::ACCEPTED, "{path}");
        assert_eq!((heard(&mut link), heard(&mut link)), (Some(frame), None), "{path}");
    }
    let facts = trial.parts.state.journal.facts_of(run(1)).unwrap();
    assert_eq!(facts.len(), 1, "a request is no fact: the run says what it does");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused_by_its_code_and_nobody_hears_of_it() {
    let trial = Trial::new().await;
    starts(&trial, run(1), &["stop", "pause"]).await;
    let mut link = link(&trial, run(1), 1);
    for (path, body, code) in [
        (STOP, "{", Code::MalformedJson),
        (STOP, "[]", Code::BadOrder),
        (STOP, r#"{"wyh":"a"}"#, Code::BadOrder),
        (STOP, r#"{"who":7}"#, Code::BadOrder),
        (STOP, r#"{"who":" "}"#, Code::BadOrder),
        (STOP, r#"{"why":""}"#, Code::BadOrder),
        (STOP, r#"{"force":"yes"}"#, Code::BadOrder),
        (PAUSE, r#"{"force":true}"#, Code::BadOrder),
        (RESUME, r#"{"force":true}"#, Code::BadOrder),
    ] {
        refused(&trial, path, body, code).await;
    }
    refused(&trial, STOP, json!({ "why": "x".repeat(257) }), Code::BadOrder).await;
    refused(&trial, STOP, json!({ "who": "x".repeat(257) }), Code::BadOrder).await;
    refused(&trial, STOP, format!("\"{}\"", "x".repeat(1_048_576)), Code::BodyTooLarge).await;
    assert_eq!(heard(&mut link), None);
    let longest = json!({ "why": "x".repeat(256), "who": "x".repeat(256) });
    assert_eq!(trial.order(Method::POST, STOP, longest).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_run_is_asked_only_what_it_said_it_may_be_asked() {
    let trial = Trial::new().await;
    let host = json!({ "type": "start", "capabilities": ["goodbye", "stop"], "pid": 812, "host": "h1" });
    trial.post(envelope(run(1), "self", 1, host)).await;
    let mut link = link(&trial, run(1), 1);
    for path in [PAUSE, RESUME] {
        let answer = refused(&trial, path, "", Code::NotOptedIn).await;
        let verb = path.rsplit('/').next().unwrap();
        assert_eq!(
            answer["error"]["message"],
            format!("run {} (pid 812 on h1) did not say that it may be asked to {verb}", run(1))
        );
    }
    assert_eq!(heard(&mut link), None);
    assert_eq!(trial.order(Method::POST, STOP, "").await.0, StatusCode::ACCEPTED);

    // What a witness says of its child is not the child's word.
    let trial = Trial::new().await;
    let witnessed = json!({ "type": "witness_start", "capabilities": ["stop", "pause"], "ready": true });
    trial.post(envelope(run(1), "witness", 1, witnessed)).await;
    refused(&trial, STOP, "", Code::NotOptedIn).await;
    trial.post(envelope(run(1), "self", 1, start())).await;
    refused(&trial, STOP, "", Code::NotOptedIn).await;
}

#[tokio::test]
async fn the_newest_run_that_lives_is_asked_and_without_one_nobody() {
    let trial = Trial::new().await;
    refused(&trial, STOP, "", Code::NotFound).await;
    refused(&trial, "/v1/workers/trader/a%20b/stop", "", Code::NotFound).await;
    starts(&trial, run(1), &["stop"]).await;
    starts(&trial, run(2), &["stop"]).await;
    let (mut older, mut newer) = (link(&trial, run(1), 1), link(&trial, run(2), 2));
    assert_eq!(trial.order(Method::POST, STOP, "").await.1["run_id"], json!(run(2)));
    assert_eq!((heard(&mut older), heard(&mut newer)), (None, Some(Frame::Stop(plain(run(2))))));

    for number in [1, 2] {
        let last = json!({ "type": "final", "class_hint": "shutdown" });
        trial.post(envelope(run(number), "self", 2, last)).await;
    }
    let answer = refused(&trial, STOP, "", Code::NotRunning).await;
    assert_eq!(answer["error"]["message"], "no run of trader/main lives");
    assert_eq!((heard(&mut older), heard(&mut newer)), (None, None));
}

#[tokio::test]
async fn a_child_is_not_asked_in_place_of_the_run_that_forked_it() {
    let trial = Trial::new().await;
    starts(&trial, run(1), &["stop"]).await;
    let child = json!({ "type": "start", "capabilities": ["stop"], "parent_run": run(1) });
    trial.post(envelope(run(2), "self", 1, child)).await;
    let _links = (link(&trial, run(1), 1), link(&trial, run(2), 2));
    assert_eq!(trial.order(Method::POST, STOP, "").await.1["run_id"], json!(run(1)));
}

#[tokio::test]
async fn without_an_open_link_or_with_one_that_takes_nothing_the_answer_is_a_code() {
    let trial = Trial::new().await;
    starts(&trial, run(1), &["stop"]).await;
    refused(&trial, STOP, "", Code::NotLinked).await;
    let stalled = link(&trial, run(1), 1);
    for _ in 0..MAILBOX_MAX {
        assert_eq!(trial.order(Method::POST, STOP, "").await.0, StatusCode::ACCEPTED);
    }
    refused(&trial, STOP, "", Code::LinkBusy).await;
    drop(stalled);
    refused(&trial, STOP, "", Code::NotLinked).await;

    let mut link = link(&trial, run(1), 2);
    trial.parts.bye.send_replace(Some(Bye { reason: ByeReason::Stopped, back_by: None }));
    refused(&trial, STOP, "", Code::Stopping).await;
    assert_eq!(heard(&mut link), None);
}

#[tokio::test]
async fn a_keeper_that_hangs_keeps_nobody_from_asking() {
    let mut trial = Trial::new().await;
    starts(&trial, run(1), &["stop"]).await;
    trial.until(|snapshot| !snapshot.roster.workers().is_empty()).await;
    let mut link = link(&trial, run(1), 1);
    // Whatever is put into this inbox is never taken out.
    let (inbox, _mail) = inbox::inbox();
    trial.parts.state.inbox = inbox;
    assert_eq!(trial.order(Method::POST, STOP, "").await.0, StatusCode::ACCEPTED);
    assert_eq!(heard(&mut link), Some(Frame::Stop(plain(run(1)))));
}

#[tokio::test]
async fn requests_are_taken_from_programs_and_from_the_own_origin_only() {
    let trial = Trial::new().await;
    starts(&trial, run(1), &["stop", "pause"]).await;
    let mut link = link(&trial, run(1), 1);
    for path in [STOP, PAUSE, RESUME] {
        let with = |name: header::HeaderName, value: &str, kind: &str| {
            let builder = request(Method::POST, path).header(header::CONTENT_TYPE, kind).header(name, value);
            builder.body(Body::from("{}")).unwrap()
        };
        let foreign = with(header::ORIGIN, "https://evil.example", "application/json");
        let (status, body) = trial.send(foreign).await;
        assert!(status == StatusCode::FORBIDDEN && body.contains("foreign_origin"), "{path}: {body}");
        let form = with(header::ORIGIN, "http://127.0.0.1:5278", "text/plain");
        assert_eq!(trial.send(form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        let stranger = axum::http::Request::post(path)
            .header(header::HOST, "rebound.example:5278")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from("{}"))
            .unwrap();
        assert_eq!(trial.send(stranger).await.0, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(trial.get(path).await.0, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(heard(&mut link), None);
}
