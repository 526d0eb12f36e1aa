//! The page's words: one place, pure. What stands here is what the page, the CLI and the API say.

use std::collections::BTreeMap;

use crate::ending::{Cause, CauseKind, Class, CleanupOutcome, Ending, Sender, Severity, StepOutcome};
use crate::fact::Deadline;
use crate::moment::Moment;
use crate::rules::Rules;
use crate::run::{Flag, Run};
use crate::silence::Silence;
use crate::worker::{Condition, Standing, Worker};

/// What turns a moment of the axis into a time of day: add it to get milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallOffset(pub i64);

/// The most bytes of a panic's message that the words repeat.
const PANIC_WORDS_MAX: usize = 120;

/// `HH:MM:SS`, UTC.
#[must_use]
pub fn time_of_day(moment: Moment, offset: WallOffset) -> String {
    let wall_ms = i128::from(moment.as_millis()) + i128::from(offset.0);
    let second = wall_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// `HH:MM`, UTC.
fn minute(moment: Moment, offset: WallOffset) -> String {
    let mut time = time_of_day(moment, offset);
    time.truncate("HH:MM".len());
    time
}

/// `12 s`, `4 min`, `3 h`, `2 d`: the largest unit of which there are at least two.
#[must_use]
pub fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// What the page says of a worker.
#[must_use]
pub fn worker_words(
    worker: &Worker,
    standing: &Standing,
    now: Moment,
    rules: &Rules,
    offset: WallOffset,
) -> String {
    let Some(run) = worker.current() else { return "Starting".to_owned() };
    let clock = |moment| time_of_day(moment, offset);
    match standing.condition {
        Condition::RestartOverdue => format!("Failed: restart overdue since {}", clock(standing.since)),
        Condition::Failed => {
            let failed = worker.failure(rules).and_then(|run| Some((run, run.verdict().ending()?)));
            match failed {
                Some((_, ending)) if worker.outlasted_maintenance(ending.at, now, rules) => {
                    "Failed: still down after maintenance".to_owned()
                }
                Some((run, ending)) => failure_words(run, ending, now, rules),
                None => "Failed".to_owned(),
            }
        }
        Condition::CrashLoop => {
            format!("Failed: crash loop ({} in {})", rules.loop_endings, span(rules.loop_ms))
        }
        Condition::Suspended => format!("Suspended {}", span(now.since(standing.since))),
        Condition::Unreachable => {
            format!("Unreachable {}, last seen {}", span(now.since(run.last_seen())), clock(run.last_seen()))
        }
        Condition::Unknown => "Unknown: collector recovering".to_owned(),
        Condition::Degraded => run.failed_agent().map_or_else(
            || "Degraded".to_owned(),
            |(name, end, _)| match end {
                crate::ending::AgentEnd::CancelledUnexpected => format!("Degraded: {name} cancelled"),
                crate::ending::AgentEnd::Completed
                | crate::ending::AgentEnd::CancelledExpected
                | crate::ending::AgentEnd::Crashed
                | crate::ending::AgentEnd::Abandoned => format!("Degraded: {name} {}", end.as_str()),
            },
        ),
        Condition::Restarting => match standing.back_by {
            Some(due) => format!("Restarting, back by {}", clock(due)),
            None => "Restarting".to_owned(),
        },
        Condition::Stopping => stopping_words(run, now),
        Condition::Draining => match run.dossier().phase.as_ref().and_then(|phase| phase.value.count) {
            Some((done, total)) => format!("Draining {done} of {total}"),
            None => "Draining".to_owned(),
        },
        Condition::Paused => "Paused".to_owned(),
        Condition::Reloading => "Reloading".to_owned(),
        Condition::Starting => "Starting".to_owned(),
        Condition::Live if run.flags(now, rules).contains(&Flag::Overdue) => {
            format!("Late {}", span(run.silent_ms(now)))
        }
        Condition::Live => "Live".to_owned(),
        Condition::Completed => "Completed".to_owned(),
        Condition::Stopped => run.verdict().ending().map_or_else(
            || "System stopped".to_owned(),
            |ending| ending_words(run, ending, now, rules, offset),
        ),
        Condition::Maintenance => {
            let until = standing.back_by.map(|until| format!(" until {}", minute(until, offset)));
            let ended = worker
                .last_ended()
                .filter(|run| run.id() == worker.current().map_or(run.id(), Run::id))
                .and_then(|run| Some((run, run.verdict().ending()?)))
                .filter(|(_, ending)| ending.at >= standing.since)
                .map(|(_, ending)| format!(" ({} {})", ending.class.in_words(), minute(ending.at, offset)));
            format!("Maintenance{}{}", until.unwrap_or_default(), ended.unwrap_or_default())
        }
        Condition::Hung => {
            let moved = run.dossier().hung().and_then(|hung| hung.last_seen).unwrap_or(standing.since);
            format!("Failed: hung: no progress for {}", span(now.since(moved)))
        }
    }
}

/// What the page says of one ending, whatever came after it.
#[must_use]
pub fn ending_words(run: &Run, ending: &Ending, now: Moment, rules: &Rules, offset: WallOffset) -> String {
    match ending.class {
        Class::Completed => "Completed".to_owned(),
        Class::Superseded => "Superseded by a later run".to_owned(),
        Class::Shutdown => {
            let by = ending.cause.as_ref().map(asked_by).unwrap_or_default();
            let clean = match ending.cleanup_outcome {
                CleanupOutcome::NoneDeclared => "",
                CleanupOutcome::Complete => "; cleanup complete",
                CleanupOutcome::Partial => "; cleanup partial",
                CleanupOutcome::Failed => "; cleanup failed",
                CleanupOutcome::TimedOut => "; cleanup timed out",
                CleanupOutcome::Skipped => "; cleanup skipped",
            };
            format!("System stopped {}{by}{clean}", time_of_day(ending.at, offset))
        }
        Class::ShutdownDegraded | Class::ShutdownAborted | Class::ExitedSilently => class_words(run, ending),
        Class::ShutdownTimeout
        | Class::Crashed
        | Class::Killed
        | Class::OomKilled
        | Class::Watchdog
        | Class::StartFailed
        | Class::Lost
        | Class::HostLost
        | Class::HostRebooted => failure_words(run, ending, now, rules),
    }
}

fn failure_words(run: &Run, ending: &Ending, now: Moment, rules: &Rules) -> String {
    match ending.class {
        Class::Lost => format!("Failed: lost contact {} ago", span(now.since(run.last_seen()))),
        Class::StartFailed if ending.expired.is_some() => {
            format!("Failed to start: not ready after {}", span(rules.start_ms))
        }
        Class::StartFailed => format!("Failed to start: {}", exit_words(ending)),
        Class::Completed
        | Class::Shutdown
        | Class::Superseded
        | Class::ShutdownDegraded
        | Class::ShutdownAborted
        | Class::ExitedSilently
        | Class::ShutdownTimeout
        | Class::Crashed
        | Class::Killed
        | Class::OomKilled
        | Class::Watchdog
        | Class::HostLost
        | Class::HostRebooted => format!("Failed: {}", class_words(run, ending)),
    }
}

/// The heart of the words, without "Failed:" and without times that run: also the `because` of an alert.
#[must_use]
pub fn class_words(run: &Run, ending: &Ending) -> String {
    match ending.class {
        Class::Completed => "completed".to_owned(),
        Class::Shutdown => "stopped as asked".to_owned(),
        Class::Superseded => "superseded by a later run".to_owned(),
        Class::ShutdownDegraded | Class::ShutdownAborted => format!("Stopped, {}", unclean_words(ending)),
        Class::ExitedSilently => "Exited without a goodbye (exit 0)".to_owned(),
        Class::ShutdownTimeout if ending.expired == Some(Deadline::Goodbye) => {
            "said goodbye, still running".to_owned()
        }
        Class::ShutdownTimeout => match cut_step(run, ending) {
            Some(step) => format!("stop timed out: {step}"),
            None => "stop timed out".to_owned(),
        },
        Class::Crashed => match (&ending.panic, &ending.exit) {
            (Some(panic), _) => format!("panic \"{}\"", cut(&panic.message)),
            (None, Some(_)) => exit_words(ending),
            (None, None) => "crashed".to_owned(),
        },
        Class::Killed => "killed (SIGKILL)".to_owned(),
        Class::OomKilled => "out of memory".to_owned(),
        Class::Watchdog => "watchdog".to_owned(),
        Class::StartFailed if ending.exit.is_some() => format!("failed to start: {}", exit_words(ending)),
        Class::StartFailed => "failed to start: not ready in time".to_owned(),
        Class::Lost if run.dossier().witnessed() && !run.dossier().linked() => {
            "lost contact: its witness vanished, the program itself may live".to_owned()
        }
        Class::Lost => match ending.expired {
            Some(Deadline::Link) => "lost contact: its link closed without a goodbye".to_owned(),
            Some(
                Deadline::Silence
                | Deadline::Stop
                | Deadline::Start
                | Deadline::Promise
                | Deadline::Goodbye
                | Deadline::Progress
                | Deadline::Host,
            )
            | None => "lost contact: nothing heard for the full silence timeout".to_owned(),
        },
        Class::HostLost => "host lost".to_owned(),
        Class::HostRebooted => "host rebooted".to_owned(),
    }
}

fn exit_words(ending: &Ending) -> String {
    let Some(exit) = &ending.exit else { return "crashed".to_owned() };
    match (exit.code, &exit.signal) {
        (_, Some(signal)) => signal.clone(),
        (Some(code), None) => format!("exit {code}"),
        (None, None) => "crashed".to_owned(),
    }
}

fn cut_step<'a>(run: &'a Run, ending: &'a Ending) -> Option<&'a str> {
    let cut = ending.cleanup.steps.iter().find(|step| step.outcome == Some(StepOutcome::TimedOut));
    cut.map(|step| &*step.name).or_else(|| run.step_at_work().map(|name| &**name))
}

/// Why a stop was not clean: the worst first.
fn unclean_words(ending: &Ending) -> String {
    let cleanup = &ending.cleanup;
    let first = |outcome| cleanup.steps.iter().find(|step| step.outcome == Some(outcome));
    if ending.cleanup_outcome == CleanupOutcome::Skipped {
        let keyboard = ending.cause.as_ref().is_some_and(|cause| cause.kind == CauseKind::Keyboard);
        return match (ending.class, keyboard) {
            (Class::ShutdownAborted, true) => "cleanup skipped (second Ctrl+C)".to_owned(),
            (Class::ShutdownAborted, false) => "cleanup skipped (second request)".to_owned(),
            _ => "cleanup skipped".to_owned(),
        };
    }
    if let Some(step) = first(StepOutcome::Failed) {
        return format!("cleanup failed: {}", step.name);
    }
    if let Some(step) = first(StepOutcome::Partial) {
        return match (step.done, step.total) {
            (Some(done), Some(total)) => format!("cleanup partial: {} {done} of {total}", step.name),
            _ => format!("cleanup partial: {}", step.name),
        };
    }
    if let Some(step) = cleanup.steps.iter().find(|step| step.outcome.is_none()) {
        return format!("cleanup partial: {} not finished", step.name);
    }
    if let Some(name) = cleanup.abandoned.first() {
        let count = cleanup.abandoned.len();
        let plural = if count == 1 { "agent" } else { "agents" };
        return format!("{count} {plural} abandoned: {name}");
    }
    if cleanup.streams_cut > 0 {
        let plural = if cleanup.streams_cut == 1 { "stream" } else { "streams" };
        return format!("{} {plural} cut", cleanup.streams_cut);
    }
    if !cleanup.children_left.is_empty() {
        return format!("children left: {}", cleanup.children_left.len());
    }
    if cleanup.items_dropped > 0 {
        return format!("cleanup partial: {} items dropped", cleanup.items_dropped);
    }
    match &ending.exit {
        Some(_) => exit_words(ending),
        None => "cleanup partial".to_owned(),
    }
}

fn stopping_words(run: &Run, now: Moment) -> String {
    let Some(ask) = &run.verdict().ask else { return "Stopping".to_owned() };
    let left = span(ask.deadline.since(now));
    match run.step_at_work() {
        Some(step) => format!("Stopping, {left} left: {step}"),
        None => format!("Stopping, {left} left"),
    }
}

/// ` by Ctrl+C`, ` by kill from bash`, `: terminal closed`; empty when there is nothing to say.
#[must_use]
pub fn asked_by(cause: &Cause) -> String {
    let named = |what: &str, name: &Option<String>| match name {
        Some(name) => format!(" by {what} {name}"),
        None => format!(" by {what}"),
    };
    match cause.kind {
        CauseKind::Keyboard if cause.signal.as_deref() == Some("SIGQUIT") => r" by Ctrl+\".to_owned(),
        CauseKind::Keyboard => " by Ctrl+C".to_owned(),
        CauseKind::TerminalHangup => ": terminal closed".to_owned(),
        CauseKind::HostShutdown => ": host going down".to_owned(),
        CauseKind::Signal => match &cause.sender {
            Some(sender) => by_sender(sender),
            None => format!(" by {}, sender unknown", cause.signal.as_deref().unwrap_or("a signal")),
        },
        CauseKind::Supervisor => {
            let name = cause.sender.as_ref().and_then(|sender| sender.comm.clone());
            name.map_or_else(|| " by its supervisor".to_owned(), |name| format!(" by its supervisor {name}"))
        }
        CauseKind::Deploy => named("deploy", &cause.id),
        CauseKind::Operator => named("operator", &cause.who),
        CauseKind::Api => match &cause.reason {
            Some(reason) => format!(" by itself: {reason}"),
            None => " by itself".to_owned(),
        },
        CauseKind::Itself => match &cause.reason {
            Some(reason) => format!(" by itself: {reason}"),
            None => " by itself".to_owned(),
        },
        CauseKind::Dependency => match &cause.name {
            Some(name) => format!(": dependency {name}"),
            None => ": a dependency".to_owned(),
        },
        CauseKind::Unknown => ", asked by nobody we can name".to_owned(),
    }
}

fn by_sender(sender: &Sender) -> String {
    if sender.outside_namespace {
        return " from outside".to_owned();
    }
    match &sender.comm {
        Some(comm) => format!(" by kill from {comm}"),
        None if sender.gone => format!(" by pid {} (gone)", sender.pid),
        None => format!(" by pid {}", sender.pid),
    }
}

fn cut(message: &str) -> &str {
    let mut end = message.len().min(PANIC_WORDS_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].lines().next().unwrap_or_default()
}

/// How many workers are in each condition, and how many of the stopped want a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Workers by condition; only those above 0.
    pub by_condition: BTreeMap<Condition, u64>,
    /// Workers whose stop left a ticket.
    pub tickets: u64,
}

