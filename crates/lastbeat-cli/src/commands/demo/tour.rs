//! The tour: one act after the other, each with what is done, what the collector says of it, and whether
//! that is right.

use std::time::{Duration, Instant};

use lastbeat_wire::report::{AlertsReport, Class, Condition, Severity, WorkerReport};
use rustix::process::Signal;

use super::Interrupt;
use super::stage::{GLANCE, Stage, Watched, scale, signal_pid};
use crate::collector::Collector;
use crate::commands::{phrase, report};
use crate::failure::Failure;
use crate::render::{self, Colour, Tone};

/// How long a state may take to show. Deadlines are scaled, so this only limits what goes wrong.
const SHOW_LIMIT: Duration = Duration::from_secs(20);
/// How long a deadline that passes may take to show, at the scale of real life.
const DEADLINE_LIMIT: Duration = Duration::from_secs(60);
/// The promise that is broken. A promise is a person's word and is never scaled.
const BROKEN_PROMISE: &str = "3s";
const KEPT_PROMISE: &str = "30s";
/// How long a reader gets for each act.
const READING_TIME: Duration = Duration::from_millis(1_500);

/// How fast the acts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// A person follows them.
    Reading,
    /// Only the outcome counts.
    Brisk,
}

/// How the tour came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toured {
    /// Every act was judged as it should be.
    AsExpected,
    /// At least one was not.
    Otherwise,
    /// Somebody pressed Ctrl+C.
    Interrupted,
}

/// Why the tour does not go on.
enum Ended {
    Interrupted,
    /// An act was not judged as it should be; what was judged is printed already.
    Misjudged,
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Workers that stay, and those that the acts are about.
const LIVE: &str = "shop/api";
const STOPPED: &str = "trader/main";
const RESTARTED: &str = "shop/cart";
const FINISHED: &str = "nightly/report";
const OVERDUE: &str = "shop/search";
const PANICKED: &str = "trader/price-feed";
const KILLED: &str = "trader/risk";
const LOST: &str = "shop/mail";

pub(super) fn tour(stage: &mut Stage, interrupt: &Interrupt, pace: Pace) -> Result<Toured, Failure> {
    let collector = stage.collector()?;
    let mut guide =
        Guide { stage, interrupt, collector, pace, colour: Colour::of_stdout(), begun: Instant::now() };
    match guide.acts() {
        Ok(()) => Ok(Toured::AsExpected),
        Err(Ended::Misjudged) => Ok(Toured::Otherwise),
        Err(Ended::Interrupted) => Ok(Toured::Interrupted),
        Err(Ended::Failed(failure)) => Err(failure),
    }
}

struct Guide<'a> {
    stage: &'a mut Stage,
    interrupt: &'a Interrupt,
    collector: Collector,
    pace: Pace,
    colour: Colour,
    /// When the act that is judged began.
    begun: Instant,
}

