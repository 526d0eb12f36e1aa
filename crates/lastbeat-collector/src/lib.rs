//! The lastbeat collector: facts in by HTTP and WebSocket, verdicts out as JSON, metrics and pages.
//!
//! ```text
//!   POST /v1/beats --.                                   .--> api, page, live, metrics, health
//!   GET /v1/link ----+--> ingest --> inbox --> keeper --> snapshot
//!   POST /v1/plans --+
//!   spool directory -'              (bounded)  |   ^
//!                                              v   | only after the commit
//!                                             journal --> replay at the start
//! ```
//!
//! [`run`] is the whole of it: a configuration, a listening socket and a future that asks it to stop. It builds no
//! runtime and reads no environment. [`run_then`] also says when it is open.
//!
//! Invariant: one thread owns roster and journal writes; views see immutable snapshots. Only `assembly` spawns,
//! only `clock` reads time, only `journal` speaks SQL.
//!
//! Read `assembly` next, then `keeper`.

mod access;
mod assembly;
mod clock;
mod config;
mod counters;
mod error;
mod ingest;
mod journal;
mod keeper;
mod snapshot;
mod spool;
#[cfg(test)]
mod trial;
mod views;

pub use assembly::{run, run_then};
pub use config::Config;
pub use error::{JournalError, RunError};
