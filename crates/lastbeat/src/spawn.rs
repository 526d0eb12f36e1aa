//! Where work runs: a future on the host's tokio runtime where there is one, else on a thread of its own.
//!
//! Invariant: starting work never panics. What cannot be started is dropped, and its guard says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wait::{BoxFuture, block_on};

/// The tasks of ours on the host's runtime, so that the host's can be told from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnTasks(Arc<AtomicUsize>);

/// One of them; it counts until it is dropped.
struct Counted(OwnTasks);

impl OwnTasks {
    fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }

    /// How many tasks of the current runtime are not ours.
    #[cfg(feature = "tokio")]
    pub(crate) fn of_others(&self) -> u64 {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return 0 };
        // Ours first: one that ends in between would else be counted as the host's.
        let ours = self.0.load(Ordering::Acquire);
        runtime.metrics().num_alive_tasks().saturating_sub(ours) as u64
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) const fn of_others(&self) -> u64 {
        0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs a future.
pub(crate) fn future(name: &str, ours: &OwnTasks, future: BoxFuture<()>) {
    #[cfg(feature = "tokio")]
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let counted = ours.one_more();
        drop(runtime.spawn(async move {
            let _counted = counted;
            future.await;
        }));
        return;
    }
    let counted = ours.one_more();
    thread(name, move || {
        block_on(future, None);
        drop(counted);
    });
}

/// Runs blocking work on a thread that is left behind if it hangs.
pub(crate) fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        crate::events::quietly(|| tracing::warn!(name, %error, "no thread can be had"));
    }
}
