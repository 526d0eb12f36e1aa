//! The vocabulary of an ending: class, cause, cleanup, evidence. Never one string.

use std::sync::Arc;

use crate::moment::Moment;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $vdoc])* $variant,)* }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word of the contract.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($vdoc),*).trim_start(),)* }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How loud an ending is.
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

impl Class {
    /// How loud it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Completed | Self::Shutdown | Self::Superseded => Severity::None,
            Self::ShutdownDegraded | Self::ShutdownAborted | Self::ExitedSilently => Severity::Ticket,
            Self::ShutdownTimeout
            | Self::Crashed
            | Self::Killed
            | Self::OomKilled
            | Self::Watchdog
            | Self::StartFailed
            | Self::Lost
            | Self::HostLost
            | Self::HostRebooted => Severity::Page,
        }
    }

    /// Whether it may rest on a deadline that passed, and on nothing else.
    #[must_use]
    pub const fn is_inferred(self) -> bool {
        match self {
            Self::Lost | Self::HostLost | Self::HostRebooted | Self::StartFailed | Self::ShutdownTimeout => {
                true
            }
            Self::Completed
            | Self::Shutdown
            | Self::Superseded
            | Self::ShutdownDegraded
            | Self::ShutdownAborted
            | Self::ExitedSilently
            | Self::Crashed
            | Self::Killed
            | Self::OomKilled
            | Self::Watchdog => false,
        }
    }

    /// The word of the contract as people read it.
    #[must_use]
    pub fn in_words(self) -> String {
        self.as_str().replace('_', " ")
    }

    /// Whether a restart promise made with such an ending holds (a crash or timeout pages at once).
    #[must_use]
    pub const fn keeps_its_promise(self) -> bool {
        match self {
            Self::Completed | Self::Shutdown | Self::ShutdownDegraded | Self::ShutdownAborted => true,
            Self::Superseded
            | Self::ExitedSilently
            | Self::ShutdownTimeout
            | Self::Crashed
            | Self::Killed
            | Self::OomKilled
            | Self::Watchdog
            | Self::StartFailed
            | Self::Lost
            | Self::HostLost
            | Self::HostRebooted => false,
        }
    }
}

words! {
    /// Why a stop was asked, in one word.
    CauseKind {
        /// The program's own call.
        Api = "api",
        /// Ctrl+C or Ctrl+\ at its terminal.
        Keyboard = "keyboard",
        /// Its terminal closed.
        TerminalHangup = "terminal_hangup",
        /// A signal that somebody sent.
        Signal = "signal",
        /// Its supervisor.
        Supervisor = "supervisor",
        /// The system goes down.
        HostShutdown = "host_shutdown",
        /// A planned deployment.
        Deploy = "deploy",
        /// The run itself.
        Itself = "self",
        /// Something it cannot work without.
        Dependency = "dependency",
        /// A person or a plan.
        Operator = "operator",
        /// Nobody visible.
        Unknown = "unknown",
    }
}

/// Why a stop was asked, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// In one word.
    pub kind: CauseKind,
    /// For signals: its name.
    pub signal: Option<String>,
    /// For signals: who sent it, as far as it could be read.
    pub sender: Option<Sender>,
    /// `self`: the reason. `api`: the program's words.
    pub reason: Option<String>,
    /// `dependency`: its name.
    pub name: Option<String>,
    /// `deploy`: its id.
    pub id: Option<String>,
    /// `operator`: who.
    pub who: Option<String>,
    /// `operator`: why.
    pub why: Option<String>,
}

impl Cause {
    /// A cause of this kind with nothing else known.
    #[must_use]
    pub const fn of(kind: CauseKind) -> Self {
        Self { kind, signal: None, sender: None, reason: None, name: None, id: None, who: None, why: None }
    }

    /// "I am done": the one cause that is no ask.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.kind == CauseKind::Itself && self.reason.as_deref() == Some("done")
    }

    /// Whether it came by a signal.
    #[must_use]
    pub const fn is_signal(&self) -> bool {
        match self.kind {
            CauseKind::Keyboard
            | CauseKind::TerminalHangup
            | CauseKind::Signal
            | CauseKind::Supervisor
            | CauseKind::HostShutdown => true,
            CauseKind::Api
            | CauseKind::Deploy
            | CauseKind::Itself
            | CauseKind::Dependency
            | CauseKind::Operator
            | CauseKind::Unknown => false,
        }
    }
}

/// Who sent a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its process id.
    pub pid: u32,
    /// Its user id.
    pub uid: u32,
    /// Its parent.
    pub ppid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Its command line.
    pub cmdline: Option<String>,
    /// Its terminal.
    pub tty: Option<String>,
    /// It was gone before it could be read.
    pub gone: bool,
    /// It lives outside the pid namespace.
    pub outside_namespace: bool,
}

words! {
    /// What the run itself thinks of its ending.
    ClassHint {
        /// Work done.
        Completed = "completed",
        /// A stop was asked.
        Shutdown = "shutdown",
        /// It came down.
        Crashed = "crashed",
    }
}

