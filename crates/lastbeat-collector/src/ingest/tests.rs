use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use lastbeat_wire::Code;
use serde_json::{Value, json};

use crate::trial::{Trial, envelope, request, run, start};

/// Posts a body that must be refused whole, with this code, counted once.
async fn refused(trial: &Trial, body: String, code: Code) {
    let before = trial.rejected(code);
    let (status, answer) = trial.post(&body).await;
    let shown: String = body.chars().take(60).collect();
    assert_eq!(status.as_u16(), code.status(), "{shown}: {answer}");
    assert_eq!(answer["error"]["code"], code.as_str(), "{shown}");
    assert_eq!(answer["error"]["hint"], code.hint());
    assert_eq!(trial.rejected(code), before + 1, "{shown}");
}

fn with(field: &str, value: Value) -> String {
    let mut envelope = envelope(run(1), "self", 1, start());
    envelope[field] = value;
    envelope.to_string()
}

#[tokio::test]
async fn each_fault_of_a_single_envelope_has_its_code_and_its_counter_and_leaves_nothing() {
    let trial = Trial::new().await;
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (body, code) in [
        ("{\"v\":1".to_owned(), Code::MalformedJson),
        (String::new(), Code::MalformedJson),
        ("17".to_owned(), Code::NotAnEnvelope),
        (with("v", json!(2)), Code::UnsupportedVersion),
        (with("signal", json!({ "type": "telepathy" })), Code::UnknownType),
        (with("service", json!("<script>")), Code::BadName),
        (with("worker", json!("")), Code::BadName),
        (with("service", json!("x".repeat(129))), Code::BadName),
        (with("seq", json!(0)), Code::BadField),
        (with("run_id", json!("7")), Code::BadField),
        (with("age_ms", json!(-1)), Code::BadField),
        (with("source", json!("witness")), Code::WrongSource),
        (with("signal", json!({ "type": "seen" })), Code::WrongSource),
        (with("later", deep), Code::TooDeep),
        (with("later", json!("x".repeat(17_000))), Code::EnvelopeTooLarge),
        (format!("[{}]", "{},".repeat(1_000) + "{}"), Code::BatchTooLong),
        (format!("\"{}\"", "x".repeat(1_100_000)), Code::BodyTooLarge),
    ] {
        refused(&trial, body, code).await;
    }
    assert!(trial.parts.state.now().snapshot.roster.workers().is_empty());
    assert_eq!(trial.parts.state.journal.facts_of(run(1)).unwrap(), []);
}

