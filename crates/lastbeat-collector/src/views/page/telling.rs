//! How an ending is told: who asked, what came of it, in one line and in a paragraph.
//!
//! The words of a *state* come with the reports; this file only tells what stands behind them. All of it is plain
//! text, escaped where it enters a template.

use lastbeat_wire::report::{Amendment, Class, CleanupReport, EndingReport, RunReport};
use lastbeat_wire::signal::{Cause, CauseKind, CleanupOutcome, Exit, Sender, Step, StepOutcome};

use super::markup::{clock, count, took};

/// Who asked, as it reads behind "by".
pub(crate) fn by(cause: &Cause) -> String {
    let signal = cause.signal.as_deref();
    let or = |text: &Option<String>, otherwise: &str| text.clone().unwrap_or_else(|| otherwise.to_owned());
    match cause.kind {
        CauseKind::Keyboard if signal == Some("SIGQUIT") => r"Ctrl+\".to_owned(),
        CauseKind::Keyboard => "Ctrl+C".to_owned(),
        CauseKind::TerminalHangup => "its terminal, which was closed".to_owned(),
        CauseKind::Signal => {
            let name = signal.unwrap_or("a signal");
            cause.sender.as_ref().map_or_else(
                || format!("{name}, sender unknown"),
                |sender| {
                    format!("{} from {}", if signal.is_some() { "kill" } else { name }, sender_short(sender))
                },
            )
        }
        CauseKind::Supervisor => cause.sender.as_ref().map_or_else(
            || "its supervisor".to_owned(),
            |sender| format!("its supervisor, {}", sender_short(sender)),
        ),
        CauseKind::HostShutdown => "its host, which went down".to_owned(),
        CauseKind::Deploy => format!("deploy {}", or(&cause.id, "without an id")),
        CauseKind::Api => cause.reason.as_ref().map_or_else(
            || "a call of its own program".to_owned(),
            |reason| format!("a call of its own program: {reason}"),
        ),
        CauseKind::Itself => {
            cause.reason.as_ref().map_or_else(|| "itself".to_owned(), |why| format!("itself: {why}"))
        }
        CauseKind::Dependency => format!("itself, for want of {}", or(&cause.name, "something it needs")),
        CauseKind::Operator => {
            let who = or(&cause.who, "who gave no name");
            cause
                .why
                .as_ref()
                .map_or_else(|| format!("operator {who}"), |why| format!("operator {who}: {why}"))
        }
        CauseKind::Unknown => signal.map_or_else(
            || "somebody who cannot be seen".to_owned(),
            |name| format!("{name} from somebody who cannot be seen"),
        ),
    }
}

/// A sender in a few words: `bash (uid 1000, pts/3)`.
fn sender_short(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "outside".to_owned();
    }
    if sender.gone && sender.comm.is_none() {
        return format!("pid {} (gone)", sender.pid);
    }
    let name = sender.comm.clone().unwrap_or_else(|| format!("pid {}", sender.pid));
    let tty = sender.tty.as_ref().map(|tty| format!(", {tty}")).unwrap_or_default();
    format!("{name} (uid {}{tty})", sender.uid)
}

/// A sender in full, as far as it could be read.
pub(crate) fn sender_full(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "outside the pid namespace: nothing more can be read".to_owned();
    }
    let mut parts = vec![format!("pid {}, uid {}", sender.pid, sender.uid)];
    if let Some(comm) = &sender.comm {
        parts.insert(0, comm.clone());
    }
    if let Some(ppid) = sender.ppid {
        parts.push(format!("child of {ppid}"));
    }
    parts.push(sender.tty.as_ref().map_or_else(|| "no terminal".to_owned(), |tty| format!("terminal {tty}")));
    if sender.gone {
        parts.pop_if(|last| last == "no terminal");
        parts.push("gone before it could be read".to_owned());
    }
    parts.join(", ")
}

/// What happened, in a word or two.
pub(crate) const fn verb(class: Class) -> &'static str {
    match class {
        Class::Completed => "Completed",
        Class::Shutdown | Class::ShutdownDegraded | Class::ShutdownAborted => "Stopped",
        Class::Superseded => "Replaced",
        Class::ExitedSilently => "Exited",
        Class::ShutdownTimeout => "Stop timed out",
        Class::Crashed => "Crashed",
        Class::Killed | Class::OomKilled | Class::Watchdog => "Killed",
        Class::StartFailed => "Never ready",
        Class::Lost => "Lost",
        Class::HostLost => "Host lost",
        Class::HostRebooted => "Host rebooted",
    }
}

