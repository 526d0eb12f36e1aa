//! The accept loop: who is let in, how long a peer may take, and how all of them end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Held, Ways};
use super::leave::Leave;
use super::socket::{Socket, Sockets};
use crate::agent::{Agent, AgentHandle};
use crate::events;
use crate::inner::Inner;
use crate::lifecycle::Lastbeat;

/// The most connections at once; each costs a file descriptor and some KiB.
const CONNECTIONS_MAX: usize = 16_384;
/// A peer that has not sent the head of a request by then is cut (slow by malice or by a dead network).
const HEAD_MAX: Duration = Duration::from_secs(10);
/// A peer that takes nothing of its answer for this long is cut; other servers give it a minute, too.
const TAKE_MAX: Duration = Duration::from_secs(60);
/// What one connection may have waiting in a direction. The head of a request must fit in.
const BUFFER_MAX_BYTES: usize = 64 * 1024;
/// Pause after an accept that failed: without file descriptors it would fail again at once, and spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the time for goodbyes is looked at. It becomes known a moment after the stop was asked, and ends at
/// once when somebody insists; both happen on threads that wake no task.
const LOOK: Duration = Duration::from_millis(20);
/// What was cut ends as soon as it is polled; only a handler that never yields holds it for longer.
const CUT_MAX: Duration = Duration::from_secs(1);
/// How long connections are waited for when the server is to stop while its run goes on.
const ALONE_MAX: Duration = Duration::from_secs(10);
/// The cut comes so much before the deadline of the agent, but at most a tenth of the time: what was cut is
/// counted and gone when the steps of the plan begin.
const CUT_BEFORE: Duration = Duration::from_millis(200);