impl Tally {
    /// Counts one worker.
    pub fn add(&mut self, standing: &Standing) {
        *self.by_condition.entry(standing.condition).or_default() += 1;
        self.tickets += u64::from(standing.severity == Severity::Ticket);
    }

    /// Workers in one of these conditions.
    #[must_use]
    pub fn of(&self, conditions: &[Condition]) -> u64 {
        conditions.iter().filter_map(|condition| self.by_condition.get(condition)).sum()
    }

    /// All workers.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.by_condition.values().sum()
    }

    /// Workers somebody is woken for.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.of(&FAILED)
    }

    /// Workers in doubt or not clean.
    #[must_use]
    pub fn to_look_at(&self) -> u64 {
        self.of(&IN_DOUBT) + self.tickets
    }
}

/// Conditions of the red family.
pub const FAILED: [Condition; 4] =
    [Condition::CrashLoop, Condition::RestartOverdue, Condition::Failed, Condition::Hung];
/// Conditions of the amber family.
pub const IN_DOUBT: [Condition; 4] =
    [Condition::Suspended, Condition::Unreachable, Condition::Unknown, Condition::Degraded];
const GONE_AS_PLANNED: [Condition; 2] = [Condition::Stopped, Condition::Completed];

/// The sentence on top of the page; an open mass silence is said instead of everything else.
#[must_use]
pub fn fleet_sentence(tally: &Tally, silence: Option<&Silence>) -> String {
    if let Some(silence) = silence.filter(|silence| silence.until.is_none()) {
        return format!("Network or observer fault: {} of {} silent", silence.members, silence.of);
    }
    let all = tally.all();
    let failed = tally.failed();
    let look = tally.to_look_at();
    let workers = |count: u64| if count == 1 { "worker" } else { "workers" };
    let need = |count: u64| if count == 1 { "needs" } else { "need" };
    if all == 0 {
        "No worker has reported yet".to_owned()
    } else if failed > 0 && look > 0 {
        format!("{failed} of {all} {} failed, {look} more {} a look", workers(all), need(look))
    } else if failed > 0 {
        format!("{failed} of {all} {} failed", workers(all))
    } else if look > 0 {
        format!("{look} of {all} {} {} a look", workers(all), need(look))
    } else {
        rest_sentence(tally)
    }
}

