//! Promise: nonsense at the door is refused with a stable code, a hint and a count, and nothing of it is done.

use std::io::Write as _;
use std::process::{Command, Stdio};

use lastbeat_tests::collector::{Reply, answer};
use lastbeat_tests::{Collector, PATIENCE, Process, Worker, scenes, tools};
use lastbeat_wire::Source;
use lastbeat_wire::error::{Code, ErrorBody};
use lastbeat_wire::reply::Receipt;
use lastbeat_wire::report::RunDetail;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// What this test process could truthfully say of itself.
fn envelope(signal: &Value) -> Value {
    json!({"v": 1, "run_id": "0190d1f0-0000-7000-8000-000000000001", "source": "self", "seq": 1,
        "service": "door", "worker": "guest", "signal": signal})
}

fn with(mut envelope: Value, field: &str, value: Value) -> Vec<u8> {
    envelope[field] = value;
    envelope.to_string().into_bytes()
}

fn start() -> Value {
    envelope(&json!({"type": "start", "pid": std::process::id()}))
}

fn rejected(collector: &Collector, code: Code) -> f64 {
    collector.metric("lastbeat_collector_rejected_total", &[("code", code.as_str())])
}

/// One refusal: its status, its body, one more in its counter and in no other.
fn refused(collector: &Collector, code: Code, what: &str, request: impl FnOnce() -> Result<Reply, String>) {
    let before: Vec<f64> = Code::ALL.iter().map(|each| rejected(collector, *each)).collect();
    let reply = request().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(reply.status, code.status(), "{what}: {reply:?}");
    assert!(reply.content_type.starts_with("application/json"), "{what}: {reply:?}");
    let body: ErrorBody = serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(body.error.code, code.as_str(), "{what}: {reply:?}");
    assert!(!body.error.message.is_empty() && !body.error.hint.is_empty(), "{what}: {reply:?}");
    for (each, before) in Code::ALL.iter().zip(before) {
        let wanted = before + if *each == code { 1.0 } else { 0.0 };
        assert_eq!(rejected(collector, *each), wanted, "{what}: the counter of {each}");
    }
}

/// An answer is given at the commit; the read side follows.
fn known(collector: &Collector, who: &str) {
    collector.wait_for(who, "known", PATIENCE, |_| true);
}

