//! The leave that a server takes: asked for, taken of everybody, and over.
//!
//! Invariant: a stream is counted once, by the value that was made when it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::ws::close_code;
use tokio_util::sync::CancellationToken;

use crate::streams::{How, Streams};

/// What every connection of a server looks at.
#[derive(Debug)]
pub(super) struct Leave {
    /// The server goes: nobody begins anything new, and who is under way says goodbye.
    pub(super) asked: CancellationToken,
    /// Handlers of WebSockets that have not ended are dropped, so that there is time for a goodbye.
    pub(super) hurry: CancellationToken,
    /// The time for goodbyes is over.
    pub(super) cut: CancellationToken,
    /// A successor was promised.
    will_be_back: AtomicBool,
    streams: Arc<Streams>,
}

impl Leave {
    pub(super) fn new(asked: CancellationToken, cut: CancellationToken, streams: Arc<Streams>) -> Self {
        let (hurry, will_be_back) = (CancellationToken::new(), AtomicBool::new(false));
        Self { asked, hurry, cut, will_be_back, streams }
    }

    /// Begins it.
    pub(super) fn take(&self, will_be_back: bool) {
        // Said before anybody is woken to read it.
        self.will_be_back.store(will_be_back, Ordering::Release);
        self.asked.cancel();
    }

    /// The code and the reason that a WebSocket is closed with.
    pub(super) fn close(&self) -> (u16, &'static str) {
        if self.will_be_back.load(Ordering::Acquire) {
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
        crate::events::quietly(|| tracing::debug!(?how, "a stream has ended"));
        self.leave.streams.end(how);
    }
}
