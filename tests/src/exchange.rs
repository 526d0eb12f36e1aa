//! The exchange that the trading loop trades at: another process, and its desk, which the tests ask.

use std::process::Command;

use crate::process::Process;
use crate::tools;

/// An exchange of its own for one test.
#[derive(Debug)]
pub struct Exchange {
    process: Process,
    address: String,
    asked: u64,
}

impl Exchange {
    /// Starts one without any order.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let program = tools::program("lastbeat-test-exchange");
        let mut process = Process::start("exchange", Command::new(program).arg("127.0.0.1:0"));
        let line = process.line("orders at ");
        let address = line.trim_start_matches("orders at ").to_owned();
        Self { process, address, asked: 0 }
    }

    /// Where it takes orders.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks the desk or tells it something, and returns its answer.
    ///
    /// # Panics
    /// When it does not answer, or does not understand.
    pub fn desk(&mut self, order: &str) -> String {
        self.asked += 1;
        let tag = format!("#{} ", self.asked);
        self.process.say(&format!("{tag}{order}"));
        let line = self.process.line(&tag);
        let answer = line.strip_prefix(&tag).unwrap_or(&line);
        assert!(!answer.starts_with('?'), "{order}: {answer}");
        answer.to_owned()
    }

    /// Every order there ever was, as `LABEL=open` or `LABEL=cancelled`, in the order they were placed.
    pub fn orders(&mut self) -> String {
        self.desk("list")
    }

    /// How many requests with this verb have come, each over a connection of its own.
    ///
    /// # Panics
    /// When the answer is no number.
    pub fn seen(&mut self, verb: &str) -> u64 {
        let answer = self.desk(&format!("seen {verb}"));
        answer.parse().unwrap_or_else(|error| panic!("seen {verb}: {answer}: {error}"))
    }

    /// Waits until so many requests with this verb have come.
    pub fn wait_for(&mut self, verb: &str, count: u64) {
        self.desk(&format!("await {verb} {count}"));
    }
}
