//! The summary of a stop: one readable block, the same that the final heartbeat carries.

use std::fmt;

use lastbeat_wire::Name;
use lastbeat_wire::signal::{Cause, Cleanup, CleanupOutcome, Step, StepOutcome};

use crate::courier::Flushed;

/// What a stop came to: who asked, what was cleaned up and what not, and whether the collector knows.
///
/// Shown as one block of a few lines:
///
/// ```text
/// trader/main stopped: Ctrl+C; cleanup partial in 812 ms
///   cancel-orders: partial, 2 of 3, 3 attempts, 640 ms (refused; not done: order-7)
///   flush: ok, 12 ms
///   final heartbeat: delivered
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// `SERVICE/WORKER`.
    pub title: String,
    /// Who asked.
    pub cause: Cause,
    /// What was cleaned up: the final heartbeat's own words.
    pub cleanup: Cleanup,
    /// Facts that were given up.
    pub dropped: u64,
    pub(crate) flushed: Flushed,
}

impl Summary {
    /// The worst of the cleanup: timed out, failed, skipped by force, partial, complete; none declared without
    /// steps.
    #[must_use]
    pub fn cleanup_outcome(&self) -> CleanupOutcome {
        let cleanup = &self.cleanup;
        let any = |outcome| cleanup.steps.iter().any(|step| step.outcome == Some(outcome));
        let something_is_left = !cleanup.abandoned.is_empty()
            || cleanup.streams_cut > 0
            || cleanup.items_dropped > 0
            || !cleanup.children_left.is_empty();
        if any(StepOutcome::TimedOut) {
            CleanupOutcome::TimedOut
        } else if any(StepOutcome::Failed) {
            CleanupOutcome::Failed
        } else if cleanup.forced && any(StepOutcome::Skipped) {
            CleanupOutcome::Skipped
        } else if any(StepOutcome::Partial) || something_is_left {
            CleanupOutcome::Partial
        } else if cleanup.steps.is_empty() {
            CleanupOutcome::NoneDeclared
        } else {
            CleanupOutcome::Complete
        }
    }

    /// Whether nothing is left undone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        match self.cleanup_outcome() {
            CleanupOutcome::Complete | CleanupOutcome::NoneDeclared => true,
            CleanupOutcome::Partial
            | CleanupOutcome::Failed
            | CleanupOutcome::TimedOut
            | CleanupOutcome::Skipped => false,
        }
    }

    /// Whether the collector has the final heartbeat. If not, it waits in the spool, where that could be written.
    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        matches!(self.flushed, Flushed::Delivered)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cleanup = &self.cleanup;
        let words = match self.cleanup_outcome() {
            CleanupOutcome::TimedOut => "cleanup timed out",
            CleanupOutcome::Failed => "cleanup failed",
            CleanupOutcome::Skipped => "cleanup skipped by a second request",
            CleanupOutcome::Partial => "cleanup partial",
            CleanupOutcome::NoneDeclared => "no steps declared",
            CleanupOutcome::Complete => "cleanup complete",
        };
        let (who, took_ms) = (crate::events::who(&self.cause), cleanup.duration_ms.unwrap_or(0));
        write!(f, "{} stopped: {who}; {words} in {took_ms} ms", self.title)?;
        for step in &cleanup.steps {
            row(f, step)?;
        }
        let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        if !cleanup.abandoned.is_empty() {
            write!(f, "\n  agents still alive: {}", list(&cleanup.abandoned))?;
        }
        if cleanup.untracked > 0 {
            write!(f, "\n  untracked tasks still alive: {}", cleanup.untracked)?;
        }
        if cleanup.streams_farewell + cleanup.streams_cut > 0 {
            write!(
                f,
                "\n  streams: {} heard the farewell, {} cut",
                cleanup.streams_farewell, cleanup.streams_cut
            )?;
        }
        if cleanup.items_flushed + cleanup.items_dropped > 0 {
            write!(f, "\n  buffers: {} flushed, {} dropped", cleanup.items_flushed, cleanup.items_dropped)?;
        }
        match self.flushed {
            Flushed::Delivered => write!(f, "\n  final heartbeat: delivered"),
            Flushed::Spooled(facts) => write!(f, "\n  final heartbeat: spooled with {facts} facts"),
            Flushed::Failed => write!(f, "\n  final heartbeat: neither delivered nor spooled"),
        }?;
        if self.dropped > 0 {
            write!(f, "\n  facts given up: {}", self.dropped)?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    match (step.outcome, step.why_skipped.as_deref()) {
        // A gate says it whole: skipped in dry_run.
        (Some(StepOutcome::Skipped), Some(why)) if why.starts_with("skipped ") => {
            return write!(f, "\n  {}: {why}", step.name);
        }
        (outcome, _) => write!(f, "\n  {}: {}", step.name, outcome.map_or("begun", StepOutcome::as_str))?,
    }
    if let (Some(done), Some(total)) = (step.done, step.total) {
        write!(f, ", {done} of {total}")?;
    }
    match step.skipped {
        Some(skipped) if skipped > 0 => write!(f, ", {skipped} skipped")?,
        Some(_) | None => {}
    }
    match step.attempts {
        Some(attempts) if attempts > 1 => write!(f, ", {attempts} attempts")?,
        Some(_) | None => {}
    }
    if let Some(duration_ms) = step.duration_ms {
        write!(f, ", {duration_ms} ms")?;
    }
    let failed =
        (!step.failed_items.is_empty()).then(|| format!("not done: {}", step.failed_items.join(", ")));
    let why = step.error.clone().or_else(|| step.why_skipped.clone());
    let notes: Vec<String> = why.into_iter().chain(failed).collect();
    if !notes.is_empty() {
        write!(f, " ({})", notes.join("; "))?;
    }
    Ok(())
}