#[test]
fn a_refused_envelope_has_a_stable_code_a_hint_and_a_count_and_leaves_no_trace() {
    let collector = Collector::start();
    let post = |body: &[u8]| collector.post("/v1/beats", &[JSON], body);
    let long = "x".repeat(17 * 1024);
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let exit = envelope(&json!({"type": "exit", "code": 0}));
    let endless = envelope(&json!({"type": "start", "interval_ms": u64::MAX}));
    let bodies: Vec<(Code, &str, Vec<u8>)> = vec![
        (Code::MalformedJson, "half an object", b"{\"v\":1,".to_vec()),
        (Code::MalformedJson, "no body", Vec::new()),
        (Code::MalformedJson, "bytes that are no text", vec![b'{', 0xff, 0xfe]),
        (Code::MalformedJson, "half an array", b"[{\"v\":1}".to_vec()),
        (Code::NotAnEnvelope, "a number", b"42".to_vec()),
        (Code::UnsupportedVersion, "a version to come", with(start(), "v", json!(2))),
        (Code::UnsupportedVersion, "no version", with(start(), "v", Value::Null)),
        (Code::UnknownType, "a type to come", with(start(), "signal", json!({"type": "reincarnated"}))),
        (Code::BadName, "a name with a space", with(start(), "service", json!("two words"))),
        (Code::BadName, "a name with a way up", with(start(), "worker", json!("../etc"))),
        (Code::BadName, "a name with markup", with(start(), "worker", json!("<script>"))),
        (Code::BadName, "no name", with(start(), "worker", json!(""))),
        (Code::BadName, "a name too long", with(start(), "service", json!("s".repeat(129)))),
        (Code::BadField, "a run without an identity", with(start(), "run_id", json!("me"))),
        (Code::BadField, "a count from nought", with(start(), "seq", json!(0))),
        (Code::BadField, "a field of another type", with(start(), "age_ms", json!("long ago"))),
        (Code::BadField, "a span of time beyond reason", endless.to_string().into_bytes()),
        (Code::WrongSource, "a run that saw its own exit", exit.to_string().into_bytes()),
        (Code::WrongSource, "somebody who plays the collector", with(start(), "source", json!("observer"))),
        (Code::EnvelopeTooLarge, "17 KiB", with(start(), "more", json!(long))),
        (Code::TooDeep, "40 deep", with(start(), "more", deep)),
    ];
    for (code, what, body) in &bodies {
        refused(&collector, *code, what, || post(body));
    }
    let many = Value::Array(vec![start(); 1_001]).to_string();
    refused(&collector, Code::BatchTooLong, "1,001 envelopes", || post(many.as_bytes()));
    let huge = vec![b' '; 1024 * 1024 + 1];
    refused(&collector, Code::BodyTooLarge, "over 1 MiB", || post(&huge));

    let good = start().to_string();
    let good = good.as_bytes();
    let types = [("content-type", "text/plain"), ("content-type", "application/x-www-form-urlencoded")];
    for header in types {
        refused(&collector, Code::UnsupportedMediaType, header.1, || {
            collector.post("/v1/beats", &[header], good)
        });
    }
    refused(&collector, Code::UnsupportedMediaType, "no type", || collector.post("/v1/beats", &[], good));
    let strangers = [("origin", "http://evil.example"), ("origin", "null"), ("host", "evil.example")];
    for header in strangers {
        refused(&collector, Code::ForeignOrigin, header.1, || {
            collector.post("/v1/beats", &[JSON, header], good)
        });
    }
    refused(&collector, Code::MethodNotAllowed, "a read of the door", || {
        collector.request("GET", "/v1/beats")
    });
    refused(&collector, Code::NotFound, "nothing there", || collector.request("GET", "/v1/nothing"));

    assert_eq!(collector.workers(), [], "nothing of it was done");
    let own = collector.url();
    let reply = collector.post("/v1/beats", &[JSON, ("origin", &own)], good).expect("answered");
    assert_eq!(reply.status, 202, "the collector's own page may write: {reply:?}");
    // What came before would stand before it.
    known(&collector, "door/guest");
    assert_eq!(collector.workers().len(), 1);
    let facts = collector.get::<RunDetail>("/v1/runs/0190d1f0-0000-7000-8000-000000000001").facts;
    assert_eq!(facts.iter().map(|fact| (fact.source, fact.seq)).collect::<Vec<_>>(), [(Source::Own, 1)]);
}

#[test]
fn one_bad_envelope_in_an_array_is_refused_alone() {
    let collector = Collector::start();
    let ready = |name: &str, seq: u64| {
        let mut ready = envelope(&json!({"type": "ready"}));
        (ready["worker"], ready["seq"]) = (json!(name), json!(seq));
        ready
    };
    let batch = json!([start(), ready("two words", 2), ready("guest", 3)]);
    let before = rejected(&collector, Code::BadName);
    let reply = collector.post("/v1/beats", &[JSON], batch.to_string().as_bytes()).expect("answered");
    assert_eq!(reply.status, 202, "{reply:?}");
    let receipt: Receipt = serde_json::from_str(&reply.body).expect("a receipt");
    assert_eq!(receipt.accepted, 2);
    assert_eq!(
        receipt.acks.iter().map(|ack| (ack.seq, ack.durable)).collect::<Vec<_>>(),
        [(1, true), (3, true)]
    );
    assert_eq!(receipt.rejected.len(), 1);
    assert_eq!((receipt.rejected[0].index, receipt.rejected[0].code.as_str()), (1, "bad_name"));
    assert_eq!(rejected(&collector, Code::BadName), before + 1.0);
    known(&collector, "door/guest");
    assert_eq!(collector.workers().len(), 1);
}

