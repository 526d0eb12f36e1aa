//! Facts in, verdicts out: how and why a process ended.
//!
//! ```text
//!              start            ready                asked             exit, or final, or a deadline
//!   (nothing) ------> starting ------> running ----------> stopping ------> ended { class, cause, cleanup, evidence }
//!                        |             ^  |  ^                |               ^      |
//!                        |      paused-'  |  '-reloading      |               |      | later evidence: amended,
//!                        |                '-draining          |               |      v recorded, never silent
//!                        '------------------------------------'---------------'    ended, or running again
//! ```
//!
//! [`fact`] is what comes in. [`dossier`] folds the facts of one run, in any order, to the same whole; [`ask`] finds
//! who asked it to stop, [`judge`] says what the dossier means; [`worker`] puts runs in their order and finds the one condition; [`alert`],
//! [`notice`] and [`words`] say it aloud; [`roster`] keeps all workers and their deadlines.
//!
//! Invariant: no clock, no environment, no file, no thread, no serialisation, no dependency. Time is an argument
//! and an expired deadline is a fact, so a verdict can be computed again from the journal, byte for byte.
//!
//! Read [`judge`] next.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

pub mod alert;
pub mod ask;
pub mod counts;
pub mod dossier;
pub mod ending;
pub mod fact;
pub mod host;
pub mod judge;
pub mod moment;
pub mod notice;
pub mod plan;
#[cfg(feature = "planted")]
pub mod planted;
pub mod roster;
pub mod rules;
pub mod run;
pub mod silence;
pub mod snapshot;
pub mod words;
pub mod worker;

pub use alert::{Alert, AlertName};
pub use ask::Ask;
pub use counts::Counts;
pub use ending::{Class, Ending, Severity};
pub use fact::{Fact, FactId, RunId, Source, What};
pub use judge::{State, Verdict};
pub use moment::Moment;
pub use notice::{Notice, NoticeName};
pub use roster::{Change, Clash, Proposal, Roster};
pub use rules::Rules;
pub use run::{Amendment, Flag, Promise, PromiseState, Run};
pub use snapshot::Snapshot;
pub use words::WallOffset;
pub use worker::{Condition, Standing, Worker};
