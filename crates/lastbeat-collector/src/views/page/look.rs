//! How a state looks: its shape, the family that gives it a colour, and the group it is listed in.
//!
//! Invariant: every state has a shape of its own family; no state is told by colour alone.

use lastbeat_wire::report::{
    Class, Condition, EndingReport, Flag, RunReport, RunState, Severity, WorkerReport,
};

/// A shape of the sprite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Live,
    Late,
    Starting,
    Draining,
    Stopping,
    Reloading,
    Restarting,
    Maintenance,
    Paused,
    Stopped,
    Completed,
    Skipped,
    Suspended,
    Unreachable,
    Unknown,
    Ticket,
    Failed,
}

impl Shape {
    /// Its id in the sprite, less the prefix.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Late => "late",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Reloading => "reloading",
            Self::Restarting => "restarting",
            Self::Maintenance => "maintenance",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Suspended => "suspended",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Ticket => "ticket",
            Self::Failed => "failed",
        }
    }

    /// The class that gives it and its row a colour.
    pub(crate) const fn family(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Starting | Self::Draining | Self::Stopping | Self::Reloading => "move",
            Self::Restarting | Self::Maintenance => "plan",
            Self::Paused | Self::Stopped | Self::Completed | Self::Skipped => "rest",
            Self::Late | Self::Suspended | Self::Unreachable | Self::Unknown | Self::Ticket => "warn",
            Self::Failed => "fail",
        }
    }
}

/// Where a worker is listed: failed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Failed,
    Look,
    Changing,
    Live,
    Away,
}

impl Group {
    /// All, in the order of the page.
    pub(crate) const ALL: [Self; 5] = [Self::Failed, Self::Look, Self::Changing, Self::Live, Self::Away];

    /// The word in ids.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Look => "look",
            Self::Changing => "changing",
            Self::Live => "live",
            Self::Away => "away",
        }
    }

    /// What stands above its rows.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Look => "Needs a look",
            Self::Changing => "Changing",
            Self::Live => "Live",
            Self::Away => "Stopped or completed",
        }
    }

    /// Where a worker belongs.
    pub(crate) const fn of(worker: &WorkerReport) -> Self {
        match worker.condition {
            Condition::CrashLoop | Condition::RestartOverdue | Condition::Failed | Condition::Hung => {
                Self::Failed
            }
            Condition::Suspended | Condition::Unreachable | Condition::Unknown | Condition::Degraded => {
                Self::Look
            }
            Condition::Maintenance
            | Condition::Restarting
            | Condition::Stopping
            | Condition::Draining
            | Condition::Paused
            | Condition::Reloading
            | Condition::Starting => Self::Changing,
            Condition::Live => Self::Live,
            Condition::Stopped | Condition::Completed => match worker.severity {
                Severity::None => Self::Away,
                Severity::Ticket | Severity::Page => Self::Look,
            },
        }
    }
}

/// The shape of a worker's condition.
pub(crate) fn worker_shape(worker: &WorkerReport) -> Shape {
    match worker.condition {
        Condition::CrashLoop | Condition::RestartOverdue | Condition::Failed | Condition::Hung => {
            Shape::Failed
        }
        Condition::Suspended => Shape::Suspended,
        Condition::Unreachable => Shape::Unreachable,
        Condition::Unknown => Shape::Unknown,
        Condition::Degraded => Shape::Ticket,
        Condition::Maintenance => Shape::Maintenance,
        Condition::Restarting => Shape::Restarting,
        Condition::Stopping => Shape::Stopping,
        Condition::Draining => Shape::Draining,
        Condition::Paused => Shape::Paused,
        Condition::Reloading => Shape::Reloading,
        Condition::Starting => Shape::Starting,
        Condition::Live if is_late(worker) => Shape::Late,
        Condition::Live => Shape::Live,
        Condition::Stopped | Condition::Completed if worker.severity != Severity::None => Shape::Ticket,
        Condition::Stopped => Shape::Stopped,
        Condition::Completed => Shape::Completed,
    }
}

/// Whether the newest run's beat is late.
pub(crate) fn is_late(worker: &WorkerReport) -> bool {
    worker.run.as_ref().is_some_and(|run| run.ending.is_none() && run.flags.contains(&Flag::Overdue))
}

/// Whether the words of a condition speak of the present, which passes when the page hears nothing more.
/// An ending stays what it is.
pub(crate) const fn is_passing(condition: Condition) -> bool {
    match condition {
        Condition::CrashLoop
        | Condition::RestartOverdue
        | Condition::Failed
        | Condition::Hung
        | Condition::Stopped
        | Condition::Completed => false,
        Condition::Maintenance
        | Condition::Suspended
        | Condition::Unreachable
        | Condition::Unknown
        | Condition::Degraded
        | Condition::Restarting
        | Condition::Stopping
        | Condition::Draining
        | Condition::Paused
        | Condition::Reloading
        | Condition::Starting
        | Condition::Live => true,
    }
}

/// The shape of a run, in a list of runs.
pub(crate) fn run_shape(run: &RunReport) -> Shape {
    if let Some(ending) = &run.ending {
        return ending_shape(ending);
    }
    for (flag, shape) in [
        (Flag::Hung, Shape::Failed),
        (Flag::Suspended, Shape::Suspended),
        (Flag::Unreachable, Shape::Unreachable),
        (Flag::Overdue, Shape::Late),
    ] {
        if run.flags.contains(&flag) {
            return shape;
        }
    }
    match run.state {
        RunState::Starting => Shape::Starting,
        RunState::Running => Shape::Live,
        RunState::Paused => Shape::Paused,
        RunState::Reloading => Shape::Reloading,
        RunState::Draining => Shape::Draining,
        RunState::Stopping => Shape::Stopping,
        RunState::Ended => Shape::Unknown,
    }
}

/// The shape of an ending.
pub(crate) const fn ending_shape(ending: &EndingReport) -> Shape {
    match (ending.severity, ending.class) {
        (Severity::Page, _) => Shape::Failed,
        (Severity::Ticket, _) => Shape::Ticket,
        (Severity::None, Class::Completed) => Shape::Completed,
        (Severity::None, _) if ending.back_within_ms.is_some() => Shape::Restarting,
        (Severity::None, _) => Shape::Stopped,
    }
}
