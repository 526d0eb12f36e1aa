//! Agents: named long-running tasks of a run, each with a token, a progress counter and an end of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{self, AgentEnd, AgentState, Beat, Signal};
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::lifecycle::Inner;
#[cfg(feature = "tokio")]
use crate::wait::{BoxFuture, caught_or_cut};
use crate::wait::{block_on, bounded, panic_text};

/// The most agents tracked at once; further ones run and are only counted.
const TRACKED_MAX: usize = 1_024;
/// The most progress counters in one beat, so that it fits into an envelope.
const IN_A_BEAT_MAX: usize = 64;

/// What an agent holds: its name, its progress, and the word to stop.
///
/// Clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

/// Refers to an agent from outside; dropping it changes nothing.
#[derive(Debug)]
pub struct AgentHandle {
    agent: Agent,
}

struct Shared {
    name: Name,
    progress: AtomicU64,
    has_progress: AtomicBool,
    token: CancellationToken,
    abort: CancellationToken,
    finished: AtomicBool,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("name", &self.shared.name.as_str()).finish_non_exhaustive()
    }
}

impl Agent {
    fn new(name: Name, token: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                progress: AtomicU64::new(0),
                has_progress: AtomicBool::new(false),
                token,
                abort: CancellationToken::new(),
                finished: AtomicBool::new(false),
            }),
        }
    }

    /// Its name in the run.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name.as_str()
    }

    /// Waits until the agent is to stop: with the run, or by [`AgentHandle::abort`].
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
}

impl AgentHandle {
    /// Cancels this agent alone. A future is dropped where it waits; a thread sees its token. While no stop
    /// is asked this is reported as `cancelled_unexpected`, unless the agent ends with an error of its own.
    pub fn abort(&self) {
        self.agent.shared.token.cancel();
        self.agent.shared.abort.cancel();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.agent.shared.finished.load(Ordering::Acquire)
    }
}

/// The agents that are alive.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    alive: Mutex<Alive>,
}

#[derive(Debug, Default)]
struct Alive {
    last_key: u64,
    tracked: BTreeMap<u64, Agent>,
    untracked: u64,
}

impl Agents {
    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, agent: &Agent) -> Option<u64> {
        let mut alive = self.lock();
        if alive.tracked.len() >= TRACKED_MAX {
            alive.untracked += 1;
            return None;
        }
        alive.last_key += 1;
        let key = alive.last_key;
        alive.tracked.insert(key, agent.clone());
        Some(key)
    }

    fn remove(&self, key: Option<u64>) {
        let mut alive = self.lock();
        let removed = match key {
            Some(key) => alive.tracked.remove(&key),
            None => {
                alive.untracked = alive.untracked.saturating_sub(1);
                None
            }
        };
        // Dropped without the lock: the last clone may be this one, and it frees the host's things.
        drop(alive);
        drop(removed);
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.lock().tracked.is_empty()
    }

    /// Those alive, by name, each name once, and how many more were never tracked.
    pub(crate) fn left(&self) -> (Vec<Name>, u64) {
        let alive = self.lock();
        let mut names: Vec<Name> = alive.tracked.values().map(|agent| agent.shared.name.clone()).collect();
        names.sort();
        names.dedup();
        (names, alive.untracked)
    }

    /// The beat of the moment: the counters of agents that count.
    pub(crate) fn beat(&self) -> Signal {
        let mut beat = Beat::default();
        for agent in self.lock().tracked.values() {
            if beat.agents.len() >= IN_A_BEAT_MAX {
                break;
            }
            if agent.shared.has_progress.load(Ordering::Relaxed) {
                let progress = agent.shared.progress.load(Ordering::Relaxed);
                *beat.agents.entry(agent.shared.name.clone()).or_default() += progress;
            }
        }
        Signal::Beat(beat)
    }
}

/// How an agent's work came to its end.
#[derive(Debug)]
enum Outcome {
    Returned(Result<(), BoxError>),
    Panicked(String),
    Dropped,
}

/// Reports the end of an agent exactly once, also when its future is dropped before it ran.
struct EndGuard {
    run: Arc<Inner>,
    agent: Agent,
    key: Option<u64>,
    reported: bool,
}

impl EndGuard {
    fn begin(run: &Arc<Inner>, name: &str) -> Self {
        let name = crate::lifecycle::usable_name(name);
        // In a forked child anything shared may be locked for ever, by a thread that is not there.
        if run.courier.is_forked() {
            let agent = Agent::new(name, CancellationToken::new());
            return Self { run: Arc::clone(run), agent, key: None, reported: false };
        }
        let agent = Agent::new(name, run.stop.token().child_token());
        let key = run.agents.add(&agent);
        if key.is_some() {
            run.say(fact(agent.shared.name.clone(), Some(AgentState::Running), None, None));
        }
        Self { run: Arc::clone(run), agent, key, reported: false }
    }

    fn handle(&self) -> AgentHandle {
        AgentHandle { agent: self.agent.clone() }
    }

