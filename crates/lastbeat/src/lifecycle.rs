//! The run in this process: connected, ready, asked to stop, stopped.
//!
//! Invariant: no method fails, panics or waits for the collector, but the last ones, which wait at most for
//! the stop deadline.

#[cfg(feature = "tokio")]
use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::signal::{Asked, Cause, CauseKind, ClassHint, Final, Signal};
use lastbeat_wire::{Name, RunId};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, AgentHandle, Agents};
use crate::builder::Builder;
use crate::clock::whole_ms;
use crate::courier::Courier;
use crate::plan::Plan;
use crate::sender::cut;
#[cfg(unix)]
use crate::signals::listen;
use crate::stop_request::{Heard, StopRequest};
use crate::wait::Pulse;
use crate::{BoxError, shutdown};

/// The longest promise to be back: 10 min.
const BACK_WITHIN_MAX: Duration = Duration::from_secs(600);
/// The longest reason kept, in bytes.
const REASON_MAX_BYTES: usize = 256;

/// A worker that is known to the collector.
///
/// One value is one run. Dropping it says goodbye: after a panic that it *crashed*, otherwise, when it was
/// never [run until stopped](Self::run_until_stopped), a bare goodbye that proves no intent.
#[derive(Debug)]
pub struct Lastbeat {
    inner: Arc<Inner>,
}

/// What the value shares with its agents, its threads and the panic hook.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) courier: Courier,
    pub(crate) agents: Agents,
    pub(crate) stop: StopRequest,
    /// Rings when an agent or a step ends, when the stop begins, and when somebody insists on it.
    pub(crate) pulse: Pulse,
    pub(crate) title: String,
    pub(crate) run_id: RunId,
    pub(crate) scale: f64,
    pub(crate) stop_deadline: Duration,
    pub(crate) flush_budget: Duration,
    pub(crate) is_ready: AtomicBool,
    /// One more than the promise in ms, so that 0 means none.
    pub(crate) promise: AtomicU64,
    /// The stop has begun, or the run has ended without one. Whoever sets it says what is said last.
    pub(crate) is_over: AtomicBool,
}

impl Inner {
    pub(crate) fn say(&self, signal: Signal) {
        self.courier.say(signal);
    }

    pub(crate) fn promise_ms(&self) -> Option<u64> {
        self.promise.load(Ordering::Acquire).checked_sub(1)
    }

    pub(crate) fn promise_back_within(&self, within: Duration) {
        if within > BACK_WITHIN_MAX {
            tracing::warn!(
                asked_ms = whole_ms(within),
                promised_ms = whole_ms(BACK_WITHIN_MAX),
                "a restart promise holds for ten minutes at most"
            );
        }
        self.promise.store(whole_ms(within.min(BACK_WITHIN_MAX)) + 1, Ordering::Release);
    }

    /// A stop asked by the program itself.
    fn ask(&self, cause: Cause) {
        if !self.courier.is_forked() && self.stop.ask(cause.clone(), Instant::now()) == Heard::First {
            self.tell_asked(cause);
            self.stop.announce();
        }
    }

    /// A stop asked by a signal.
    #[cfg(unix)]
    pub(crate) fn signalled(&self, heard: crate::sender::Heard) {
        let cause = Cause { signal: Some(heard.signal), sender: heard.sender, ..Cause::of(heard.kind) };
        match self.stop.signal(cause.clone(), Instant::now()) {
            Heard::First => {
                self.tell_asked(cause);
                self.stop.announce();
            }
            Heard::SecondRequest => {
                self.tell_asked(cause);
                self.pulse.ring();
            }
            Heard::Again => {}
        }
    }

    fn tell_asked(&self, cause: Cause) {
        let deadline_ms = Some(whole_ms(self.stop_deadline));
        self.say(Signal::Asked(Asked { cause, deadline_ms }));
    }
}

impl Lastbeat {
    /// Connects a worker, with settings from the environment. Never fails and never waits: without a
    /// collector the worker runs all the same, and its last facts are spooled.
    #[must_use]
    pub fn connect(service: &str, worker: &str) -> Self {
        Self::builder(service, worker).connect()
    }

    /// As [`connect`](Self::connect), with settings in code.
    pub fn builder(service: &str, worker: &str) -> Builder {
        Builder::new(service, worker)
    }

    pub(crate) const fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Says that the worker does its work now. Further calls say nothing.
    pub fn ready(&self) {
        if !self.inner.is_ready.swap(true, Ordering::AcqRel) {
            self.inner.say(Signal::Ready);
        }
    }

    /// Promises that a successor will be ready within this time after the end, at most ten minutes. The
    /// promise goes out with the final heartbeat; the last call counts.
    pub fn promise_back_within(&self, within: Duration) {
        self.inner.promise_back_within(within);
    }

