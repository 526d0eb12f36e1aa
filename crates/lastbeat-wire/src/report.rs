//! What the read side answers: the JSON of `/v1/…` and of `--json`, one shape for both.
//!
//! Invariant: fields are contract, more may come; readers keep what they do not know out of their way.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{Name, RunId, Source};
use crate::signal::{AgentEnd, AgentState, Cause, Child, CleanupOutcome, Exit, Panic, PlanKind, Step, words};

words! {
    /// The one condition a worker is in: the first of this list that holds.
    Condition {
        /// An operator's window.
        Maintenance = "maintenance",
        /// Five bad endings in a minute.
        CrashLoop = "crash_loop",
        /// A restart promise was broken.
        RestartOverdue = "restart_overdue",
        /// Its newest ended run came to a bad end.
        Failed = "failed",
        /// Beats go on, work does not.
        Hung = "hung",
        /// Its witness sees it stopped.
        Suspended = "suspended",
        /// Not heard from; nothing seen of an end.
        Unreachable = "unreachable",
        /// The collector is just back and has not heard it yet.
        Unknown = "unknown",
        /// An agent failed.
        Degraded = "degraded",
        /// Away as planned, promise open.
        Restarting = "restarting",
        /// A stop was asked.
        Stopping = "stopping",
        /// No new work.
        Draining = "draining",
        /// Holding still.
        Paused = "paused",
        /// Reading its configuration anew.
        Reloading = "reloading",
        /// Not ready yet.
        Starting = "starting",
        /// At work.
        Live = "live",
        /// Stopped as planned, or with a ticket.
        Stopped = "stopped",
        /// Its work is done.
        Completed = "completed",
    }
}

words! {
    /// How loud an ending or an alert is.
    Severity {
        /// Nobody needs to look.
        None = "none",
        /// Somebody looks in office hours.
        Ticket = "ticket",
        /// Somebody is woken.
        Page = "page",
    }
}

words! {
    /// How a run ended.
    Class {
        /// Work done, no stop was asked.
        Completed = "completed",
        /// Asked, every step ok, in time.
        Shutdown = "shutdown",
        /// A successor appeared before any ending.
        Superseded = "superseded",
        /// Asked and in time, but not clean.
        ShutdownDegraded = "shutdown_degraded",
        /// Forced during the stop.
        ShutdownAborted = "shutdown_aborted",
        /// Exit 0, unasked, no final beat from a linked client.
        ExitedSilently = "exited_silently",
        /// The stop deadline passed.
        ShutdownTimeout = "shutdown_timeout",
        /// It came down by its own doing.
        Crashed = "crashed",
        /// Ended by a KILL nobody announced.
        Killed = "killed",
        /// Ended by the kernel's out-of-memory killer.
        OomKilled = "oom_killed",
        /// Hung past its limit, then killed.
        Watchdog = "watchdog",
        /// Ended, or start deadline passed, before ready.
        StartFailed = "start_failed",
        /// Silence only.
        Lost = "lost",
        /// Its host is silent as a whole.
        HostLost = "host_lost",
        /// Its host booted anew.
        HostRebooted = "host_rebooted",
    }
}

words! {
    /// Where a run is in its life.
    RunState {
        /// Not ready yet.
        Starting = "starting",
        /// At work.
        Running = "running",
        /// Holding still.
        Paused = "paused",
        /// Reading its configuration anew.
        Reloading = "reloading",
        /// No new work.
        Draining = "draining",
        /// A stop was asked.
        Stopping = "stopping",
        /// Over.
        Ended = "ended",
    }
}

words! {
    /// What is doubtful about a run that has not ended.
    Flag {
        /// Its beat is late.
        Overdue = "overdue",
        /// Promised progress is missing.
        Hung = "hung",
        /// Its witness sees it stopped.
        Suspended = "suspended",
        /// Not heard from.
        Unreachable = "unreachable",
        /// Its witness left without an exit.
        Orphaned = "orphaned",
    }
}

words! {
    /// What kind of evidence a verdict rests on.
    EvidenceKind {
        /// The run said so.
        Own = "self",
        /// Its parent or the kernel saw it.
        Witness = "witness",
        /// Silence suggests it.
        Inferred = "inferred",
    }
}

words! {
    /// Whether something was asked to be noticed.
    CollectorState {
        /// At work.
        Live = "live",
        /// Just back: silence counts from its return.
        Recovering = "recovering",
        /// On its way out.
        Stopping = "stopping",
    }
}

