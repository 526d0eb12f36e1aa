//! Orders, from the request to the journal and back, without a port.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use lastbeat_engine::roster::PLANS_MAX;
use lastbeat_wire::{Code, Source};
use serde_json::{Value, json};

use crate::trial::{Trial, envelope, request, run, start};

const PLANS: &str = "/v1/plans";

fn maintenance() -> Value {
    json!({ "kind": "maintenance", "service": "trader", "worker": "main", "for": "10m", "why": "new disk" })
}

fn with(field: &str, value: Value) -> Value {
    let mut plan = maintenance();
    plan[field] = value;
    plan
}

async fn announce(trial: &Trial, plan: Value) -> String {
    let (status, plan) = trial.order(Method::POST, PLANS, plan).await;
    assert_eq!(status, StatusCode::CREATED, "{plan}");
    plan["id"].as_str().unwrap().to_owned()
}

async fn plans(trial: &Trial) -> Vec<Value> {
    let (_, body) = trial.get(PLANS).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    body["plans"].as_array().unwrap().clone()
}

/// What operators ordered, as the journal has it.
fn ordered(trial: &Trial) -> Vec<(u64, Value)> {
    let facts = trial.parts.state.journal.facts_of(trial.parts.state.identity.id).unwrap();
    let ordered = facts.into_iter().filter(|fact| fact.id.source == Source::Operator);
    ordered.map(|fact| (fact.id.seq, serde_json::from_str(&fact.signal_json).unwrap())).collect()
}

/// A worker that was killed.
async fn killed(trial: &Trial) {
    let said = [
        envelope(run(1), "witness", 1, json!({ "type": "witness_start", "ready": true })),
        envelope(run(1), "witness", 2, json!({ "type": "exit", "signal": "SIGKILL" })),
    ];
    assert_eq!(trial.post(json!(said)).await.1["accepted"], 2);
}

