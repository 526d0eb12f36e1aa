//! How an agent starts and how it ends.
//!
//! Invariant: the end is reported exactly once, whatever becomes of the work, also when it never began.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lastbeat_wire::Name;
use lastbeat_wire::signal::{self, AgentEnd, AgentState, Signal};
use tokio_util::sync::CancellationToken;

use super::{Agent, AgentHandle};
use crate::BoxError;
use crate::events;
use crate::inner::{Inner, usable_name};
#[cfg(feature = "tokio")]
use crate::wait::{BoxFuture, caught_or_cut};
use crate::wait::{bounded, panic_text};

/// How an agent's work came to its end.
#[derive(Debug)]
enum Outcome {
    Returned(Result<(), BoxError>),
    Panicked(String),
    Dropped,
}

/// Who, if anybody, has told an agent to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nobody.
    No,
    /// Its run, which stops, or its owner.
    Expected,
    /// Somebody who broke it off.
    BrokenOff,
}

/// Reports the end of an agent exactly once, also when its future is dropped before it ran.
struct EndGuard {
    run: Arc<Inner>,
    agent: Agent,
    key: Option<u64>,
    reported: bool,
}

impl EndGuard {
    fn begin(run: &Arc<Inner>, owner: Option<Agent>, name: &str) -> Self {
        let name = usable_name(name);
        // In a forked child anything shared may be locked for ever, by a thread that is not there.
        if run.courier.is_forked() {
            let agent = Agent::of(Arc::downgrade(run), name, None, CancellationToken::new());
            return Self { run: Arc::clone(run), agent, key: None, reported: false };
        }
        let agent = Agent::new(run, name, owner);
        let key = run.agents.add(&agent);
        agent.shared.is_tracked.store(key.is_some(), Ordering::Relaxed);
        agent.tell(AgentState::Running);
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
        let shared = &self.agent.shared;
        // An agent that forked ends twice; in the child it ends for nobody.
        if self.run.courier.is_forked() {
            shared.finished.store(true, Ordering::Release);
            // Not freed: that would take locks that a thread may hold that is not there.
            std::mem::forget((Arc::clone(&self.run), self.agent.clone()));
            return;
        }
        let told = if self.run.stop.is_asked() || self.agent.is_called_off() {
            Told::Expected
        } else if shared.abort.is_cancelled() {
            Told::BrokenOff
        } else {
            Told::No
        };
        let (end, error) = judge(outcome, told);
        shared.finished.store(true, Ordering::Release);
        // What it started ends with it.
        shared.token.cancel();
        // Whoever is still alive at the final heartbeat was told to be abandoned; its end comes too late to be news.
        if !self.run.is_told() {
            events::agent_ended(&self.run.span, &shared.name, end, error.as_deref());
        }
        if self.key.is_some() {
            self.run.say(ended(shared.name.clone(), end, error));
        }
        self.run.agents.remove(self.key);
        self.run.pulse.ring();
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.reported {
            let panics = std::thread::panicking();
            self.report(if panics { Outcome::Panicked("see the panic".into()) } else { Outcome::Dropped });
        }
    }
}

fn judge(outcome: Outcome, told: Told) -> (AgentEnd, Option<String>) {
    let cancelled = match told {
        Told::Expected => AgentEnd::CancelledExpected,
        Told::No | Told::BrokenOff => AgentEnd::CancelledUnexpected,
    };
    match outcome {
        Outcome::Returned(Ok(())) if told == Told::No => (AgentEnd::Completed, None),
        Outcome::Returned(Ok(())) => (cancelled, None),
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

fn ended(name: Name, end: AgentEnd, error: Option<String>) -> Signal {
    Signal::Agent(signal::Agent { name, state: None, end: Some(end), progress_every_ms: None, error })
}

/// The fact that an agent is alive although the run ends.
pub(crate) fn abandoned(name: Name) -> Signal {
    ended(name, AgentEnd::Abandoned, None)
}

/// Starts an agent that is a future. The future is made inside, so that a panic in the making counts too.
#[cfg(feature = "tokio")]
pub(crate) fn spawn_future<F, Fut>(run: &Arc<Inner>, owner: Option<Agent>, name: &str, make: F) -> AgentHandle
where
    F: FnOnce(Agent) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let guard = EndGuard::begin(run, owner, name);
    let handle = guard.handle();
    let agent = guard.agent.clone();
    let abort = agent.shared.abort.clone();
    let name = agent.name().to_owned();
    crate::spawn::future(
        &name,
        &run.own_tasks,
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
    owner: Option<Agent>,
    name: &str,
    work: impl FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
) -> AgentHandle {
    let guard = EndGuard::begin(run, owner, name);
    let handle = guard.handle();
    let name = guard.agent.name().to_owned();
    crate::spawn::thread(&name, move || work_to_its_end(guard, work));
    handle
}

/// Starts an agent on tokio's blocking pool; without a runtime, on a thread of its own.
#[cfg(feature = "tokio")]
pub(crate) fn spawn_blocking(
    run: &Arc<Inner>,
    owner: Option<Agent>,
    name: &str,
    work: impl FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
) -> AgentHandle {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return spawn_thread(run, owner, name, work);
    };
    let guard = EndGuard::begin(run, owner, name);
    let handle = guard.handle();
    // Its end is the guard's; the pool drops what it cannot run.
    drop(runtime.spawn_blocking(move || work_to_its_end(guard, work)));
    handle
}

fn work_to_its_end(guard: EndGuard, work: impl FnOnce(Agent) -> Result<(), BoxError>) {
    let agent = guard.agent.clone();
    let outcome = match std::panic::catch_unwind(AssertUnwindSafe(|| work(agent))) {
        Ok(result) => Outcome::Returned(result),
        Err(payload) => Outcome::Panicked(panic_text(payload.as_ref())),
    };
    guard.end(outcome);
}

/// Runs a future of the host's where it is, as an agent. It is dropped where it waits when a stop is asked. Gives
/// its result; none when it was dropped.
pub(crate) async fn supervised<F>(run: &Arc<Inner>, name: &str, work: F) -> Option<Result<(), String>>
where
    F: Future<Output = Result<(), BoxError>>,
{
    let guard = EndGuard::begin(run, None, name);
    let token = guard.agent.token();
    let result = token.run_until_cancelled(work).await;
    let told = result.as_ref().map(|result| match result {
        Ok(()) => Ok(()),
        Err(error) => Err(bounded(&error.to_string())),
    });
    guard.end(result.map_or(Outcome::Dropped, Outcome::Returned));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_agent_depends_on_who_told_it_to_end() {
        let ended = |outcome, told| judge(outcome, told).0;
        assert_eq!(ended(Outcome::Returned(Ok(())), Told::No), AgentEnd::Completed);
        assert_eq!(ended(Outcome::Returned(Ok(())), Told::Expected), AgentEnd::CancelledExpected);
        assert_eq!(ended(Outcome::Returned(Ok(())), Told::BrokenOff), AgentEnd::CancelledUnexpected);
        assert_eq!(ended(Outcome::Dropped, Told::No), AgentEnd::CancelledUnexpected);
        assert_eq!(ended(Outcome::Dropped, Told::BrokenOff), AgentEnd::CancelledUnexpected);
        assert_eq!(ended(Outcome::Dropped, Told::Expected), AgentEnd::CancelledExpected);
        for told in [Told::No, Told::Expected, Told::BrokenOff] {
            assert_eq!(ended(Outcome::Returned(Err("disk full".into())), told), AgentEnd::Crashed);
            assert_eq!(ended(Outcome::Panicked("boom".into()), told), AgentEnd::Crashed);
        }
    }
}
