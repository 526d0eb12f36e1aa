//! How a step is run: behind its gate, within its time, once or again, and the row it leaves behind.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{self, StepOutcome};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{Audit, Counts, FAILED_ITEMS_MAX, Fate, Place, Step, StepHandle};
use crate::clock::whole_ms;
use crate::inner::{Inner, usable_name};
use crate::wait::{BoxFuture, bounded, caught_or_cut, panic_text};
use crate::{BoxError, events};

/// Why a step is skipped when somebody insists.
const SECOND_REQUEST: &str = "a second request to stop";
/// Why a step did not run that there was no time for.
const NO_TIME: &str = "the stop deadline passed before it began";
/// What a step that can run once says when it is run again; nobody hears it.
const ONCE: &str = "it has run already";

/// What a step does, once for each attempt.
enum Work {
    Future(Box<dyn FnMut(StepHandle) -> BoxFuture<Result<(), BoxError>> + Send>),
    Blocking(Box<dyn FnMut(StepHandle) -> Result<(), BoxError> + Send>),
}

/// A step of a plan.
pub(crate) struct Planned {
    pub(crate) name: Name,
    settings: Step,
    work: Arc<Mutex<Work>>,
}

impl Planned {
    fn new(settings: Step, work: Work) -> Self {
        Self { name: usable_name(&settings.name), settings, work: Arc::new(Mutex::new(work)) }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    pub(crate) fn future<F, Fut>(settings: Step, mut step: F) -> Self
    where
        F: FnMut(StepHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self::new(settings, Work::Future(Box::new(move |handle| Box::pin(step(handle)))))
    }

    pub(crate) fn blocking<F>(settings: Step, step: F) -> Self
    where
        F: FnMut(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        Self::new(settings, Work::Blocking(Box::new(step)))
    }

    pub(crate) fn once<F, Fut>(name: &str, timeout: Duration, step: F) -> Self
    where
        F: FnOnce(StepHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let mut step = Some(step);
        let work = move |handle| -> BoxFuture<Result<(), BoxError>> {
            match step.take() {
                // Made inside, so that a panic in the making counts too.
                Some(step) => Box::pin(async move { step(handle).await }),
                None => Box::pin(async { Err(ONCE.into()) }),
            }
        };
        Self::new(Step::new(name, timeout), Work::Future(Box::new(work)))
    }

    pub(crate) fn once_blocking<F>(name: &str, timeout: Duration, step: F) -> Self
    where
        F: FnOnce(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        let mut step = Some(step);
        let work = move |handle| match step.take() {
            Some(step) => step(handle),
            None => Err(ONCE.into()),
        };
        Self::blocking(Step::new(name, timeout), work)
    }
}

/// A step's row in the final heartbeat, and what it counted of buffers.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) row: signal::Step,
    pub(crate) flushed: u64,
    pub(crate) dropped: u64,
}

#[derive(Debug)]
enum Ended {
    Ok,
    Failed(String),
    TimedOut,
    Forced,
}

/// Where the running attempt leaves its end; when it is dropped instead, that is said.
struct Leaves {
    ended: Arc<Mutex<Option<Ended>>>,
    run: Arc<Inner>,
}

impl Leaves {
    fn leave(&self, ended: Ended) {
        let mut place = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        place.get_or_insert(ended);
        drop(place);
        self.run.pulse.ring();
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.leave(Ended::Failed("it was dropped before it ended".into()));
    }
}

fn ended_by(result: Result<Result<(), BoxError>, String>) -> Ended {
    match result {
        Ok(Ok(())) => Ended::Ok,
        Ok(Err(error)) => Ended::Failed(bounded(&error.to_string())),
        Err(text) => Ended::Failed(bounded(&format!("panicked: {text}"))),
    }
}

