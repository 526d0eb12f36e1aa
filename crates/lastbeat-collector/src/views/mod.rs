//! The read side: every view renders the published snapshot, and none touches the roster.
//!
//! Lives here: [`AppState`], which every handler is given, and one module for each way of looking:
//! `api` and `plans` (JSON; `report` is their door out of the engine), `page` (HTML), `live` (events), `metrics`, `health`.
//!
//! Invariant: a view reads; nothing it does reaches the journal or the roster.

pub(crate) mod api;
pub(crate) mod health;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod plans;
mod report;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use lastbeat_wire::reply::Bye;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::ingest::switchboard::Switchboard;
use crate::journal::Reader;
use crate::keeper::inbox::Inbox;
use crate::snapshot::{Identity, Published, Snapshot};

/// What every handler is given.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The newest snapshot; it changes whenever anything changed.
    pub(crate) published: watch::Receiver<Arc<Snapshot>>,
    /// Some, as soon as the collector goes.
    pub(crate) bye: watch::Receiver<Option<Bye>>,
    /// Cancelled when the time for goodbyes is over: what still runs is cut.
    pub(crate) stop: CancellationToken,
    /// Counts what must have ended before the collector may.
    pub(crate) tracker: TaskTracker,
    /// Whether facts are taken: after the start, before the stop.
    pub(crate) ready: watch::Receiver<bool>,
    /// The collector's axis.
    pub(crate) clock: Clock,
    /// The way to the keeper.
    pub(crate) inbox: Inbox,
    /// What was refused, skipped or late.
    pub(crate) counters: Arc<Counters>,
    /// The facts of one run.
    pub(crate) journal: Reader,
    /// Who this collector is.
    pub(crate) identity: Identity,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// What every deadline is multiplied by.
    pub(crate) scale: f64,
    /// Places for links.
    pub(crate) links: Arc<Semaphore>,
    /// By which link a run is asked.
    pub(crate) switchboard: Arc<Switchboard>,
}

impl AppState {
    /// The newest snapshot with a reading of the clock: all that a view needs.
    pub(crate) fn now(&self) -> Published {
        let snapshot = self.published.borrow().clone();
        let stopping = self.bye.borrow().is_some();
        Published::new(snapshot, self.clock.shown(), self.identity, stopping)
    }
}
