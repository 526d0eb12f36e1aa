//! One thing said, with its identity: the envelope, its limits, and how it is read.
//!
//! A newer speaker's fields are kept (the journal stores the signal's own bytes) and counted; a version
//! or a type that is not known is refused. Nothing is half-read: an envelope is whole or refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Code, Refusal};
use crate::id::{FactId, Name, RunId, Source};
use crate::signal::{Signal, TYPES};

/// The version this crate speaks.
pub const VERSION: u64 = 1;
/// The largest envelope, in bytes of JSON.
pub const ENVELOPE_MAX_BYTES: usize = 16 * 1024;
/// The largest request body or link message, in bytes.
pub const BATCH_MAX_BYTES: usize = 1024 * 1024;
/// The most envelopes in one array.
pub const BATCH_MAX_LEN: usize = 1_000;
/// The deepest nesting of one envelope.
pub const DEPTH_MAX: usize = 32;
/// The largest millisecond count taken: 100 years. Sums of a few of them cannot overflow.
pub const MS_MAX: u64 = 100 * 366 * 24 * 3_600 * 1_000;

/// One thing said of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Always [`VERSION`].
    pub v: u64,
    /// The run it speaks of.
    pub run_id: RunId,
    /// Who speaks.
    pub source: Source,
    /// The speaker's count for this run, from 1.
    pub seq: u64,
    /// The service's name.
    pub service: Name,
    /// The worker's name.
    pub worker: Name,
    /// How long ago it happened, in ms, when it was sent.
    #[serde(default)]
    pub age_ms: u64,
    /// What is said.
    pub signal: Signal,
}

impl Envelope {
    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> FactId {
        FactId { run_id: self.run_id, source: self.source, seq: self.seq }
    }
}

/// An envelope that was read, with what the reader must keep beside the typed form.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The typed form.
    pub envelope: Envelope,
    /// The signal as it was sent, unknown fields and all, in canonical JSON (keys sorted). The journal
    /// stores this, and two of them are compared to find a `seq_conflict`.
    pub signal_json: String,
    /// Fields this version does not know.
    pub unknown_fields: usize,
}

/// Reads one envelope.
///
/// # Errors
/// Any code of the door: [`Code::MalformedJson`], [`Code::NotAnEnvelope`], [`Code::EnvelopeTooLarge`],
/// [`Code::TooDeep`], [`Code::UnsupportedVersion`], [`Code::UnknownType`], [`Code::BadName`],
/// [`Code::BadField`], [`Code::WrongSource`].
///
/// ```
/// let text = r#"{"v":1,"run_id":"0190d1f0-0000-7000-8000-000000000001","source":"self","seq":1,
///   "service":"trader","worker":"main","signal":{"type":"ready"}}"#;
/// let read = lastbeat_wire::decode_one(text.as_bytes()).unwrap();
/// assert_eq!(read.envelope.signal, lastbeat_wire::Signal::Ready);
/// ```
pub fn decode_one(bytes: &[u8]) -> Result<Decoded, Refusal> {
    if bytes.len() > ENVELOPE_MAX_BYTES {
        return Err(too_large(bytes.len()));
    }
    decode_value(parse(bytes)?)
}

/// What a body held.
#[derive(Debug)]
pub enum Batch {
    /// One envelope object.
    One(Box<Result<Decoded, Refusal>>),
    /// An array; each item is read or refused by itself.
    Many(Vec<Result<Decoded, Refusal>>),
}

/// Reads one envelope or an array of them.
///
/// # Errors
/// For the whole: [`Code::BodyTooLarge`], [`Code::MalformedJson`], [`Code::NotAnEnvelope`],
/// [`Code::BatchTooLong`]. What is wrong with one item stands in its place.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, Refusal> {
    if bytes.len() > BATCH_MAX_BYTES {
        return Err(Refusal::new(
            Code::BodyTooLarge,
            format!("the body has {} bytes, the limit is {BATCH_MAX_BYTES}", bytes.len()),
        ));
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'[') => {
            let items: Vec<&serde_json::value::RawValue> =
                serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
            if items.len() > BATCH_MAX_LEN {
                return Err(Refusal::new(
                    Code::BatchTooLong,
                    format!("the array has {} envelopes, the limit is {BATCH_MAX_LEN}", items.len()),
                ));
            }
            Ok(Batch::Many(items.iter().map(|item| decode_one(item.get().as_bytes())).collect()))
        }
        Some(b'{') => {
            // The whole body must be JSON before it counts as one refused envelope (422, not 400).
            let value = parse(bytes)?;
            let read = if bytes.len() > ENVELOPE_MAX_BYTES {
                Err(too_large(bytes.len()))
            } else {
                decode_value(value)
            };
            Ok(Batch::One(Box::new(read)))
        }
        _ => match parse(bytes)? {
            Value::Object(_) | Value::Array(_) => unreachable!("JSON objects begin with a brace"),
            _ => Err(not_an_envelope()),
        },
    }
}

