//! What a worker may never suffer from its client: one file for each row of the guarantees.
//!
//! `docs/figures/client.md` names what shows each of them. Most of it happens in processes of their own, which are
//! this same binary: `host` is what they do, `process` how they are started, `trouble` who their collector is.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "a host tells the test that started it what it does; figures are for people"
)]

mod blocking;
mod host;
mod last_word;
mod log;
mod memory;
mod process;
mod reconnect;
mod traces;
mod trouble;

use std::alloc::System;
use std::time::Duration;

/// Counts the heap, for the processes that say how much of it the client took.
#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// How long anything is waited for before a test fails.
const LIMIT: Duration = Duration::from_secs(20);
/// The most heap that a client takes.
const HEAP_MAX_BYTES: usize = 1024 * 1024;
