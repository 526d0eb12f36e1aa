//! Agents: named long-running tasks of a run, each with a token, a progress counter and an end of its own.
//!
//! What an agent and its owner hold is here; who is alive is in `tracked`, how one starts and ends in `life`.

mod life;
mod tracked;

use std::fmt;
#[cfg(feature = "tokio")]
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{self, AgentState, Signal};
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::clock::whole_ms;
use crate::inner::{Inner, usable_name};
use crate::wait::block_on;

pub(crate) use life::{abandoned, spawn_thread, supervised};
#[cfg(feature = "tokio")]
pub(crate) use life::{spawn_blocking, spawn_future};
pub(crate) use tracked::Agents;

/// What an agent holds: its name, its progress, and the word to stop.
///
/// Clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

/// Refers to an agent from outside, for the one who started it; dropping it changes nothing.
#[derive(Debug)]
pub struct AgentHandle {
    agent: Agent,
}

struct Shared {
    /// Weak: an agent that outlives its run keeps nothing of it.
    run: Weak<Inner>,
    name: Name,
    /// The agent that started it; it is cancelled with that one.
    owner: Option<Agent>,
    progress: AtomicU64,
    has_progress: AtomicBool,
    /// How often it promised progress, in ms; 0: it did not.
    promised_ms: AtomicU64,
    /// Its states and its end are told by name.
    is_tracked: AtomicBool,
    token: CancellationToken,
    abort: CancellationToken,
    called_off: AtomicBool,
    finished: AtomicBool,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("name", &self.shared.name.as_str()).finish_non_exhaustive()
    }
}

impl Agent {
    fn new(run: &Arc<Inner>, name: Name, owner: Option<Self>) -> Self {
        let above = owner.as_ref().map_or_else(|| run.stop.token(), |owner| &owner.shared.token);
        let token = above.child_token();
        Self::of(Arc::downgrade(run), name, owner, token)
    }

    fn of(run: Weak<Inner>, name: Name, owner: Option<Self>, token: CancellationToken) -> Self {
        let shared = Shared {
            run,
            name,
            owner,
            progress: AtomicU64::new(0),
            has_progress: AtomicBool::new(false),
            promised_ms: AtomicU64::new(0),
            is_tracked: AtomicBool::new(false),
            token,
            abort: CancellationToken::new(),
            called_off: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its name in the run.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name.as_str()
    }

    /// Waits until the agent is to stop: with the run, with the agent that started it, or by its owner's
    /// [`cancel`](AgentHandle::cancel).
    pub async fn cancelled(&self) {
        self.shared.token.cancelled().await;
    }

    /// Whether the agent is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.token.is_cancelled()
    }

    /// Waits on this thread until the agent is to stop, at most so long; says whether it is. For agents of
    /// [`Lastbeat::spawn_thread`](crate::Lastbeat::spawn_thread): a pause that a stop cuts short.
    #[must_use]
    pub fn cancelled_within(&self, pause: Duration) -> bool {
        let until = Instant::now().checked_add(pause);
        block_on(self.shared.token.cancelled(), until);
        self.is_cancelled()
    }

    /// Whether there is one more turn of the agent's loop: waits while the run is
    /// [paused](crate::Lastbeat::pause), and says no when the agent is to stop.
    ///
    /// A turn that has begun is never cut by a pause, and a stop lets it end inside [its deadline](Self::deadline).
    ///
    /// ```
    /// # async fn cycle() {}
    /// # async fn agent(agent: lastbeat::Agent) {
    /// while agent.turn().await {
    ///     cycle().await;
    /// }
    /// # }
    /// ```
    pub async fn turn(&self) -> bool {
        // Nobody stops or pauses a forked child, and the locks of both may be held by a thread that is not there.
        if self.is_forked() {
            return true;
        }
        while !self.is_cancelled() {
            let Some(opens) = self.closed_gate() else { return true };
            // Said, for one that waits here owes no progress.
            self.tell(AgentState::Paused);
            if self.shared.token.run_until_cancelled(opens.cancelled()).await.is_none() {
                return false;
            }
            self.tell(AgentState::Running);
        }
        false
    }

    /// As [`turn`](Self::turn), on this thread.
    #[must_use]
    pub fn turn_blocking(&self) -> bool {
        block_on(self.turn(), None).unwrap_or(false)
    }

    /// This is a forked child of the process that the agent lives in.
    fn is_forked(&self) -> bool {
        let run = self.shared.run.upgrade();
        let is_forked = run.as_ref().is_some_and(|run| run.courier.is_forked());
        if is_forked {
            // Not freed, should it be the last that holds the run: that would take such locks.
            std::mem::forget(run);
        }
        is_forked
    }

