//! What comes back: acks, refused items, and the frames of the link.

use serde::{Deserialize, Serialize};

use crate::id::{FactId, RunId, Source};

/// One fact was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The run it speaks of.
    pub run_id: RunId,
    /// Who spoke.
    pub source: Source,
    /// The speaker's count.
    pub seq: u64,
    /// It is in the journal and survives a power cut. Plain beats are taken without.
    pub durable: bool,
}

impl Ack {
    /// The identity of the fact that was taken.
    #[must_use]
    pub const fn id(&self) -> FactId {
        FactId { run_id: self.run_id, source: self.source, seq: self.seq }
    }
}

/// One item was refused; the others of its array were not touched by that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its place in the array, from 0.
    pub index: usize,
    /// The stable code.
    pub code: String,
    /// What and why.
    pub message: String,
}

/// The answer to a batch, on HTTP and on the link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// One for each fact that was taken, repeated ones too.
    pub acks: Vec<Ack>,
    /// How many were taken.
    pub accepted: usize,
    /// Those that were not.
    pub rejected: Vec<Rejected>,
}

/// Why the collector goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// It will be back; the link closes with 1012.
    Restarting,
    /// It was stopped; the link closes with 1001.
    Stopped,
}

/// The collector's own farewell, on links and on the event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why it goes.
    pub reason: ByeReason,
    /// When it means to be back, RFC 3339, UTC.
    pub back_by: Option<String>,
}

/// What an operator asks of a run that said it may be asked (its `capabilities`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The run that is asked; one link may speak for several.
    pub run_id: RunId,
    /// Who asks, as far as it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Of a stop: what is left of the cleanup is skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// From the collector to a link. The tag is `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// Answers one message of envelopes.
    Receipt(Receipt),
    /// The collector goes.
    Bye(Bye),
    /// A run is asked to stop (capability `stop`).
    Stop(Request),
    /// A run is asked to hold still (capability `pause`).
    Pause(Request),
    /// A run that holds still is asked to go on (capability `pause`).
    Resume(Request),
}