/// What stands behind the verb in a row: who asked, and how it went.
pub(crate) fn line(run: &RunReport, ending: &EndingReport) -> String {
    let place = ending.panic.as_ref().and_then(|panic| panic.location.as_ref());
    let crash = place.filter(|_| ending.class == Class::Crashed);
    let mut text = crash.map(|place| format!(" at {place}")).unwrap_or_default();
    match &ending.cause {
        Some(cause) if crash.is_some() => text.push_str(&format!("; asked to stop by {}", by(cause))),
        Some(cause) => text.push_str(&format!(" by {}", by(cause))),
        None => text.push_str(unasked(run, ending.class)),
    }
    if let Some(place) = place.filter(|_| crash.is_none()) {
        text.push_str(&format!("; panic at {place}"));
    }
    if let Some(exit) = &ending.exit
        && !(exit.code == Some(0) && ending.cause.is_some())
    {
        text.push_str(&format!("; {}", exit_words(exit)));
    }
    if let Some(cleanup) = cleanup_words(&ending.cleanup) {
        text.push_str(&format!("; {cleanup}"));
    }
    if ending.provisional {
        text.push_str("; provisional");
    }
    text.push('.');
    text
}

const fn unasked(run: &RunReport, class: Class) -> &'static str {
    match class {
        Class::Completed => "; its work was done",
        Class::Superseded => " by a successor before any ending was seen",
        Class::Lost | Class::HostLost if run.witnessed => "; neither it nor its witness was heard again",
        Class::Lost | Class::HostLost => "; no goodbye was heard, and no witness can be asked",
        Class::HostRebooted => "; no goodbye was heard before",
        Class::Shutdown
        | Class::ShutdownDegraded
        | Class::ShutdownAborted
        | Class::ExitedSilently
        | Class::ShutdownTimeout
        | Class::Crashed
        | Class::Killed
        | Class::OomKilled
        | Class::Watchdog
        | Class::StartFailed => "; nobody asked it to stop",
    }
}

/// `exit 3`, `ended by SIGKILL`.
pub(crate) fn exit_words(exit: &Exit) -> String {
    let core = if exit.core_dumped { ", core dumped" } else { "" };
    match (exit.code, &exit.signal) {
        (_, Some(signal)) => format!("ended by {signal}{core}"),
        (Some(code), None) => format!("exit {code}"),
        (None, None) => "exit unknown".to_owned(),
    }
}

/// The cleanup in a clause; none where no steps were declared.
pub(crate) fn cleanup_words(cleanup: &CleanupReport) -> Option<String> {
    let time = cleanup.duration_ms.map(|ms| format!(" in {}", took(ms))).unwrap_or_default();
    match cleanup.outcome {
        CleanupOutcome::NoneDeclared => None,
        CleanupOutcome::Complete => Some(format!("cleanup complete{time}")),
        CleanupOutcome::Partial => Some(format!("cleanup partial{time}")),
        CleanupOutcome::Failed => Some(format!("cleanup failed{time}")),
        CleanupOutcome::TimedOut => Some(format!("cleanup timed out{time}")),
        CleanupOutcome::Skipped => Some("cleanup skipped".to_owned()),
    }
}

/// One paragraph: its first sentence is the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paragraph {
    pub(crate) point: String,
    pub(crate) rest: String,
}

/// The story of one ending.
pub(crate) fn story(run: &RunReport, ending: &EndingReport, amendments: &[Amendment]) -> Vec<Paragraph> {
    let mut paragraphs =
        vec![Paragraph { point: point(ending).to_owned(), rest: what_happened(run, ending) }];
    paragraphs.extend(cleanup_story(&ending.cleanup));
    if let Some(ms) = ending.back_within_ms {
        let rest = "Only a successor that gets ready keeps that promise.".to_owned();
        paragraphs.push(Paragraph { point: format!("It promised to be back within {}.", took(ms)), rest });
    }
    if let Some(first) = amendments.first() {
        let rest = format!(
            "At {} the verdict went from {} to {}: {}.",
            clock(first.at),
            first.from,
            first.to,
            first.because
        );
        paragraphs.push(Paragraph { point: "At first this was judged otherwise.".to_owned(), rest });
    } else if ending.provisional {
        let rest = "A late goodbye or an exit status may still amend it.".to_owned();
        paragraphs.push(Paragraph { point: "This verdict is provisional.".to_owned(), rest });
    }
    paragraphs
}

fn point(ending: &EndingReport) -> &'static str {
    match ending.class {
        Class::Completed => "It finished its work; this is no error.",
        Class::Shutdown => "This was a planned stop, not an error.",
        Class::ShutdownDegraded => "This was a planned stop, but it was not clean.",
        Class::ShutdownAborted => "This was a planned stop, cut short by a second request.",
        Class::ShutdownTimeout => "It was asked to stop and did not manage in time.",
        Class::Superseded => "A successor took its place before any ending was seen.",
        Class::ExitedSilently => "It left with exit 0, and although it can say goodbye it said none.",
        Class::Crashed if ending.during.is_some() => "It crashed while it was stopping.",
        Class::Crashed => "It crashed.",
        Class::Killed => "It was killed.",
        Class::OomKilled => "The kernel killed it to get memory back.",
        Class::Watchdog => "It hung past its limit and was killed.",
        Class::StartFailed => "It ended before it was ready.",
        Class::Lost => "Contact was lost; how it ended is not known.",
        Class::HostLost => "Its whole host went silent.",
        Class::HostRebooted => "Its host booted anew under it.",
    }
}