    fn closed_gate(&self) -> Option<CancellationToken> {
        self.shared.run.upgrade().and_then(|run| run.gate.closed())
    }

    /// Once a stop is asked: until when agents are waited for before the steps of the plan run. Whoever is still
    /// at work then goes on beside the steps, until the stop deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_forked() {
            return None;
        }
        self.shared.run.upgrade().and_then(|run| run.deadline.agents_until())
    }

    /// The token itself, for code that takes one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.shared.token.clone()
    }

    /// Counts one piece of work done: an atomic, no more.
    pub fn progress(&self) {
        self.shared.progress.fetch_add(1, Ordering::Relaxed);
        self.shared.has_progress.store(true, Ordering::Relaxed);
    }

    /// Promises [`progress`](Self::progress) at least this often, from now on. Three times that without any, while
    /// heartbeats arrive, is a run that *hangs*. It is the pace of the work: `LASTBEAT_DEADLINES_SCALE` does not
    /// change it. At most 64 agents of a run can promise.
    pub fn progress_every(&self, every: Duration) {
        self.shared.promised_ms.store(whole_ms(every).max(1), Ordering::Relaxed);
        self.shared.has_progress.store(true, Ordering::Relaxed);
        self.tell(AgentState::Running);
    }

    /// Says its state, with what it promised: the newest word of an agent is what a collector is told again.
    fn tell(&self, state: AgentState) {
        let Shared { run, name, promised_ms, is_tracked, .. } = &*self.shared;
        if let Some(run) = run.upgrade().filter(|_| is_tracked.load(Ordering::Relaxed)) {
            let promised_ms = promised_ms.load(Ordering::Relaxed);
            run.say(Signal::Agent(signal::Agent {
                name: name.clone(),
                state: Some(state),
                end: None,
                progress_every_ms: (promised_ms > 0).then_some(promised_ms),
                error: None,
            }));
        }
    }

    /// Starts an agent of this agent's: it is cancelled when this one is or has ended, and its end is then
    /// `cancelled_expected`. Otherwise as [`Lastbeat::spawn`](crate::Lastbeat::spawn).
    #[cfg(feature = "tokio")]
    pub fn spawn<F, Fut>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.start(name, |run, owner| spawn_future(run, owner, name, agent))
    }

    /// As [`spawn`](Self::spawn), on a thread of its own.
    pub fn spawn_thread<F>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Self) -> Result<(), BoxError> + Send + 'static,
    {
        self.start(name, |run, owner| spawn_thread(run, owner, name, agent))
    }

    /// As [`spawn`](Self::spawn), on a thread of tokio's blocking pool.
    #[cfg(feature = "tokio")]
    pub fn spawn_blocking<F>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Self) -> Result<(), BoxError> + Send + 'static,
    {
        self.start(name, |run, owner| spawn_blocking(run, owner, name, agent))
    }

    /// What an agent starts after its run is gone ends before it begins.
    fn start(&self, name: &str, start: impl FnOnce(&Arc<Inner>, Option<Self>) -> AgentHandle) -> AgentHandle {
        if let Some(run) = self.shared.run.upgrade() {
            return start(&run, Some(self.clone()));
        }
        crate::events::quietly(|| tracing::warn!(agent = name, "its run is over: it is not started"));
        let token = self.shared.token.child_token();
        let agent = Self::of(Weak::new(), usable_name(name), Some(self.clone()), token);
        agent.shared.finished.store(true, Ordering::Release);
        AgentHandle { agent }
    }

    /// Cancelled by somebody who may: its declared owner, who called it off, is to stop, or has ended.
    fn is_called_off(&self) -> bool {
        let by_owner = |owner: &Self| owner.shared.finished.load(Ordering::Acquire) || owner.is_cancelled();
        self.shared.called_off.load(Ordering::Acquire) || self.shared.owner.as_ref().is_some_and(by_owner)
    }
}

impl AgentHandle {
    /// Calls the agent off, as its owner: it sees its token, and its end is `cancelled_expected`.
    pub fn cancel(&self) {
        self.agent.shared.called_off.store(true, Ordering::Release);
        self.agent.shared.token.cancel();
    }

    /// Cancels this agent alone, by force. A future is dropped where it waits; a thread sees its token. While
    /// no stop is asked and its owner did not [call it off](Self::cancel), this is reported as
    /// `cancelled_unexpected`, unless the agent ends with an error of its own.
    pub fn abort(&self) {
        // In this order: an agent that ends by its token, before it is dropped, has been broken off too.
        self.agent.shared.abort.cancel();
        self.agent.shared.token.cancel();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.agent.shared.finished.load(Ordering::Acquire)
    }
}
