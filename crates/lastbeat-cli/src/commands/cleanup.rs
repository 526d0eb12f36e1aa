//! What was cleaned up at an ending, and what was left behind, in sentences.
//!
//! Invariant: pure, from the collector's report alone.

use lastbeat_wire::report::{Class, EndingReport, EvidenceKind, RunReport};
use lastbeat_wire::signal::{CleanupOutcome, Step, StepOutcome};

use super::phrase::span;

/// What is said when nothing is known; for whoever has to act, that is as bad as a cleanup that did not run.
const UNHEARD: &str = "Nothing was heard of its cleanup: take it that it did not run.";

/// The sentences.
pub(super) fn told(run: &RunReport, ending: &EndingReport) -> String {
    let cleanup = &ending.cleanup;
    let mut said = Vec::new();
    if !cleanup.steps.is_empty() {
        let took = cleanup.duration_ms.map(|ms| format!(" in {}", span(ms))).unwrap_or_default();
        let steps: Vec<String> = cleanup.steps.iter().map(step).collect();
        said.push(format!("Cleanup was {}{took}: {}.", plain(cleanup.outcome), steps.join(", ")));
    } else {
        match cleanup.outcome {
            CleanupOutcome::NoneDeclared => said.push(no_steps(run, ending).into()),
            // An empty account of a panic is no account of a cleanup.
            CleanupOutcome::Complete if run.linked && crashed_by_panic(ending) => said.push(UNHEARD.into()),
            CleanupOutcome::Skipped => said.push("Its cleanup was skipped.".into()),
            other => said.push(format!("Cleanup was {}.", plain(other))),
        }
    }
    if cleanup.items_flushed > 0 {
        said.push(format!("Buffered items written out: {}.", cleanup.items_flushed));
    }
    let mut left = Vec::new();
    if !cleanup.abandoned.is_empty() {
        let names: Vec<&str> = cleanup.abandoned.iter().map(lastbeat_wire::Name::as_str).collect();
        left.push(format!("agents still at work ({})", names.join(", ")));
    }
    if cleanup.untracked > 0 {
        left.push(format!("{} untracked tasks", cleanup.untracked));
    }
    if !cleanup.children_left.is_empty() {
        let children: Vec<String> =
            cleanup.children_left.iter().map(|child| format!("{} {}", child.comm, child.pid)).collect();
        left.push(format!("processes ({})", children.join(", ")));
    }
    if cleanup.streams_cut > 0 {
        left.push(format!(
            "{} of {} streams cut without a goodbye",
            cleanup.streams_cut,
            cleanup.streams_cut.saturating_add(cleanup.streams_farewell)
        ));
    }
    if cleanup.items_dropped > 0 {
        left.push(format!("{} buffered items dropped", cleanup.items_dropped));
    }
    if !left.is_empty() {
        said.push(format!("Left behind: {}.", left.join(", ")));
    }
    said.join(" ")
}

const fn plain(outcome: CleanupOutcome) -> &'static str {
    match outcome {
        CleanupOutcome::NoneDeclared => "not declared",
        CleanupOutcome::Complete => "complete",
        CleanupOutcome::Partial => "partial",
        CleanupOutcome::Failed => "not done: a step failed",
        CleanupOutcome::TimedOut => "not done: a step ran out of time",
        CleanupOutcome::Skipped => "skipped",
    }
}

fn step(step: &Step) -> String {
    let why = step.why_skipped.as_deref();
    let outcome = match step.outcome {
        None => "not finished",
        Some(StepOutcome::Ok) => "ok",
        Some(StepOutcome::Failed) => "failed",
        Some(StepOutcome::Partial) => "partial",
        Some(StepOutcome::TimedOut) => "timed out",
        // A gate says "skipped in dry_run": that is the outcome and its reason in one.
        Some(StepOutcome::Skipped) => why.filter(|why| why.starts_with("skipped ")).unwrap_or("skipped"),
    };
    let mut more = Vec::new();
    if let (Some(done), Some(total)) = (step.done, step.total) {
        let skipped = step.skipped.filter(|skipped| *skipped > 0);
        let skipped = skipped.map(|skipped| format!(", {skipped} skipped")).unwrap_or_default();
        more.push(format!("{done} of {total}{skipped}"));
    }
    if !step.failed_items.is_empty() {
        more.push(format!("not done: {}", step.failed_items.join(", ")));
    }
    if let Some(attempts) = step.attempts.filter(|attempts| *attempts > 1) {
        more.push(format!("{attempts} attempts"));
    }
    more.extend(step.error.clone());
    more.extend(why.filter(|why| *why != outcome).map(str::to_owned));
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("{} {outcome}{more}", step.name)
}

/// A panic that the worker outlived, and was stopped after, leaves a final that tells of its cleanup.
fn crashed_by_panic(ending: &EndingReport) -> bool {
    ending.class == Class::Crashed && ending.panic.is_some()
}

/// Steps are named when they run or are given up. A client that did not come to that may have had some.
fn no_steps(run: &RunReport, ending: &EndingReport) -> &'static str {
    let said_goodbye = ending
        .evidence
        .iter()
        .any(|row| row.kind == EvidenceKind::Own && row.facts.iter().any(|fact| fact.starts_with("final ")));
    match (run.linked, said_goodbye, &ending.exit) {
        // The last words of a panic come before any step, and so name none.
        (true, true, _) if crashed_by_panic(ending) => UNHEARD,
        (false, ..) | (true, true, _) => "It had declared no cleanup steps.",
        (true, false, Some(_)) => "Its cleanup did not run.",
        (true, false, None) => UNHEARD,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_of(row: serde_json::Value) -> String {
        step(&serde_json::from_value(row).expect("the sample is a step"))
    }

    #[test]
    fn a_step_tells_what_is_done_what_is_not_what_was_skipped_and_how_often_it_was_tried() {
        let partial = json!({ "name": "cancel-orders", "outcome": "partial", "done": 2, "total": 4, "skipped": 1,
            "attempts": 3, "failed_items": ["o-2"] });
        assert_eq!(told_of(partial), "cancel-orders partial (2 of 4, 1 skipped; not done: o-2; 3 attempts)");
        let gated =
            json!({ "name": "cancel-orders", "outcome": "skipped", "why_skipped": "skipped in dry_run" });
        assert_eq!(told_of(gated), "cancel-orders skipped in dry_run");
        let failed =
            json!({ "name": "save-state", "outcome": "failed", "attempts": 1, "error": "disk full" });
        assert_eq!(told_of(failed), "save-state failed (disk full)");
        assert_eq!(told_of(json!({ "name": "transition", "outcome": "ok", "attempts": 1 })), "transition ok");
    }
}