/// One worker: its condition in a word and in words, its newest run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The service's name.
    pub service: Name,
    /// The worker's name.
    pub worker: Name,
    /// The condition.
    pub condition: Condition,
    /// What the page says.
    pub words: String,
    /// How loud its newest ending or its condition is.
    pub severity: Severity,
    /// Since when it is in this condition.
    pub since: Timestamp,
    /// When an open restart promise ends.
    pub back_by: Option<Timestamp>,
    /// The run the words speak of: the newest.
    pub run: Option<RunReport>,
    /// The newest run that ended, where it is not `run` itself.
    pub last_ended: Option<RunReport>,
    /// Verdicts of this worker's known runs that changed by later evidence, oldest first.
    pub amendments: Vec<Amendment>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its identity.
    pub run_id: RunId,
    /// Where it is in its life.
    pub state: RunState,
    /// What is doubtful about it.
    pub flags: Vec<Flag>,
    /// Its process id.
    pub pid: Option<u32>,
    /// Its host.
    pub host: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// A client is linked in (it can say goodbye).
    pub linked: bool,
    /// A witness reports it.
    pub witnessed: bool,
    /// Beat interval in ms.
    pub interval_ms: u64,
    /// When it started, by receipt less age.
    pub started_at: Timestamp,
    /// When it was ready.
    pub ready_at: Option<Timestamp>,
    /// When it was last heard.
    pub last_beat_at: Timestamp,
    /// While stopping: when the stop deadline ends.
    pub stop_deadline_at: Option<Timestamp>,
    /// While stopping: the step at work.
    pub step: Option<Name>,
    /// Items done and in all, where it drains and counts.
    pub drain: Option<(u64, u64)>,
    /// Why a stop was asked; null when nobody asked.
    pub cause: Option<Cause>,
    /// Its ending.
    pub ending: Option<EndingReport>,
    /// Its agents by name.
    pub agents: Vec<AgentReport>,
}

/// An ending: class, cause, cleanup, evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndingReport {
    /// How it ended.
    pub class: Class,
    /// How loud that is.
    pub severity: Severity,
    /// What the page says of it.
    pub words: String,
    /// When.
    pub at: Timestamp,
    /// `shutdown` for a crash during the stop.
    pub during: Option<String>,
    /// Only inferred so far: an exit or a final may still amend it.
    pub provisional: bool,
    /// Why it was asked to stop; null when nobody asked.
    pub cause: Option<Cause>,
    /// What was cleaned up.
    pub cleanup: CleanupReport,
    /// The wait status, from a witness only.
    pub exit: Option<Exit>,
    /// The panic, when there was one.
    pub panic: Option<Panic>,
    /// What it promised: back within this many ms.
    pub back_within_ms: Option<u64>,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// The last lines of its output, as its witness kept them.
    pub output_tail: Vec<String>,
}

/// What was cleaned up, and the worst of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanupReport {
    /// The worst of its parts.
    pub outcome: CleanupOutcome,
    /// How long it took, in ms.
    pub duration_ms: Option<u64>,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// Tracked agents alive at the end.
    pub abandoned: Vec<Name>,
    /// Untracked tasks alive at the end.
    pub untracked: u64,
    /// Processes left behind.
    pub children_left: Vec<Child>,
    /// Streams that heard a goodbye.
    pub streams_farewell: u64,
    /// Streams that were cut.
    pub streams_cut: u64,
    /// Buffered items written out.
    pub items_flushed: u64,
    /// Buffered items given up.
    pub items_dropped: u64,
}

/// Facts of one kind that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Presence by its own word, by its parent's, or by absence.
    pub kind: EvidenceKind,
    /// The facts, such as `final #42`.
    pub facts: Vec<String>,
}

/// An agent of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// Its name.
    pub name: Name,
    /// `ended`, or its state.
    pub state: String,
    /// How it ended.
    pub end: Option<AgentEnd>,
    /// What went wrong.
    pub error: Option<String>,
}

impl AgentReport {
    /// The word for an agent that has ended.
    pub const ENDED: &'static str = "ended";

    /// Puts state or end into one row.
    #[must_use]
    pub fn new(name: Name, state: Option<AgentState>, end: Option<AgentEnd>, error: Option<String>) -> Self {
        let word = match (end, state) {
            (Some(_), _) => Self::ENDED,
            (None, Some(state)) => state.as_str(),
            (None, None) => AgentState::Running.as_str(),
        };
        Self { name, state: word.into(), end, error }
    }
}

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// The run whose verdict it was.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
    /// The class it had (`live` for none).
    pub from: String,
    /// The class it has (`live` for none).
    pub to: String,
    /// Which fact did it.
    pub because: String,
}

/// `GET /v1/workers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkersReport {
    /// In the order of the page: failed first.
    pub workers: Vec<WorkerReport>,
}

/// `GET /v1/workers/{service}/{worker}/runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunsReport {
    /// Newest first.
    pub runs: Vec<RunReport>,
}

