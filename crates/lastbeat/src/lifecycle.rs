//! The run in this process: connected, ready, asked to stop, stopped.
//!
//! Invariant: no method fails, panics or waits for the collector, but the last ones, which wait at most for
//! the stop deadline.

use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lastbeat_wire::RunId;
use lastbeat_wire::signal::{Cause, CauseKind, ClassHint, Final, PhaseTo, Signal};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, AgentHandle};
use crate::builder::Builder;
use crate::inner::{Inner, short};
use crate::plan::Plan;
#[cfg(unix)]
use crate::signals::listen;
use crate::step::{Planned, StepHandle};
use crate::summary::Summary;
use crate::{BoxError, events, shutdown};

/// The agent that [`Lastbeat::run`] makes of the future it is given.
const MAIN: &str = "main";

/// A worker that is known to the collector.
///
/// One value is one run. Dropping it says goodbye: after a panic that it *crashed*, otherwise, when it was
/// never [run until stopped](Self::run_until_stopped), a bare goodbye that proves no intent.
#[derive(Debug)]
pub struct Lastbeat {
    inner: Arc<Inner>,
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

    #[cfg(feature = "axum")]
    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Says that the worker does its work now. Further calls say nothing.
    pub fn ready(&self) {
        if !self.inner.is_ready.swap(true, Ordering::AcqRel) {
            self.inner.say(Signal::Ready);
        }
    }

    /// Holds the run still: agents wait at their next [turn](Agent::turn). The collector may ask for it too, where
    /// the worker is [pausable](Builder::pausable). A stop ends a pause.
    pub fn pause(&self) {
        self.inner.pause();
    }

    /// Goes on after a pause, a drain or a reload.
    pub fn resume(&self) {
        self.inner.resume();
    }

    /// Says that the worker takes no new work and how much of the rest is done. [`resume`](Self::resume) ends it.
    pub fn draining(&self, done: u64, total: u64) {
        self.inner.go_to(PhaseTo::Draining, Some(done), Some(total));
    }

    /// Says that the worker reads its configuration anew; [`resume`](Self::resume) says that it has. See also
    /// [`Builder::on_reload`].
    pub fn reloading(&self) {
        self.inner.go_to(PhaseTo::Reloading, None, None);
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
        crate::agent::spawn_future(&self.inner, None, name, agent)
    }

    /// Starts a named agent on a thread of its own. See [`Agent::cancelled_within`] for its pauses and
    /// [`Agent::turn_blocking`] for its loop.
    pub fn spawn_thread<F>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
    {
        crate::agent::spawn_thread(&self.inner, None, name, agent)
    }

    /// Starts a named agent on a thread of tokio's blocking pool; without a runtime, on a thread of its own.
    #[cfg(feature = "tokio")]
    pub fn spawn_blocking<F>(&self, name: &str, agent: F) -> AgentHandle
    where
        F: FnOnce(Agent) -> Result<(), BoxError> + Send + 'static,
    {
        crate::agent::spawn_blocking(&self.inner, None, name, agent)
    }

    /// Registers the flush of a buffer: it runs at the stop, after the steps of the plan and those registered
    /// before it, and its row stands in the summary. Count what was written with [`StepHandle::flushed`] and what
    /// was given up with [`StepHandle::dropped`]. At most 64 can register.
    pub fn flush_at_stop<F>(&self, name: &str, timeout: Duration, flush: F)
    where
        F: FnOnce(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        self.inner.register(Planned::once_blocking(name, timeout, flush));
    }

    /// Asks this run to stop; its cause is `api` with this reason. Only the first request counts.
    pub fn stop(&self, reason: &str) {
        self.inner.ask(Cause { reason: Some(short(reason)), ..Cause::of(CauseKind::Api) });
    }

    /// Asks this run to stop because it cannot work without something, such as a database; its cause is
    /// `dependency` with this name.
    pub fn stop_for_dependency(&self, name: &str, why: &str) {
        let (name, reason) = (Some(short(name)), Some(short(why)));
        self.inner.ask(Cause { name, reason, ..Cause::of(CauseKind::Dependency) });
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

    /// What the stop came to; none before it is over.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        if self.inner.courier.is_forked() {
            return None;
        }
        let summary = self.inner.summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.as_deref().cloned()
    }

    /// Runs a program that is one future, with nothing else to set up: the run is ready at once, and the future is
    /// its agent `main`.
    ///
    /// When a stop is asked, by SIGINT, SIGTERM or [otherwise](Self::run_until_stopped), the future is dropped where
    /// it waits, the other agents are cancelled, and the final heartbeat is sent. When the future ends first, the
    /// run has `completed`, or `crashed` by its error; the code is then 1. For work that must be finished rather
    /// than dropped, [spawn](Self::spawn) agents and [run until stopped](Self::run_until_stopped).
    ///
    /// ```no_run
    /// # async fn serve() -> std::io::Result<()> { Ok(()) }
    /// #[tokio::main]
    /// async fn main() -> std::process::ExitCode {
    ///     let worker = lastbeat::Lastbeat::connect("shop", "api");
    ///     worker.run(async { Ok(serve().await?) }).await
    /// }
    /// ```
    pub async fn run<F>(&self, main: F) -> ExitCode
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        let run = &self.inner;
        if run.courier.is_forked() || run.is_over.load(Ordering::Acquire) {
            return main.await.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        // From here on, not from the stop: what asks before the first await of `main` must be heard too.
        let _signals = listen(run);
        self.ready();
        match crate::agent::supervised(run, MAIN, main).await {
            Some(Err(error)) if !run.stop.is_asked() => {
                if !run.is_over.swap(true, Ordering::AcqRel) {
                    events::crashed(&run.span, &error);
                    self.say_crashed();
                }
                return ExitCode::FAILURE;
            }
            Some(Ok(()) | Err(_)) => self.done(),
            None => {}
        }
        self.stop_now(Plan::new()).await
    }

    /// Waits until a stop is asked, by SIGINT, SIGTERM, [`stop`](Self::stop) or [`done`](Self::done), or by what
    /// the [`Builder`] allowed: SIGHUP, SIGQUIT, the collector; then cancels the agents, runs the plan, sends the
    /// final heartbeat and gives the exit code.
    ///
    /// From this call on SIGINT and SIGTERM no longer end the process by themselves. A signal a second or
    /// more after the first skips what is left of the plan. All ends within the stop deadline; then the
    /// signals have their default action again. A signal that was ignored when the process began, as in a shell's
    /// background job, stays ignored.
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
        self.stop_now(plan).await
    }

    /// Does the stop that was asked, on a thread of its own.
    async fn stop_now(&self, plan: Plan) -> ExitCode {
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
                crate::events::quietly(|| tracing::warn!(%error, "no thread for the stop: it runs here"));
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

    fn say_crashed(&self) {
        let hint = Some(ClassHint::Crashed);
        self.inner.say(Signal::Final(Final { class_hint: hint, ..Final::default() }));
        let _ = self.inner.courier.flush(self.inner.flush_budget);
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
            events::crashed(&run.span, "a panic that nobody caught");
            self.say_crashed();
        } else {
            // Nobody asked: a bare goodbye. Asked, but the host stopped in its own way: the cause goes with it.
            let cause = run.stop.first().map(|(cause, _)| cause);
            let _ = shutdown::say_final(run, cause.as_ref(), None, run.flush_budget);
        }
    }
}

#[cfg(not(unix))]
const fn listen(_run: &Arc<Inner>) -> Option<()> {
    None
}
