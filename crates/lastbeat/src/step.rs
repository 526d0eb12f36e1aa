//! One step of a shutdown: what it counts, how it is run, and the row it leaves behind.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{self, StepOutcome};
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::clock::whole_ms;
use crate::lifecycle::Inner;
use crate::sender::cut;
use crate::wait::{BoxFuture, bounded, caught_or_cut, panic_text};

/// The most labels of failed items kept.
const FAILED_ITEMS_MAX: usize = 20;
/// The longest label of one, in bytes.
const LABEL_MAX_BYTES: usize = 100;

/// What a shutdown step holds: counters that end up in the final heartbeat.
///
/// A step that says `total(3)` and returns `Ok` with two done is *partial*; a step that counts nothing and
/// returns `Ok` is *ok*.
#[derive(Debug, Clone, Default)]
pub struct StepHandle {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// One more than the total, so that 0 means that none was said.
    total_said: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
    failed_items: Mutex<Vec<String>>,
}

impl StepHandle {
    /// Says how many items there are in all.
    pub fn total(&self, items: u64) {
        self.counts.total_said.store(items.saturating_add(1), Ordering::Relaxed);
    }

    /// So many more items are done.
    pub fn done(&self, items: u64) {
        self.counts.done.fetch_add(items, Ordering::Relaxed);
    }

    /// So many more items are left out on purpose; they do not make the step partial.
    pub fn skipped(&self, items: u64) {
        self.counts.skipped.fetch_add(items, Ordering::Relaxed);
    }

    /// Names an item that failed. The first 20 are kept.
    pub fn failed_item(&self, label: &str) {
        let mut labels = self.counts.failed_items.lock().unwrap_or_else(PoisonError::into_inner);
        if labels.len() < FAILED_ITEMS_MAX {
            labels.push(cut(label, LABEL_MAX_BYTES).to_owned());
        }
    }

    /// The row of this step, its outcome judged by what it counted where it returned `Ok`.
    fn row(&self, name: Name, ended: &Ended, took: Duration) -> signal::Step {
        let counts = &self.counts;
        let total = counts.total_said.load(Ordering::Relaxed).checked_sub(1);
        let done = counts.done.load(Ordering::Relaxed);
        let skipped = counts.skipped.load(Ordering::Relaxed);
        let all_done = total.is_none_or(|total| done.saturating_add(skipped) >= total);
        let (outcome, error, why_skipped) = match ended {
            Ended::Ok if all_done => (StepOutcome::Ok, None, None),
            Ended::Ok => (StepOutcome::Partial, None, None),
            Ended::Failed(text) => (StepOutcome::Failed, Some(text.clone()), None),
            Ended::TimedOut => (StepOutcome::TimedOut, None, None),
            Ended::Forced => (StepOutcome::Skipped, None, Some(SECOND_REQUEST.to_owned())),
        };
        let counted = total.is_some() || done > 0;
        signal::Step {
            outcome: Some(outcome),
            done: counted.then_some(done),
            total,
            skipped: (skipped > 0 || counted).then_some(skipped),
            attempts: Some(1),
            duration_ms: Some(whole_ms(took)),
            error,
            why_skipped,
            failed_items: counts.failed_items.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..signal::Step::begun(name)
        }
    }
}

/// Why a step is skipped when somebody insists.
const SECOND_REQUEST: &str = "a second request to stop";
/// Why a step did not run that there was no time for.
const NO_TIME: &str = "the stop deadline passed before it began";

/// What a step does.
pub(crate) enum Work {
    Future(Box<dyn FnOnce(StepHandle) -> BoxFuture<Result<(), BoxError>> + Send>),
    Blocking(Box<dyn FnOnce(StepHandle) -> Result<(), BoxError> + Send>),
}

/// A step of a plan.
pub(crate) struct Planned {
    pub(crate) name: Name,
    pub(crate) timeout: Duration,
    pub(crate) work: Work,
}

#[derive(Debug)]
enum Ended {
    Ok,
    Failed(String),
    TimedOut,
    Forced,
}

/// Where the running step leaves its end; when it is dropped instead, that is said.
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

/// Runs one step, at most for its timeout and until `cut_at`, and tells its begin and its end. A step that
/// does not end is left behind where it runs.
pub(crate) fn run(run: &Arc<Inner>, step: Planned, cut_at: Instant) -> signal::Step {
    let Planned { name, timeout, work } = step;
    let began = Instant::now();
    if run.stop.is_forced() || began >= cut_at {
        // Skipped means left out on purpose. What the deadline left no time for, the deadline cut.
        let (outcome, why) = if run.stop.is_forced() {
            (StepOutcome::Skipped, SECOND_REQUEST)
        } else {
            (StepOutcome::TimedOut, NO_TIME)
        };
        let row = signal::Step {
            outcome: Some(outcome),
            why_skipped: Some(why.to_owned()),
            ..signal::Step::begun(name)
        };
        run.say(signal::Signal::Step(row.clone()));
        return row;
    }
    run.say(signal::Signal::Step(signal::Step {
        timeout_ms: Some(whole_ms(timeout)),
        ..signal::Step::begun(name.clone())
    }));

    let handle = StepHandle::default();
    let ended = Arc::new(Mutex::new(None));
    let cut = CancellationToken::new();
    let leaves = Leaves { ended: Arc::clone(&ended), run: Arc::clone(run) };
    let theirs = handle.clone();
    match work {
        Work::Future(make) => {
            let cut = cut.clone();
            crate::spawn::future(
                name.as_str(),
                Box::pin(async move {
                    // Made inside, so that a panic in the making counts too.
                    let work: BoxFuture<_> = Box::pin(async move { make(theirs).await });
                    let result = caught_or_cut(work, cut.cancelled_owned()).await;
                    leaves.leave(result.map_or(Ended::TimedOut, ended_by));
                }),
            );
        }
        Work::Blocking(work) => crate::spawn::thread(name.as_str(), move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| work(theirs)));
            leaves.leave(ended_by(result.map_err(|payload| panic_text(payload.as_ref()))));
        }),
    }

    let place = || ended.lock().unwrap_or_else(PoisonError::into_inner);
    let until = began.checked_add(timeout).map_or(cut_at, |timeout_at| timeout_at.min(cut_at));
    run.pulse.wait_until(until, || place().is_some() || run.stop.is_forced());
    let left_behind = if run.stop.is_forced() { Ended::Forced } else { Ended::TimedOut };
    let ended = place().take().unwrap_or(left_behind);
    cut.cancel();
    let row = handle.row(name, &ended, began.elapsed());
    run.say(signal::Signal::Step(row.clone()));
    row
}
