//! What the views look at: all workers as they stood after one fact, shared and not copied.
//!
//! Invariant: nothing here moves; what depends on time takes it as an argument.

use std::sync::Arc;

use crate::alert::{Alert, alerts, by_host, of_silence};
use crate::counts::Counts;
use crate::fact::RunId;
use crate::moment::Moment;
use crate::notice::{Notice, notices};
use crate::plan::Window;
use crate::rules::Rules;
use crate::run::Run;
use crate::silence::Silence;
use crate::worker::Worker;

/// What the views look at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) rules: Rules,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) silences: Vec<Silence>,
    pub(crate) windows: Arc<[Window]>,
}

impl Snapshot {
    /// The rules that judged.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// All workers by (service, worker).
    #[must_use]
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, service: &str, worker: &str) -> Option<&Arc<Worker>> {
        let place =
            self.workers.binary_search_by(|known| (&*known.service, &*known.worker).cmp(&(service, worker)));
        place.ok().map(|place| &self.workers[place])
    }

    /// One run and its worker.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<(&Arc<Worker>, &Run)> {
        self.workers.iter().find_map(|worker| Some((worker, worker.run(id)?)))
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The mass silences of late, oldest first; the last may be open.
    #[must_use]
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Planned work, past and present, by its identity.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Stops that somebody may want to know of, the newest first; none of them is an alert.
    #[must_use]
    pub fn notices(&self, now: Moment) -> Vec<Notice> {
        let of = |worker: &Arc<Worker>| notices(worker, now, &self.rules);
        let mut all: Vec<Notice> = self.workers.iter().flat_map(of).collect();
        all.sort_by_key(|notice| std::cmp::Reverse(notice.at));
        all
    }

    /// All alerts, open ones first: one for each host and each mass silence, instead of their workers'.
    #[must_use]
    pub fn alerts(&self, now: Moment) -> Vec<Alert> {
        let of_workers = self.workers.iter().flat_map(|worker| alerts(worker, now, &self.rules)).collect();
        let mut all = by_host(of_workers);
        all.extend(self.silences.iter().map(of_silence));
        all.retain(|alert| {
            alert.resolved.is_none_or(|resolved| now.since(resolved) <= self.rules.resolved_kept_ms)
        });
        all.sort_by_key(|alert| (alert.resolved.is_some(), std::cmp::Reverse(alert.since)));
        all
    }
}
