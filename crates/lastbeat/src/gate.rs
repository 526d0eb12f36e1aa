//! The gate that a pause closes: agents wait before it at the end of a turn.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Open unless the run is paused.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// While it is closed: what opens it.
    closed: Mutex<Option<CancellationToken>>,
}

impl Gate {
    /// Closes it; says whether it was open.
    pub(crate) fn close(&self) -> bool {
        let mut closed = self.lock();
        let was_open = closed.is_none();
        closed.get_or_insert_with(CancellationToken::new);
        was_open
    }

    /// Opens it for all who wait; says whether it was closed.
    pub(crate) fn open(&self) -> bool {
        let opened = self.lock().take();
        opened.is_some_and(|opens| {
            opens.cancel();
            true
        })
    }

    /// What is cancelled when it opens; none while it is open.
    pub(crate) fn closed(&self) -> Option<CancellationToken> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
