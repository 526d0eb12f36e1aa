//! Refusals: a stable code, a short public text, a hint.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $hint:literal;)*) => {
        /// Why something was refused. The text of a code is contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code there is, for metrics that must be born at 0.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The HTTP status that goes with it when a whole request is refused.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What to do next.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON.
    MalformedJson = "malformed_json", 400, "send one envelope object, or an array of up to 1,000";
    /// JSON, but neither an object nor an array of objects.
    NotAnEnvelope = "not_an_envelope", 400, "send one envelope object, or an array of up to 1,000";
    /// The body broke off, or came too slowly.
    BodyIncomplete = "body_incomplete", 408, "send the whole request again, its body within 10 s";
    /// The body is over 1 MiB.
    BodyTooLarge = "body_too_large", 413, "send at most 1 MiB in one request";
    /// More than 1,000 envelopes in one array.
    BatchTooLong = "batch_too_long", 413, "send at most 1,000 envelopes in one array";
    /// One envelope is over 16 KiB.
    EnvelopeTooLarge = "envelope_too_large", 422, "an envelope has at most 16 KiB";
    /// Nested deeper than 32.
    TooDeep = "too_deep", 422, "an envelope nests at most 32 deep";
    /// `v` is missing or not one this collector speaks.
    UnsupportedVersion = "unsupported_version", 422, "this collector speaks envelope version 1";
    /// A signal type that this version does not know.
    UnknownType = "unknown_type", 422, "see the list of signal types; a newer collector may know it";
    /// A name outside the allow-list.
    BadName = "bad_name", 422, "names are 1 to 128 of [A-Za-z0-9._:@-]";
    /// A field is missing, of the wrong type or out of range.
    BadField = "bad_field", 422, "compare the envelope with the documented form";
    /// This source may not say this.
    WrongSource = "wrong_source", 422, "workers speak as self, witnesses as witness; operators by /v1/plans; observer facts are made by the collector";
    /// The same identity with other content.
    SeqConflict = "seq_conflict", 422, "a seq is used once for each run and source; count on, or mint a new run_id";
    /// The run is known under another service or worker.
    RunConflict = "run_conflict", 422, "a run_id belongs to one service and worker; mint a new one";
    /// The collector knows as many workers as it may.
    TooManyWorkers = "too_many_workers", 422, "a worker is a stable slot, not a name for each start; give another fleet its own collector";
    /// A plan that cannot be made of what was sent.
    BadPlan = "bad_plan", 422, "send kind (restart, stop, maintenance), service, why (at most 1 KiB), for_ms or for (1s to 720h); worker, who, deploy if you like";
    /// As many plans are open as may be.
    TooManyPlans = "too_many_plans", 422, "end plans that are not needed: DELETE /v1/plans/{id}; one plan can speak of a whole service";
    /// There is no such plan.
    UnknownPlan = "unknown_plan", 404, "see GET /v1/plans for those of the last day";
    /// A run of the worker has not ended.
    RunOpen = "run_open", 409, "stop it first; only what has ended can be forgotten";
    /// What a run is asked to do cannot be made of what was sent.
    BadOrder = "bad_order", 422, "send who and why (at most 256 bytes each) and, of a stop, force (true or false); each may be absent";
    /// Nothing of the worker runs.
    NotRunning = "not_running", 409, "see GET /v1/workers/{service}/{worker} for how its last run ended";
    /// The run did not say that it may be asked this.
    NotOptedIn = "not_opted_in", 409, "send its process SIGTERM where it runs; a program opts in with Builder::stoppable() or Builder::pausable() (capabilities stop and pause of its start)";
    /// The run has no open link to be asked by.
    NotLinked = "not_linked", 409, "it is asked by its link: ask again when it is linked, or send its process SIGTERM where it runs";
    /// The link of the run has not taken what it was asked before.
    LinkBusy = "link_busy", 503, "what was asked before waits on its link still; ask again later";
    /// `content-type` is not `application/json`.
    UnsupportedMediaType = "unsupported_media_type", 415, "send content-type: application/json";
    /// The `Host` or `Origin` of the request is a stranger's.
    ForeignOrigin = "foreign_origin", 403, "ask by localhost or by the collector's address; writes are taken from its own origin and from programs, never from another web page";
    /// There is no such thing.
    NotFound = "not_found", 404, "see GET /v1/workers for what is known";
    /// The path is known, the method is not.
    MethodNotAllowed = "method_not_allowed", 405, "see the documentation of the route";
    /// A query parameter cannot be used.
    BadQuery = "bad_query", 400, "see the documentation of the route";
    /// The collector has too much waiting.
    Overloaded = "overloaded", 503, "send the same envelopes again later: they are not lost, they were not taken";
    /// The journal cannot be written.
    JournalUnavailable = "journal_unavailable", 503, "send the same envelopes again later; look at the collector's disk";
    /// The collector is on its way out.
    Stopping = "stopping", 503, "send the same envelopes again to its successor";
    /// The collector's own fault.
    Internal = "internal", 500, "look at the collector's log";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A short text for people; never a secret, never a cause from below.
    pub message: String,
}

impl Refusal {
    /// Puts a code and a text together.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The body of every refused request: `{"error":{"code","message","hint"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What was refused.
    pub error: ErrorDetail,
}

/// The inside of an [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The stable code, as text, so that an older reader survives a newer code.
    pub code: String,
    /// What and why.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            error: ErrorDetail {
                code: refusal.code.as_str().into(),
                message: refusal.message.clone(),
                hint: refusal.code.hint().into(),
            },
        }
    }
}
