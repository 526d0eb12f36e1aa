//! What may be said of a run, by whom.
//!
//! Invariant: a field that a newer speaker adds is kept by the journal and counted, never an error;
//! a type that is not listed here is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Name, RunId, Source};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[doc = $vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
#[cfg(feature = "report")]
pub(crate) use words;

// Below the macro, which it uses.
mod order;

pub use self::order::{Forget, Plan, PlanEnd, PlanKind};

/// One thing said. The tag is `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Signal {
    /// `self`: the process is there.
    Start(Start),
    /// `self`: it does its work.
    Ready,
    /// `self`: it lives. Not durable.
    Beat(Beat),
    /// `self`: paused, reloading, draining, or running again.
    Phase(Phase),
    /// `self`: an agent's state or end.
    Agent(Agent),
    /// `self`: a stop was asked. Again: a second request.
    Asked(Asked),
    /// `self`: the stop deadline moves.
    Extend(Extend),
    /// `self`: a shutdown step began or ended.
    Step(Step),
    /// `self`: a panic was seen; whether it is caught is said later.
    Panic(Panic),
    /// `self`: the final heartbeat.
    Final(Final),
    /// `witness`: the child is there.
    WitnessStart(WitnessStart),
    /// `witness`: the child lives. Not durable.
    WitnessBeat,
    /// `witness`: it received a signal.
    SignalSeen(SignalSeen),
    /// `witness`: the child used the notify protocol.
    Notify(Notify),
    /// `witness`: the child is in state T.
    Stopped,
    /// `witness`: the child left state T.
    Continued,
    /// `witness`: the kernel's out-of-memory killer was at work in the child's group.
    Oom(Oom),
    /// `witness`: the child's last lines.
    OutputTail(OutputTail),
    /// `witness`: what was still open before it killed.
    LeftBehind(LeftBehind),
    /// `witness`: the wait status.
    Exit(Exit),
    /// `observer`: the newest link of one voice closed.
    LinkClosed(LinkClosed),
    /// `observer`: a deadline passed.
    Expired(Expired),
    /// `observer`: a run thought gone was heard again.
    Seen,
    /// `observer`: the collector did not watch for a while.
    Away(Away),
    /// `observer`: half of the fleet fell silent at once, or is heard again.
    MassSilence(MassSilence),
    /// `operator`: planned work was announced. It asks nobody to stop.
    Plan(Plan),
    /// `operator`: planned work is over, before its time or at it.
    PlanEnd(PlanEnd),
    /// `operator`: a worker that is gone leaves the list; `observer`: its time on the list is over.
    Forget(Forget),
}

/// Every type and who may say it. One list, used by the decoder and by the documentation.
pub const TYPES: &[(&str, Source)] = &[
    ("start", Source::Own),
    ("ready", Source::Own),
    ("beat", Source::Own),
    ("phase", Source::Own),
    ("agent", Source::Own),
    ("asked", Source::Own),
    ("extend", Source::Own),
    ("step", Source::Own),
    ("panic", Source::Own),
    ("final", Source::Own),
    ("witness_start", Source::Witness),
    ("witness_beat", Source::Witness),
    ("signal_seen", Source::Witness),
    ("notify", Source::Witness),
    ("stopped", Source::Witness),
    ("continued", Source::Witness),
    ("oom", Source::Witness),
    ("output_tail", Source::Witness),
    ("left_behind", Source::Witness),
    ("exit", Source::Witness),
    ("link_closed", Source::Observer),
    ("expired", Source::Observer),
    ("seen", Source::Observer),
    ("away", Source::Observer),
    ("mass_silence", Source::Observer),
    ("plan", Source::Operator),
    ("plan_end", Source::Operator),
    ("forget", Source::Operator),
];

impl Signal {
    /// The word on the wire.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Ready => "ready",
            Self::Beat(_) => "beat",
            Self::Phase(_) => "phase",
            Self::Agent(_) => "agent",
            Self::Asked(_) => "asked",
            Self::Extend(_) => "extend",
            Self::Step(_) => "step",
            Self::Panic(_) => "panic",
            Self::Final(_) => "final",
            Self::WitnessStart(_) => "witness_start",
            Self::WitnessBeat => "witness_beat",
            Self::SignalSeen(_) => "signal_seen",
            Self::Notify(_) => "notify",
            Self::Stopped => "stopped",
            Self::Continued => "continued",
            Self::Oom(_) => "oom",
            Self::OutputTail(_) => "output_tail",
            Self::LeftBehind(_) => "left_behind",
            Self::Exit(_) => "exit",
            Self::LinkClosed(_) => "link_closed",
            Self::Expired(_) => "expired",
            Self::Seen => "seen",
            Self::Away(_) => "away",
            Self::MassSilence(_) => "mass_silence",
            Self::Plan(_) => "plan",
            Self::PlanEnd(_) => "plan_end",
            Self::Forget(_) => "forget",
        }
    }

    /// Whether it is journaled before it is acknowledged: all but plain beats.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        !matches!(self, Self::Beat(_) | Self::WitnessBeat)
    }

    /// Whether it tells of an ending; an outbox that overflows never drops one.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Final(_) | Self::Exit(_) | Self::Panic(_))
    }
}