/// Runs one step, at most for its timeout and until the stop is cut, and tells its begin and its end. A step that
/// does not end is left behind where it runs.
pub(crate) fn run(run: &Arc<Inner>, step: &Planned, stop: &Span) -> Done {
    let Planned { name, settings, .. } = step;
    let span = events::step_span(stop, name, settings.timeout);
    let began = Instant::now();
    let left_out = |outcome, why: String| {
        let row = signal::Step {
            outcome: Some(outcome),
            why_skipped: Some(why),
            ..signal::Step::begun(name.clone())
        };
        told(run, &span, Done { row, flushed: 0, dropped: 0 })
    };
    if run.stop.is_forced() {
        return left_out(StepOutcome::Skipped, SECOND_REQUEST.into());
    }
    if let Some(gate) = settings.skip_in.iter().find(|gate| run.environment.as_ref() == Some(gate)) {
        return left_out(StepOutcome::Skipped, format!("skipped in {gate}"));
    }
    // Skipped means left out on purpose. What the deadline left no time for, the deadline cut.
    if run.cut_at().is_none_or(|cut_at| began >= cut_at) {
        return left_out(StepOutcome::TimedOut, NO_TIME.into());
    }
    run.say(signal::Signal::Step(signal::Step {
        timeout_ms: Some(whole_ms(settings.timeout)),
        ..signal::Step::begun(name.clone())
    }));

    let place = Arc::new(Place {
        run: Arc::clone(run),
        name: name.clone(),
        span: span.clone(),
        began,
        timeout: settings.timeout,
    });
    let audit = Arc::<Mutex<Audit>>::default();
    for attempts in 1.. {
        let handle =
            StepHandle { counts: Arc::default(), audit: Arc::clone(&audit), place: Arc::clone(&place) };
        let ended = attempt(step, &handle);
        let done = handle.row(ended, attempts, began.elapsed());
        let is_final = match done.row.outcome {
            Some(StepOutcome::Failed | StepOutcome::Partial) => attempts >= settings.attempts,
            Some(StepOutcome::Ok | StepOutcome::TimedOut | StepOutcome::Skipped) | None => true,
        };
        if is_final {
            return told(run, &span, done);
        }
        let pause = crate::backoff::pause(settings.first_pause, settings.longest_pause, attempts - 1);
        crate::events::quietly(
            || tracing::info!(parent: &span, attempts, pause_ms = whole_ms(pause), error = done.row.error, "trying again"),
        );
        let again_at = Instant::now() + pause;
        if again_at >= place.until() {
            return told(run, &span, done);
        }
        run.pulse.wait_until(again_at, || run.stop.is_forced());
        if run.stop.is_forced() {
            return told(run, &span, handle.row(Ended::Forced, attempts, began.elapsed()));
        }
    }
    unreachable!("a step has {} attempts at most", settings.attempts)
}

fn told(run: &Inner, span: &Span, done: Done) -> Done {
    events::step_ended(span, &done.row);
    run.say(signal::Signal::Step(done.row.clone()));
    done
}

/// Runs the step's work once.
fn attempt(step: &Planned, handle: &StepHandle) -> Ended {
    let place = &handle.place;
    let run = &place.run;
    let ended = Arc::new(Mutex::new(None));
    let cut = CancellationToken::new();
    let leaves = Leaves { ended: Arc::clone(&ended), run: Arc::clone(run) };
    let theirs = handle.clone();
    let work = Arc::clone(&step.work);
    let is_future = matches!(&*work.lock().unwrap_or_else(PoisonError::into_inner), Work::Future(_));
    if is_future {
        let cut = cut.clone();
        let make = async move {
            let future = match &mut *work.lock().unwrap_or_else(PoisonError::into_inner) {
                Work::Future(make) => make(theirs),
                Work::Blocking(_) => return Ok(()),
            };
            future.await
        };
        let span = place.span.clone();
        crate::spawn::future(
            place.name.as_str(),
            &run.own_tasks,
            Box::pin(async move {
                let result = caught_or_cut(Box::pin(make.instrument(span)), cut.cancelled_owned()).await;
                leaves.leave(result.map_or(Ended::TimedOut, ended_by));
            }),
        );
    } else {
        let span = place.span.clone();
        crate::spawn::thread(place.name.as_str(), move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                span.in_scope(|| match &mut *work.lock().unwrap_or_else(PoisonError::into_inner) {
                    Work::Blocking(work) => work(theirs),
                    Work::Future(_) => Ok(()),
                })
            }));
            leaves.leave(ended_by(result.map_err(|payload| panic_text(payload.as_ref()))));
        });
    }

    let left = || ended.lock().unwrap_or_else(PoisonError::into_inner);
    run.pulse.wait_until_moving(|| place.until(), || left().is_some() || run.stop.is_forced());
    let left_behind = if run.stop.is_forced() { Ended::Forced } else { Ended::TimedOut };
    let ended = left().take().unwrap_or(left_behind);
    cut.cancel();
    ended
}