    fn end(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Outcome) {
        self.reported = true;
        // An agent that forked ends twice; in the child it ends for nobody.
        if self.run.courier.is_forked() {
            self.agent.shared.finished.store(true, Ordering::Release);
            // Not freed: that would take locks that a thread may hold that is not there.
            std::mem::forget((Arc::clone(&self.run), self.agent.clone()));
            return;
        }
        let aborted = self.agent.shared.abort.is_cancelled();
        let (end, error) = judge(outcome, self.run.stop.is_asked(), aborted);
        self.agent.shared.finished.store(true, Ordering::Release);
        if self.key.is_some() {
            self.run.say(fact(self.agent.shared.name.clone(), None, Some(end), error));
        }
        self.run.agents.remove(self.key);
        self.run.pulse.ring();
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.reported {
            self.report(Outcome::Dropped);
        }
    }
}

fn judge(outcome: Outcome, stopping: bool, aborted: bool) -> (AgentEnd, Option<String>) {
    let cancelled = if stopping { AgentEnd::CancelledExpected } else { AgentEnd::CancelledUnexpected };
    match outcome {
        Outcome::Returned(Ok(())) if stopping || aborted => (cancelled, None),
        Outcome::Returned(Ok(())) => (AgentEnd::Completed, None),
        Outcome::Returned(Err(error)) if is_cancellation(&error) => (cancelled, None),
        Outcome::Returned(Err(error)) => (AgentEnd::Crashed, Some(bounded(&error.to_string()))),
        Outcome::Panicked(text) => (AgentEnd::Crashed, Some(bounded(&format!("panicked: {text}")))),
        Outcome::Dropped => (cancelled, None),
    }
}

/// Whether an agent's error only passes on that a task below it was cancelled.
fn is_cancellation(error: &BoxError) -> bool {
    #[cfg(feature = "tokio")]
    if let Some(join) = error.downcast_ref::<tokio::task::JoinError>() {
        return join.is_cancelled();
    }
    let _ = error;
    false
}

fn fact(name: Name, state: Option<AgentState>, end: Option<AgentEnd>, error: Option<String>) -> Signal {
    Signal::Agent(signal::Agent { name, state, end, progress_every_ms: None, error })
}

/// The fact that an agent is alive although the run ends.
pub(crate) fn abandoned(name: Name) -> Signal {
    fact(name, None, Some(AgentEnd::Abandoned), None)
}

/// Starts an agent that is a future. The future is made inside, so that a panic in the making counts too.
#[cfg(feature = "tokio")]
pub(crate) fn spawn_future(
    run: &Arc<Inner>,
    name: &str,
    make: impl FnOnce(Agent) -> BoxFuture<Result<(), BoxError>> + Send + 'static,
) -> AgentHandle {
    let guard = EndGuard::begin(run, name);
    let handle = guard.handle();
    let agent = guard.agent.clone();
    let abort = agent.shared.abort.clone();
    let name = agent.name().to_owned();
    crate::spawn::future(
        &name,
        Box::pin(async move {
            let work: BoxFuture<_> = Box::pin(async move { make(agent).await });
            // Dropped before the end is reported: who waits for the end may rely on it.
            let ended = caught_or_cut(work, abort.cancelled_owned()).await;
            guard.end(match ended {
                Some(Ok(result)) => Outcome::Returned(result),
                Some(Err(text)) => Outcome::Panicked(text),
                None => Outcome::Dropped,
            });
        }),
    );
    handle
}

/// Starts an agent on a thread of its own.
pub(crate) fn spawn_thread(
    run: &Arc<Inner>,
    name: &str,
    work: impl FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
) -> AgentHandle {
    let guard = EndGuard::begin(run, name);
    let handle = guard.handle();
    let name = guard.agent.name().to_owned();
    crate::spawn::thread(&name, move || {
        let agent = guard.agent.clone();
        let outcome = match std::panic::catch_unwind(AssertUnwindSafe(|| work(agent))) {
            Ok(result) => Outcome::Returned(result),
            Err(payload) => Outcome::Panicked(panic_text(payload.as_ref())),
        };
        guard.end(outcome);
    });
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_agent_depends_on_whether_a_stop_was_asked() {
        let ended = |outcome, stopping| judge(outcome, stopping, false).0;
        assert_eq!(ended(Outcome::Returned(Ok(())), false), AgentEnd::Completed);
        assert_eq!(ended(Outcome::Returned(Ok(())), true), AgentEnd::CancelledExpected);
        assert_eq!(ended(Outcome::Dropped, false), AgentEnd::CancelledUnexpected);
        assert_eq!(ended(Outcome::Dropped, true), AgentEnd::CancelledExpected);
        for stopping in [false, true] {
            assert_eq!(ended(Outcome::Returned(Err("disk full".into())), stopping), AgentEnd::Crashed);
            assert_eq!(ended(Outcome::Panicked("boom".into()), stopping), AgentEnd::Crashed);
        }
        let aborted = judge(Outcome::Returned(Ok(())), false, true);
        assert_eq!(aborted, (AgentEnd::CancelledUnexpected, None));
    }
}
