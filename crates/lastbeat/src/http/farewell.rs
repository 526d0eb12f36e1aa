//! What a handler takes to say goodbye: the extractor, and the stream of events.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::sse::{self, Event, KeepAlive};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::connection::Connection;
use super::leave::{Counted, Leave};
use crate::BoxError;
use crate::streams::How;

/// What the farewell says, in this order: clients look for "shutdown" in the first and end at the second.
const FAREWELL: [&str; 2] = [r#"{"type":"error","error":"server shutdown"}"#, r#"{"type":"done"}"#];

/// Says goodbye to a client when the server goes. An extractor of handlers under [`serve`](super::serve).
#[derive(Clone)]
pub struct Farewell {
    connection: Arc<Connection>,
}

impl fmt::Debug for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Farewell").field("is_leaving", &self.is_leaving()).finish_non_exhaustive()
    }
}

impl Farewell {
    pub(super) fn of(connection: &Arc<Connection>) -> Self {
        Self { connection: Arc::clone(connection) }
    }

    pub(super) fn leave(&self) -> &Arc<Leave> {
        &self.connection.leave
    }

    /// Waits until the server is to go: for handlers that take long and can come to an end sooner.
    pub async fn leaving(&self) {
        self.leave().asked.cancelled().await;
    }

    /// Whether the server is to go.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leave().asked.is_cancelled()
    }

    /// Sends a stream as server-sent events. When the server goes, the client gets two more events, unnamed:
    /// `data: {"type":"error","error":"server shutdown"}` and `data: {"type":"done"}`; then the stream ends.
    ///
    /// The stream itself is dropped before that, where it waits. An error of it ends the connection, as with
    /// [axum's](sse::Sse).
    pub fn sse<S, E>(&self, stream: S) -> Sse
    where
        S: Stream<Item = Result<Event, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let leaving = Leaving {
            at: At::Stream(stream.map_err(Into::into).boxed()),
            asked: Box::pin(self.leave().asked.clone().cancelled_owned()),
            connection: Arc::clone(&self.connection),
            counted: None,
        };
        Sse { leaving, keep_alive: None }
    }
}

/// The answer that [`Farewell::sse`] makes.
#[must_use = "it is an answer to be returned"]
pub struct Sse {
    leaving: Leaving,
    keep_alive: Option<KeepAlive>,
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

impl Sse {
    /// Sends a comment when there was nothing to send for a while, so that a proxy does not take it for dead.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = Some(keep_alive);
        self
    }
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        let events = sse::Sse::new(self.leaving);
        let mut response = match self.keep_alive {
            Some(keep_alive) => events.keep_alive(keep_alive).into_response(),
            None => events.into_response(),
        };
        response.extensions_mut().insert(TakesLeave);
        response
    }
}

/// Marks the answers that take their leave by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakesLeave;

/// A stream of events with a farewell.
struct Leaving {
    at: At,
    asked: Pin<Box<WaitForCancellationFutureOwned>>,
    connection: Arc<Connection>,
    counted: Option<Counted>,
}

enum At {
    Stream(BoxStream<'static, Result<Event, BoxError>>),
    /// What of the farewell is to be said yet.
    Farewell(&'static [&'static str]),
    Over,
}

impl Stream for Leaving {
    type Item = Result<Event, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if matches!(this.at, At::Over) {
            return Poll::Ready(None);
        }
        // From the first time that somebody asks for it: the answer to a HEAD is no stream.
        this.counted.get_or_insert_with(|| Counted::begin(&this.connection.leave, How::ClientLeft));
        if let At::Stream(stream) = &mut this.at {
            if this.asked.as_mut().poll(cx).is_pending() {
                let polled = stream.as_mut().poll_next(cx);
                if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
                    this.over(|counted| counted.end(How::Finished));
                }
                return polled;
            }
            // The kernel would take a goodbye to nobody, too.
            if this.connection.peer.has_left() {
                this.over(drop);
                return Poll::Ready(None);
            }
            this.at = At::Farewell(&FAREWELL);
        }
        if let At::Farewell([next, rest @ ..]) = this.at {
            this.at = At::Farewell(rest);
            return Poll::Ready(Some(Ok(Event::default().data(*next))));
        }
        // All of it was taken. Whether it is also written out, the end of the connection tells.
        let connection = Arc::clone(&this.connection);
        this.over(|counted| connection.has_said(counted));
        Poll::Ready(None)
    }
}

impl Leaving {
    fn over(&mut self, tell: impl FnOnce(Counted)) {
        self.at = At::Over;
        if let Some(counted) = self.counted.take() {
            tell(counted);
        }
    }
}

/// Why a handler cannot say goodbye: it is not served by [`serve`](super::serve).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotServed;

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this handler says goodbye to its clients, which works under `lastbeat::http::serve` alone",
        )
    }
}

impl std::error::Error for NotServed {}

impl IntoResponse for NotServed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Farewell {
    type Rejection = NotServed;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NotServed> {
        parts.extensions.get::<Self>().cloned().ok_or(NotServed)
    }
}