#[tokio::test]
async fn a_plan_is_journaled_answered_and_listed_the_same() {
    let trial = Trial::new().await;
    let (status, made) = trial.order(Method::POST, PLANS, with("who", json!("anna"))).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(plans(&trial).await, std::slice::from_ref(&made));
    for (field, value) in [
        ("kind", json!("maintenance")),
        ("worker", json!("main")),
        ("state", json!("open")),
        ("who", json!("anna")),
        ("why", json!("new disk")),
        ("deploy", Value::Null),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let at = |field: &str| made[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(at("until") - at("from"), 600_000);
    let [(1, fact)] = &ordered(&trial)[..] else { panic!("{:?}", ordered(&trial)) };
    assert_eq!((&fact["type"], &fact["id"], &fact["for_ms"]), (&json!("plan"), &made["id"], &json!(600_000)));
}

#[tokio::test]
async fn a_plan_ends_once_and_stays_ended() {
    let trial = Trial::new().await;
    let path = format!("{PLANS}/{}", announce(&trial, maintenance()).await);
    let (status, over) = trial.order(Method::DELETE, &path, "").await;
    assert_eq!((status, &over["state"]), (StatusCode::OK, &json!("over")));
    let (status, again) = trial.order(Method::DELETE, &path, "").await;
    assert_eq!((status, &again), (StatusCode::OK, &over));
    assert_eq!(ordered(&trial).len(), 2, "the second time nothing is to be told");
    for unknown in ["/v1/plans/none", "/v1/plans/a%20b", "/v1/plans/%FF"] {
        let (status, answer) = trial.order(Method::DELETE, unknown, "").await;
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (404, &json!("unknown_plan")), "{unknown}");
    }
}

#[tokio::test]
async fn plans_and_their_ends_are_replayed_and_counted_on() {
    let trial = Trial::new().await;
    let first = announce(&trial, maintenance()).await;
    announce(&trial, with("worker", Value::Null)).await;
    trial.order(Method::DELETE, &format!("{PLANS}/{first}"), "").await;
    let before = plans(&trial).await;
    let states: Vec<&Value> = before.iter().map(|plan| &plan["state"]).collect();
    assert_eq!(states, ["open", "over"]);

    let trial = Trial::in_dir(trial.stop().await).await;
    assert_eq!(plans(&trial).await, before);
    announce(&trial, maintenance()).await;
    let seqs: Vec<u64> = ordered(&trial).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
}

#[tokio::test]
async fn each_fault_of_a_plan_has_its_code_and_leaves_nothing() {
    let trial = Trial::new().await;
    let mut endless = maintenance();
    endless.as_object_mut().unwrap().remove("for");
    let mut silent = maintenance();
    silent.as_object_mut().unwrap().remove("why");
    for (plan, code) in [
        (json!("{"), Code::BadPlan),
        (json!([]), Code::BadPlan),
        (with("kind", json!("holiday")), Code::BadPlan),
        (with("service", json!("a/b")), Code::BadName),
        (with("service", json!(7)), Code::BadPlan),
        (with("worker", json!("")), Code::BadName),
        (with("workr", json!("main")), Code::BadPlan),
        (with("for_ms", json!(60_000)), Code::BadPlan),
        (endless.clone(), Code::BadPlan),
        (with("for", json!("10")), Code::BadPlan),
        (with("for", json!("-10m")), Code::BadPlan),
        (with("for", json!("999ms")), Code::BadPlan),
        (with("for", json!("721h")), Code::BadPlan),
        (silent, Code::BadPlan),
        (with("why", json!(" ")), Code::BadPlan),
        (with("why", json!("x".repeat(1_025))), Code::BadPlan),
        (with("who", json!("x".repeat(257))), Code::BadPlan),
        (with("deploy", json!("")), Code::BadPlan),
    ] {
        let before = trial.rejected(code);
        let (status, answer) = trial.order(Method::POST, PLANS, &plan).await;
        let shown = plan.to_string();
        assert_eq!(answer["error"]["code"], code.as_str(), "{shown:.90}");
        assert_eq!((status.as_u16(), trial.rejected(code)), (code.status(), before + 1), "{shown:.90}");
    }
    let (status, answer) = trial.order(Method::POST, PLANS, "{").await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!("malformed_json")));
    assert_eq!((plans(&trial).await.len(), ordered(&trial).len()), (0, 0));

    endless["for_ms"] = json!(2_592_000_000_u64);
    announce(&trial, endless).await;
    announce(&trial, with("why", json!("x".repeat(1_024)))).await;
    announce(&trial, with("for", json!("1s"))).await;
}

#[tokio::test]
async fn no_more_plans_are_open_than_may_be_and_one_that_ends_makes_room() {
    let trial = Trial::new().await;
    let (id, now) = (trial.parts.state.identity.id, trial.parts.state.clock.now());
    let dir = trial.stop().await;
    // All but one are there already.
    let mut journal = rusqlite::Connection::open(dir.path().join("data/journal.sqlite3")).unwrap();
    let transaction = journal.transaction().unwrap();
    for seq in 1..PLANS_MAX {
        let plan = json!({ "type": "plan", "id": seq.to_string(), "kind": "stop", "service": "other", "for_ms": 3_600_000 });
        transaction
            .execute(
                "INSERT INTO facts (run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json)
                 VALUES (?1, 'operator', ?2, 'lastbeat', 'collector', ?3, 0, 0, ?4)",
                rusqlite::params![
                    id.as_u128().to_be_bytes(),
                    i64::try_from(seq).unwrap(),
                    now.as_millis().cast_signed(),
                    plan.to_string()
                ],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
    drop(journal);

    let trial = Trial::in_dir(dir).await;
    let last = announce(&trial, maintenance()).await;
    let (status, answer) = trial.order(Method::POST, PLANS, maintenance()).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (422, &json!("too_many_plans")));
    assert_eq!(trial.order(Method::DELETE, &format!("{PLANS}/{last}"), "").await.0, StatusCode::OK);
    announce(&trial, maintenance()).await;
}

#[tokio::test]
async fn who_has_ended_is_forgotten_with_its_alert_and_who_has_not_is_not() {
    let trial = Trial::new().await;
    let forget = "/v1/workers/trader/main/forget";
    let (status, answer) = trial.order(Method::POST, forget, "").await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (404, &json!("not_found")));
    killed(&trial).await;
    trial.post(envelope(run(2), "self", 1, start())).await;
    let (status, answer) = trial.order(Method::POST, forget, "").await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (409, &json!("run_open")));

    trial.post(envelope(run(2), "self", 2, json!({ "type": "final", "class_hint": "crashed" }))).await;
    assert!(trial.get("/v1/alerts").await.1.contains("LastbeatWorkerFailed"));
    let (status, answer) = trial.order(Method::POST, forget, "").await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "service": "trader", "worker": "main" })));
    let nothing = |body: String, list: &str| serde_json::from_str::<Value>(&body).unwrap()[list] == json!([]);
    assert!(nothing(trial.get("/v1/workers").await.1, "workers"));
    assert!(nothing(trial.get("/v1/alerts").await.1, "alerts"));
    assert_eq!(trial.order(Method::POST, forget, "").await.0, StatusCode::NOT_FOUND);

    let trial = Trial::in_dir(trial.stop().await).await;
    assert!(nothing(trial.get("/v1/workers").await.1, "workers"), "replay forgets it too");
}

