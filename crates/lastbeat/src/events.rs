//! What the client tells the host's log and traces: three spans, a few events, and which of them are errors.
//!
//! One place for the names and the levels, so that a log, a trace and the documentation agree. An expected
//! cancellation is never an error.

use std::sync::Arc;
use std::time::Duration;

use lastbeat_wire::Name;
use lastbeat_wire::signal::{AgentEnd, Cause, CauseKind, Sender, StepOutcome};
use tracing::{Level, Span, field};

use crate::clock::whole_ms;
use crate::courier::Identity;

/// One event as it stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name, as in the metadata of the tracing event.
    pub name: &'static str,
    /// Its level.
    pub level: Level,
    /// When it is told.
    pub when: &'static str,
    /// Whether somebody should look.
    pub is_error: bool,
}

const fn event(name: &'static str, level: Level, is_error: bool, when: &'static str) -> Event {
    Event { name, level, when, is_error }
}

/// Every event there is, in the order of a life.
pub const ALL: &[Event] = &[
    event(
        "lastbeat.stop_requested",
        Level::INFO,
        false,
        "somebody asked the run to stop: by whom is in its fields",
    ),
    event("lastbeat.stop_forced", Level::WARN, true, "a second request: what is left of the plan is skipped"),
    event(
        "lastbeat.agent_cancelled",
        Level::INFO,
        false,
        "an agent was cancelled by its run or owner: `expected` is true",
    ),
    event(
        "lastbeat.agent_cancelled",
        Level::WARN,
        true,
        "an agent was cancelled by anybody else: `expected` is false",
    ),
    event("lastbeat.agent_completed", Level::DEBUG, false, "an agent's work was done"),
    event(
        "lastbeat.agent_crashed",
        Level::ERROR,
        true,
        "an agent returned an error or panicked; the run goes on",
    ),
    event("lastbeat.agent_abandoned", Level::WARN, true, "an agent was alive when its run ended"),
    event("lastbeat.item", Level::INFO, false, "an item of a step is done, or skipped on purpose"),
    event("lastbeat.item", Level::WARN, true, "an item of a step failed"),
    event("lastbeat.step", Level::INFO, false, "a step is ok, or skipped on purpose"),
    event("lastbeat.step", Level::WARN, true, "a step failed, is partial, or was cut"),
    event(
        "lastbeat.streams_closed",
        Level::INFO,
        false,
        "a server is closed: how many streams of the run have said goodbye, and how many clients left by themselves",
    ),
    event(
        "lastbeat.streams_closed",
        Level::WARN,
        true,
        "a server is closed, and streams of the run were cut",
    ),
    event(
        "lastbeat.stopped",
        Level::INFO,
        false,
        "the summary of a stop: the cleanup is complete, or none was declared",
    ),
    event("lastbeat.stopped", Level::WARN, true, "the summary of a stop whose cleanup is not complete"),
    event(
        "lastbeat.panic",
        Level::ERROR,
        true,
        "a thread or task panicked; what becomes of it is told by its agent, or by the crash of the run",
    ),
    event(
        "lastbeat.crashed",
        Level::ERROR,
        true,
        "a panic that nobody caught, or the error of the wrapped future: the run ends",
    ),
];

// `event!` wants its level as a constant, so each level is a branch.
macro_rules! tell {
    ($level:expr, $name:literal, $parent:expr, $($fields:tt)*) => {
        match $level {
            Level::ERROR => tracing::event!(name: $name, parent: $parent, Level::ERROR, $($fields)*),
            Level::WARN => tracing::event!(name: $name, parent: $parent, Level::WARN, $($fields)*),
            Level::INFO => tracing::event!(name: $name, parent: $parent, Level::INFO, $($fields)*),
            _ => tracing::event!(name: $name, parent: $parent, Level::DEBUG, $($fields)*),
        }
    };
}

/// Tells the host's log something. A subscriber that panics must not take a thread of ours with it: one that writes to
/// a terminal does when that is gone, which is just when its hang-up is to be heard (ending 52).
pub(crate) fn quietly(tell: impl FnOnce()) {
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)));
}

