//! The door: what is refused, by which code, and that nothing is lost of what is taken.

use lastbeat_wire::envelope::{Batch, ENVELOPE_MAX_BYTES, decode_batch};
use lastbeat_wire::spool::{self, Instant};
use lastbeat_wire::{Code, decode_one};
use serde_json::{Value, json};

fn ready() -> Value {
    json!({"v": 1, "run_id": "0190d1f0-0000-7000-8000-000000000001", "source": "self", "seq": 1,
           "service": "trader", "worker": "main", "signal": {"type": "ready"}})
}

fn with(field: &str, value: Value) -> Value {
    let mut envelope = ready();
    envelope[field] = value;
    envelope
}

fn code_of(envelope: &Value) -> Option<Code> {
    decode_one(envelope.to_string().as_bytes()).err().map(|refusal| refusal.code)
}

#[test]
fn every_fault_of_an_envelope_has_its_code() {
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let rows = [
        (ready(), None),
        (json!("ready"), Some(Code::NotAnEnvelope)),
        (with("v", json!(2)), Some(Code::UnsupportedVersion)),
        (with("v", json!(null)), Some(Code::UnsupportedVersion)),
        (with("signal", json!({"type": "hum"})), Some(Code::UnknownType)),
        (with("signal", json!({})), Some(Code::BadField)),
        (with("service", json!("a/b")), Some(Code::BadName)),
        (with("worker", json!("")), Some(Code::BadName)),
        (with("worker", json!("x".repeat(129))), Some(Code::BadName)),
        (with("seq", json!(0)), Some(Code::BadField)),
        (with("seq", json!(-1)), Some(Code::BadField)),
        (with("run_id", json!("7")), Some(Code::BadField)),
        (with("age_ms", json!(u64::MAX)), Some(Code::BadField)),
        (with("source", json!("witness")), Some(Code::WrongSource)),
        (with("signal", json!({"type": "exit"})), Some(Code::WrongSource)),
        (with("extra", deep), Some(Code::TooDeep)),
        (with("extra", json!("x".repeat(ENVELOPE_MAX_BYTES))), Some(Code::EnvelopeTooLarge)),
    ];
    for (envelope, code) in rows {
        assert_eq!(code_of(&envelope), code, "{envelope:.200}");
    }
}

#[test]
fn observer_facts_are_made_by_the_collector_alone() {
    let mut forged = with("source", json!("observer"));
    forged["signal"] = json!({"type": "expired", "which": "silence", "due_ms": 1});
    assert_eq!(code_of(&forged), Some(Code::WrongSource));
}

#[test]
fn operators_speak_through_the_collector_and_to_no_door() {
    let orders = [
        json!({"type": "plan", "id": "a", "kind": "stop", "service": "trader", "for_ms": 60_000}),
        json!({"type": "plan_end", "id": "a"}),
        json!({"type": "forget", "service": "trader", "worker": "main"}),
    ];
    for order in orders {
        for source in ["operator", "self", "observer"] {
            let mut forged = with("source", json!(source));
            forged["signal"] = order.clone();
            assert_eq!(code_of(&forged), Some(Code::WrongSource), "{forged}");
        }
    }
}

#[test]
fn a_newer_speakers_fields_are_kept_and_counted() {
    let mut newer = with("colour", json!("blue"));
    newer["signal"] = json!({"type": "final", "mood": "calm", "cleanup": {"rooms": 3}});
    let read = decode_one(newer.to_string().as_bytes()).unwrap();
    assert_eq!(read.unknown_fields, 3);
    assert_eq!(read.signal_json, r#"{"cleanup":{"rooms":3},"mood":"calm","type":"final"}"#);
}

#[test]
fn one_bad_item_refuses_itself_and_a_bad_body_refuses_all() {
    let body = json!([ready(), with("v", json!(9)), ready()]).to_string();
    let Batch::Many(items) = decode_batch(body.as_bytes()).unwrap() else { panic!("an array is many") };
    assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let whole = |body: &str| decode_batch(body.as_bytes()).map(drop).unwrap_err().code;
    assert_eq!(whole("[{\"v\":1},"), Code::MalformedJson);
    assert_eq!(whole(""), Code::MalformedJson);
    assert_eq!(whole("7"), Code::NotAnEnvelope);
    assert_eq!(whole(&" ".repeat(1024 * 1024 + 1)), Code::BodyTooLarge);
    assert_eq!(whole(&json!(vec![ready(); 1_001]).to_string()), Code::BatchTooLong);
}

fn instant(boot_id: &str, boottime_ms: u64, wall_ms: u64) -> Instant {
    Instant { boot_id: Some(boot_id.into()), boottime_ms, wall_ms }
}

#[test]
fn a_spooled_fact_ages_by_the_boot_clock_within_one_boot_and_by_the_wall_across() {
    let envelope = decode_one(ready().to_string().as_bytes()).unwrap().envelope;
    let bytes = spool::encode(&instant("a", 1_000, 50_000), &[envelope]).unwrap();
    let age = |now: &Instant| spool::decode(&bytes, now).unwrap()[0].as_ref().unwrap().envelope.age_ms;
    assert_eq!(age(&instant("a", 4_000, 9_999_999)), 3_000);
    assert_eq!(age(&instant("b", 10, 57_000)), 7_000);
    assert_eq!(age(&instant("b", 10, 1)), 0, "a wall clock that went back makes nothing younger than new");
}

#[test]
fn no_flipped_bit_of_a_spool_file_is_ever_believed() {
    let envelope = decode_one(ready().to_string().as_bytes()).unwrap().envelope;
    let now = instant("a", 2_000, 50_000);
    let bytes = spool::encode(&instant("a", 1_000, 50_000), std::slice::from_ref(&envelope)).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut torn = bytes.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        for line in spool::decode(&torn, &now).into_iter().flatten().flatten() {
            assert_eq!(line.envelope.signal, envelope.signal, "bit {bit}");
            assert_eq!(line.envelope.seq, envelope.seq, "bit {bit}");
        }
    }
    for cut in 0..bytes.len() {
        let whole = spool::decode(&bytes[..cut], &now).into_iter().flatten().flatten().count();
        assert!(whole == 0 || cut == bytes.len() - 1, "a file cut at byte {cut} gave a fact");
    }
}
