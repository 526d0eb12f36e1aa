//! Facts: what was said or seen, by whom, when it was received.
//!
//! Invariant: a fact is never changed. Its moment is the receipt's; how old it was travels beside it, and the
//! two give the moment it speaks of.

use std::sync::Arc;

use crate::ending::{AgentEnd, Cause, ClassHint, Cleanup, Exit, Panic, Step};
use crate::moment::Moment;

/// One process life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u128);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The run itself.
    Own,
    /// Its parent.
    Witness,
    /// A person or a pipeline.
    Operator,
    /// The collector.
    Observer,
}

impl Source {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Witness => "witness",
            Self::Operator => "operator",
            Self::Observer => "observer",
        }
    }
}

/// What makes a fact that one and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId {
    /// The run it speaks of; the collector's id for facts about no single run.
    pub run: RunId,
    /// Who speaks.
    pub source: Source,
    /// The speaker's count for this run, from 1.
    pub seq: u64,
}

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Its identity.
    pub id: FactId,
    /// The service it speaks of.
    pub service: Arc<str>,
    /// The worker it speaks of.
    pub worker: Arc<str>,
    /// When it was received.
    pub taken: Moment,
    /// How old it was then, in ms.
    pub age_ms: u64,
    /// What it says.
    pub what: What,
}

impl Fact {
    /// The moment it speaks of: receipt less age.
    #[must_use]
    pub const fn occurred(&self) -> Moment {
        self.taken.less(self.age_ms)
    }
}

/// What a fact says. Plain beats are none: they move last-seen and leave no trace.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The run is there.
    Start(Start),
    /// It does its work.
    Ready,
    /// It went to another phase.
    Phase(Phase),
    /// An agent's state or end.
    Agent(Agent),
    /// A stop was asked.
    Asked(Asked),
    /// The stop deadline moves.
    Extend(Extend),
    /// A shutdown step began or ended.
    Step(Step),
    /// A panic was seen.
    Panic(Panic),
    /// The final beat.
    Final(Final),
    /// The witness started its child.
    WitnessStart(WitnessStart),
    /// The witness received a signal.
    SignalSeen(SignalSeen),
    /// The child used the notify protocol.
    Notify(Notify),
    /// The child is in state T.
    Stopped,
    /// The child left state T.
    Continued,
    /// The out-of-memory killer was at work in the child's group.
    Oom,
    /// The child's last lines.
    OutputTail(Vec<String>),
    /// What was still open before the witness killed.
    LeftBehind(LeftBehind),
    /// The wait status.
    Exit(Exit),
    /// The newest link of one voice closed.
    LinkClosed(Source),
    /// A deadline passed.
    Expired(Expired),
    /// A run thought gone was heard again.
    Seen,
    /// The observer did not watch for a while.
    Away(Away),
    /// Half of the fleet fell silent at once, or is heard again.
    MassSilence(MassSilence),
    /// Planned work was announced.
    Plan(Plan),
    /// Planned work is over, before its time or at it.
    PlanEnd(PlanEnd),
    /// A worker that is gone leaves the list.
    Forget(Forget),
}

/// What identifies one process on one host for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The pid namespace.
    pub pid_ns: u64,
    /// The process id in it.
    pub pid: u32,
    /// Its start time in ticks.
    pub start_ticks: u64,
}

/// A start, by whoever tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// Beat interval in ms, when it was named.
    pub interval_ms: Option<u64>,
    /// Stop deadline in ms, when it was named.
    pub grace_ms: Option<u64>,
    /// Exit codes beside 0 that are fine.
    pub accept_exit: Vec<i32>,
    /// It can say goodbye.
    pub goodbye: bool,
    /// It reloads on a hang-up signal.
    pub reload: bool,
    /// It may be asked to stop, on its link.
    pub stop: bool,
    /// It may be asked to pause and to go on, on its link.
    pub pause: bool,
    /// The boot id of its host.
    pub boot_id: Option<String>,
    /// The process, when all of it is known.
    pub process: Option<Process>,
    /// Its process id.
    pub pid: Option<u32>,
    /// Its host.
    pub host: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// The run that forked it.
    pub parent_run: Option<RunId>,
}

/// The witness's start of its child.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WitnessStart {
    /// The child.
    pub start: Start,
    /// Start is ready.
    pub ready: bool,
    /// Restart promise given on the command line, in ms.
    pub back_within_ms: Option<u64>,
}

/// Where a running process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseTo {
    /// At work.
    Running,
    /// Holding still.
    Paused,
    /// Reading its configuration anew.
    Reloading,
    /// No new work.
    Draining,
}

/// A phase, with its counter where it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// The phase it went to.
    pub to: PhaseTo,
    /// Items done and in all.
    pub count: Option<(u64, u64)>,
}