/// A server: a listening socket, what answers, and the limits of a connection.
///
/// [`serve`](super::serve) is one with all limits as they are here.
pub struct Server {
    listener: TcpListener,
    name: String,
    connections_max: usize,
    upgraded_apart: bool,
    ways: Ways,
    on_refused: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Serves `app` on `listener`.
    #[must_use]
    pub fn new(listener: TcpListener, app: Router) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(BUFFER_MAX_BYTES);
        // With its state once, for what else would be done for each request.
        let ways = Ways { http, app: app.with_state(()), take_max: TAKE_MAX };
        Self {
            listener,
            name: "http".to_owned(),
            connections_max: CONNECTIONS_MAX,
            upgraded_apart: false,
            ways,
            on_refused: Box::new(|| {}),
        }
    }

    /// The name of its agent, for a worker with more than one server. Default `http`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The most connections at once; further ones are closed unheard. Default 16,384.
    #[must_use]
    pub const fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Connections that were upgraded no longer count as connections: whoever upgrades them limits them.
    #[must_use]
    pub const fn upgraded_apart(mut self) -> Self {
        self.upgraded_apart = true;
        self
    }

    /// How long a peer may take to send the head of a request, and to send the next one on a connection that
    /// is kept. Default 10 s.
    #[must_use]
    pub fn head_max(mut self, head: Duration) -> Self {
        self.ways.http.header_read_timeout(head);
        self
    }

    /// How long a peer may take nothing of what is written to it. Default 60 s.
    #[must_use]
    pub const fn take_max(mut self, take: Duration) -> Self {
        self.ways.take_max = take;
        self
    }

    /// What one connection may have waiting in a direction, at least 8 KiB. Default 64 KiB.
    #[must_use]
    pub fn buffer_max_bytes(mut self, bytes: usize) -> Self {
        self.ways.http.max_buf_size(bytes.max(8 * 1024));
        self
    }

    /// Is called for each connection that there was no room for.
    #[must_use]
    pub fn on_refused(mut self, count: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_refused = Box::new(count);
        self
    }

    /// Starts it as an agent of this worker. Call it on the tokio runtime that it shall run on.
    ///
    /// When the run is asked to stop, or the handle cancels it, it accepts nobody any more, lets requests under
    /// way come to their end, has streams say goodbye, and waits for all of them; [`Agent::deadline`] cuts what
    /// is left. Aborted, it cuts everything at once.
    pub fn spawn(self, worker: &Lastbeat) -> AgentHandle {
        let run = Arc::clone(worker.inner());
        let name = self.name.clone();
        worker.spawn(&name, move |agent| async move {
            let leave =
                Leave::new(CancellationToken::new(), CancellationToken::new(), Arc::clone(&run.streams));
            let leave = Arc::new(leave);
            let serving = self.serve(Arc::clone(&leave));
            tokio::select! {
                () = serving => {}
                () = take_leave(&agent, &run, &leave) => {}
            }
            events::streams_closed(&run.span, agent.name(), run.streams.tally());
            Ok(())
        })
    }

    /// Serves until `leave` is cancelled, and then waits until the last connection has ended or `cut` is
    /// cancelled. For who has no worker but a lifecycle of its own. Needs a tokio runtime with I/O and time.
    pub async fn run(self, leave: CancellationToken, cut: CancellationToken) {
        self.serve(Arc::new(Leave::new(leave, cut, Arc::default()))).await;
    }

    pub(super) async fn serve(self, leave: Arc<Leave>) {
        let sockets = Arc::new(Sockets::default());
        let tracker = TaskTracker::new();
        let cut = CutWhenDropped { leave: Arc::clone(&leave), sockets: Arc::clone(&sockets) };
        self.accept(&leave, &sockets, &tracker).await;
        tracker.close();
        tokio::select! {
            () = tracker.wait() => return,
            () = leave.cut.cancelled() => {}
        }
        crate::events::quietly(|| {
            tracing::warn!(open = sockets.len(), "the deadline passed: what is still open is cut")
        });
        drop(cut);
        if tokio::time::timeout(CUT_MAX, tracker.wait()).await.is_err() {
            crate::events::quietly(|| {
                tracing::error!(open = sockets.len(), "some of it did not end when it was cut")
            });
        }
    }

    /// Until the leave is asked. The listening socket is closed then.
    async fn accept(self, leave: &Arc<Leave>, sockets: &Arc<Sockets>, tracker: &TaskTracker) {
        let room = Arc::new(Semaphore::new(self.connections_max));
        let ways = Arc::new(self.ways);
        loop {
            let accepted = tokio::select! {
                () = leave.asked.cancelled() => return,
                () = leave.cut.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(permit) => {
                        // Frames are small and awaited: Nagle's delay would be added to each of them.
                        let _ = stream.set_nodelay(true);
                        let (theirs, ours) =
                            if self.upgraded_apart { (None, Some(permit)) } else { (Some(permit), None) };
                        let (held, upgraded) = Held::new(theirs, tracker.token());
                        let socket = Socket::new(stream, sockets, held);
                        let connection = Connection::new(leave, socket.peer(), upgraded);
                        let serving = connection.serve(socket, peer, Arc::clone(&ways));
                        tracker.spawn(async move {
                            serving.await;
                            drop(ours);
                        });
                    }
                    Err(_) => {
                        (self.on_refused)();
                        crate::events::quietly(
                            || tracing::debug!(%peer, "too many connections: one is closed unheard"),
                        );
                    }
                },
                // The peer of one connection went away; the next may be there already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    crate::events::quietly(|| tracing::warn!(%error, "cannot accept a connection"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Ends everything that is open.
struct CutWhenDropped {
    leave: Arc<Leave>,
    sockets: Arc<Sockets>,
}

impl Drop for CutWhenDropped {
    fn drop(&mut self) {
        // First, so that who finds its socket shut down knows why.
        self.leave.cut.cancel();
        self.sockets.cut();
    }
}

/// Waits until the agent is to stop, then takes leave of everybody, until the time for that is over.
async fn take_leave(agent: &Agent, run: &Inner, leave: &Leave) {
    agent.cancelled().await;
    let began = Instant::now();
    leave.take(run.promise_ms().is_some());
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let left = agent.deadline().unwrap_or(began + ALONE_MAX).saturating_duration_since(began);
        let so_far = began.elapsed();
        if so_far >= left / 2 {
            leave.hurry.cancel();
        }
        if so_far >= left - CUT_BEFORE.min(left / 10) || run.stop.is_forced() {
            leave.cut.cancel();
            return std::future::pending().await;
        }
    }
}
