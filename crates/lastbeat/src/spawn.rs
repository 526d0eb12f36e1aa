//! Where work runs: a future on the host's tokio runtime where there is one, else on a thread of its own.
//!
//! Invariant: starting work never panics. What cannot be started is dropped, and its guard says so.

use crate::wait::{BoxFuture, block_on};

/// Runs a future.
pub(crate) fn future(name: &str, future: BoxFuture<()>) {
    #[cfg(feature = "tokio")]
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
        return;
    }
    thread(name, move || {
        block_on(future, None);
    });
}

/// Runs blocking work on a thread that is left behind if it hangs.
pub(crate) fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        tracing::warn!(name, %error, "no thread can be had");
    }
}
