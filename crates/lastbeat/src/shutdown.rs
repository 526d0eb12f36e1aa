//! One shutdown, from the request to the final heartbeat.
//!
//! It runs on a thread of its own, so that a step that blocks the host's runtime cannot stop the clock: the
//! deadline holds, and the final heartbeat says what did not.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::signal::{AgentEnd, Cause, CauseKind, ClassHint, Cleanup, Final, Signal};
use tracing::Span;

use crate::clock::whole_ms;
use crate::courier::Flushed;
use crate::events;
use crate::inner::Inner;
use crate::plan::Plan;
use crate::step::Planned;
use crate::summary::Summary;

/// How long agents are waited for before the steps run, before scaling: a step often needs them gone, but
/// one that ignores its token must not eat the time of all steps.
const AGENTS_FIRST: Duration = Duration::from_secs(5);
/// The most rows of steps kept with all their texts, and the longest text of an error in those after them.
const WHOLE_ROWS_MAX: usize = 16;
const ERROR_MAX_BYTES: usize = 80;
/// How long tasks that were told to end are waited for before they are counted as untracked.
const LAST_TASKS: Duration = Duration::from_millis(20);

/// Does the stop that was asked. Returns when the final heartbeat is delivered or spooled.
pub(crate) fn run(run: &Arc<Inner>, plan: Plan) {
    // A panic in it, a fault of ours, costs the account of the cleanup and not the word that the run has ended: after
    // a final that was said already this one says nothing.
    if std::panic::catch_unwind(AssertUnwindSafe(|| stop(run, plan))).is_err() {
        let cause = run.stop.first().map(|(cause, _)| cause);
        let _ = say_final(run, cause.as_ref(), None, run.deadline.flush);
    }
}

fn stop(run: &Arc<Inner>, plan: Plan) {
    let Some((cause, asked_at)) = run.stop.first() else { return };
    let span = events::stop_span(&run.span, &cause, run.deadline.stop);
    let (steps, agents_first) = plan.into_parts();

    let began = Instant::now();
    let left = run.deadline.cut_at(asked_at).saturating_duration_since(began);
    let agents_first = match agents_first {
        Some(said) => said.mul_f64(run.scale),
        None => AGENTS_FIRST.mul_f64(run.scale).min(left / 3),
    };
    run.deadline.wait_for_agents_until(began + agents_first.min(left));
    run.pulse.ring();
    wait_for_agents(run, || began + agents_first.min(left));

    let mut cleanup = Cleanup::default();
    let flushes = std::mem::take(&mut *run.flushes.lock().unwrap_or_else(PoisonError::into_inner));
    for step in steps.iter().chain(&flushes) {
        do_step(run, step, &span, &mut cleanup);
    }
    wait_for_agents(run, || run.deadline.cut_at(asked_at));

    let (abandoned, uncounted) = run.agents.left();
    for name in &abandoned {
        run.say(crate::agent::abandoned(name.clone()));
        events::agent_ended(&run.span, name, AgentEnd::Abandoned, None);
    }
    cleanup.duration_ms = Some(whole_ms(asked_at.elapsed()));
    cleanup.abandoned = abandoned;
    cleanup.untracked = uncounted + tasks_left(run);
    let streams = run.streams.at_the_end();
    (cleanup.streams_farewell, cleanup.streams_cut) = (streams.farewell, streams.cut);
    cleanup.forced = run.stop.is_forced();
    let flushed = say_final(run, Some(&cause), Some(cleanup.clone()), run.deadline.flush);
    let (title, dropped) = (run.title.clone(), run.courier.dropped());
    let summary = Arc::new(Summary { title, cause, cleanup, dropped, flushed });
    events::stopped(&span, &summary);
    *run.summary.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary);
}

fn do_step(run: &Arc<Inner>, step: &Planned, stop: &Span, cleanup: &mut Cleanup) {
    let mut done = crate::step::run(run, step, stop);
    cleanup.items_flushed += done.flushed;
    cleanup.items_dropped += done.dropped;
    // Each row has been told whole by now; the final and the summary hold no more than a guest may.
    if cleanup.steps.len() >= WHOLE_ROWS_MAX {
        done.row.failed_items.clear();
        done.row.error = done.row.error.map(|text| crate::sender::cut(&text, ERROR_MAX_BYTES).to_owned());
    }
    cleanup.steps.push(done.row);
}

fn wait_for_agents(run: &Arc<Inner>, until: impl Fn() -> Instant) {
    run.pulse.wait_until_moving(until, || run.agents.all_ended() || run.stop.is_forced());
}

/// The host's tasks that are still alive. What was cancelled a moment ago may not be gone yet.
fn tasks_left(run: &Inner) -> u64 {
    let until = Instant::now() + LAST_TASKS;
    loop {
        let left = run.own_tasks.of_others();
        if left == 0 || Instant::now() >= until || run.stop.is_forced() {
            return left;
        }
        std::thread::sleep(LAST_TASKS / 10);
    }
}

/// Says the final heartbeat of a run that was asked to stop, and sees it delivered or spooled.
pub(crate) fn say_final(
    run: &Inner,
    cause: Option<&Cause>,
    cleanup: Option<Cleanup>,
    budget: Duration,
) -> Flushed {
    // A finished job is no stop that somebody asked for: it names no cause.
    let done = cause.is_some_and(is_done);
    let fin = Final {
        class_hint: cause.map(|_| if done { ClassHint::Completed } else { ClassHint::Shutdown }),
        cause: cause.filter(|_| !done).cloned(),
        cleanup,
        back_within_ms: run.promise_ms(),
    };
    run.say(Signal::Final(fin));
    run.courier.flush(budget)
}

/// The cause of a job that is done.
pub(crate) fn done() -> Cause {
    Cause { reason: Some("done".into()), ..Cause::of(CauseKind::Itself) }
}

fn is_done(cause: &Cause) -> bool {
    cause.kind == CauseKind::Itself && cause.reason.as_deref() == Some("done")
}