/// Reads a stored signal back; the journal is the only caller.
///
/// # Errors
/// [`Code::BadField`] when the bytes are no signal of this version: the journal is damaged or newer.
pub fn decode_signal(json: &str) -> Result<Signal, Refusal> {
    serde_json::from_str(json).map_err(|error| Refusal::new(Code::BadField, format!("signal: {error}")))
}

fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::MalformedJson, format!("the body is no JSON: {error}"))
}

fn not_an_envelope() -> Refusal {
    Refusal::new(Code::NotAnEnvelope, "an envelope is a JSON object")
}

fn too_large(bytes: usize) -> Refusal {
    Refusal::new(
        Code::EnvelopeTooLarge,
        format!("the envelope has {bytes} bytes, the limit is {ENVELOPE_MAX_BYTES}"),
    )
}

fn decode_value(mut value: Value) -> Result<Decoded, Refusal> {
    if depth_of(&value) > DEPTH_MAX {
        return Err(Refusal::new(Code::TooDeep, format!("the envelope nests deeper than {DEPTH_MAX}")));
    }
    let Value::Object(fields) = &value else { return Err(not_an_envelope()) };
    if fields.get("v").and_then(Value::as_u64) != Some(VERSION) {
        let said = fields.get("v").unwrap_or(&Value::Null);
        return Err(Refusal::new(Code::UnsupportedVersion, format!("envelope version {said}")));
    }
    for field in ["service", "worker"] {
        match fields.get(field) {
            Some(Value::String(name)) => drop(Name::new(name)?),
            _ => return Err(Refusal::new(Code::BadName, format!("{field} is missing or no text"))),
        }
    }
    let kind = fields.get("signal").and_then(|signal| signal.get("type")).and_then(Value::as_str);
    let Some(kind) = kind else {
        return Err(Refusal::new(Code::BadField, "signal.type is missing"));
    };
    let Some((_, speaker)) = TYPES.iter().find(|(name, _)| *name == kind) else {
        let shown: String = kind.chars().take(40).collect();
        return Err(Refusal::new(Code::UnknownType, format!("signal type {shown:?}")));
    };
    let envelope =
        Envelope::deserialize(&value).map_err(|error| Refusal::new(Code::BadField, error.to_string()))?;
    // What operators order and what the collector observes are facts that it makes itself.
    let speaks_for_itself = matches!(speaker, Source::Own | Source::Witness);
    if envelope.source != *speaker || !speaks_for_itself {
        return Err(Refusal::new(Code::WrongSource, format!("{} may not say {kind}", envelope.source)));
    }
    if envelope.seq == 0 || envelope.seq > i64::MAX as u64 {
        return Err(Refusal::new(Code::BadField, "seq counts from 1"));
    }
    check_ms(&value)?;
    let known =
        serde_json::to_value(&envelope).map_err(|error| Refusal::new(Code::BadField, error.to_string()))?;
    let unknown_fields = count_unknown(&value, &known);
    let signal = value.get_mut("signal").map(Value::take).unwrap_or_default();
    Ok(Decoded { envelope, signal_json: signal.to_string(), unknown_fields })
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

/// No span of time is over [`MS_MAX`], wherever it stands: moments are sums, and sums must not overflow.
fn check_ms(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, inner)| {
            if key.ends_with("_ms") && inner.as_u64().is_some_and(|ms| ms > MS_MAX) {
                return Err(Refusal::new(Code::BadField, format!("{key} is over {MS_MAX}")));
            }
            check_ms(inner)
        }),
        Value::Array(items) => items.iter().try_for_each(check_ms),
        _ => Ok(()),
    }
}

/// Counts fields that were sent and did not survive the typed form. `null` and empty say nothing.
fn count_unknown(sent: &Value, known: &Value) -> usize {
    match (sent, known) {
        (Value::Object(sent), Value::Object(known)) => sent
            .iter()
            .map(|(key, value)| match known.get(key) {
                Some(inner) => count_unknown(value, inner),
                None => usize::from(!is_empty(value)),
            })
            .sum(),
        (Value::Array(sent), Value::Array(known)) => {
            sent.iter().zip(known).map(|(sent, known)| count_unknown(sent, known)).sum()
        }
        _ => 0,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
