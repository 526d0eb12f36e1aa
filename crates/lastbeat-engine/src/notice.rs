//! Notices: a stop that somebody may want to know of, and that wakes nobody.
//!
//! Invariant: like alerts without a state of their own, and never among them. Who stopped it is said by
//! [`crate::words`].

use std::sync::Arc;

use crate::ending::{Cause, CauseKind, words};
use crate::fact::RunId;
use crate::moment::Moment;
use crate::rules::Rules;
use crate::words::asked_by;
use crate::worker::Worker;

words! {
    /// What a notice is about.
    NoticeName {
        /// A hang-up stopped it: its terminal closed, or somebody sent SIGHUP.
        StoppedByHangup = "LastbeatStoppedByHangup",
        /// Somebody stopped it whom nobody could read: gone at once, or never seen.
        StoppedByUnknown = "LastbeatStoppedByUnknown",
    }
}

impl NoticeName {
    /// A person at the keyboard, a program's own decision and an operator need none; a sender outside the pid
    /// namespace is as much as can be known.
    fn of(cause: &Cause) -> Option<Self> {
        let unread = cause.sender.as_ref().is_none_or(|sender| sender.gone);
        match cause.kind {
            CauseKind::TerminalHangup => Some(Self::StoppedByHangup),
            CauseKind::Signal | CauseKind::Supervisor if cause.signal.as_deref() == Some("SIGHUP") => {
                Some(Self::StoppedByHangup)
            }
            CauseKind::Signal | CauseKind::Supervisor => unread.then_some(Self::StoppedByUnknown),
            CauseKind::Unknown => Some(Self::StoppedByUnknown),
            CauseKind::Api
            | CauseKind::Keyboard
            | CauseKind::HostShutdown
            | CauseKind::Deploy
            | CauseKind::Itself
            | CauseKind::Dependency
            | CauseKind::Operator => None,
        }
    }
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub name: NoticeName,
    /// The service.
    pub service: Arc<str>,
    /// The worker.
    pub worker: Arc<str>,
    /// The run that was stopped.
    pub run: RunId,
    /// When it ended.
    pub at: Moment,
    /// By whom, as far as is known.
    pub because: String,
}

/// The notices of one worker, for as long as resolved alerts are told.
#[must_use]
pub fn notices(worker: &Worker, now: Moment, rules: &Rules) -> Vec<Notice> {
    let stopped = worker.runs.iter().filter(|run| !worker.is_child_of_a_live_run(run)).filter_map(|run| {
        let (ending, ask) = (run.verdict.ending()?, run.verdict.ask.as_ref()?);
        let name = NoticeName::of(&ask.cause)?;
        let because = format!("stopped{}", asked_by(&ask.cause));
        let (service, worker) = (Arc::clone(&worker.service), Arc::clone(&worker.worker));
        Some(Notice { name, service, worker, run: run.id, at: ending.at, because })
    });
    stopped.filter(|notice| now.since(notice.at) <= rules.resolved_kept_ms).collect()
}