#[tokio::test]
async fn orders_are_taken_from_programs_and_from_the_own_origin_only() {
    let trial = Trial::new().await;
    let id = announce(&trial, maintenance()).await;
    let routes = [
        (Method::POST, PLANS.to_owned()),
        (Method::DELETE, format!("{PLANS}/{id}")),
        (Method::POST, "/v1/workers/trader/main/forget".to_owned()),
    ];
    for (method, path) in routes {
        let foreign = request(method.clone(), &path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ORIGIN, "https://evil.example")
            .body(Body::from(maintenance().to_string()))
            .unwrap();
        let (status, body) = trial.send(foreign).await;
        assert!(status == StatusCode::FORBIDDEN && body.contains("foreign_origin"), "{path}: {body}");
        let stranger = axum::http::Request::builder()
            .method(method.clone())
            .uri(&path)
            .header(header::HOST, "rebound.example:5278")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(maintenance().to_string()))
            .unwrap();
        assert_eq!(trial.send(stranger).await.0, StatusCode::FORBIDDEN, "{path}");
        if method == Method::POST {
            let form = request(method, &path)
                .header(header::CONTENT_TYPE, "text/plain")
                .body(Body::from(maintenance().to_string()))
                .unwrap();
            assert_eq!(trial.send(form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        }
    }
    assert_eq!(ordered(&trial).len(), 1);
}

#[tokio::test]
async fn an_order_that_cannot_be_journaled_is_refused_whole() {
    let trial = Trial::new().await;
    let holder = rusqlite::Connection::open(trial.config.data_dir.join("journal.sqlite3")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, answer) = trial.order(Method::POST, PLANS, maintenance()).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (503, &json!("journal_unavailable")));
    assert_eq!(plans(&trial).await.len(), 0);
    holder.execute_batch("ROLLBACK").unwrap();
    announce(&trial, maintenance()).await;
    assert_eq!(ordered(&trial).len(), 1);
}

#[tokio::test]
async fn nobody_else_speaks_for_operators() {
    let trial = Trial::new().await;
    let plan = json!({ "type": "plan", "id": "a", "kind": "stop", "service": "trader", "for_ms": 60_000 });
    for (id, source, code) in [
        (run(1), "operator", "wrong_source"),
        (run(1), "self", "wrong_source"),
        (trial.parts.state.identity.id, "operator", "wrong_source"),
    ] {
        let (status, answer) = trial.post(envelope(id, source, 1, plan.clone())).await;
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (422, &json!(code)), "{source}");
    }
    assert_eq!((plans(&trial).await.len(), ordered(&trial).len()), (0, 0));
}