/// What the page says of one service.
#[must_use]
pub fn service_words(tally: &Tally) -> String {
    let failed = tally.failed();
    let denominator = tally.all() - tally.of(&GONE_AS_PLANNED);
    if denominator > 0 && failed == denominator {
        return "Failed".to_owned();
    }
    rest_sentence(tally)
}

/// "Live 4 of 5, 1 restarting"; "System stopped" when nobody is meant to be there.
fn rest_sentence(tally: &Tally) -> String {
    let gone = tally.of(&GONE_AS_PLANNED);
    let denominator = tally.all() - gone;
    if denominator == 0 {
        let completed = tally.of(&[Condition::Completed]);
        return if completed == gone { "Completed".to_owned() } else { "System stopped".to_owned() };
    }
    let live = tally.of(&[Condition::Live]);
    let others: Vec<(Condition, u64)> = tally
        .by_condition
        .iter()
        .map(|(condition, count)| (*condition, *count))
        .filter(|(condition, _)| *condition != Condition::Live && !GONE_AS_PLANNED.contains(condition))
        .collect();
    if let (0, [(only, _)]) = (live, others.as_slice()) {
        // All are in one condition: its name says everything.
        return capital(only.as_str());
    }
    let mut parts = vec![format!("Live {live} of {denominator}")];
    for (condition, count) in others {
        parts.push(format!("{count} {}", condition.as_str().replace('_', " ")));
    }
    parts.join(", ")
}

fn capital(word: &str) -> String {
    let spaced = word.replace('_', " ");
    let (first, rest) = spaced.split_at(spaced.len().min(1));
    first.to_uppercase() + rest
}
