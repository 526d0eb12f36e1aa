//! One step of a shutdown: its settings, and what it holds while it runs.
//!
//! How it is run is in `attempt`, the accounting of a batch in `items`.

mod attempt;
mod items;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lastbeat_wire::Name;
use lastbeat_wire::signal::{Extend, Signal};
use tracing::Span;

use crate::inner::Inner;
use crate::sender::cut;

pub(crate) use attempt::{Planned, run};
pub use items::Items;

/// The most labels of items kept that are not done.
pub(crate) const FAILED_ITEMS_MAX: usize = 20;
/// The longest label of one, in bytes.
const LABEL_MAX_BYTES: usize = 100;
/// The most items of one step kept by label; further ones are counted alone.
const LABELS_MAX: usize = 10_000;
/// The most attempts of a step.
const ATTEMPTS_MAX: u32 = 100;
/// The most environments that skip a step.
const GATES_MAX: usize = 16;

/// The settings of a step that may be tried again, or left out in some environments. For
/// [`Plan::add`](crate::Plan::add).
///
/// ```
/// use std::time::Duration;
/// let cancel = lastbeat::Step::new("cancel-orders", Duration::from_secs(10)).attempts(3).skip_in("dry_run");
/// # let _ = cancel;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a step does nothing until it is added to a plan"]
pub struct Step {
    name: String,
    timeout: Duration,
    attempts: u32,
    first_pause: Duration,
    longest_pause: Duration,
    skip_in: Vec<String>,
}

impl Step {
    /// A step with this name in the summary. The timeout holds for all attempts together.
    pub fn new(name: &str, timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            timeout,
            attempts: 1,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            skip_in: Vec::new(),
        }
    }

    /// How often it is tried in all, 1 to 100, by default once: again after an error, a panic, or when an item is
    /// not done.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.clamp(1, ATTEMPTS_MAX);
        self
    }

    /// The pause before the second attempt, and the longest one: each is twice the one before, the later half of
    /// it by chance. By default 100 ms and 5 s.
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// Leaves the step out in this environment, such as `dry_run`; see [`Builder::environment`](
    /// crate::Builder::environment). The summary says so, and the cleanup is no worse for it. At most 16.
    pub fn skip_in(mut self, environment: &str) -> Self {
        if self.skip_in.len() < GATES_MAX {
            self.skip_in.push(environment.to_owned());
        }
        self
    }
}

/// What a shutdown step holds: counters that end up in the final heartbeat, and its deadline.
///
/// A step that says `total(3)` and returns `Ok` with two done is *partial*; a step that counts nothing and
/// returns `Ok` is *ok*. Counters begin anew with each attempt; [items](Self::items) are known by their labels
/// across attempts.
#[derive(Debug, Clone)]
pub struct StepHandle {
    counts: Arc<Counts>,
    audit: Arc<Mutex<Audit>>,
    place: Arc<Place>,
}

/// What one attempt counts.
#[derive(Debug, Default)]
struct Counts {
    /// One more than the total, so that 0 means that none was said.
    total_said: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
    flushed: AtomicU64,
    dropped: AtomicU64,
    failed_items: Mutex<Vec<String>>,
    /// Items were left because the time was over.
    is_cut_short: AtomicBool,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Open,
    Done,
    Skipped,
    Failed(String),
}

/// What became of each item, over all attempts.
#[derive(Debug, Default)]
struct Audit {
    fates: BTreeMap<String, Fate>,
}

/// Where a step stands.
#[derive(Debug)]
struct Place {
    run: Arc<Inner>,
    name: Name,
    span: Span,
    began: Instant,
    timeout: Duration,
}

impl StepHandle {
    /// Says how many items there are in all.
    pub fn total(&self, items: u64) {
        self.counts.total_said.store(items.saturating_add(1), Ordering::Relaxed);
    }

