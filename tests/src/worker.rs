//! A worker under test: the linked program of `src/bin/worker.rs`, alone or under a witness.

use std::process::ExitStatus;
use std::time::Duration;

use lastbeat_wire::report::Condition;
use rustix::process::Signal;

use crate::PATIENCE;
use crate::collector::Collector;
use crate::process::{Process, send};
use crate::terminal::Terminal;
use crate::tools;
use crate::wait::until;

/// A worker process that the collector knows as live.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    pid: u32,
    who: String,
}

impl Worker {
    /// Starts a linked worker, and waits until the collector shows it live.
    #[must_use]
    pub fn start(collector: &Collector, who: &str, arguments: &[&str]) -> Self {
        let worker = Self::launch(collector, who, arguments);
        worker.live(collector);
        worker
    }

    /// Starts a linked worker, and waits until it says of itself that it is ready.
    #[must_use]
    pub fn launch(collector: &Collector, who: &str, arguments: &[&str]) -> Self {
        let mut command = collector.command(tools::program("lastbeat-test-worker"));
        command.arg(format!("--name={who}")).args(arguments);
        Self::up(Process::start(&format!("worker {who}"), &mut command), who)
    }

    /// Starts a linked worker under `lastbeat run`, and waits until the collector shows it live.
    #[must_use]
    pub fn start_witnessed(collector: &Collector, who: &str, witness: &[&str], arguments: &[&str]) -> Self {
        let mut command = collector.command(tools::program("lastbeat"));
        command.args(["run", "--worker", who]).args(witness).arg("--");
        command.arg(tools::program("lastbeat-test-worker")).arg(format!("--name={who}")).args(arguments);
        let worker = Self::up(Process::start(&format!("lastbeat run {who}"), &mut command), who);
        // For its witness it is ready from the start; once it has joined, which its agents show, by its own word.
        collector.wait_for(who, "ready by its own word", PATIENCE, |report| {
            let has_joined = report.run.as_ref().is_some_and(|run| !run.agents.is_empty());
            report.condition == Condition::Live && has_joined
        });
        worker
    }

    /// Starts a linked worker in a terminal of its own, and waits until the collector shows it live.
    #[must_use]
    pub fn start_in_terminal(collector: &Collector, who: &str, arguments: &[&str]) -> Terminal {
        let mut command = collector.command(tools::program("lastbeat-test-worker"));
        command.arg(format!("--name={who}")).args(arguments);
        let terminal = Terminal::start(&format!("worker {who} in a terminal"), &command);
        up(&terminal.line("ready "));
        live(collector, who);
        terminal
    }

    fn up(mut process: Process, who: &str) -> Self {
        let pid = up(&process.line("ready "));
        Self { pid, process, who: who.into() }
    }

    fn live(&self, collector: &Collector) {
        live(collector, &self.who);
    }

    /// `service/worker`.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// The worker's own process id, also under a witness.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The process that the harness started: the worker, or its witness.
    #[must_use]
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Tells the worker what to do, by its standard input: `panic`, `done`, `exit N`.
    pub fn tell(&mut self, what: &str) {
        self.process.say(what);
    }

    /// Sends the worker's own process a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    /// Waits for the end of what the harness started.
    pub fn end(&mut self) -> ExitStatus {
        self.process.end(PATIENCE)
    }

    /// Waits for the end of what the harness started.
    pub fn end_within(&mut self, limit: Duration) -> ExitStatus {
        self.process.end(limit)
    }
}

/// From the line in which a worker says that it is ready: its process id, once it also takes SIGTERM. That
/// begins with `run_until_stopped`, a moment after `ready`.
///
/// # Panics
/// When the line names no process, or SIGTERM would still end it.
pub fn up(line: &str) -> u32 {
    let pid = line.rsplit(' ').next().and_then(|word| word.trim().parse().ok());
    let pid: u32 = pid.unwrap_or_else(|| panic!("no pid in {line:?}"));
    takes_term(pid);
    pid
}

/// Waits until SIGTERM no longer ends this process by itself.
///
/// # Panics
/// When it still would after [`PATIENCE`], or the process is gone.
pub fn takes_term(pid: u32) {
    until("a handler of SIGTERM", PATIENCE, || {
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|gone| gone.to_string())?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        if caught >> (Signal::TERM.as_raw() - 1) & 1 == 1 { Ok(()) } else { Err(format!("{caught:x}")) }
    });
}

/// Waits until the collector shows a worker live.
pub fn live(collector: &Collector, who: &str) {
    let live = |report: &lastbeat_wire::report::WorkerReport| report.condition == Condition::Live;
    collector.wait_for(who, Condition::Live, PATIENCE, live);
}
