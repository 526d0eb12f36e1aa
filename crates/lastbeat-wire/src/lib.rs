//! What travels: from workers and witnesses to the collector, and back.
//!
//! Lives here: identities ([`id`]), the envelope and its limits ([`envelope`]), what may be said
//! ([`signal`]), what comes back ([`reply`]), what waits on disk ([`spool`]), what the read side answers (`report`, a feature), and
//! the refusals ([`error`]).
//!
//! Invariant: these bytes never change silently; every form has a golden file in `tests/golden`.
//! Invariant: no judgement, no I/O, no runtime. This crate enters every worker.
//!
//! Read [`envelope`] next.

pub mod envelope;
pub mod error;
pub mod id;
pub mod reply;
#[cfg(feature = "report")]
pub mod report;
pub mod signal;
pub mod spool;

pub use envelope::{Envelope, decode_batch, decode_one};
pub use error::{Code, Refusal};
pub use id::{FactId, Name, RunId, Source};
pub use signal::Signal;
