//! Know how and why this process ended.
//!
//! The client side of lastbeat: a worker says that it lives, who asked it to stop, what it cleaned up, and
//! goodbye. The collector can then tell a planned stop from a crash, a restart from a loss.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     let worker = lastbeat::Lastbeat::connect("trader", "main");
//!     worker.spawn("price-feed", |agent| async move {
//!         while !agent.is_cancelled() {
//!             tokio::select! {
//!                 () = agent.cancelled() => {}
//!                 () = tokio::time::sleep(Duration::from_millis(200)) => agent.progress(),
//!             }
//!         }
//!         Ok(())
//!     });
//!     worker.ready();
//!     let plan = lastbeat::Plan::new()
//!         .step("cancel-orders", Duration::from_secs(5), |step| async move {
//!             step.total(3);
//!             step.done(3);
//!             Ok(())
//!         })
//!         .step("flush", Duration::from_secs(2), |_| async { Ok(()) });
//!     worker.run_until_stopped(plan).await
//! }
//! ```
//!
//! `cargo run --example worker` is this worker. Start `lastbeat serve` beside it, press Ctrl+C, and ask
//! `lastbeat status`. A program that is one future needs even less: [`Lastbeat::run`].
//!
//! # Where to look
//! | for | see |
//! |---|---|
//! | agents, their children, progress, a pause | [`Lastbeat::spawn`], [`Agent`] |
//! | a stop: who may ask, what is done | [`Lastbeat::run_until_stopped`], [`Builder`], [`Plan`] |
//! | a step that is tried again, left out, or does a batch | [`Step`], [`StepHandle::items`], [`StepHandle::extend`] |
//! | what it came to | [`Lastbeat::summary`], [`Summary`] |
//! | streams and WebSockets that say goodbye | the feature `axum`, module `http` |
//! | what a log and a trace say | [`events`]; spans `lastbeat.run`, `lastbeat.stop`, `lastbeat.step` |
//!
//! The pages *shutdown lifecycle contract*, *agent cancellation rules* and *what is an error and what is expected* are in
//! the repository's `docs/`. Spans are made for traces; a plain log reads better with the span fields left out.
//!
//! # What it does to its host
//! - It runs one thread (`lastbeat`) for all its I/O, one more that hears SIGINT and SIGTERM while
//!   [`Lastbeat::run_until_stopped`] waits, and short-lived ones to resolve the collector's name, to see
//!   that a stop begins, and to do it. It needs no runtime; with tokio, agents and steps that are futures run on the host's.
//! - It keeps at most 64 facts, and beside them the state of the run: start, ready, who asked, the newest
//!   word of up to 56 agents, the ending. When the collector is away the oldest fact that tells of no ending
//!   gives way; the state never does, and each new link hears it again.
//! - A stop takes at most the stop deadline (30 s), of that at most the flush budget (2 s) for a collector
//!   that does not answer. What it did not take waits in the spool directory.
//! - [`Agent::progress`] is an atomic and no more.
//! - With the feature `axum`, and only where it is called, `http::serve` answers requests on the host's runtime: one
//!   task for each connection. Without the feature neither axum nor hyper is compiled.
//!
//! # What it never does
//! - It never fails, panics or exits its host, and never waits for the network outside its own threads.
//! - It installs no signal handler before [`Lastbeat::run_until_stopped`], and then only for SIGINT and SIGTERM, and
//!   for SIGHUP and SIGQUIT where the [`Builder`] says so; their default action is back when the stop is over. Handlers
//!   and the panic hook that were there before are called too. A signal that was ignored stays ignored.
//! - A log that panics, as one on a closed terminal does, takes no thread of it along.
//! - It starts no process and speaks only to the one collector it was given, without TLS.
//! - In a forked child it does nothing, so a child never ends its parent's run.
//! - It keeps no host alive that somebody wants to end: where a stop cannot begin before its deadline, or
//!   before a second request, because the host's runtime is stuck, the signal ends the process.
//!
//! # Limits worth knowing
//! - A child that is forked while [`Lastbeat::run_until_stopped`] waits, and does not exec, inherits the
//!   handlers of SIGINT and SIGTERM but not the thread that listens: these signals do nothing in it. Exec
//!   gives them their default action again, as for anything started by [`std::process::Command`]; a child
//!   that does not exec sets its own handlers, or ends by itself or by SIGKILL.
//! - A forked child may use the run and the agents that it inherited, and nothing comes of it; but their tokens
//!   ([`Agent::is_cancelled`], [`Agent::cancelled`], [`Lastbeat::stop_requested`]) may be locked for ever there, by a
//!   thread of its parent's at the moment of the fork. So may be what the standard library keeps, when a thread began
//!   or ended at that moment. A child that wants to be watched connects anew: it is then a child of the run it was
//!   forked from, not its successor.
//! - A tokio runtime waits for its blocking tasks when it is dropped. If one hangs, the process lives on
//!   after its final heartbeat, and the collector says so.
//! - A collector keeps the newest word of 128 agents of a run, the first by name, and up to 1,024 are tracked at once.
//!   Name agents after what there is a fixed number of, such as a seat or a slot, not after each visit: then a name
//!   comes again. Up to about a hundred agents may end at the same moment without the end of any being given up.
//! - Signal numbers, senders and process identities are read on Linux. Elsewhere the client degrades: they
//!   are not told.
//!
//! # Settings
//! From the environment, as the command line reads them: `LASTBEAT_COLLECTOR`, `LASTBEAT_ENVIRONMENT`,
//! `LASTBEAT_BEAT_INTERVAL`, `LASTBEAT_STOP_DEADLINE`, `LASTBEAT_FLUSH_BUDGET`, `LASTBEAT_DEADLINES_SCALE`,
//! `LASTBEAT_SPOOL_DIR`. `LASTBEAT_SERVICE` and `LASTBEAT_WORKER` count where the code gives an empty name,
//! and under `lastbeat run`, where the witness names the run. A [`Builder`] wins over all but the latter.
//! `lastbeat run` also says how long it lets a stop take (`LASTBEAT_GRACE_MS`); the worker it started stays
//! inside that.
//!
//! Invariant: this crate knows neither the engine nor the collector nor a database.

