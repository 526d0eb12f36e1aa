//! The stream as data: a `snapshot`, then a `delta` of the workers that differ.

use std::collections::BTreeMap;

use lastbeat_wire::Name;
use lastbeat_wire::report::{StatusReport, WorkerReport};
use serde::Serialize;

use super::{From, to_json};
use crate::snapshot::Published;
use crate::views::api;

/// What this stream was last sent.
#[derive(Debug, Default)]
pub(super) struct Feed {
    status: Option<StatusReport>,
    workers: BTreeMap<(Name, Name), WorkerReport>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    from: From,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a StatusReport>,
    /// Workers that are new or differ; all of them in a snapshot.
    workers: Vec<&'a WorkerReport>,
    /// Workers that left the list, as `SERVICE/WORKER`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
}

impl Feed {
    pub(super) fn next(&mut self, published: &Published) -> Option<(&'static str, String)> {
        let status = api::status(published);
        let workers = api::workers(published);
        let name = if self.status.is_none() { "snapshot" } else { "delta" };
        let news = self.status.as_ref().is_none_or(|known| differs(known, &status));
        let key = |worker: &WorkerReport| (worker.service.clone(), worker.worker.clone());
        let changed: Vec<&WorkerReport> =
            workers.iter().filter(|worker| self.workers.get(&key(worker)) != Some(worker)).collect();
        let here: BTreeMap<_, _> = workers.iter().map(|worker| (key(worker), worker.clone())).collect();
        let gone: Vec<String> = self
            .workers
            .keys()
            .filter(|known| !here.contains_key(known))
            .map(|(service, worker)| format!("{service}/{worker}"))
            .collect();
        let said = (news || !changed.is_empty() || !gone.is_empty()).then(|| {
            let message = Message {
                from: From::of(&status.collector),
                status: news.then_some(&status),
                workers: changed,
                gone,
            };
            (name, to_json(&message))
        });
        self.workers = here;
        self.status = Some(status);
        said
    }
}

/// Whether two answers differ in more than the time they were given at.
fn differs(known: &StatusReport, status: &StatusReport) -> bool {
    let mut known = known.clone();
    known.collector.now = status.collector.now;
    known != *status
}