    fn total_unless_said(&self, items: u64) {
        let said = items.saturating_add(1);
        let _ = self.counts.total_said.compare_exchange(0, said, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// So many more items are done.
    pub fn done(&self, items: u64) {
        self.counts.done.fetch_add(items, Ordering::Relaxed);
    }

    /// So many more items are left out on purpose; they do not make the step partial.
    pub fn skipped(&self, items: u64) {
        self.counts.skipped.fetch_add(items, Ordering::Relaxed);
    }

    /// So many more buffered items are written out.
    pub fn flushed(&self, items: u64) {
        self.counts.flushed.fetch_add(items, Ordering::Relaxed);
    }

    /// So many more buffered items are given up; that makes the step partial.
    pub fn dropped(&self, items: u64) {
        self.counts.dropped.fetch_add(items, Ordering::Relaxed);
    }

    /// Names an item that failed. The first 20 are kept.
    pub fn failed_item(&self, label: &str) {
        let mut labels = self.counts.failed_items.lock().unwrap_or_else(PoisonError::into_inner);
        if labels.len() < FAILED_ITEMS_MAX {
            labels.push(cut(label, LABEL_MAX_BYTES).to_owned());
        }
    }

    /// Takes the accounting of a batch of items: what is done, skipped and failed of them is counted, told by label
    /// in the log, and carried by the final heartbeat. Labels should be unique.
    ///
    /// ```
    /// # struct Order { label: String, exchange_id: Option<u64> }
    /// # struct Exchange;
    /// # impl Exchange {
    /// #     fn cancel_all(&self, _: &[Order]) -> Result<Vec<String>, std::io::Error> { Ok(vec![]) }
    /// #     fn cancel(&self, _: &Order) -> Result<(), std::io::Error> { Ok(()) }
    /// # }
    /// # fn step(step: lastbeat::StepHandle, orders: Vec<Order>, exchange: Exchange) -> Result<(), lastbeat::BoxError> {
    /// step.items(orders, |order| order.label.clone())
    ///     .skip(|order| order.exchange_id.is_none().then_some("never placed"))
    ///     .all_at_once(|orders| Ok(exchange.cancel_all(orders)?)) // what it refused
    ///     .one_by_one(|order| Ok(exchange.cancel(order)?));
    /// Ok(())
    /// # }
    /// ```
    pub fn items<T>(&self, items: Vec<T>, label: impl Fn(&T) -> String) -> Items<T> {
        Items::new(self.clone(), items, label)
    }

    /// When this step is cut: its own timeout or the stop deadline, whichever comes first. A step that blocks
    /// looks at it between two pieces of work.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.place.until()
    }

    /// Asks for more time before the stop deadline, because the work moves: at most 60 s at once and ten minutes in
    /// all, and only when a counter of this step has moved since the last time. Says whether time was given. The
    /// step's own timeout stays.
    ///
    /// Under `lastbeat run`, which kills at the end of its grace, none is given.
    #[must_use]
    pub fn extend(&self, by: Duration) -> bool {
        let Place { run, name, .. } = &*self.place;
        let count = self.moved();
        let Some(given) = run.deadline.extend(by, name, count) else { return false };
        run.say(Signal::Extend(Extend {
            by_ms: crate::clock::whole_ms(given),
            step: Some(name.clone()),
            counter: Some(count),
        }));
        run.pulse.ring();
        true
    }

    /// All that was counted: it only grows while the work moves.
    fn moved(&self) -> u64 {
        let counts = &self.counts;
        let told = [&counts.done, &counts.skipped, &counts.flushed, &counts.dropped];
        let told: u64 = told.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let audit = self.audit();
        told + audit.fates.values().filter(|fate| **fate != Fate::Open).count() as u64
    }

    /// Whether it makes no sense to begin one more piece of work.
    fn is_cut(&self) -> bool {
        let is_cut = self.place.run.stop.is_forced() || Instant::now() >= self.place.until();
        if is_cut {
            self.counts.is_cut_short.store(true, Ordering::Relaxed);
        }
        is_cut
    }

    fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn until(&self) -> Instant {
        let cut_at = self.run.cut_at();
        let timeout_at = self.began.checked_add(self.timeout);
        match (timeout_at, cut_at) {
            (Some(timeout_at), Some(cut_at)) => timeout_at.min(cut_at),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => self.began,
        }
    }
}
