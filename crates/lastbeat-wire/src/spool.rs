//! The spool file: facts that no collector has acknowledged, as they lie on disk.
//!
//! One file holds the facts of one speaker of one run, named [`file_name`]. It is written whole beside
//! its place, synced and renamed, and removed only when every fact in it was acknowledged durable.
//! The first line is a header, each further line one envelope; every line begins with the CRC-32 of the
//! rest, so a flipped bit costs that line and is reported, never believed.
//!
//! Invariant: no file is opened here; the client writes, and client, witness and collector read.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::envelope::{Decoded, Envelope, decode_one};
use crate::error::{Code, Refusal};
use crate::id::{RunId, Source};

/// The ending of a spool file's name; what is still being written ends otherwise.
pub const EXTENSION: &str = "spool";
/// The most facts one file may hold: twice the outbox.
pub const FACTS_MAX: usize = 128;
/// The largest spool file that is read, in bytes.
pub const FILE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// A point in time that another process can measure from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// The kernel's boot id; without it only the wall clock helps.
    pub boot_id: Option<String>,
    /// Milliseconds since boot, suspended time included.
    pub boottime_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

impl Instant {
    /// How long ago `earlier` was, in ms; never negative. Within one boot the wall clock has no say.
    #[must_use]
    pub fn since_ms(&self, earlier: &Self) -> u64 {
        if self.boot_id.is_some() && self.boot_id == earlier.boot_id {
            self.boottime_ms.saturating_sub(earlier.boottime_ms)
        } else {
            self.wall_ms.saturating_sub(earlier.wall_ms)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    lastbeat_spool: u64,
    written: Instant,
}

/// The name of the file for one speaker of one run.
#[must_use]
pub fn file_name(run_id: RunId, source: Source) -> String {
    format!("{run_id}.{source}.{EXTENSION}")
}

/// Puts facts into the bytes of a file. `age_ms` of each counts from `written`.
///
/// # Errors
/// [`Code::BadField`] when an envelope cannot be put into JSON.
pub fn encode(written: &Instant, envelopes: &[Envelope]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, written, envelopes)
        .map_err(|error| Refusal::new(Code::BadField, error.to_string()))?;
    Ok(bytes)
}

/// Writes what [`encode`] gives, line by line, so that no more than one line is held at once.
///
/// # Errors
/// When an envelope cannot be put into JSON, or the line not be written.
pub fn encode_into(out: &mut impl Write, written: &Instant, envelopes: &[Envelope]) -> io::Result<()> {
    let header = Header { lastbeat_spool: 1, written: written.clone() };
    let mut line = |json: String| writeln!(out, "{:08x} {json}", crc32fast::hash(json.as_bytes()));
    line(serde_json::to_string(&header)?)?;
    envelopes.iter().try_for_each(|envelope| line(serde_json::to_string(envelope)?))
}

/// Reads a file's bytes; each fact's `age_ms` is brought up to `now`. A damaged line stands as its refusal.
///
/// # Errors
/// [`Code::BadField`] when the header is damaged or of another version: then no age can be known, and
/// the file is left as it is.
pub fn decode(bytes: &[u8], now: &Instant) -> Result<Vec<Result<Decoded, Refusal>>, Refusal> {
    Ok(decode_lines(bytes, now)?.collect())
}

/// Reads what [`decode`] gives, line by line, as it is asked for.
///
/// # Errors
/// As [`decode`].
pub fn decode_lines<'a>(
    bytes: &'a [u8],
    now: &Instant,
) -> Result<impl Iterator<Item = Result<Decoded, Refusal>> + use<'a>, Refusal> {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let damaged = |what: &str| Refusal::new(Code::BadField, format!("spool file: {what}"));
    let header = lines.next().and_then(checked).ok_or_else(|| damaged("the header is damaged"))?;
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged("the header is damaged"))?;
    if header.lastbeat_spool != 1 {
        return Err(damaged("written by another version"));
    }
    let waited_ms = now.since_ms(&header.written);
    Ok(lines.map(move |line| {
        let json = checked(line).ok_or_else(|| damaged("a line is damaged"))?;
        let mut read = decode_one(json)?;
        read.envelope.age_ms = read.envelope.age_ms.saturating_add(waited_ms);
        Ok(read)
    }))
}

fn checked(line: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = line.split_at_checked(8)?;
    let rest = rest.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == crc32fast::hash(rest)).then_some(rest)
}