impl Guide<'_> {
    fn acts(&mut self) -> Result<(), Ended> {
        let url = self.stage.url().to_owned();
        render::line(&format!("The page is at {}", self.colour.strong(&url)));
        render::line(&format!("and `LASTBEAT_COLLECTOR={url} lastbeat status` says the same."));
        render::line(&format!("(deadlines are scaled by {} here, promises are not)", scale()));

        self.say("Eight workers start. Each has three agents and a plan of two steps for its shutdown.");
        for worker in [LIVE, STOPPED] {
            self.stage.start(worker, Watched::Alone, &[])?;
        }
        self.stage.start(RESTARTED, Watched::Alone, &["--back-by", KEPT_PROMISE])?;
        self.stage.start(OVERDUE, Watched::Alone, &["--back-by", BROKEN_PROMISE])?;
        self.stage.start(FINISHED, Watched::Alone, &["--act", "job"])?;
        self.stage.start(PANICKED, Watched::Alone, &["--act", "panic"])?;
        self.stage.start(KILLED, Watched::ByWitness, &[])?;
        self.stage.start(LOST, Watched::Alone, &[])?;
        for worker in [LIVE, STOPPED, RESTARTED, OVERDUE, FINISHED, PANICKED, KILLED, LOST] {
            self.expect(worker, Condition::Live, None, SHOW_LIMIT)?;
        }

        self.act(&format!("{STOPPED} is asked to stop: SIGTERM, as a supervisor would send it."))?;
        self.stage.signal(STOPPED, Signal::TERM)?;
        self.expect(STOPPED, Condition::Stopped, Some(Class::Shutdown), SHOW_LIMIT)?;

        self.act(&format!("{RESTARTED} is restarted; it promised to be back within {KEPT_PROMISE}."))?;
        self.stage.signal(RESTARTED, Signal::TERM)?;
        self.expect(RESTARTED, Condition::Restarting, Some(Class::Shutdown), SHOW_LIMIT)?;
        self.stage.wait_for_end(RESTARTED);
        self.stage.start(RESTARTED, Watched::Alone, &["--back-by", KEPT_PROMISE])?;
        self.expect(RESTARTED, Condition::Live, None, SHOW_LIMIT)?;

        self.act(&format!("{FINISHED} finishes its job; nobody asked it to stop."))?;
        self.stage.signal(FINISHED, Signal::USR1)?;
        self.expect(FINISHED, Condition::Completed, Some(Class::Completed), SHOW_LIMIT)?;

        self.act(&format!("{OVERDUE} promises to be back within {BROKEN_PROMISE} and does not come."))?;
        self.stage.signal(OVERDUE, Signal::TERM)?;
        self.expect(OVERDUE, Condition::Restarting, Some(Class::Shutdown), SHOW_LIMIT)?;
        self.expect(OVERDUE, Condition::RestartOverdue, Some(Class::Shutdown), DEADLINE_LIMIT)?;

        self.act(&format!("{PANICKED} panics."))?;
        self.stage.signal(PANICKED, Signal::USR1)?;
        self.expect(PANICKED, Condition::Failed, Some(Class::Crashed), SHOW_LIMIT)?;

        self.act(&format!("{KILLED} gets kill -9; `lastbeat run` is its witness."))?;
        let pid = self.read(KILLED)?.and_then(|report| report.run?.pid);
        signal_pid(KILLED, pid, Signal::KILL)?;
        self.expect(KILLED, Condition::Failed, Some(Class::Killed), SHOW_LIMIT)?;

        self.act(&format!("{LOST} gets kill -9, and nobody saw it: only its silence tells."))?;
        self.stage.signal(LOST, Signal::KILL)?;
        self.expect(LOST, Condition::Unreachable, None, SHOW_LIMIT)?;
        self.expect(LOST, Condition::Failed, Some(Class::Lost), DEADLINE_LIMIT)?;

        self.act("Who is paged? Only those that need somebody; a planned stop wakes nobody.")?;
        self.expect_pages(&[OVERDUE, LOST, PANICKED, KILLED])?;
        self.expect(LIVE, Condition::Live, None, SHOW_LIMIT)
    }

    fn act(&mut self, text: &str) -> Result<(), Ended> {
        let pause = match self.pace {
            Pace::Reading => READING_TIME,
            Pace::Brisk => Duration::ZERO,
        };
        if self.interrupt.during(pause) {
            return Err(Ended::Interrupted);
        }
        self.say(text);
        Ok(())
    }

    fn say(&mut self, text: &str) {
        self.begun = Instant::now();
        render::line("");
        render::line(&self.colour.strong(text));
    }

    /// Reads one worker; none while it is not known.
    fn read(&self, worker: &str) -> Result<Option<WorkerReport>, Failure> {
        match self.collector.get(&format!("/v1/workers/{worker}")) {
            Ok(answer) => report("the worker", answer).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Waits until a worker is in a condition, and says its words. What is not judged so in time is said
    /// too, and ends the tour.
    fn expect(
        &mut self,
        worker: &str,
        condition: Condition,
        class: Option<Class>,
        limit: Duration,
    ) -> Result<(), Ended> {
        let asked = Instant::now();
        loop {
            let report = self.read(worker)?;
            let is = report.as_ref().is_some_and(|report| {
                let ended = report.run.as_ref().and_then(|run| run.ending.as_ref());
                report.condition == condition
                    && class.is_none_or(|class| ended.is_some_and(|ending| ending.class == class))
            });
            if is || asked.elapsed() >= limit {
                return self.tell(worker, report.as_ref(), is.then_some(()).ok_or(condition));
            }
            if self.interrupt.during(GLANCE) {
                return Err(Ended::Interrupted);
            }
        }
    }

    fn tell(
        &self,
        worker: &str,
        report: Option<&WorkerReport>,
        judged: Result<(), Condition>,
    ) -> Result<(), Ended> {
        let words = render::clean(report.map_or("is not known", |report| report.words.as_str()));
        let after = phrase::span(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        match judged {
            Ok(()) => {
                let mark = self.colour.tone(Tone::Green, "✓");
                render::line(&format!("  {mark} {worker}: {words}  (after {after})"));
                Ok(())
            }
            Err(condition) => {
                let mark = self.colour.tone(Tone::Red, "✗");
                render::line(&format!("  {mark} {worker}: {words}  (after {after}; expected: {condition})"));
                Err(Ended::Misjudged)
            }
        }
    }

    fn expect_pages(&mut self, expected: &[&str]) -> Result<(), Ended> {
        let mut expected: Vec<String> = expected.iter().map(|worker| (*worker).to_owned()).collect();
        expected.sort();
        let asked = Instant::now();
        loop {
            let alerts: AlertsReport = report("the alerts", self.collector.get("/v1/alerts")?)?;
            let open: Vec<_> = alerts
                .alerts
                .iter()
                .filter(|alert| alert.severity == Severity::Page && alert.resolved_at.is_none())
                .collect();
            let mut paged: Vec<String> = open.iter().map(|alert| alert.subject()).collect();
            paged.sort();
            if paged == expected || asked.elapsed() >= SHOW_LIMIT {
                for alert in &open {
                    render::line(&format!(
                        "  {} {}: {} ({})",
                        self.colour.tone(Tone::Red, "page"),
                        alert.subject(),
                        alert.name,
                        render::clean(&alert.because)
                    ));
                }
                if paged == expected {
                    return Ok(());
                }
                let mark = self.colour.tone(Tone::Red, "✗");
                render::line(&format!("  {mark} expected pages for {}", expected.join(", ")));
                return Err(Ended::Misjudged);
            }
            if self.interrupt.during(GLANCE) {
                return Err(Ended::Interrupted);
            }
        }
    }
}
