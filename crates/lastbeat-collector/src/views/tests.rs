use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::trial::{Trial, envelope, run, start};

async fn with_two_workers() -> Trial {
    let trial = Trial::new().await;
    let mut other = envelope(run(2), "self", 1, start());
    other["worker"] = json!("second");
    let mut gone = envelope(run(2), "self", 2, json!({ "type": "final", "class_hint": "crashed" }));
    gone["worker"] = json!("second");
    trial
        .post(json!([
            envelope(run(1), "self", 1, start()),
            envelope(run(1), "self", 2, json!({ "type": "ready" })),
            other,
            gone,
        ]))
        .await;
    trial.until(|snapshot| snapshot.roster.workers().len() == 2).await;
    trial
}

fn names(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap();
    let workers = body["workers"].as_array().unwrap().iter();
    workers.map(|worker| worker["worker"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn workers_come_failed_first_and_in_windows() {
    let trial = with_two_workers().await;
    for (path, expected) in [
        ("/v1/workers", vec!["second", "main"]),
        ("/v1/workers?limit=1", vec!["second"]),
        ("/v1/workers?limit=1&after=trader/second", vec!["main"]),
        ("/v1/workers?after=trader/main", vec![]),
        ("/v1/workers?condition=live", vec!["main"]),
        ("/v1/workers?service=other", vec![]),
    ] {
        let (status, body) = trial.get(path).await;
        assert_eq!(
            (status.as_u16(), names(&body)),
            (200, expected.into_iter().map(String::from).collect()),
            "{path}"
        );
    }
    for path in ["limit=0", "limit=x", "limit=1001", "condition=fine", "after=a/b", "order=name"] {
        let (status, body) = trial.get(&format!("/v1/workers?{path}")).await;
        assert_eq!(status.as_u16(), 400, "{path}");
        assert!(body.contains(r#""code":"bad_query""#), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_run_is_shown_with_its_facts_as_they_were_sent() {
    let trial = with_two_workers().await;
    let (status, body) = trial.get(&format!("/v1/runs/{}", run(1))).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status.as_u16(), 200);
    assert_eq!((&body["worker"], &body["run"]["state"]), (&json!("main"), &json!("running")));
    assert_eq!(body["facts"][0]["signal"], start());
    assert_eq!(body["facts"].as_array().unwrap().len(), 2);
    for path in
        ["/v1/runs/7", &format!("/v1/runs/{}", run(9)), "/v1/workers/trader/none", "/v1/workers/x/y/runs"]
    {
        assert_eq!(trial.get(path).await.0.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn only_who_was_alive_at_the_end_of_its_run_is_shown_as_abandoned() {
    let trial = Trial::new().await;
    let agent = |name: &str| json!({ "type": "agent", "name": name, "state": "running" });
    let cause = json!({ "kind": "keyboard", "signal": "SIGINT" });
    let cleanup = json!({ "abandoned": ["deaf"] });
    let last = json!({ "type": "final", "class_hint": "shutdown", "cause": cause, "cleanup": cleanup });
    trial
        .post(json!([
            envelope(run(1), "self", 1, start()),
            envelope(run(1), "self", 2, json!({ "type": "ready" })),
            envelope(run(1), "self", 3, agent("deaf")),
            envelope(run(1), "self", 4, agent("unheard")),
            envelope(run(1), "self", 5, last),
        ]))
        .await;
    trial.until(|snapshot| snapshot.roster.workers().len() == 1).await;
    let (_, body) = trial.get(&format!("/v1/runs/{}", run(1))).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let agents = [
        json!({ "name": "deaf", "state": "ended", "end": "abandoned", "error": null }),
        json!({ "name": "unheard", "state": "ended", "end": null, "error": null }),
    ];
    assert_eq!(body["run"]["agents"], json!(agents));
}

#[tokio::test]
async fn it_is_ready_only_while_it_takes_facts() {
    let trial = Trial::new().await;
    assert_eq!(trial.get("/readyz").await.0.as_u16(), 200);
    trial.parts.ready.send_replace(false);
    assert_eq!(trial.get("/readyz").await.0.as_u16(), 503);
    assert_eq!(trial.get("/healthz").await.0.as_u16(), 200);
}

#[tokio::test]
async fn metrics_say_what_the_snapshot_says_and_counters_are_born_at_zero() {
    let trial = with_two_workers().await;
    trial.post("{").await;
    let (status, text) = trial.get("/metrics").await;
    assert_eq!(status.as_u16(), 200);
    for line in [
        r#"lastbeat_worker_state{service="trader",worker="main",state="live"} 1"#,
        r#"lastbeat_worker_state{service="trader",worker="main",state="failed"} 0"#,
        r#"lastbeat_workers{service="trader",state="failed"} 1"#,
        r#"lastbeat_endings_total{service="trader",class="crashed"} 1"#,
        r#"lastbeat_endings_total{service="trader",class="lost"} 0"#,
        r#"lastbeat_restart_promises_total{service="trader",kept="false"} 0"#,
        r#"lastbeat_worker_info{service="trader",worker="main",version="1.2",host="h1",environment=""} 1"#,
        r#"lastbeat_alerts{name="LastbeatWorkerFailed",severity="page",service="trader",worker="second",host="h1"} 1"#,
        r#"lastbeat_collector_rejected_total{code="malformed_json"} 1"#,
        r#"lastbeat_collector_rejected_total{code="overloaded"} 0"#,
        "lastbeat_collector_journal_append_seconds_count 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let trial = with_two_workers().await;
    let cause = json!({ "kind": "operator", "who": "ops" });
    trial
        .post(json!([
            envelope(run(1), "self", 3, json!({ "type": "asked", "cause": cause })),
            envelope(run(1), "self", 4, json!({ "type": "final", "class_hint": "shutdown", "cause": cause })),
        ]))
        .await;
    trial.until(|snapshot| !snapshot.roster.counts().shutdown_durations.is_empty()).await;
    let (_, text) = trial.get("/metrics").await;
    assert!(text.contains("lastbeat_shutdown_duration_seconds_bucket"));
    promtool_is_content(&text);
}

/// The collector's own fact, put into the journal of a collector that is not there.
fn journaled(trial: &Trial, seq: u64, signal: &Value) {
    let journal = rusqlite::Connection::open(trial.config.data_dir.join("journal.sqlite3")).unwrap();
    let id = trial.parts.state.identity.id.as_u128().to_be_bytes();
    let now = trial.parts.state.clock.now().as_millis().cast_signed();
    journal
        .execute(
            "INSERT INTO facts (run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json)
             VALUES (?1, 'observer', ?2, 'lastbeat', 'collector', ?3, 0, 0, ?4)",
            rusqlite::params![id, seq.cast_signed(), now, signal.to_string()],
        )
        .unwrap();
}

#[tokio::test]
async fn a_mass_silence_of_the_most_members_is_replayed_and_its_alert_has_no_worker() {
    let trial = Trial::new().await;
    trial.post(envelope(run(1), "self", 1, start())).await;
    let members: Vec<_> = (0..4_096).map(run).collect();
    journaled(&trial, 1, &json!({ "type": "mass_silence", "members": members, "of": 5_000 }));
    let trial = Trial::in_dir(trial.stop().await).await;
    assert_eq!(trial.parts.state.counters.unreadable_rows.get(), 0);
    let (_, alerts) = trial.get("/v1/alerts").await;
    let alerts: Value = serde_json::from_str(&alerts).unwrap();
    let alert = &alerts["alerts"][0];
    assert_eq!(
        (&alert["name"], &alert["service"], &alert["worker"], &alert["because"]),
        (&json!("LastbeatObserverOrNetwork"), &Value::Null, &Value::Null, &json!("4096 of 5000 silent"))
    );
    let (_, text) = trial.get("/metrics").await;
    let series =
        r#"lastbeat_alerts{name="LastbeatObserverOrNetwork",severity="page",service="",worker="",host=""} 1"#;
    assert!(text.lines().any(|line| line == series), "{text}");
    promtool_is_content(&text);
}

#[tokio::test]
async fn a_stop_by_nobody_who_could_be_read_is_a_notice_beside_the_alerts() {
    let trial = Trial::new().await;
    let sender = json!({ "pid": 812, "uid": 1000, "gone": true });
    let cause = json!({ "kind": "signal", "signal": "SIGTERM", "sender": sender });
    trial.post(envelope(run(1), "self", 1, start())).await;
    trial.post(envelope(run(1), "self", 2, json!({ "type": "ready" }))).await;
    let last = json!({ "type": "final", "class_hint": "shutdown", "cause": cause });
    trial.post(envelope(run(1), "self", 3, last)).await;
    trial.until(|known| !known.roster.counts().endings.is_empty()).await;
    let (_, told) = trial.get("/v1/alerts").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let [notice] = &told["notices"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!(
        (&notice["name"], &notice["because"], &told["alerts"]),
        (&json!("LastbeatStoppedByUnknown"), &json!("stopped by pid 812 (gone)"), &json!([]))
    );
}

#[tokio::test]
async fn a_host_that_booted_anew_has_one_alert_by_its_name() {
    let trial = Trial::scaled(tempfile::TempDir::new().unwrap(), 0.01);
    crate::assembly::open(&trial.config, &trial.parts.state).await.unwrap();
    let start = |boot: &str, interval_ms: u64| json!({ "type": "start", "host": "h1", "boot_id": boot, "interval_ms": interval_ms });
    let mut other = envelope(run(2), "self", 1, start("a", 50));
    other["worker"] = json!("second");
    let mut after = envelope(run(3), "self", 1, start("b", 60_000));
    after["worker"] = json!("third");
    trial.post(json!([envelope(run(1), "self", 1, start("a", 50)), other])).await;
    // A moment later: another boot is one that was told of by a later start.
    let begun = trial.parts.state.clock.now();
    while trial.parts.state.clock.now() <= begun {
        tokio::task::yield_now().await;
    }
    trial.post(after).await;
    // Both are silent since, and their host is not: their silence is its reboot.
    let judged = trial.until(|known| {
        let ended = known.roster.workers().iter().filter(|worker| worker.last_ended().is_some());
        ended.count() == 2
    });
    tokio::time::timeout(std::time::Duration::from_secs(20), judged).await.unwrap();
    let (_, alerts) = trial.get("/v1/alerts").await;
    let alerts: Value = serde_json::from_str(&alerts).unwrap();
    let [alert] = &alerts["alerts"].as_array().unwrap()[..] else { panic!("{alerts}") };
    assert_eq!(
        (&alert["name"], &alert["service"], &alert["worker"], &alert["host"]),
        (&json!("LastbeatHostRebooted"), &Value::Null, &Value::Null, &json!("h1"))
    );
    assert!(trial.get("/").await.1.contains("host h1"));
    promtool_is_content(&trial.get("/metrics").await.1);
}

#[tokio::test]
async fn a_worker_is_planned_until_its_window_ends_and_a_plan_that_ended_leaves_no_series() {
    let trial = with_two_workers().await;
    let plan =
        json!({ "kind": "restart", "service": "trader", "worker": "main", "for": "10m", "why": "new" });
    let (_, plan) = trial.order(axum::http::Method::POST, "/v1/plans", plan).await;
    let until: jiff::Timestamp = plan["until"].as_str().unwrap().parse().unwrap();
    let series = r#"lastbeat_worker_planned_until_timestamp_seconds{service="trader",worker="main"} "#;
    let (_, text) = trial.get("/metrics").await;
    let shown = text.lines().find_map(|line| line.strip_prefix(series)).expect("while it is open");
    let shown_ms = shown.parse::<f64>().unwrap() * 1_000.0;
    assert!((shown_ms - until.as_duration().as_secs_f64() * 1_000.0).abs() < 1.0, "{shown}");
    promtool_is_content(&text);
    let path = format!("/v1/plans/{}", plan["id"].as_str().unwrap());
    trial.order(axum::http::Method::DELETE, &path, "").await;
    assert!(!trial.get("/metrics").await.1.contains("planned_until"));
}

fn promtool_is_content(text: &str) {
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut checker = checker.expect("promtool, of Debian's `prometheus`; ./tests/run installs it");
    checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = checker.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.trim().is_empty(), "{said}");
}
