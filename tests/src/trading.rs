//! The trading loop of the examples at work: its exchange, its book on the disk, and all that is said of its end.

use std::fs;
use std::path::PathBuf;

use lastbeat_wire::report::{Condition, EndingReport, RunDetail, RunReport};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collector::Collector;
use crate::exchange::Exchange;
use crate::process::Process;
use crate::scenes::kill_from_a_shell;
use crate::worker::{live, takes_term};
use crate::{PATIENCE, tools};

/// The trading loop, by the name under which it reports.
pub const WHO: &str = "trader/loop";

/// A collector, an exchange, and a folder for the book.
#[derive(Debug)]
pub struct Stand {
    /// Who is told of it.
    pub collector: Collector,
    /// Where it trades.
    pub exchange: Exchange,
    home: TempDir,
}

/// What is left of a trading loop that was stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Its run, as the collector shows it.
    pub run: RunReport,
    /// The block in its log that sums up; times are `T`.
    pub printed: String,
    /// Whether its log tells that as something to look at.
    pub warned: bool,
    /// Its audit trail: `LABEL OUTCOME`, and why where that was said.
    pub audit: Vec<String>,
    /// What `lastbeat explain` says from the verdict on; times are `T`.
    pub story: String,
}

impl Stand {
    /// All of it, and no order anywhere.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("lastbeat-book-").tempdir().expect("a temporary folder");
        Self { collector: Collector::start(), exchange: Exchange::start(), home }
    }

    /// Where the loop saves its book.
    #[must_use]
    pub fn book_file(&self) -> PathBuf {
        self.home.path().join("book")
    }

    /// The saved book.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn book(&self) -> String {
        fs::read_to_string(self.book_file()).expect("a saved book")
    }

    /// Starts the loop in this mode, to have so many orders open, and waits until it is live and can be stopped.
    #[must_use]
    pub fn trade(&self, mode: &str, orders: u32) -> Process {
        let mut command = self.collector.command(tools::program("examples/trading_loop"));
        command.env("LASTBEAT_ENVIRONMENT", mode).env("LASTBEAT_BEAT_INTERVAL", "500ms");
        command.arg(format!("--exchange={}", self.exchange.address()));
        command.arg(format!("--state={}", self.book_file().display()));
        command.arg(format!("--orders={orders}")).arg("--pace-ms=10");
        let process = Process::start("trading loop", &mut command);
        takes_term(process.pid());
        live(&self.collector, WHO);
        process
    }

    /// Starts the loop in this mode, and waits until it has sent so many orders to the exchange.
    #[must_use]
    pub fn trading(&mut self, mode: &str, orders: u32) -> Process {
        let process = self.trade(mode, orders);
        self.exchange.wait_for("PLACE", orders.into());
        process
    }

    /// Somebody stops the loop by `kill -TERM` in a shell; gathers what is left of it.
    pub fn stop(&self, mut process: Process) -> Stopped {
        let _shell = kill_from_a_shell(process.pid());
        self.ended(&mut process)
    }

    /// Waits for the end of a loop that was asked to stop, and gathers what is left of it.
    ///
    /// # Panics
    /// When it does not end, or not with 0, or the collector does not know.
    pub fn ended(&self, process: &mut Process) -> Stopped {
        assert_eq!(process.end(PATIENCE * 2).code(), Some(0), "{}", process.output());
        let over = |report: &lastbeat_wire::report::WorkerReport| {
            report.run.as_ref().is_some_and(|run| run.ending.is_some() && run.pid == Some(process.pid()))
                && !matches!(report.condition, Condition::Stopping)
        };
        let report = self.collector.wait_for(WHO, "stopped", PATIENCE, over);
        let run_id = report.run.expect("it has a run").run_id;
        let run = self.collector.get::<RunDetail>(&format!("/v1/runs/{run_id}")).run;
        let told = self.collector.cli(&["explain", WHO]);
        assert_eq!(told.code, Some(0), "{told:?}");
        Stopped::of(run, &process.output(), &told.out)
    }
}

impl Default for Stand {
    fn default() -> Self {
        Self::new()
    }
}