mod agent;
mod ancestry;
mod backoff;
mod builder;
mod clock;
pub mod config;
#[cfg_attr(
    not(feature = "witness"),
    allow(unreachable_pub, dead_code, reason = "what the feature `witness` shows is public here")
)]
mod courier;
mod deadline;
mod dial;
pub mod events;
mod gate;
#[cfg(feature = "axum")]
pub mod http;
mod inner;
mod lifecycle;
mod link;
mod outbox;
mod panic;
mod plan;
mod round;
#[cfg_attr(
    not(feature = "witness"),
    allow(unreachable_pub, dead_code, reason = "what the feature `witness` shows is public here")
)]
mod sender;
mod shutdown;
#[cfg(unix)]
mod signals;
mod spawn;
mod spool;
mod step;
mod stop_request;
#[cfg_attr(not(feature = "axum"), allow(dead_code, reason = "without a server no stream begins"))]
mod streams;
mod summary;
mod wait;
mod wake;

pub use agent::{Agent, AgentHandle};
pub use builder::Builder;
pub use lastbeat_wire::RunId;
pub use lifecycle::Lastbeat;
pub use plan::Plan;
pub use step::{Items, Step, StepHandle};
pub use summary::Summary;
pub use tokio_util::sync::CancellationToken;

/// An error of any kind, as agents and steps return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the witness (`lastbeat run`) shares with the client: one courier, two users.
#[cfg(feature = "witness")]
pub mod witness {
    pub use crate::config::{Config, ConfigError, parse_duration, spool_dir};
    pub use crate::courier::{Courier, Flushed, Identity};

    /// Who sent a signal.
    pub mod sender {
        #[cfg(unix)]
        pub use crate::sender::{Asker, Closer};
        pub use crate::sender::{Heard, Ignored, ignored_signals, read};
    }
}

/// What the README and the pages show compiles, and runs where it can.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/shutdown-lifecycle-contract.md")]
#[doc = include_str!("../../../docs/agent-cancellation-rules.md")]
struct Pages;
