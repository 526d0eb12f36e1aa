//! Counters that only grow: a function of the facts in their order, so that replay gives the same numbers.
//!
//! Invariant: a run's ending is counted once, by its first verdict; what amends it is counted as an amendment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ending::{AgentEnd, CauseKind, Class, CleanupOutcome, StepOutcome};
use crate::rules::Rules;
use crate::run::{PromiseState, Run};
use crate::worker::Worker;

/// Upper bounds of the buckets of `shutdown_duration_seconds`, in ms.
pub const DURATION_BUCKETS_MS: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];

/// How many durations fell under each bound, and their sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    /// Counts under each of [`DURATION_BUCKETS_MS`], cumulative.
    pub under: [u64; DURATION_BUCKETS_MS.len()],
    /// All of them.
    pub count: u64,
    /// Their sum in ms.
    pub sum_ms: u64,
}

impl Durations {
    fn add(&mut self, ms: u64) {
        for (under, bound) in self.under.iter_mut().zip(DURATION_BUCKETS_MS) {
            *under += u64::from(ms <= bound);
        }
        self.count += 1;
        self.sum_ms += ms;
    }
}

/// All counters. Keys begin with the service where they have one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Endings by their first class.
    pub endings: BTreeMap<(Arc<str>, Class), u64>,
    /// Amendments, from and to; none is a run that lives after all.
    pub amendments: BTreeMap<(Class, Option<Class>), u64>,
    /// Stops that were asked, by cause.
    pub stop_requests: BTreeMap<(Arc<str>, CauseKind), u64>,
    /// Ends of agents.
    pub agent_ends: BTreeMap<(Arc<str>, AgentEnd), u64>,
    /// From the ask to the end, by the worst of the cleanup.
    pub shutdown_durations: BTreeMap<(Arc<str>, CleanupOutcome), Durations>,
    /// Steps of final beats.
    pub shutdown_steps: BTreeMap<(Arc<str>, StepOutcome), u64>,
    /// Promises kept (true) and broken.
    pub promises: BTreeMap<(Arc<str>, bool), u64>,
    /// From the promising end to the ready successor.
    pub restart_durations: BTreeMap<Arc<str>, Durations>,
    /// Streams by how they closed: farewell, cut.
    pub streams: BTreeMap<(Arc<str>, &'static str), u64>,
}

impl Counts {
    /// Counts what is new of a worker after a step.
    pub(crate) fn take(&mut self, worker: &mut Worker, rules: &Rules) {
        #[cfg(feature = "planted")]
        crate::planted::counted(worker, rules);
        let service = Arc::clone(&worker.service);
        let promises: Vec<_> = worker.runs.iter().map(|run| worker.promise(run, rules)).collect();
        let ready_after: Vec<_> =
            worker.runs.iter().map(|run| worker.successors(run).filter_map(Run::ready_at).min()).collect();
        for ((run, promise), ready) in worker.runs.iter_mut().zip(promises).zip(ready_after) {
            self.take_run(&service, run);
            let answered = promise.filter(|promise| promise.state != PromiseState::Open);
            if let Some(promise) = answered
                && !std::mem::replace(&mut run.counted.promise, true)
            {
                let kept = promise.state == PromiseState::Kept;
                *self.promises.entry((Arc::clone(&service), kept)).or_default() += 1;
                if let Some(ready) = ready.filter(|_| kept) {
                    let entry = self.restart_durations.entry(Arc::clone(&service)).or_default();
                    entry.add(ready.since(promise.made));
                }
            }
        }
    }

    fn take_run(&mut self, service: &Arc<str>, run: &mut Run) {
        let key = || Arc::clone(service);
        if let Some(ask) = &run.verdict.ask
            && !std::mem::replace(&mut run.counted.ask, true)
        {
            *self.stop_requests.entry((key(), ask.cause.kind)).or_default() += 1;
        }
        if let Some(cleanup) = run.dossier.fin.as_ref().and_then(|fin| fin.value.cleanup.as_ref())
            && !std::mem::replace(&mut run.counted.cleanup, true)
        {
            for outcome in cleanup.steps.iter().filter_map(|step| step.outcome) {
                *self.shutdown_steps.entry((key(), outcome)).or_default() += 1;
            }
            *self.streams.entry((key(), "farewell")).or_default() += cleanup.streams_farewell;
            *self.streams.entry((key(), "cut")).or_default() += cleanup.streams_cut;
        }
        let Some(ending) = run.verdict.ending() else { return };
        if std::mem::replace(&mut run.counted.ending, true) {
            return;
        }
        *self.endings.entry((key(), ending.class)).or_default() += 1;
        if let Some(ask) = &run.verdict.ask {
            let entry = self.shutdown_durations.entry((key(), ending.cleanup_outcome)).or_default();
            entry.add(ending.at.since(ask.at));
        }
    }
}
