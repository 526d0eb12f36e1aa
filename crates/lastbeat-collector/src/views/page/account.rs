//! The account of one run: its story, its facts, its stop on a time axis, its agents.

use askama::Template;
use jiff::Timestamp;
use lastbeat_wire::report::{AgentReport, Amendment, EndingReport, RunReport};
use lastbeat_wire::signal::{AgentEnd, Step, StepOutcome};

use super::look::Shape;
use super::markup::{Html, Icon, Tags, When, count, ms_between, took};
use super::screen::Piece;
use super::telling::{Paragraph, by, exit_words, left_undone, sender_full, story};

/// More rows than this of one kind are told as a number.
const ROWS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "parts/account.html")]
struct Account {
    title: String,
    paragraphs: Vec<Paragraph>,
    facts: Vec<Fact>,
    tail: Vec<String>,
}

/// One line of the facts.
struct Fact {
    name: &'static str,
    value: Value,
    warn: bool,
}

enum Value {
    Text(String),
    Code(String, String),
    Tags(Tags),
    When(When, String),
}

#[derive(Template)]
#[template(path = "parts/steps.html")]
struct Steps {
    steps: Vec<Bar>,
    axis: [String; 4],
}

/// A step on the axis; geometry in percent.
struct Bar {
    name: String,
    icon: Icon,
    outcome: String,
    detail: String,
    took: String,
    of: Option<String>,
    label: String,
    limit: Option<(String, String)>,
    drawn: Option<(&'static str, String, String)>,
    note: String,
}

#[derive(Template)]
#[template(path = "parts/agents.html")]
struct Agents {
    agents: Vec<AgentRow>,
    more: usize,
}

struct AgentRow {
    name: String,
    icon: Icon,
    words: String,
    error: String,
}

#[derive(Template)]
#[template(path = "parts/amendments.html")]
struct Amendments {
    amendments: Vec<(When, Amendment)>,
}

/// The pieces of one run. `title` heads the story; none hides it from the eye.
pub(crate) fn pieces(
    run: Option<&RunReport>,
    amendments: &[Amendment],
    title: &str,
    now: Timestamp,
) -> Vec<Piece> {
    let ended = run.and_then(|run| run.ending.as_ref().map(|ending| (run, ending)));
    let own: Vec<Amendment> =
        amendments.iter().filter(|each| run.is_some_and(|run| run.run_id == each.run_id)).cloned().collect();
    vec![
        Piece::new(
            "account",
            Html::of(&Account {
                title: title.to_owned(),
                paragraphs: ended.map(|(run, ending)| story(run, ending, &own)).unwrap_or_default(),
                facts: run.map(|run| facts(run, now)).unwrap_or_default(),
                tail: ended.map(|(_, ending)| ending.output_tail.clone()).unwrap_or_default(),
            }),
        ),
        Piece::new("steps", Html::of(&steps(ended.map(|(_, ending)| ending.cleanup.steps.as_slice())))),
        Piece::new("agents", Html::of(&agents(run))),
    ]
}

/// The verdicts that changed.
pub(crate) fn amendments(amendments: &[Amendment], now: Timestamp) -> Piece {
    let amendments =
        amendments.iter().rev().take(ROWS_MAX).map(|each| (When::new(each.at, now), each.clone())).collect();
    Piece::new("amendments", Html::of(&Amendments { amendments }))
}

fn facts(run: &RunReport, now: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value| facts.push(Fact { name, value, warn: false });
    if let Some(ending) = &run.ending {
        add("Class", Value::Code(ending.class.to_string(), during(ending)));
        add("Ended", Value::When(When::new(ending.at, now), " UTC".to_owned()));
    }
    let asked = run.ending.as_ref().map_or(run.cause.as_ref(), |ending| ending.cause.as_ref());
    match asked {
        Some(cause) => {
            add("Who asked", Value::Code(cause.kind.to_string(), format!(", {}", by(cause))));
            if let Some(signal) = &cause.signal {
                add("Signal", Value::Text(signal.clone()));
            }
            if let Some(sender) = &cause.sender {
                add("Sender", Value::Text(sender_full(sender)));
                if let Some(cmdline) = &sender.cmdline {
                    add("Command line", Value::Code(cmdline.clone(), String::new()));
                }
            }
        }
        None if run.ending.is_some() => {
            add("Who asked", Value::Text("nobody, as far as is known".to_owned()))
        }
        None => {}
    }
    if let Some(ending) = &run.ending {
        ending_facts(ending, &mut add);
    }
    let voices = match (run.linked, run.witnessed) {
        (true, true) => "a linked client and a witness",
        (true, false) => "a linked client, no witness",
        (false, true) => "a witness, no linked client",
        (false, false) => "neither a linked client nor a witness",
    };
    let process = [
        run.pid.map(|pid| format!("pid {pid}")),
        run.host.as_ref().map(|host| format!("on {host}")),
        run.version.as_ref().map(|version| format!("version {version}")),
        run.environment.as_ref().map(|environment| format!("environment {environment}")),
    ];
    let process: Vec<String> = process.into_iter().flatten().collect();
    if !process.is_empty() {
        add("Process", Value::Text(process.join(", ")));
    }
    add("Speaks by", Value::Text(format!("{voices}; a beat every {}", took(run.interval_ms))));
    let ready = run.ready_at.map_or_else(
        || ", not ready so far".to_owned(),
        |at| format!(", ready after {}", took(ms_between(run.started_at, at))),
    );
    add("Started", Value::When(When::new(run.started_at, now), format!(" UTC{ready}")));
    add("Run", Value::Code(run.run_id.to_string(), String::new()));
    if let Some(ending) = &run.ending {
        let undone = left_undone(&ending.cleanup);
        if !undone.is_empty() {
            facts.push(Fact { name: "Left undone", value: Value::Text(undone.join("; ")), warn: true });
        }
    }
    facts
}

fn during(ending: &EndingReport) -> String {
    let mut text = String::new();
    if let Some(during) = &ending.during {
        text.push_str(&format!(", during {during}"));
    }
    if ending.provisional {
        text.push_str(", provisional");
    }
    text
}

fn ending_facts(ending: &EndingReport, add: &mut impl FnMut(&'static str, Value)) {
    match &ending.exit {
        Some(exit) => add("Exit", Value::Text(exit_words(exit))),
        None => add("Exit", Value::Text("not known: no witness told it".to_owned())),
    }
    if let Some(panic) = &ending.panic {
        let place = panic.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        add("Panic", Value::Code(panic.message.clone(), place));
    }
    let cleanup = &ending.cleanup;
    let time = cleanup.duration_ms.map(|ms| format!(", {}", took(ms))).unwrap_or_default();
    add("Cleanup", Value::Code(cleanup.outcome.to_string(), time));
    if cleanup.items_flushed + cleanup.items_dropped > 0 {
        let text = format!("{} flushed, {} dropped", cleanup.items_flushed, cleanup.items_dropped);
        add("Items", Value::Text(text));
    }
    if cleanup.streams_farewell + cleanup.streams_cut > 0 {
        let text = format!("{} said goodbye, {} cut", cleanup.streams_farewell, cleanup.streams_cut);
        add("Streams", Value::Text(text));
    }
    if cleanup.untracked > 0 {
        let text = format!("{} still alive", count(cleanup.untracked, "untracked task", "untracked tasks"));
        add("Tasks", Value::Text(text));
    }
    if let Some(ms) = ending.back_within_ms {
        add("Promise", Value::Text(format!("back within {}", took(ms))));
    }
    add("Evidence", Value::Tags(Tags::of(&ending.evidence)));
    let rests: Vec<String> =
        ending.evidence.iter().map(|each| format!("{}: {}", each.kind, each.facts.join(", "))).collect();
    add("Rests on", Value::Text(rests.join("; ")));
}

fn steps(steps: Option<&[Step]>) -> Steps {
    let steps = steps.unwrap_or_default();
    let room = |step: &Step| step.duration_ms.unwrap_or(0).max(step.timeout_ms.unwrap_or(0));
    // Steps run one after the other; the axis ends where the last of their limits would.
    let (mut start, mut end_ms) = (0, 1);
    for step in steps {
        end_ms = end_ms.max(start + room(step));
        start += step.duration_ms.unwrap_or(0);
    }
    let mut from = 0;
    let bars = steps
        .iter()
        .take(ROWS_MAX)
        .map(|step| {
            let bar = bar(step, from, end_ms);
            from += step.duration_ms.unwrap_or(0);
            bar
        })
        .collect();
    Steps { steps: bars, axis: axis(end_ms) }
}

/// The labels of the axis, at its thirds; one that would read as its neighbour does is left out.
pub(super) fn axis(end_ms: u64) -> [String; 4] {
    // Whole milliseconds would put a mark visibly beside its number.
    const TENTHS_BELOW_MS: u64 = 30;
    let label = |third: u64| {
        let tenths = (end_ms * third * 10 + 1) / 3;
        match (third, tenths % 10) {
            (0, _) => "0".to_owned(),
            (_, 1..) if end_ms < TENTHS_BELOW_MS => format!("{}.{} ms", tenths / 10, tenths % 10),
            _ => took(end_ms * third / 3),
        }
    };
    let mut labels = [0, 1, 2, 3].map(label);
    for inner in [1, 2] {
        if labels[inner] == labels[inner + 1] {
            labels[inner].clear();
        }
    }
    labels
}

fn percent(ms: u64, of_ms: u64) -> String {
    // Two digits behind the point place a mark to a pixel on any screen.
    let hundredths = ms.saturating_mul(10_000) / of_ms.max(1);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

fn bar(step: &Step, from: u64, end_ms: u64) -> Bar {
    let (shape, class, outcome) = match step.outcome {
        Some(StepOutcome::Ok) => (Shape::Completed, "took", "ok"),
        Some(StepOutcome::Failed) => (Shape::Ticket, "miss", "failed"),
        Some(StepOutcome::Partial) => (Shape::Ticket, "part", "partial"),
        Some(StepOutcome::TimedOut) => (Shape::Ticket, "miss", "timed out"),
        Some(StepOutcome::Skipped) => (Shape::Skipped, "took", "skipped"),
        None => (Shape::Ticket, "miss", "began, never ended"),
    };
    let items = match (step.done, step.total) {
        (Some(done), Some(total)) => format!(", {done} of {total}"),
        _ => String::new(),
    };
    let mut detail = Vec::new();
    if let Some(attempts) = step.attempts.filter(|attempts| *attempts > 1) {
        detail.push(count(u64::from(attempts), "attempt", "attempts"));
    }
    if let Some(skipped) = step.skipped.filter(|skipped| *skipped > 0) {
        detail.push(format!("{} left out on purpose", count(skipped, "item", "items")));
    }
    let mut note = Vec::new();
    note.extend(step.error.clone());
    note.extend(step.why_skipped.clone());
    if !step.failed_items.is_empty() {
        note.push(format!("not done: {}", step.failed_items.join(", ")));
    }
    let ran = step.outcome != Some(StepOutcome::Skipped);
    let duration = step.duration_ms.unwrap_or(0);
    Bar {
        name: step.name.to_string(),
        icon: Icon(shape),
        outcome: format!("{outcome}{items}"),
        detail: detail.join(", "),
        took: step.duration_ms.map(took).unwrap_or_default(),
        of: step.timeout_ms.filter(|_| ran).map(took),
        label: format!("{} to {}", took(from), took(from + duration)),
        limit: step
            .timeout_ms
            .filter(|_| ran)
            .map(|timeout| (percent(from, end_ms), percent(from + timeout, end_ms))),
        drawn: step.duration_ms.filter(|_| ran).map(|ms| {
            // A step that took no time at all is still a mark.
            let least = (end_ms / 250).max(1);
            (class, percent(from, end_ms), percent((from + ms.max(least)).min(end_ms), end_ms))
        }),
        note: note.join("; "),
    }
}

fn agents(run: Option<&RunReport>) -> Agents {
    let all = run.map(|run| run.agents.as_slice()).unwrap_or_default();
    Agents {
        agents: all.iter().take(ROWS_MAX).map(agent).collect(),
        more: all.len().saturating_sub(ROWS_MAX),
    }
}

fn agent(agent: &AgentReport) -> AgentRow {
    let (shape, words) = match agent.end {
        Some(AgentEnd::Completed) => (Shape::Completed, "completed"),
        Some(AgentEnd::CancelledExpected) => (Shape::Stopped, "cancelled, as expected"),
        Some(AgentEnd::CancelledUnexpected) => (Shape::Failed, "cancelled, unexpectedly"),
        Some(AgentEnd::Crashed) => (Shape::Failed, "crashed"),
        Some(AgentEnd::Abandoned) => (Shape::Ticket, "abandoned: still alive when the run ended"),
        None => match agent.state.as_str() {
            "running" => (Shape::Live, "running"),
            "starting" => (Shape::Starting, "starting"),
            "paused" => (Shape::Paused, "paused"),
            "stuck" => (Shape::Failed, "stuck"),
            "stopping" => (Shape::Stopping, "stopping"),
            other => (Shape::Unknown, other),
        },
    };
    AgentRow {
        name: agent.name.to_string(),
        icon: Icon(shape),
        words: words.to_owned(),
        error: agent.error.clone().unwrap_or_default(),
    }
}