/// State of an agent that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// Not at work yet.
    Starting,
    /// At work.
    Running,
    /// Holding still.
    Paused,
    /// Its promised progress is missing.
    Stuck,
    /// On its way out.
    Stopping,
}

impl AgentState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stuck => "stuck",
            Self::Stopping => "stopping",
        }
    }
}

/// An agent's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub status: AgentStatus,
    /// It promises progress this often, in ms.
    pub progress_every_ms: Option<u64>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Alive in a state, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    /// Alive.
    Alive(AgentState),
    /// Over.
    Ended(AgentEnd),
}

/// A stop was asked of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Why and by whom.
    pub cause: Cause,
    /// The deadline from receipt, in ms, when it was named.
    pub deadline_ms: Option<u64>,
}

/// The stop deadline moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// By how much, in ms.
    pub by_ms: u64,
    /// The step at work.
    pub step: Option<Arc<str>>,
    /// A counter that moved.
    pub counter: Option<u64>,
}

/// The final beat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Final {
    /// What the run thinks of its ending.
    pub hint: Option<ClassHint>,
    /// Why it stopped.
    pub cause: Option<Cause>,
    /// What was cleaned up, when it told.
    pub cleanup: Option<Cleanup>,
    /// Restart promise in ms.
    pub back_within_ms: Option<u64>,
}

/// A signal the witness received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSeen {
    /// The signal, its sender, and what the witness makes of it.
    pub cause: Cause,
    /// Whether the child got it too.
    pub forwarded: bool,
}

/// What the child said by the notify protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// `READY=1`.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`: no ask.
    pub stopping: bool,
}

/// What was still open before the witness killed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// Threads alive.
    pub threads: u64,
    /// Processes alive, by pid and name.
    pub children: Vec<(u32, String)>,
    /// Sockets open.
    pub sockets: u64,
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// No live fact for the full silence timeout.
    Silence,
    /// The newest link closed, and nothing since.
    Link,
    /// The stop deadline.
    Stop,
    /// The start deadline.
    Start,
    /// The restart promise.
    Promise,
    /// Alive after its final.
    Goodbye,
    /// Promised progress, three times over.
    Progress,
    /// All runs of its host were silent when the first of them came to its silence timeout.
    Host,
}

impl Deadline {
    /// Whether it is about a run of which nothing is heard.
    #[must_use]
    pub const fn is_a_silence(self) -> bool {
        match self {
            Self::Silence | Self::Link | Self::Host => true,
            Self::Stop | Self::Start | Self::Promise | Self::Goodbye | Self::Progress => false,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Link => "link",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Promise => "promise",
            Self::Goodbye => "goodbye",
            Self::Progress => "progress",
            Self::Host => "host",
        }
    }
}

/// A deadline that passed. A verdict is dated at `due`, not at the wake-up that noticed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Which one.
    pub which: Deadline,
    /// When it was due.
    pub due: Moment,
    /// When the run was last heard.
    pub last_seen: Option<Moment>,
}

/// A stretch of time the observer did not watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// Since when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
}

/// Half of the fleet is silent at once: rather the network or the observer than so many deaths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MassSilence {
    /// The silent runs; none: it is over, their hosts were heard again.
    pub members: Vec<RunId>,
    /// How many runs were watched.
    pub of: u64,
}

/// What kind of work is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanKind {
    /// Stop and be back before the window ends.
    Restart,
    /// Stop.
    Stop,
    /// An operator is at work: what happens is shown, and alerts only when it is still down at the end.
    Maintenance,
}

impl PlanKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Planned work, announced by an operator or a pipeline. It asks nobody to stop. The window begins with the fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its identity.
    pub id: Arc<str>,
    /// What kind.
    pub kind: PlanKind,
    /// The service it speaks of.
    pub service: Arc<str>,
    /// One worker of it; none: all.
    pub worker: Option<Arc<str>>,
    /// How long the window is, in ms.
    pub for_ms: u64,
    /// Who announced it.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The deployment it belongs to.
    pub deploy: Option<String>,
}

/// A plan's window ends here, when it had not ended before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEnd {
    /// Which plan.
    pub id: Arc<str>,
}

/// A worker leaves the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub worker: Arc<str>,
}

impl What {
    /// The word on the wire, as evidence names it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Ready => "ready",
            Self::Phase(_) => "phase",
            Self::Agent(_) => "agent",
            Self::Asked(_) => "asked",
            Self::Extend(_) => "extend",
            Self::Step(_) => "step",
            Self::Panic(_) => "panic",
            Self::Final(_) => "final",
            Self::WitnessStart(_) => "witness_start",
            Self::SignalSeen(_) => "signal_seen",
            Self::Notify(_) => "notify",
            Self::Stopped => "stopped",
            Self::Continued => "continued",
            Self::Oom => "oom",
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
}
