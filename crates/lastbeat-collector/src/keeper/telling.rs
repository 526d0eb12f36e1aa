//! What the log says of a verdict that changed.

use lastbeat_engine::{Change, Class, Severity};
use tracing::{error, info, warn};

use crate::ingest::translate;

/// Logs one change, as loud as the class it leads to.
pub(super) fn tell(change: &Change) {
    let run = translate::run_out(change.run);
    let (service, worker) = (&*change.service, &*change.worker);
    let from = change.from.map_or("live", Class::as_str);
    match change.to {
        None => info!(service, worker, %run, from, "a run lives after all"),
        Some(class) => match class.severity() {
            Severity::None => info!(service, worker, %run, from, class = class.as_str(), "a run ended"),
            Severity::Ticket => {
                warn!(service, worker, %run, from, class = class.as_str(), "a run did not end clean");
            }
            Severity::Page => error!(service, worker, %run, from, class = class.as_str(), "a run failed"),
        },
    }
}
