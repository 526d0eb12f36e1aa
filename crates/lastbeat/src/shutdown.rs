//! One shutdown, from the request to the final heartbeat.
//!
//! It runs on a thread of its own, so that a step that blocks the host's runtime cannot stop the clock: the
//! deadline holds, and the final heartbeat says what did not.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{Cause, CauseKind, ClassHint, Cleanup, Final, Sender, Signal, Step, StepOutcome};

use crate::clock::whole_ms;
use crate::courier::Flushed;
use crate::lifecycle::Inner;
use crate::plan::Plan;

/// How long agents are waited for before the steps run, before scaling: a step often needs them gone, but
/// one that ignores its token must not eat the time of all steps.
const AGENTS_FIRST: Duration = Duration::from_secs(5);

/// Does the stop that was asked. Returns when the final heartbeat is delivered or spooled.
pub(crate) fn run(run: &Arc<Inner>, plan: Plan) {
    let Some((cause, asked_at)) = run.stop.first() else { return };
    // A budget as long as the deadline would leave no time for the steps.
    let flush_budget = run.flush_budget.min(run.stop_deadline / 2);
    let cut_at = asked_at + run.stop_deadline.saturating_sub(flush_budget);

    let began = Instant::now();
    let third = cut_at.saturating_duration_since(began) / 3;
    wait_for_agents(run, began + AGENTS_FIRST.mul_f64(run.scale).min(third));
    let steps: Vec<Step> =
        plan.into_steps().into_iter().map(|step| crate::step::run(run, step, cut_at)).collect();
    wait_for_agents(run, cut_at);

    let (abandoned, untracked) = run.agents.left();
    for name in &abandoned {
        run.say(crate::agent::abandoned(name.clone()));
    }
    let streams = run.streams.at_the_end();
    let cleanup = Cleanup {
        duration_ms: Some(whole_ms(asked_at.elapsed())),
        steps,
        abandoned,
        untracked,
        streams_farewell: streams.farewell,
        streams_cut: streams.cut,
        forced: run.stop.is_forced(),
        ..Cleanup::default()
    };
    let flushed = say_final(run, Some(&cause), Some(cleanup.clone()), flush_budget);
    tracing::info!("{}", summary(run, &cause, &cleanup, flushed));
}

fn wait_for_agents(run: &Arc<Inner>, until: Instant) {
    run.pulse.wait_until(until, || run.agents.all_ended() || run.stop.is_forced());
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

/// One block for people: who asked, what was done, what was not, and whether the collector knows.
fn summary(run: &Inner, cause: &Cause, cleanup: &Cleanup, flushed: Flushed) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "{} stopped: {}; {} in {} ms",
        run.title,
        who(cause),
        cleanup_words(cleanup),
        cleanup.duration_ms.unwrap_or(0)
    );
    for step in &cleanup.steps {
        let outcome = step.outcome.map_or("begun", StepOutcome::as_str);
        let _ = write!(text, "\n  {}: {outcome}", step.name);
        if let (Some(done), Some(total)) = (step.done, step.total) {
            let _ = write!(text, ", {done} of {total}");
        }
        if let Some(duration_ms) = step.duration_ms {
            let _ = write!(text, ", {duration_ms} ms");
        }
        if let Some(why) = step.error.as_ref().or(step.why_skipped.as_ref()) {
            let _ = write!(text, " ({why})");
        }
    }
    if !cleanup.abandoned.is_empty() {
        let names: Vec<&str> = cleanup.abandoned.iter().map(Name::as_str).collect();
        let _ = write!(text, "\n  agents still alive: {}", names.join(", "));
    }
    let _ = match flushed {
        Flushed::Delivered => write!(text, "\n  final heartbeat: delivered"),
        Flushed::Spooled(facts) => write!(text, "\n  final heartbeat: spooled with {facts} facts"),
        Flushed::Failed => write!(text, "\n  final heartbeat: neither delivered nor spooled"),
    };
    let dropped = run.courier.dropped();
    if dropped > 0 {
        let _ = write!(text, "\n  facts given up: {dropped}");
    }
    text
}

fn cleanup_words(cleanup: &Cleanup) -> &'static str {
    let any = |outcome| cleanup.steps.iter().any(|step| step.outcome == Some(outcome));
    if cleanup.forced {
        "cleanup skipped by a second request"
    } else if any(StepOutcome::TimedOut) {
        "cleanup timed out"
    } else if any(StepOutcome::Failed) {
        "cleanup failed"
    } else if any(StepOutcome::Skipped) {
        "cleanup skipped"
    } else if any(StepOutcome::Partial) || !cleanup.abandoned.is_empty() {
        "cleanup partial"
    } else if cleanup.steps.is_empty() {
        "no steps declared"
    } else {
        "cleanup complete"
    }
}

fn who(cause: &Cause) -> String {
    let reason = cause.reason.as_deref().unwrap_or("no reason given");
    match (cause.kind, cause.signal.as_deref()) {
        (CauseKind::Keyboard, _) => "Ctrl+C".into(),
        (CauseKind::Itself, _) => reason.to_owned(),
        (_, Some(signal)) => {
            let sender = cause.sender.as_ref().map_or_else(|| "the kernel".into(), sender_words);
            format!("{signal} from {sender}")
        }
        _ => format!("the program itself ({reason})"),
    }
}

fn sender_words(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "outside the pid namespace".into();
    }
    let name = match (&sender.comm, sender.gone) {
        (Some(comm), _) => format!("{comm}, pid {}", sender.pid),
        (None, true) => format!("pid {}, gone", sender.pid),
        (None, false) => format!("pid {}", sender.pid),
    };
    match &sender.tty {
        Some(tty) => format!("{name} on {tty}"),
        None => name,
    }
}