    /// Starts a named agent as a future, on the current tokio runtime; without one, on a thread of its own.
    ///
    /// Its end is reported: completed, cancelled (expected while a stop runs, else not), or crashed by an
    /// error or a panic. A crashed agent does not end the run. Names should be unique among the living.
    #[cfg(feature = "tokio")]
    pub fn spawn<F, Fut>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Agent) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let make = |handle| Box::pin(async move { agent(handle).await }) as crate::wait::BoxFuture<_>;
        crate::agent::spawn_future(&self.inner, name, make)
    }

    /// Starts a named agent on a thread of its own. See [`Agent::cancelled_within`] for its pauses.
    pub fn spawn_thread<F>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
    {
        crate::agent::spawn_thread(&self.inner, name, agent)
    }

    /// Asks this run to stop; its cause is `api` with this reason. Only the first request counts.
    pub fn stop(&self, reason: &str) {
        let reason = Some(cut(reason, REASON_MAX_BYTES).to_owned());
        self.inner.ask(Cause { reason, ..Cause::of(CauseKind::Api) });
    }

    /// Says that the work is done: the run stops by itself, and its ending is `completed`.
    pub fn done(&self) {
        self.inner.ask(shutdown::done());
    }

    /// A token that is cancelled when a stop is asked, by whomever. Cancelling it asks nobody.
    #[must_use]
    pub fn stop_requested(&self) -> CancellationToken {
        self.inner.stop.token().child_token()
    }

    /// The identity of this run: the witness's, when the worker runs under `lastbeat run`.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.inner.run_id
    }

    /// Waits until a stop is asked, by SIGINT, SIGTERM, [`stop`](Self::stop) or [`done`](Self::done); then
    /// cancels the agents, runs the plan, sends the final heartbeat and gives the exit code.
    ///
    /// From this call on SIGINT and SIGTERM no longer end the process by themselves. A signal a second or
    /// more after the first skips what is left of the plan. All ends within the stop deadline; then the
    /// signals have their default action again.
    ///
    /// The stop begins where this future is polled. When the host does not poll it before the stop deadline,
    /// as on a runtime whose only thread is stuck, or when a second request comes before the stop has begun,
    /// the signal ends the process as if nobody had heard it: no step runs and no final heartbeat is sent, but
    /// the collector knows who asked.
    ///
    /// Do not drop the future once a stop is asked: the stop goes on, but nothing waits for its end.
    ///
    /// The code is always success: the final heartbeat says what failed, and a code that is not 0 would make
    /// supervisors restart a worker that was told to stop. Return another one if yours should.
    pub async fn run_until_stopped(&self, plan: Plan) -> ExitCode {
        if self.inner.courier.is_forked() || self.inner.is_over.load(Ordering::Acquire) {
            return ExitCode::SUCCESS;
        }
        let _signals = listen(&self.inner);
        self.inner.stop.token().cancelled().await;
        if self.inner.is_over.swap(true, Ordering::AcqRel) {
            return ExitCode::SUCCESS;
        }
        self.inner.pulse.ring();
        let over = CancellationToken::new();
        let at_its_end = over.clone().drop_guard();
        let run = Arc::clone(&self.inner);
        let plan = Arc::new(Mutex::new(Some(plan)));
        let theirs = Arc::clone(&plan);
        #[cfg(feature = "tokio")]
        let runtime = tokio::runtime::Handle::try_current().ok();
        let started = std::thread::Builder::new().name("lastbeat-stop".into()).spawn(move || {
            #[cfg(feature = "tokio")]
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let plan = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
            shutdown::run(&run, plan.unwrap_or_default());
            drop(at_its_end);
        });
        match started {
            Ok(_) => over.cancelled().await,
            Err(error) => {
                tracing::warn!(%error, "no thread for the stop: it runs here");
                let plan = plan.lock().unwrap_or_else(PoisonError::into_inner).take();
                shutdown::run(&self.inner, plan.unwrap_or_default());
            }
        }
        ExitCode::SUCCESS
    }

    /// As [`run_until_stopped`](Self::run_until_stopped), on this thread and without a runtime. Not for
    /// inside of one: the steps of the plan that are futures would wait for a thread that waits for them.
    pub fn run_until_stopped_blocking(&self, plan: Plan) -> ExitCode {
        crate::wait::block_on(self.run_until_stopped(plan), None).unwrap_or(ExitCode::SUCCESS)
    }
}

impl Drop for Lastbeat {
    fn drop(&mut self) {
        let run = &self.inner;
        if run.courier.is_forked() {
            // Not freed: that would take locks that a thread may hold that is not there.
            std::mem::forget(Arc::clone(run));
            return;
        }
        if run.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        if std::thread::panicking() {
            let hint = Some(ClassHint::Crashed);
            run.say(Signal::Final(Final { class_hint: hint, ..Final::default() }));
            let _ = run.courier.flush(run.flush_budget);
        } else {
            // Nobody asked: a bare goodbye. Asked, but the host stopped in its own way: the cause goes with it.
            let cause = run.stop.first().map(|(cause, _)| cause);
            let _ = shutdown::say_final(run, cause.as_ref(), None, run.flush_budget);
        }
    }
}

/// A name that the wire takes: what is not allowed in one becomes a dash.
pub(crate) fn usable_name(text: &str) -> Name {
    if let Ok(name) = Name::new(text) {
        return name;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '@' | '-');
    let usable: String = text
        .chars()
        .take(lastbeat_wire::id::NAME_MAX_BYTES)
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    tracing::warn!(said = text, %usable, "a name is 1 to 128 of [A-Za-z0-9._:@-]");
    Name::new(&usable)
        .or_else(|_| Name::new("unnamed"))
        .expect("\"unnamed\" is 7 letters, which the allow-list holds")
}

#[cfg(not(unix))]
const fn listen(_run: &Arc<Inner>) -> Option<()> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_the_wire_would_refuse_is_made_usable() {
        assert_eq!(usable_name("price feed/é").as_str(), "price-feed--");
        assert_eq!(usable_name("").as_str(), "unnamed");
        assert_eq!(usable_name(&"é".repeat(500)).as_str(), "-".repeat(128));
    }
}