/// `GET /v1/runs/{run_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The service's name.
    pub service: Name,
    /// The worker's name.
    pub worker: Name,
    /// The run.
    pub run: RunReport,
    /// How its verdict changed.
    pub amendments: Vec<Amendment>,
    /// Its facts in the order of receipt.
    pub facts: Vec<FactReport>,
}

/// One stored fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactReport {
    /// Who spoke.
    pub source: Source,
    /// The speaker's count.
    pub seq: u64,
    /// When it was received.
    pub at: Timestamp,
    /// How old it was then, in ms.
    pub age_ms: u64,
    /// What was said, as it was sent.
    pub signal: serde_json::Value,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The sentence on top of the page.
    pub sentence: String,
    /// The sentence below it: what, when, who asked.
    pub lead: String,
    /// Workers in each condition; only those above 0.
    pub counts: BTreeMap<String, u64>,
    /// The services by name.
    pub services: Vec<ServiceReport>,
    /// The collector itself.
    pub collector: CollectorReport,
}

/// One service, rolled up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name.
    pub service: Name,
    /// What the page says.
    pub words: String,
    /// The worst of its workers.
    pub severity: Severity,
    /// Workers in each condition; only those above 0.
    pub counts: BTreeMap<String, u64>,
}

/// The collector, of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorReport {
    /// Its identity; it stays with its journal.
    pub id: RunId,
    /// How often it was started on this journal, from 1.
    pub epoch: u64,
    /// At work, recovering, or on its way out.
    pub state: CollectorState,
    /// Its version.
    pub version: String,
    /// Since when.
    pub started_at: Timestamp,
    /// Its clock, when this was answered.
    pub now: Timestamp,
}

/// `GET /v1/alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsReport {
    /// Open ones first, then those resolved within the hour.
    pub alerts: Vec<AlertReport>,
    /// Stops of the last hour that somebody may want to know of; they wake nobody.
    #[serde(default)]
    pub notices: Vec<NoticeReport>,
}

/// One stop that somebody may want to know of: by a hang-up, or by a sender whom nobody could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeReport {
    /// What it is about: `LastbeatStoppedByHangup` or `LastbeatStoppedByUnknown`.
    pub name: String,
    /// The service.
    pub service: Name,
    /// The worker.
    pub worker: Name,
    /// When it ended.
    pub at: Timestamp,
    /// By whom, as far as is known.
    pub because: String,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertReport {
    /// Its name, as the rules have it.
    pub name: String,
    /// `page` or `ticket`.
    pub severity: Severity,
    /// The service; null for a host or the whole fleet.
    pub service: Option<Name>,
    /// The worker; null for a host or the whole fleet.
    pub worker: Option<Name>,
    /// The host.
    pub host: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it was resolved; null while open.
    pub resolved_at: Option<Timestamp>,
    /// Why it fires, or why it was resolved.
    pub because: String,
}

impl AlertReport {
    /// Whom it is about: a worker, a service, a host, or the fleet.
    #[must_use]
    pub fn subject(&self) -> String {
        match (&self.service, &self.worker, &self.host) {
            (Some(service), Some(worker), _) => format!("{service}/{worker}"),
            (Some(service), None, _) => service.to_string(),
            (None, _, Some(host)) => format!("host {host}"),
            (None, _, None) => "the fleet".into(),
        }
    }
}

words! {
    /// Whether a plan's window holds the present.
    PlanState {
        /// It does.
        Open = "open",
        /// It has ended, at its time or before.
        Over = "over",
    }
}

/// `GET /v1/plans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlansReport {
    /// Open ones first, then those that ended within the last day; the newest first.
    pub plans: Vec<PlanReport>,
}

/// One plan, as `POST /v1/plans` and `DELETE /v1/plans/{id}` answer too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Its identity.
    pub id: Name,
    /// What kind of work.
    pub kind: PlanKind,
    /// The service it speaks of.
    pub service: Name,
    /// One worker of it; null: all of them.
    pub worker: Option<Name>,
    /// When its window began.
    pub from: Timestamp,
    /// When its window ends or ended.
    pub until: Timestamp,
    /// Whether that is ahead.
    pub state: PlanState,
    /// Who announced it.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The deployment it belongs to.
    pub deploy: Option<String>,
}

/// `POST /v1/workers/{service}/{worker}/forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenReport {
    /// The service of the worker that left the list.
    pub service: Name,
    /// Its name.
    pub worker: Name,
}

/// `POST /v1/workers/{service}/{worker}/stop`, `…/pause`, `…/resume`: it was asked. What it does then it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedReport {
    /// The run that was asked: the newest of the worker that lives.
    pub run_id: RunId,
    /// When, by the collector's clock.
    pub at: Timestamp,
}
