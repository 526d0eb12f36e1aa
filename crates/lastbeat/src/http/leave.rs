//! The leave that a server takes: asked for, taken of everybody, and over.
//!
//! Invariant: a stream is counted once, by the value that was made when it began.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::ws::close_code;
use tokio_util::sync::CancellationToken;

use crate::streams::{How, Streams};

/// What every connection of a server looks at.
#[derive(Debug)]
pub(super) struct Leave {
    /// The server goes: nobody begins anything new, and who is under way says goodbye.
    pub(super) asked: CancellationToken,
    /// The time for goodbyes is over.
    pub(super) cut: CancellationToken,
    goodbye: OnceLock<Goodbye>,
    streams: Arc<Streams>,
}

/// How goodbye is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goodbye {
    /// A successor was promised.
    pub(super) will_be_back: bool,
    /// Handlers of WebSockets that have not ended by then are dropped, so that there is time for a goodbye.
    pub(super) handlers_until: Instant,
}

impl Leave {
    pub(super) const fn new(asked: CancellationToken, cut: CancellationToken, streams: Arc<Streams>) -> Self {
        Self { asked, cut, goodbye: OnceLock::new(), streams }
    }

    /// Begins it. The first goodbye counts.
    pub(super) fn take(&self, goodbye: Goodbye) {
        // Said before anybody is woken to read it.
        let _ = self.goodbye.set(goodbye);
        self.asked.cancel();
    }

    /// Until when handlers are let be; none when only the cut ends them.
    pub(super) fn handlers_until(&self) -> Option<Instant> {
        self.goodbye.get().map(|goodbye| goodbye.handlers_until)
    }

    /// The code and the reason that a WebSocket is closed with.
    pub(super) fn close(&self) -> (u16, &'static str) {
        if self.goodbye.get().is_some_and(|goodbye| goodbye.will_be_back) {
            (close_code::RESTART, "server restart")
        } else {
            (close_code::AWAY, "server shutdown")
        }
    }
}

/// A stream that is open. It is counted when this is dropped: as what was said of it, else as cut when the time
/// was over, else as what it is when nobody says more.
#[derive(Debug)]
pub(super) struct Counted {
    leave: Arc<Leave>,
    said: Option<How>,
    otherwise: How,
}

impl Counted {
    pub(super) fn begin(leave: &Arc<Leave>, otherwise: How) -> Self {
        leave.streams.open();
        Self { leave: Arc::clone(leave), said: None, otherwise }
    }

    pub(super) fn end(mut self, how: How) {
        self.said = Some(how);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let untold = || if self.leave.cut.is_cancelled() { How::Cut } else { self.otherwise };
        let how = self.said.unwrap_or_else(untold);
        tracing::debug!(?how, "a stream has ended");
        self.leave.streams.end(how);
    }
}