#[test]
fn the_same_identity_is_taken_once_and_with_other_content_refused() {
    let collector = Collector::start();
    let post = |body: &Value| collector.post("/v1/beats", &[JSON], body.to_string().as_bytes());
    let first = post(&start()).expect("answered");
    let mut older = start();
    older["age_ms"] = json!(700);
    let again = post(&older).expect("answered");
    assert_eq!((first.status, again.status), (202, 202), "{first:?} {again:?}");
    assert_eq!(first.body, again.body, "an ack that was lost is given again; the age may differ");
    known(&collector, "door/guest");
    assert_eq!(collector.runs("door/guest").len(), 1);

    let other = envelope(&json!({"type": "start", "pid": std::process::id(), "version": "2"}));
    refused(&collector, Code::SeqConflict, "other content", || post(&other));
    let mut elsewhere = envelope(&json!({"type": "ready"}));
    (elsewhere["worker"], elsewhere["seq"]) = (json!("other"), json!(2));
    refused(&collector, Code::RunConflict, "another worker", || post(&elsewhere));
    let reader = collector.worker("door/guest").run.expect("it started");
    assert_eq!((reader.version, reader.ready_at), (None, None), "what was refused is not there");
}

#[test]
fn promtool_accepts_the_metrics() {
    let collector = Collector::start_scaled(0.2);
    let _live = Worker::start(&collector, "shop/live", &[]);
    scenes::panics(&collector, "shop/panics");
    drop(scenes::stopped_from_a_shell(&collector, "shop/stopped", scenes::CLEAN_PLAN));
    collector.wait_for("shop/stopped", "stopped", PATIENCE, |report| {
        report.condition == lastbeat_wire::report::Condition::Stopped
    });
    let reply = collector.request("GET", "/metrics").expect("answered");
    assert!(reply.content_type.starts_with("text/plain"), "{}", reply.content_type);
    let series = |name: &str, labels: &[(&str, &str)]| {
        let labels = [labels, &[("service", "shop")]].concat();
        collector.metric(&format!("lastbeat_{name}"), &labels)
    };
    assert_eq!(series("worker_state", &[("worker", "live"), ("state", "live")]), 1.0);
    assert_eq!(series("worker_state", &[("worker", "live"), ("state", "stopped")]), 0.0);
    assert_eq!(series("worker_state", &[("worker", "panics"), ("state", "failed")]), 1.0);
    assert_eq!(series("endings_total", &[("class", "shutdown")]), 1.0);
    assert_eq!(series("endings_total", &[("class", "crashed")]), 1.0);
    assert_eq!(series("endings_total", &[("class", "lost")]), 0.0, "every class is born at 0");
    assert_eq!(series("stop_requests_total", &[("cause", "signal")]), 1.0);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`./tests/run` installs promtool");
    promtool.stdin.take().expect("piped").write_all(reply.body.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{}", reply.body);
}

#[test]
fn a_port_in_use_is_told_with_its_holder_and_a_way_out() {
    let collector = Collector::start();
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = tools::command(tools::program("lastbeat"));
    command.env("LASTBEAT_SPOOL_DIR", home.path().join("spool"));
    command.arg("serve").arg(format!("--listen={}", collector.address()));
    command.arg("--data-dir").arg(home.path().join("data"));
    let answer = answer("a second collector", &mut command);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let said = &answer.complaint;
    assert!(said.contains(&collector.address()), "what: {said}");
    let holder = format!("held by lastbeat (pid {})", collector.pid());
    assert!(said.contains(&holder), "why, and who holds it: {said}");
    assert!(said.contains("hint:") && said.contains("--listen"), "what next: {said}");
}

#[test]
fn a_data_directory_in_use_is_told() {
    let collector = Collector::start();
    let mut command = collector.command(tools::program("lastbeat"));
    command.args(["serve", "--listen=127.0.0.1:0", "--data-dir"]).arg(collector.data_dir());
    let answer = answer("a second collector", &mut command);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.complaint.contains("hint:"), "{answer:?}");
}

