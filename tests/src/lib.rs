//! The harness of the end-to-end tests: real processes, real signals, a real terminal, a real browser.
//!
//! Lives here: how a collector, a worker, a witness, a shell or a browser is started, listened to, ended
//! and reaped. What must be true stands in the files beside `src/`, one for each promise.
//!
//! Invariant: nothing here posts a fact. Processes cause facts; the harness starts them, signals them and
//! reads what the collector made of it.
//! Invariant: nothing waits without a limit, and nothing sleeps to let something else happen: each wait
//! names what it waits for and, when the limit passes, shows what was there instead.
//!
//! Read [`process`] next.

pub mod browser;
pub mod collector;
pub mod exchange;
pub mod process;
pub mod rows;
pub mod scenes;
pub mod sockets;
pub mod terminal;
pub mod tools;
pub mod trading;
pub mod wait;
pub mod worker;

pub use browser::Browser;
pub use collector::{Answer, Collector};
pub use exchange::Exchange;
pub use process::Process;
pub use terminal::Terminal;
pub use wait::until;
pub use worker::Worker;

use std::time::Duration;

/// How long an ordinary wait may take: far above what is needed, so that a loaded machine with two cores
/// is no fault, and far below the limit of a whole test.
pub const PATIENCE: Duration = Duration::from_secs(20);