impl StepHandle {
    /// The row of this step, its outcome judged by what it counted where it returned `Ok`.
    fn row(&self, ended: Ended, attempts: u32, took: Duration) -> Done {
        let Counts { total_said, done, skipped, flushed, dropped, failed_items, is_cut_short } =
            &*self.counts;
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (flushed, dropped) = (load(flushed), load(dropped));
        let mut failed_items = failed_items.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let audit = self.audit();
        let of = |fate: &Fate| audit.fates.values().filter(|known| *known == fate).count() as u64;
        let failures: Vec<(&String, &String)> = audit
            .fates
            .iter()
            .filter_map(|(label, fate)| if let Fate::Failed(why) = fate { Some((label, why)) } else { None })
            .collect();
        let said = load(total_said).checked_sub(1);
        let items = audit.fates.len() as u64;
        let total = if items > 0 { Some(said.unwrap_or(0) + items) } else { said };
        let done = load(done) + of(&Fate::Done);
        let skipped = load(skipped) + of(&Fate::Skipped);
        // What is still to be done by hand: what failed, then what the end of the time left.
        let open = audit.fates.iter().filter(|(_, fate)| **fate == Fate::Open).map(|(label, _)| label);
        failed_items.extend(failures.iter().map(|(label, _)| *label).chain(open).cloned());
        failed_items.truncate(FAILED_ITEMS_MAX);
        let all_done = total.is_none_or(|total| done.saturating_add(skipped) >= total);
        // A step that saw its end come and left the rest was cut, as one that did not.
        let ended = match ended {
            Ended::Ok if !all_done && is_cut_short.load(Ordering::Relaxed) => {
                if self.place.run.stop.is_forced() { Ended::Forced } else { Ended::TimedOut }
            }
            other => other,
        };
        let (outcome, error, why_skipped) = match ended {
            Ended::Ok if !all_done && done == 0 && !failures.is_empty() => {
                (StepOutcome::Failed, failures.first().map(|(_, why)| (*why).clone()), None)
            }
            Ended::Ok if all_done && dropped == 0 => (StepOutcome::Ok, None, None),
            Ended::Ok => (StepOutcome::Partial, failures.first().map(|(_, why)| (*why).clone()), None),
            Ended::Failed(text) => (StepOutcome::Failed, Some(text), None),
            Ended::TimedOut => (StepOutcome::TimedOut, None, None),
            Ended::Forced => (StepOutcome::Skipped, None, Some(SECOND_REQUEST.to_owned())),
        };
        drop(failures);
        drop(audit);
        let counted = total.is_some() || done > 0;
        let row = signal::Step {
            outcome: Some(outcome),
            done: counted.then_some(done),
            total,
            skipped: (skipped > 0 || counted).then_some(skipped),
            attempts: Some(attempts),
            duration_ms: Some(whole_ms(took)),
            error,
            why_skipped,
            failed_items,
            ..signal::Step::begun(self.place.name.clone())
        };
        Done { row, flushed, dropped }
    }
}