#[test]
fn an_open_port_is_found_and_printed() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = tools::command(tools::program("lastbeat"));
    command.env("LASTBEAT_SPOOL_DIR", home.path().join("spool"));
    command.args(["serve", "--listen=127.0.0.1:0", "--data-dir"]).arg(home.path().join("data"));
    let mut collector = Process::start("lastbeat serve", &mut command);
    let line = collector.line("http://127.0.0.1:");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    assert!(!url.ends_with(":0"), "{line}");
    let health =
        ureq::get(format!("{}/healthz", url.trim_end_matches('/'))).call().expect("it answers there");
    assert_eq!(health.status(), 200);
}

#[test]
fn a_wrong_flag_is_a_usage_error_with_a_suggestion() {
    // What was typed, why it is wrong, and what to type instead.
    for (arguments, what, why, hint) in [
        (&["serve", "--lisen=127.0.0.1:0"][..], "--lisen", "unexpected argument", "--listen"),
        (&["serve", "--listen=nowhere"][..], "--listen", "nowhere", "lastbeat serve --help"),
        (&["statu"][..], "statu", "unrecognized subcommand", "status"),
        (&["run", "--", "true"][..], "which worker is this?", "--worker", "lastbeat run --worker"),
        (&["run", "--worker=two words/x", "--", "true"][..], "--worker", "two words", "lastbeat run --help"),
    ] {
        let mut command = tools::command(tools::program("lastbeat"));
        let answer = answer("lastbeat", command.args(arguments));
        assert_eq!(answer.code, Some(2), "{arguments:?}: {answer:?}");
        let said = &answer.complaint;
        assert!(said.contains(what), "{arguments:?} without what: {said}");
        assert!(said.contains(why), "{arguments:?} without why: {said}");
        let hints =
            |line: &str| line.trim_start().starts_with("hint:") || line.trim_start().starts_with("tip:");
        let next = said.lines().find(|line| hints(line)).unwrap_or_default();
        assert!(next.contains(hint), "{arguments:?} without a hint of {hint:?}: {said}");
        assert_eq!(answer.out, "", "complaints go to standard error");
    }
}

#[test]
fn a_collector_that_does_not_answer_is_exit_4_with_what_why_and_hint() {
    let mut collector = Collector::start();
    collector.stop();
    for arguments in [&["status"][..], &["status", "--json"][..], &["explain", "shop/api"][..]] {
        let answer = collector.cli(arguments);
        assert_eq!(answer.code, Some(4), "{arguments:?}: {answer:?}");
        let said = &answer.complaint;
        assert!(said.contains(&collector.url()), "what: {said}");
        assert!(said.contains("refused"), "why: {said}");
        assert!(said.contains("hint:") && said.contains("lastbeat serve"), "what next: {said}");
        assert_eq!(answer.out, "");
    }
}

#[test]
fn a_worker_nobody_knows_is_exit_1_with_a_hint() {
    let collector = Collector::start();
    for arguments in [&["status", "shop/api"][..], &["explain", "shop/api"][..], &["status", "shop"][..]] {
        let answer = collector.cli(arguments);
        assert_eq!(answer.code, Some(1), "{arguments:?}: {answer:?}");
        assert!(answer.complaint.contains("hint:"), "{arguments:?}: {answer:?}");
    }
    let none = collector.cli(&["status"]);
    assert_eq!(none.code, Some(0), "{none:?}");
    assert!(none.out.contains("No worker has reported yet"), "{none:?}");
}

#[test]
fn the_exit_status_of_a_program_passes_through_its_witness() {
    let collector = Collector::start_scaled(0.2);
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let answer = collector.cli(&["run", "--worker=shell/script", "--", "bash", "-c", script]);
        assert_eq!(answer.code, Some(code), "{script}: {answer:?}");
    }
    let missing = collector.cli(&["run", "--worker=shell/script", "--", "no-such-program-here"]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.complaint.contains("no-such-program-here"), "{missing:?}");
}