#[tokio::test]
async fn writes_are_taken_as_json_by_post_from_the_own_origin_only() {
    let trial = Trial::new().await;
    let good = envelope(run(1), "self", 1, start()).to_string();
    let post = || request(Method::POST, "/v1/beats").header(header::CONTENT_TYPE, "application/json");
    for (builder, code) in [
        (request(Method::POST, "/v1/beats"), Code::UnsupportedMediaType),
        (
            request(Method::POST, "/v1/beats").header(header::CONTENT_TYPE, "text/plain"),
            Code::UnsupportedMediaType,
        ),
        (post().header(header::ORIGIN, "https://evil.example"), Code::ForeignOrigin),
        (post().header(header::ORIGIN, "null"), Code::ForeignOrigin),
        (
            axum::http::Request::builder()
                .method(Method::POST)
                .uri("/v1/beats")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::HOST, "rebound.example:5278"),
            Code::ForeignOrigin,
        ),
        (
            request(Method::GET, "/v1/link").header(header::ORIGIN, "https://evil.example"),
            Code::ForeignOrigin,
        ),
        (request(Method::PUT, "/v1/beats"), Code::MethodNotAllowed),
        (request(Method::GET, "/v1/nothing"), Code::NotFound),
    ] {
        let before = trial.rejected(code);
        let (status, body) = trial.send(builder.body(Body::from(good.clone())).unwrap()).await;
        assert_eq!(status.as_u16(), code.status(), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], code.as_str());
        assert_eq!(trial.rejected(code), before + 1);
    }
    assert_eq!(trial.parts.state.journal.facts_of(run(1)).unwrap(), []);

    let own = post().header(header::ORIGIN, "http://127.0.0.1:5278").body(Body::from(good)).unwrap();
    assert_eq!(trial.send(own).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_batch_answers_each_item_in_its_place_and_good_ones_are_journaled() {
    let trial = Trial::new().await;
    let batch = json!([
        envelope(run(1), "self", 1, start()),
        { "v": 1 },
        envelope(run(1), "self", 2, json!({ "type": "beat" })),
        envelope(run(1), "self", 3, json!({ "type": "ready", "mood": "good" })),
    ]);
    let (status, answer) = trial.post(&batch).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let ack = |seq: u64, durable: bool| json!({ "run_id": run(1), "source": "self", "seq": seq, "durable": durable });
    assert_eq!(
        answer,
        json!({
            "acks": [ack(1, true), ack(2, false), ack(3, true)],
            "accepted": 3,
            "rejected": [{ "index": 1, "code": "bad_name", "message": "service is missing or no text" }],
        })
    );
    assert_eq!(trial.rejected(Code::BadName), 1);
    assert_eq!(trial.parts.state.counters.unknown_fields.get(), 1);
    let stored = trial.parts.state.journal.facts_of(run(1)).unwrap();
    assert_eq!(
        stored.iter().map(|fact| fact.signal_json.as_str()).collect::<Vec<_>>(),
        [start().to_string().as_str(), r#"{"mood":"good","type":"ready"}"#]
    );
}

#[tokio::test]
async fn a_fact_is_acknowledged_again_but_its_identity_is_not_used_twice() {
    let trial = Trial::new().await;
    let mut ready = envelope(run(1), "self", 1, json!({ "type": "ready" }));
    let (_, first) = trial.post(&ready).await;
    ready["age_ms"] = json!(5_000);
    let (status, again) = trial.post(&ready).await;
    assert_eq!((status, &again), (StatusCode::ACCEPTED, &first));
    let other = envelope(run(1), "self", 1, json!({ "type": "panic", "message": "no" }));
    refused(&trial, other.to_string(), Code::SeqConflict).await;
    assert_eq!(trial.parts.state.journal.facts_of(run(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_belongs_to_one_worker_also_within_one_batch() {
    let trial = Trial::new().await;
    let mine = envelope(run(1), "self", 1, start());
    let mut stolen = envelope(run(1), "self", 2, json!({ "type": "ready" }));
    stolen["worker"] = json!("other");
    let (_, answer) = trial.post(json!([mine, stolen])).await;
    assert_eq!(answer["rejected"][0]["code"], "run_conflict");
    assert_eq!(answer["accepted"], 1);
    refused(&trial, stolen.to_string(), Code::RunConflict).await;
    let id = trial.parts.state.identity.id;
    refused(&trial, envelope(id, "self", 1, start()).to_string(), Code::RunConflict).await;
}

#[tokio::test]
async fn every_answer_carries_the_protecting_headers() {
    use tower::ServiceExt;
    let trial = Trial::new().await;
    for path in ["/v1/status", "/v1/nothing", "/metrics"] {
        let app = crate::assembly::app(trial.parts.state.clone());
        let response = app.oneshot(request(Method::GET, path).body(Body::empty()).unwrap()).await.unwrap();
        let header = |name: header::HeaderName| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header(header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none';"));
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(header::REFERRER_POLICY), "no-referrer");
        assert_eq!(header(header::CACHE_CONTROL), "no-store");
    }
}

#[tokio::test]
async fn while_the_journal_cannot_be_written_nothing_is_half_applied_and_the_same_batch_is_taken_later() {
    let trial = Trial::new().await;
    let batch = json!([
        envelope(run(1), "self", 1, start()),
        envelope(run(1), "self", 2, json!({ "type": "ready" })),
    ]);
    let holder = rusqlite::Connection::open(trial.config.data_dir.join("journal.sqlite3")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    refused(&trial, batch.to_string(), Code::JournalUnavailable).await;
    refused(&trial, batch[0].to_string(), Code::JournalUnavailable).await;
    assert!(trial.parts.state.now().snapshot.roster.workers().is_empty());
    holder.execute_batch("ROLLBACK").unwrap();

    let (status, answer) = trial.post(&batch).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::ACCEPTED, &json!(2)));
    trial.until(|snapshot| snapshot.roster.workers().len() == 1).await;
}

#[tokio::test]
async fn a_name_that_was_made_to_resolve_to_us_reads_nothing_but_a_scraper_may_use_any() {
    let trial = Trial::new().await;
    let ask = |host: Option<&str>, path: &str| {
        let builder = axum::http::Request::builder().uri(path);
        let builder = host.into_iter().fold(builder, |builder, host| builder.header(header::HOST, host));
        builder.body(Body::empty()).unwrap()
    };
    let paths = ["/", "/v1/status", "/v1/workers", "/v1/alerts", "/v1/events", "/v1/link", "/nothing"];
    for host in [Some("rebound.example:5278"), None] {
        for path in paths {
            let before = trial.rejected(Code::ForeignOrigin);
            let (status, body) = trial.send(ask(host, path)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {body}");
            assert_eq!(trial.rejected(Code::ForeignOrigin), before + 1, "{path}");
        }
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        let (status, body) = trial.send(ask(Some("collector:5278"), path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    assert_eq!(trial.send(ask(Some("localhost:5278"), "/v1/status")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_broke_off_is_not_called_malformed() {
    let trial = Trial::new().await;
    let pieces = [Ok("{\"v\":1"), Err(std::io::Error::other("gone"))];
    let request = request(Method::POST, "/v1/beats")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(futures_util::stream::iter(pieces)))
        .unwrap();
    let (status, body) = trial.send(request).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_u16(), &body["error"]["code"]), (408, &json!("body_incomplete")));
    assert_eq!(trial.rejected(Code::BodyIncomplete), 1);
}
