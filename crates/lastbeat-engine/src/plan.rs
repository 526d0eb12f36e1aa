//! Planned work: windows that operators and pipelines announce.
//!
//! Invariant: a plan excuses a stop, never a death. Which of the two an ending is, is said in [`crate::judge`];
//! what maintenance holds back, in [`crate::alert`].

use crate::ending::{Cause, CauseKind};
use crate::fact::{Plan, PlanKind};
use crate::moment::Moment;

/// A plan with its place in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What was announced.
    pub plan: Plan,
    /// When it begins.
    pub from: Moment,
    /// When it ends; this moment is not inside any more.
    pub until: Moment,
}

impl Window {
    /// Whether a moment is inside.
    #[must_use]
    pub fn holds(&self, at: Moment) -> bool {
        self.from <= at && at < self.until
    }

    /// Whether it speaks of this worker.
    #[must_use]
    pub fn concerns(&self, service: &str, worker: &str) -> bool {
        *self.plan.service == *service && self.plan.worker.as_ref().is_none_or(|one| **one == *worker)
    }

    /// Whether it announces that processes are stopped (it asks nobody itself).
    #[must_use]
    pub const fn announces_a_stop(&self) -> bool {
        match self.plan.kind {
            PlanKind::Restart | PlanKind::Stop => true,
            PlanKind::Maintenance => false,
        }
    }

    /// Why a process stops inside it: a deployment, or the operator's work.
    #[must_use]
    pub fn cause(&self) -> Cause {
        let kind = if self.plan.deploy.is_some() { CauseKind::Deploy } else { CauseKind::Operator };
        Cause {
            id: self.plan.deploy.clone(),
            who: self.plan.who.clone(),
            why: self.plan.why.clone(),
            ..Cause::of(kind)
        }
    }
}

/// The restart that a run saw announced and that holds a moment; of several, the one that ends last. A run that started
/// inside the window is the one that was to come back: its end was not announced.
pub(crate) fn restart_of(windows: &[Window], started: Moment, at: Moment) -> Option<&Window> {
    let restarts = windows.iter().filter(|window| window.plan.kind == PlanKind::Restart);
    restarts.filter(|window| window.holds(at) && started <= window.from).max_by_key(|it| it.until)
}

/// The window of a kind that holds a moment; of several, the one that ends last.
pub(crate) fn holding(windows: &[Window], kind: PlanKind, at: Moment) -> Option<&Window> {
    windows.iter().filter(|window| window.plan.kind == kind && window.holds(at)).max_by_key(|it| it.until)
}
