//! One connection: its requests, what of it is still open, and how it ended.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::Response;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::farewell::{Farewell, TakesLeave};
use super::impatient::Impatient;
use super::leave::{Counted, Leave};
use super::socket::Peer;
use crate::streams::How;

/// What a connection goes by.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line for T {}

/// What is the same for all connections of a server.
pub(super) struct Ways {
    pub(super) http: http1::Builder,
    pub(super) app: Router,
    pub(super) take_max: Duration,
}

/// What a request may know of its connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) leave: Arc<Leave>,
    pub(super) peer: Peer,
    /// A stream whose farewell was handed to the connection: how that ends decides what it is.
    said: Slot,
    /// A connection that somebody upgraded without our help. It ends with its socket.
    upgraded: Arc<Slot>,
}

/// Holds streams until it is known how they ended: one, or a few whose requests came in one piece.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Vec<Counted>>);

impl Slot {
    fn put(&self, counted: Counted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(counted);
    }

    fn take(&self) -> Vec<Counted> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a socket holds for as long as it is open.
pub(super) struct Held {
    upgraded: Arc<Slot>,
    _permit: Option<OwnedSemaphorePermit>,
    /// The last to go: who waits for it may rely on the rest.
    _tracked: TaskTrackerToken,
}

impl Held {
    pub(super) fn new(permit: Option<OwnedSemaphorePermit>, tracked: TaskTrackerToken) -> (Self, Arc<Slot>) {
        let upgraded = Arc::default();
        (Self { upgraded: Arc::clone(&upgraded), _permit: permit, _tracked: tracked }, upgraded)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.upgraded.take());
    }
}

impl Connection {
    pub(super) fn new(leave: &Arc<Leave>, peer: Peer, upgraded: Arc<Slot>) -> Self {
        Self { leave: Arc::clone(leave), peer, said: Slot::default(), upgraded }
    }

    /// A stream has handed over its farewell, all of it.
    pub(super) fn has_said(&self, stream: Counted) {
        self.said.put(stream);
    }

    /// Answers its requests until it ends, or its time is over.
    pub(super) async fn serve<L: Line>(self, line: L, peer: SocketAddr, ways: Arc<Ways>) {
        let connection = Arc::new(self);
        let ended = connection.clone().converse(line, peer, ways).await;
        if let Some(Err(error)) = &ended {
            crate::events::quietly(|| tracing::debug!(%peer, %error, "a connection ended early"));
        }
        // In order: all that it was given is written out. Else the cut decides, or the client has left.
        let said = connection.said.take();
        if matches!(ended, Some(Ok(()))) {
            said.into_iter().for_each(|stream| stream.end(How::Farewell));
        }
    }

    /// How it ended; none when it was cut. Bodies and handlers of it are gone then.
    async fn converse<L: Line>(
        self: Arc<Self>,
        line: L,
        peer: SocketAddr,
        ways: Arc<Ways>,
    ) -> Option<hyper::Result<()>> {
        let leave = Arc::clone(&self.leave);
        let app = TowerToHyperService::new(ways.app.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Farewell::of(&self));
            request.extensions_mut().insert(ConnectInfo(peer));
            let (connection, answer) = (Arc::clone(&self), app.call(request));
            async move { answer.await.map(|response| connection.look_at(response)) }
        });
        let io = TokioIo::new(Impatient::new(line, ways.take_max));
        let mut http = pin!(ways.http.serve_connection(io, service).with_upgrades());
        tokio::select! {
            // First, so that what has ended in order is no cut.
            biased;
            ended = http.as_mut() => return Some(ended),
            () = leave.cut.cancelled() => return None,
            () = leave.asked.cancelled() => http.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            ended = http.as_mut() => Some(ended),
            () = leave.cut.cancelled() => None,
        }
    }

    /// Sees to it that streams which take no leave are counted, too, when they are cut.
    fn look_at(&self, response: Response) -> Response {
        if response.extensions().get::<TakesLeave>().is_some() {
            return response;
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.upgraded.put(Counted::begin(&self.leave, How::Finished));
            return response;
        }
        let content_type = response.headers().get(header::CONTENT_TYPE);
        if content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
            let leave = Arc::clone(&self.leave);
            return response.map(|body| Body::new(Watched { body, leave, counted: None }));
        }
        response
    }
}

/// An event stream that takes no leave.
struct Watched {
    body: Body,
    leave: Arc<Leave>,
    counted: Option<Counted>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // From the first time that somebody asks for it: the answer to a HEAD is no stream.
        this.counted.get_or_insert_with(|| Counted::begin(&this.leave, How::ClientLeft));
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_))))
            && let Some(counted) = this.counted.take()
        {
            counted.end(How::Finished);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