/// `self` `start`. Every field may be absent: three lines of curl are a client too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// Beat interval, 500 to 60,000 ms before scaling; absent: 5,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Stop deadline the run promises to keep, in ms; absent: 30,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Exit codes beside 0 that are fine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept_exit: Vec<i32>,
    /// What the client can do: `goodbye`, `stop`, `pause`, `reload`. A newer word is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The kernel's boot id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Process id in its own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Inode of the pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
    /// Start time of the process in clock ticks since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Version of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Environment, such as `dry_run` or `live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The run that forked this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_run: Option<RunId>,
}

/// `self` `beat`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Progress counters of the agents that count.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<Name, u64>,
}

words! {
    /// Where a running process is in its life.
    PhaseTo {
        /// At work.
        Running = "running",
        /// Holding still.
        Paused = "paused",
        /// Reading its configuration anew.
        Reloading = "reloading",
        /// Beats go on, no new work.
        Draining = "draining",
    }
}

/// `self` `phase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// The phase it went to.
    pub to: PhaseTo,
    /// Items done, where it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Items in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

words! {
    /// State of an agent.
    AgentState {
        /// Not at work yet.
        Starting = "starting",
        /// At work.
        Running = "running",
        /// Holding still.
        Paused = "paused",
        /// Its promised progress is missing.
        Stuck = "stuck",
        /// On its way out.
        Stopping = "stopping",
    }
}

words! {
    /// How an agent ended.
    AgentEnd {
        /// Its work was done.
        Completed = "completed",
        /// Cancelled while its run stops, or by its declared owner.
        CancelledExpected = "cancelled_expected",
        /// Cancelled by somebody else.
        CancelledUnexpected = "cancelled_unexpected",
        /// It panicked or returned an error.
        Crashed = "crashed",
        /// Tracked, and alive when the run ended.
        Abandoned = "abandoned",
    }
}

/// `self` `agent`: either a state or an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name in the run.
    pub name: Name,
    /// Its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AgentState>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AgentEnd>,
    /// It promises progress this often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_every_ms: Option<u64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
        /// Its supervisor: pid 1, or a parent without a terminal.
        Supervisor = "supervisor",
        /// The system goes down.
        HostShutdown = "host_shutdown",
        /// A planned deployment.
        Deploy = "deploy",
        /// The run itself; reason `done` is a finished job.
        Itself = "self",
        /// Something it cannot work without.
        Dependency = "dependency",
        /// A person, by `lastbeat stop`, the collector or a plan.
        Operator = "operator",
        /// An ask or a KILL without a visible author.
        Unknown = "unknown",
    }
}

/// Why a stop was asked, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// In one word.
    pub kind: CauseKind,
    /// For signals: its name, such as `SIGTERM`.
    #[serde(default)]
    pub signal: Option<String>,
    /// For signals: who sent it, as far as it could be read.
    #[serde(default)]
    pub sender: Option<Sender>,
    /// `self`: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `dependency`: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `deploy`: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `operator`: who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// `operator`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Cause {
    /// A cause of this kind with nothing else known.
    #[must_use]
    pub const fn of(kind: CauseKind) -> Self {
        Self { kind, signal: None, sender: None, reason: None, name: None, id: None, who: None, why: None }
    }
}

/// Who sent a signal, read from `/proc` at once. What could not be read is `null`, never guessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Its process id; 0 with `outside_namespace`.
    pub pid: u32,
    /// Its user id.
    pub uid: u32,
    /// Its parent.
    #[serde(default)]
    pub ppid: Option<u32>,
    /// Its name.
    #[serde(default)]
    pub comm: Option<String>,
    /// Its command line, cut at 256 bytes.
    #[serde(default)]
    pub cmdline: Option<String>,
    /// Its terminal, such as `pts/3`.
    #[serde(default)]
    pub tty: Option<String>,
    /// It was gone before it could be read.
    #[serde(default)]
    pub gone: bool,
    /// It lives outside the pid namespace.
    #[serde(default)]
    pub outside_namespace: bool,
}

/// `self` `asked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Why and by whom.
    pub cause: Cause,
    /// The stop deadline from now, in ms; absent: the run's `grace_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// `self` `extend`: at most 60 s each, 10 min in all, before expiry, with a step or counter that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// By how much, in ms.
    pub by_ms: u64,
    /// The step at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Name>,
    /// A counter that moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u64>,
}

words! {
    /// How a shutdown step ended.
    StepOutcome {
        /// Done.
        Ok = "ok",
        /// It returned an error or panicked.
        Failed = "failed",
        /// Some of its items are not done.
        Partial = "partial",
        /// Cut by its timeout or the stop deadline.
        TimedOut = "timed_out",
        /// Not run.
        Skipped = "skipped",
    }
}