/// The span of a run, from `connect` to the final heartbeat. Fields by OpenTelemetry's conventions.
pub(crate) fn run_span(identity: &Identity, version: Option<&str>, environment: Option<&str>) -> Span {
    tracing::info_span!(
        parent: None,
        "lastbeat.run",
        service.name = %identity.service,
        service.instance.id = %identity.run_id,
        service.version = version,
        deployment.environment.name = environment,
        process.pid = std::process::id(),
        lastbeat.worker = %identity.worker,
    )
}

/// The span of a stop, in the run's.
pub(crate) fn stop_span(run: &Span, cause: &Cause, deadline: Duration) -> Span {
    tracing::info_span!(
        parent: run,
        "lastbeat.stop",
        lastbeat.cause = cause.kind.as_str(),
        lastbeat.signal = cause.signal,
        lastbeat.deadline_ms = whole_ms(deadline),
        lastbeat.cleanup = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// The span of a step, in the stop's.
pub(crate) fn step_span(stop: &Span, name: &Name, timeout: Duration) -> Span {
    tracing::info_span!(
        parent: stop,
        "lastbeat.step",
        otel.name = %format_args!("step {name}"),
        lastbeat.step = %name,
        lastbeat.timeout_ms = whole_ms(timeout),
        lastbeat.outcome = field::Empty,
        lastbeat.attempts = field::Empty,
        lastbeat.done = field::Empty,
        lastbeat.total = field::Empty,
        otel.status_code = field::Empty,
    )
}

pub(crate) fn stop_requested(run: &Span, cause: &Cause, deadline: Duration) {
    quietly(|| {
        tracing::event!(
            name: "lastbeat.stop_requested",
            parent: run,
            Level::INFO,
            lastbeat.cause = cause.kind.as_str(),
            lastbeat.signal = cause.signal,
            lastbeat.deadline_ms = whole_ms(deadline),
            "stop requested by {}",
            who(cause)
        );
    });
}

pub(crate) fn stop_forced(run: &Span, cause: &Cause) {
    quietly(|| {
        tracing::event!(
            name: "lastbeat.stop_forced",
            parent: run,
            Level::WARN,
            lastbeat.cause = cause.kind.as_str(),
            "stop forced by {}: what is left of the cleanup is skipped",
            who(cause)
        );
    });
}

pub(crate) fn agent_ended(run: &Span, name: &Name, end: AgentEnd, error: Option<&str>) {
    quietly(|| {
        let agent = name.as_str();
        match end {
            AgentEnd::Completed => {
                tracing::event!(name: "lastbeat.agent_completed", parent: run, Level::DEBUG, agent, "agent completed");
            }
            AgentEnd::CancelledExpected => tracing::event!(
                name: "lastbeat.agent_cancelled", parent: run, Level::INFO, agent, expected = true, "agent cancelled"
            ),
            AgentEnd::CancelledUnexpected => tracing::event!(
                name: "lastbeat.agent_cancelled", parent: run, Level::WARN, agent, expected = false,
                "agent cancelled, and no stop was asked"
            ),
            AgentEnd::Crashed => tracing::event!(
                name: "lastbeat.agent_crashed", parent: run, Level::ERROR, agent, error, "agent crashed"
            ),
            AgentEnd::Abandoned => tracing::event!(
                name: "lastbeat.agent_abandoned", parent: run, Level::WARN, agent, "agent still alive at the end"
            ),
        }
    });
}

/// One line of the audit trail.
pub(crate) fn item(span: &Span, step: &Name, label: &str, outcome: &str, why: Option<&str>) {
    quietly(|| {
        let level = if outcome == "failed" { Level::WARN } else { Level::INFO };
        tell!(
            level,
            "lastbeat.item",
            span,
            step = step.as_str(),
            item = label,
            outcome,
            why,
            "item {outcome}"
        );
    });
}

pub(crate) fn step_ended(span: &Span, step: &lastbeat_wire::signal::Step) {
    quietly(|| {
        let outcome = step.outcome.unwrap_or(StepOutcome::Skipped);
        span.record("lastbeat.outcome", outcome.as_str());
        step.attempts.map(|attempts| span.record("lastbeat.attempts", attempts));
        step.done.map(|done| span.record("lastbeat.done", done));
        step.total.map(|total| span.record("lastbeat.total", total));
        let is_well = matches!(outcome, StepOutcome::Ok | StepOutcome::Skipped);
        if !is_well {
            span.record("otel.status_code", "ERROR");
        }
        let level = if is_well { Level::INFO } else { Level::WARN };
        let why = step.error.as_deref().or(step.why_skipped.as_deref());
        tell!(
            level,
            "lastbeat.step",
            span,
            step = step.name.as_str(),
            outcome = outcome.as_str(),
            why,
            duration_ms = step.duration_ms,
            "step {outcome}"
        );
    });
}

#[cfg(feature = "axum")]
pub(crate) fn streams_closed(run: &Span, agent: &str, tally: crate::streams::Tally) {
    quietly(|| {
        let level = if tally.cut == 0 { Level::INFO } else { Level::WARN };
        let crate::streams::Tally { farewell, cut, client_left } = tally;
        tell!(
            level,
            "lastbeat.streams_closed",
            run,
            agent,
            farewell,
            cut,
            client_left,
            "server closed: {farewell} streams said goodbye, {cut} cut"
        );
    });
}

pub(crate) fn stopped(stop: &Span, summary: &Arc<crate::Summary>) {
    quietly(|| {
        let cleanup = summary.cleanup_outcome();
        stop.record("lastbeat.cleanup", cleanup.as_str());
        let level = if summary.is_clean() {
            Level::INFO
        } else {
            stop.record("otel.status_code", "ERROR");
            Level::WARN
        };
        tell!(level, "lastbeat.stopped", stop, cleanup = cleanup.as_str(), "{summary}");
    });
}

pub(crate) fn panicked(run: &Span, error: &str, location: Option<&str>) {
    quietly(|| {
        tracing::event!(name: "lastbeat.panic", parent: run, Level::ERROR, error, location, "panicked");
    });
}

pub(crate) fn crashed(run: &Span, error: &str) {
    quietly(|| {
        tracing::event!(name: "lastbeat.crashed", parent: run, Level::ERROR, error, "crashed");
    });
}

/// Who asked, for people.
pub(crate) fn who(cause: &Cause) -> String {
    let reason = cause.reason.as_deref().unwrap_or("no reason given");
    match cause.kind {
        CauseKind::Keyboard if cause.signal.as_deref() == Some("SIGQUIT") => "Ctrl+\\".into(),
        CauseKind::Keyboard => "Ctrl+C".into(),
        CauseKind::TerminalHangup => "its terminal, which closed".into(),
        CauseKind::Itself => format!("the program itself ({reason})"),
        CauseKind::Api => format!("the program itself ({reason})"),
        CauseKind::Dependency => {
            format!("the loss of {} ({reason})", cause.name.as_deref().unwrap_or("a dependency"))
        }
        CauseKind::Operator => {
            let operator = cause.who.as_deref().unwrap_or("an operator");
            cause.why.as_ref().map_or_else(|| operator.to_owned(), |why| format!("{operator} ({why})"))
        }
        CauseKind::Signal
        | CauseKind::Supervisor
        | CauseKind::HostShutdown
        | CauseKind::Deploy
        | CauseKind::Unknown => {
            let signal = cause.signal.as_deref().unwrap_or("nobody knows whom");
            let sender = cause.sender.as_ref().map(|sender| format!(" from {}", sender_words(sender)));
            format!("{signal}{}", sender.unwrap_or_default())
        }
    }
}

fn sender_words(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "outside the pid namespace".into();
    }
    let name = match (&sender.comm, sender.gone) {
        (Some(comm), _) => format!("{comm}, pid {}", sender.pid),
        (None, true) => format!("pid {}, gone", sender.pid),
        (None, false) => format!("pid {}", sender.pid),
    };
    match &sender.tty {
        Some(tty) => format!("{name} on {tty}"),
        None => name,
    }
}