impl Stopped {
    fn of(run: RunReport, output: &str, explained: &str) -> Self {
        let names = names(&run);
        let known =
            |text: &str| names.iter().fold(timeless(text), |text, (is, shown)| text.replace(is, shown));
        let begin = format!("{WHO} stopped: ");
        let (before, after) = output.split_once(&begin).unwrap_or((output, ""));
        let rows = after.lines().enumerate().take_while(|(n, line)| *n == 0 || line.starts_with("  "));
        let rows: Vec<&str> = rows.map(|(_, line)| line).collect();
        // Behind the text of an event stand its fields.
        let printed = rows.join("\n");
        let printed = printed.split_once(" cleanup=").map_or(printed.as_str(), |(block, _)| block);
        let warned = before.lines().next_back().is_some_and(|line| line.contains(" WARN "));
        let audit = output.lines().filter(|line| line.contains(" item=")).map(|line| {
            let field = |name: &str| {
                let value = line.split_once(&format!(" {name}=\""))?.1;
                value.split('"').next()
            };
            let words = [field("item"), field("outcome"), field("why")];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        // Laid out for a reader; the sentence on its life is about the run, not about its end.
        let story = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        let story = story.split_once(" ended at ").map_or(story.as_str(), |(_, rest)| rest);
        let story = story.split_once(". ").map_or(story, |(_, rest)| rest);
        Self { audit: audit.collect(), printed: known(&(begin + printed)), warned, story: known(story), run }
    }

    /// How it ended.
    ///
    /// # Panics
    /// Never: only what has ended is gathered.
    #[must_use]
    pub fn ending(&self) -> &EndingReport {
        self.run.ending.as_ref().expect("it has ended")
    }

    /// What the page says of it; times are `T`.
    #[must_use]
    pub fn words(&self) -> String {
        timeless(&self.ending().words)
    }

    /// The cleanup of its final beat without times, and without the counters that are 0 and the lists that are empty.
    ///
    /// # Panics
    /// When a step that ran does not say how long.
    #[must_use]
    pub fn cleanup(&self) -> Value {
        let mut cleanup = json!(self.ending().cleanup);
        let fields = cleanup.as_object_mut().expect("a cleanup is an object");
        assert!(fields.remove("duration_ms").is_some_and(|ms| ms.is_u64()));
        fields.retain(|_, value| *value != json!(0) && *value != json!([]));
        let steps = fields.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
        for step in steps {
            let row = step.as_object_mut().expect("a step is an object");
            let took = row.remove("duration_ms");
            assert_eq!(took.is_some(), row.contains_key("attempts"), "{row:?}");
            row.retain(|name, value| name != "timeout_ms" && *value != json!(0));
        }
        cleanup
    }
}

/// What is different in each run, and what stands for it.
fn names(run: &RunReport) -> Vec<(String, String)> {
    let sender = run.ending.as_ref().and_then(|ending| ending.cause.as_ref()?.sender.as_ref());
    let mut names = Vec::new();
    if let Some(sender) = sender {
        names.push((format!("pid {}", sender.pid), "pid P".into()));
        names.push((format!("uid {}", sender.uid), "uid U".into()));
        names.extend(sender.tty.iter().map(|tty| (tty.clone(), "TTY".into())));
    }
    let facts = run.ending.iter().flat_map(|ending| &ending.evidence).flat_map(|evidence| &evidence.facts);
    names.extend(facts.map(|fact| {
        (fact.clone(), fact.trim_end_matches(|sign: char| sign.is_ascii_digit()).to_owned() + "N")
    }));
    names
}

/// The text with `T` for each span of time and each time of day.
#[must_use]
pub fn timeless(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|sign: char| sign.is_ascii_digit()) {
        let before_is_word =
            rest[..at].chars().next_back().is_some_and(|sign| sign.is_alphanumeric() || sign == '-');
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let span = rest.find(|sign: char| !sign.is_ascii_digit() && sign != ':').unwrap_or(rest.len());
        let (number, after) = rest.split_at(span);
        let number = number.trim_end_matches(':');
        let unit = [" ms", " s", " min"].into_iter().find(|unit| {
            let end = after.strip_prefix(unit);
            end.is_some_and(|end| !end.starts_with(|sign: char| sign.is_alphanumeric()))
        });
        let is_clock = number.len() == 8 && number.matches(':').count() == 2;
        match unit {
            Some(unit) if !before_is_word && !number.contains(':') => {
                out.push('T');
                rest = &rest[number.len() + unit.len()..];
            }
            _ if is_clock => {
                out.push('T');
                rest = &rest[number.len()..];
            }
            _ => {
                out.push_str(number);
                rest = &rest[number.len()..];
            }
        }
    }
    out + rest
}

/// The row of a step that has no items and went well.
#[must_use]
pub fn ok(name: &str) -> Value {
    json!({ "name": name, "outcome": "ok", "attempts": 1 })
}

#[cfg(test)]
mod tests {
    use super::timeless;

    #[test]
    fn times_are_told_apart_from_other_numbers() {
        let text =
            "stopped 12:03:07 (os error 11), o-1 s: 2 of 3, 3 attempts, 640 ms; in 5 s. #1: 127.0.0.1:7070";
        let plain = "stopped T (os error 11), o-1 s: 2 of 3, 3 attempts, T; in T. #1: 127.0.0.1:7070";
        assert_eq!(timeless(text), plain);
    }
}