/// `self` `step`, and a row of a cleanup. Without an outcome it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the plan.
    pub name: Name,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<StepOutcome>,
    /// Items done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Items in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Items left out on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// How often it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long it took, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How long it may take, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_skipped: Option<String>,
    /// Labels of at most 20 items that are not done: what failed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_items: Vec<String>,
}

impl Step {
    /// A step that has begun.
    #[must_use]
    pub const fn begun(name: Name) -> Self {
        Self {
            name,
            outcome: None,
            done: None,
            total: None,
            skipped: None,
            attempts: None,
            duration_ms: None,
            timeout_ms: None,
            error: None,
            why_skipped: None,
            failed_items: Vec::new(),
        }
    }
}

/// `self` `panic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The message, cut at 1 KiB.
    pub message: String,
    /// `file:line:column`.
    #[serde(default)]
    pub location: Option<String>,
}

words! {
    /// What the run itself thinks of its ending.
    ClassHint {
        /// Work done, nobody asked.
        Completed = "completed",
        /// A stop was asked.
        Shutdown = "shutdown",
        /// It came down.
        Crashed = "crashed",
    }
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cleanup {
    /// How long it all took, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// Tracked agents alive at the end, by name.
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
    /// A later request to stop forced the end: what was left of the plan is skipped.
    pub forced: bool,
}

/// A process left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// `self` `final`: the final heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Final {
    /// What the run thinks of its ending; none: a bare goodbye.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_hint: Option<ClassHint>,
    /// Why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What was cleaned up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
    /// Restart promise, at most 600,000 ms, from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_within_ms: Option<u64>,
}

/// `witness` `witness_start`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WitnessStart {
    /// The child, as its own `start` would put it.
    #[serde(flatten)]
    pub start: Start,
    /// Start is ready (`--ready start`).
    pub ready: bool,
    /// Restart promise from the command line; not for keyboard and terminal hang-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_within_ms: Option<u64>,
}

/// `witness` `signal_seen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSeen {
    /// Its name, such as `SIGTERM`.
    pub signal: String,
    /// Who sent it; `null` from the kernel or when nobody can know.
    #[serde(default)]
    pub sender: Option<Sender>,
    /// Whether the witness passed it on (or the child got it from the same source).
    #[serde(default)]
    pub forwarded: bool,
    /// What the witness, who knows its parent and terminal, makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CauseKind>,
}

/// `witness` `notify`: what the child said by the systemd protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notify {
    /// `READY=1`.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `EXTEND_TIMEOUT_USEC=`, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_ms: Option<u64>,
    /// `WATCHDOG=1`.
    pub watchdog: bool,
}

/// `witness` `oom`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Oom {
    /// Kills counted in the child's group over its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills: Option<u64>,
}

/// `witness` `output_tail`: at most 40 lines, 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputTail {
    /// The last lines, oldest first.
    pub lines: Vec<String>,
}

/// `witness` `left_behind`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftBehind {
    /// Threads alive.
    pub threads: u64,
    /// Processes alive.
    pub children: Vec<Child>,
    /// Sockets open.
    pub sockets: u64,
}

/// `witness` `exit`: the wait status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal name, such as `SIGKILL`, when it was ended by one.
    pub signal: Option<String>,
    /// It left a core.
    pub core_dumped: bool,
    /// The witness sent the KILL itself, when its grace was over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub killed_by_witness: bool,
}

/// `observer` `link_closed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkClosed {
    /// Whose link it was.
    pub voice: Source,
}

words! {
    /// Which deadline passed.
    Deadline {
        /// No live fact for max(6T, 15 s).
        Silence = "silence",
        /// 10 s since the newest link closed without a final.
        Link = "link",
        /// The stop deadline.
        Stop = "stop",
        /// The start deadline.
        Start = "start",
        /// The restart promise.
        Promise = "promise",
        /// 10 s alive after the final.
        Goodbye = "goodbye",
        /// Three times an agent's promised progress interval.
        Progress = "progress",
        /// All runs of its host were silent when the first came to its silence timeout.
        Host = "host",
    }
}

/// `observer` `expired`. Journaled, so that replay never advances time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Which deadline.
    pub which: Deadline,
    /// When it was due, on the collector's axis, in ms; the verdict is dated there.
    pub due_ms: u64,
    /// When the run was last heard, on the same axis.
    #[serde(default)]
    pub last_seen_ms: Option<u64>,
}

/// `observer` `away`: nothing inferred may rest on this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// Since when, on the collector's axis, in ms.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}

/// `observer` `mass_silence`: rather the network or the observer than so many deaths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MassSilence {
    /// The silent runs, at most 4,096 in one fact; none: it is over.
    pub members: Vec<RunId>,
    /// How many runs were watched.
    pub of: u64,
}
