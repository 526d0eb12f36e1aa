//! WebSockets that are closed as they should be when the server goes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{self, CloseFrame, Message, OnFailedUpgrade, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::{Sink, SinkExt, Stream, StreamExt as _};
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::farewell::{Farewell, TakesLeave};
use super::leave::{Counted, Leave};
use crate::streams::How;
use crate::wait::caught_or_cut;

/// How long a peer may take to answer a close that is not the end of the server. 5 s, as browsers wait.
const CLOSE_MAX: Duration = Duration::from_secs(5);

impl Farewell {
    /// Upgrades to a WebSocket and calls `handler` with it.
    ///
    /// When the server goes, [`WebSocket::recv`] ends, and the handler should, too: one that has not ended after
    /// half of the time that is left is dropped where it waits. Then the peer gets a close frame and has the rest
    /// of the time to answer it: 1012 (service restart) when the worker
    /// [promised](crate::Lastbeat::promise_back_within) to be back, else 1001 (going away).
    ///
    /// A handler that ends by itself closes its WebSocket with 1000, one that panics with 1011.
    #[must_use = "to set up the WebSocket, this response must be returned"]
    pub fn websocket<F, C, Fut>(&self, upgrade: WebSocketUpgrade<F>, handler: C) -> Response
    where
        F: OnFailedUpgrade,
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let leave = Arc::clone(self.leave());
        let mut response = upgrade.on_upgrade(|socket| async move {
            let stream = Counted::begin(&leave, How::ClientLeft);
            let cut = leave.cut.clone();
            tokio::select! {
                biased;
                ended = serve(socket, leave, handler) => {
                    if let Some(how) = ended {
                        stream.end(how);
                    }
                }
                // For a socket that its handler gave to somebody else.
                () = cut.cancelled() => {}
            }
        });
        response.extensions_mut().insert(TakesLeave);
        response
    }
}

/// How it ended; none when the connection failed, so that either the peer has left or there was a cut.
async fn serve<C, Fut>(socket: ws::WebSocket, leave: Arc<Leave>, handler: C) -> Option<How>
where
    C: FnOnce(WebSocket) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (give_back, given_back) = oneshot::channel();
    let socket = WebSocket {
        open: Some(Open { socket, peer: Peer::There }),
        asked: Box::pin(leave.asked.clone().cancelled_owned()),
        leave: Arc::clone(&leave),
        give_back: Some(give_back),
    };
    let handling = Box::pin(async move { handler(socket).await });
    let ended = caught_or_cut(handling, leave.hurry.cancelled()).await;
    // It comes back when the last that holds it lets it go.
    let Open { mut socket, peer } = given_back.await.ok()?;
    match peer {
        Peer::Gone => return None,
        Peer::Closing => {
            // To the end, so that its close is answered.
            let answer = async { while let Some(Ok(_)) = socket.recv().await {} };
            let _ = tokio::time::timeout(CLOSE_MAX, answer).await;
            return None;
        }
        Peer::There => {}
    }
    if leave.asked.is_cancelled() {
        let (code, reason) = leave.close();
        return close(socket, code, reason).await.then_some(How::Farewell);
    }
    let (code, reason) = match ended {
        Some(Err(panic)) => {
            crate::events::quietly(|| tracing::error!(%panic, "the handler of a WebSocket panicked"));
            (close_code::ERROR, "internal error")
        }
        Some(Ok(())) | None => (close_code::NORMAL, ""),
    };
    // Who does not answer in time is closed without.
    let _ = tokio::time::timeout(CLOSE_MAX, close(socket, code, reason)).await;
    Some(How::Finished)
}

/// Says the close and waits for the answer to it; whether it came.
async fn close(mut socket: ws::WebSocket, code: u16, reason: &'static str) -> bool {
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if socket.send(close).await.is_err() {
        return false;
    }
    while let Some(Ok(message)) = socket.recv().await {
        // What the peer said before it heard of the close is passed over.
        if matches!(message, Message::Close(_)) {
            return true;
        }
    }
    false
}

/// An open WebSocket that ends when the server goes. A stream and a sink of messages, as axum's.
pub struct WebSocket {
    /// There until it is dropped.
    open: Option<Open>,
    asked: Pin<Box<WaitForCancellationFutureOwned>>,
    leave: Arc<Leave>,
    give_back: Option<oneshot::Sender<Open>>,
}

struct Open {
    socket: ws::WebSocket,
    peer: Peer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    There,
    /// It has said its close.
    Closing,
    Gone,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("is_leaving", &self.is_leaving()).finish_non_exhaustive()
    }
}

impl WebSocket {
    /// The next message; none when the peer has gone, or the server is to go.
    ///
    /// # Errors
    /// When the connection fails, or the peer breaks the protocol. None comes after that.
    pub async fn recv(&mut self) -> Option<Result<Message, axum::Error>> {
        self.next().await
    }

    /// Sends a message. A last word may be said after [`recv`](Self::recv) has ended.
    ///
    /// # Errors
    /// When the connection fails or is closed.
    pub async fn send(&mut self, message: Message) -> Result<(), axum::Error> {
        SinkExt::send(self, message).await
    }

    /// Waits until the server is to go: for handlers that do something else than to receive.
    pub async fn leaving(&self) {
        self.leave.asked.cancelled().await;
    }

    /// Whether the server is to go.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leave.asked.is_cancelled()
    }

    fn open(&mut self) -> &mut Open {
        self.open.as_mut().expect("it is given back only when this is dropped")
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        if let (Some(give_back), Some(open)) = (self.give_back.take(), self.open.take()) {
            // Nobody takes it when it was cut.
            let _ = give_back.send(open);
        }
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.open().peer == Peer::Gone || self.asked.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let polled = self.open().socket.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.open().peer = Peer::Gone,
            Poll::Ready(Some(Ok(Message::Close(_)))) => self.open().peer = Peer::Closing,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}

impl Sink<Message> for WebSocket {
    type Error = axum::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        self.open().socket.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        self.open().socket.start_send_unpin(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        self.open().socket.poll_flush_unpin(cx)
    }

    /// The close is said when this is dropped: the code of it tells whether the server goes.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        self.poll_flush(cx)
    }
}