fn what_happened(run: &RunReport, ending: &EndingReport) -> String {
    let mut said = Vec::new();
    match &ending.cause {
        Some(cause) => said.push(format!("The stop was asked by {}.", by(cause))),
        None => match ending.class {
            Class::Completed | Class::Superseded => {}
            Class::Lost | Class::HostLost | Class::HostRebooted => {
                said.push("No request to stop is known.".to_owned());
            }
            _ => said.push("Nobody asked it to stop.".to_owned()),
        },
    }
    if let Some(panic) = &ending.panic {
        let place = panic.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        said.push(format!("It panicked{place}: \u{201c}{}\u{201d}.", panic.message));
    }
    match &ending.exit {
        Some(exit) if exit.killed_by_witness => said.push(format!(
            "Its witness sent the KILL when the grace was over, and saw it {}.",
            exit_words(exit).replace("exit ", "leave with exit ").replace("ended", "end")
        )),
        Some(exit) => said.push(match (&exit.signal, exit.code) {
            (Some(signal), _) if matches!(ending.class, Class::Killed) && signal == "SIGKILL" => {
                "Its witness saw it end by SIGKILL; who sends that signal cannot be seen.".to_owned()
            }
            (Some(signal), _) => format!("Its witness saw it end by {signal}."),
            (None, Some(code)) => format!("Its witness saw it leave with exit {code}."),
            (None, None) => "Its witness saw it end, and could not read how.".to_owned(),
        }),
        None if run.witnessed => said.push("Its witness has not told its exit.".to_owned()),
        None => said.push("No witness saw its exit.".to_owned()),
    }
    said.push(format!("It had lived for {}.", took(super::markup::ms_between(run.started_at, ending.at))));
    said.join(" ")
}

fn cleanup_story(cleanup: &CleanupReport) -> Option<Paragraph> {
    let ok = cleanup.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Ok)).count();
    let all = cleanup.steps.len();
    let time = cleanup.duration_ms.map(|ms| format!(", in {}", took(ms))).unwrap_or_default();
    let point = match cleanup.outcome {
        CleanupOutcome::NoneDeclared if left_undone(cleanup).is_empty() => return None,
        CleanupOutcome::NoneDeclared => "It declared no cleanup.".to_owned(),
        CleanupOutcome::Complete => "Its cleanup was complete.".to_owned(),
        CleanupOutcome::Partial => "Its cleanup was partial.".to_owned(),
        CleanupOutcome::Failed => "Its cleanup failed.".to_owned(),
        CleanupOutcome::TimedOut => "Its cleanup ran out of time.".to_owned(),
        CleanupOutcome::Skipped => "Its cleanup was skipped.".to_owned(),
    };
    let mut said = Vec::new();
    if all > 0 {
        said.push(format!("{ok} of {} went well{time}.", count(all as u64, "step", "steps")));
    }
    let undone = left_undone(cleanup);
    if !undone.is_empty() {
        said.push(format!("Left undone: {}.", undone.join("; ")));
    }
    Some(Paragraph { point, rest: said.join(" ") })
}

/// Everything that a cleanup left undone, one item each.
pub(crate) fn left_undone(cleanup: &CleanupReport) -> Vec<String> {
    let mut items: Vec<String> = cleanup.steps.iter().filter_map(step_undone).collect();
    items.extend(cleanup.abandoned.iter().map(|name| format!("agent {name} was still alive")));
    if !cleanup.children_left.is_empty() {
        let children: Vec<String> =
            cleanup.children_left.iter().map(|child| format!("{} (pid {})", child.comm, child.pid)).collect();
        items.push(format!("children left behind: {}", children.join(", ")));
    }
    if cleanup.streams_cut > 0 {
        items.push(format!("{} cut", count(cleanup.streams_cut, "stream", "streams")));
    }
    if cleanup.items_dropped > 0 {
        items.push(format!("{} dropped", count(cleanup.items_dropped, "buffered item", "buffered items")));
    }
    items
}

fn step_undone(step: &Step) -> Option<String> {
    let name = &step.name;
    let of = match (step.done, step.total) {
        (Some(done), Some(total)) => format!(", {done} of {total}"),
        _ => String::new(),
    };
    let items = match step.failed_items.as_slice() {
        [] => String::new(),
        items => format!(" ({})", items.join(", ")),
    };
    match step.outcome {
        Some(StepOutcome::Ok | StepOutcome::Skipped) => None,
        Some(StepOutcome::Partial) => Some(format!("{name}{of}{items}")),
        Some(StepOutcome::Failed) => Some(format!("{name} failed{of}{items}")),
        Some(StepOutcome::TimedOut) => Some(format!("{name} timed out{of}")),
        None => Some(format!("{name} never ended")),
    }
}