words! {
    /// How an agent ended.
    AgentEnd {
        /// Its work was done.
        Completed = "completed",
        /// Cancelled while its run stops, or by its owner.
        CancelledExpected = "cancelled_expected",
        /// Cancelled by somebody else.
        CancelledUnexpected = "cancelled_unexpected",
        /// It panicked or returned an error.
        Crashed = "crashed",
        /// Alive when the run ended.
        Abandoned = "abandoned",
    }
}

words! {
    /// How a step ended.
    StepOutcome {
        /// Done.
        Ok = "ok",
        /// An error or a panic.
        Failed = "failed",
        /// Some of its items are not done.
        Partial = "partial",
        /// Cut.
        TimedOut = "timed_out",
        /// Not run.
        Skipped = "skipped",
    }
}

/// A shutdown step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: Arc<str>,
    /// How it ended; none: it has begun.
    pub outcome: Option<StepOutcome>,
    /// Items done.
    pub done: Option<u64>,
    /// Items in all.
    pub total: Option<u64>,
    /// Items left out on purpose.
    pub skipped: Option<u64>,
    /// Tries.
    pub attempts: Option<u32>,
    /// How long it took, in ms.
    pub duration_ms: Option<u64>,
    /// How long it may take, in ms.
    pub timeout_ms: Option<u64>,
    /// What went wrong.
    pub error: Option<String>,
    /// Why it was not run.
    pub why_skipped: Option<String>,
    /// Labels of items that failed.
    pub failed_items: Vec<String>,
}

words! {
    /// The worst of a cleanup.
    CleanupOutcome {
        /// No steps were declared.
        NoneDeclared = "none_declared",
        /// All was done.
        Complete = "complete",
        /// Something is left.
        Partial = "partial",
        /// A step failed.
        Failed = "failed",
        /// A step was cut.
        TimedOut = "timed_out",
        /// Forced, or never run.
        Skipped = "skipped",
    }
}

/// What was cleaned up, and what not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleanup {
    /// How long it took, in ms.
    pub duration_ms: Option<u64>,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// Tracked agents alive at the end.
    pub abandoned: Vec<Arc<str>>,
    /// Untracked tasks alive at the end; never make a cleanup partial.
    pub untracked: u64,
    /// Processes left behind.
    pub children_left: Vec<(u32, String)>,
    /// Streams that heard a goodbye.
    pub streams_farewell: u64,
    /// Streams that were cut.
    pub streams_cut: u64,
    /// Buffered items written out.
    pub items_flushed: u64,
    /// Buffered items given up.
    pub items_dropped: u64,
    /// A second request cut the plan short.
    pub forced: bool,
}

impl Cleanup {
    /// The worst of its parts: timed out, failed, partial, complete; none declared without any.
    #[must_use]
    pub fn outcome(&self) -> CleanupOutcome {
        let any = |outcome| self.steps.iter().any(|step| step.outcome == Some(outcome));
        let unfinished = self.steps.iter().any(|step| step.outcome.is_none());
        if any(StepOutcome::TimedOut) {
            CleanupOutcome::TimedOut
        } else if any(StepOutcome::Failed) {
            CleanupOutcome::Failed
        } else if self.forced && any(StepOutcome::Skipped) {
            CleanupOutcome::Skipped
        } else if any(StepOutcome::Partial)
            || unfinished
            || !self.abandoned.is_empty()
            || self.streams_cut > 0
            || !self.children_left.is_empty()
            || self.items_dropped > 0
        {
            CleanupOutcome::Partial
        } else if self.steps.is_empty() {
            CleanupOutcome::NoneDeclared
        } else {
            CleanupOutcome::Complete
        }
    }
}

/// A panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// The message.
    pub message: String,
    /// `file:line:column`.
    pub location: Option<String>,
}

/// A wait status; only a witness has one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// Exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// It left a core.
    pub core_dumped: bool,
    /// The witness sent the KILL itself.
    pub killed_by_witness: bool,
}

words! {
    /// What kind of evidence a verdict rests on; never mixed.
    EvidenceKind {
        /// The run said so.
        Own = "self",
        /// Its parent or the kernel saw it.
        Witness = "witness",
        /// Silence suggests it.
        Inferred = "inferred",
    }
}

/// Facts of one kind that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which kind.
    pub kind: EvidenceKind,
    /// The facts, such as `final #42`.
    pub facts: Vec<String>,
}

/// An ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub class: Class,
    /// When.
    pub at: Moment,
    /// A crash in the middle of a stop.
    pub during_shutdown: bool,
    /// Only inferred so far; an exit or a final may still amend it.
    pub provisional: bool,
    /// Why it was asked to stop; none when nobody asked.
    pub cause: Option<Cause>,
    /// What was cleaned up.
    pub cleanup: Cleanup,
    /// The worst of that.
    pub cleanup_outcome: CleanupOutcome,
    /// The wait status.
    pub exit: Option<Exit>,
    /// The panic.
    pub panic: Option<Panic>,
    /// The deadline that passed, where the verdict is inferred.
    pub expired: Option<crate::fact::Deadline>,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}
