//! The whole collector put together: who is started, in which order, and how all of them end.
//!
//! Start: journal → replay → spool directory → "away" → listen. Stop: not ready → goodbye to links and
//! event streams → requests under way end → the keeper's last commit; all inside one deadline, then cut.
//!
//! Invariant: nothing is spawned anywhere else; whoever is spawned here is waited for here. Connections are spawned
//! and waited for by the loop that the client has for every server of its users.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use lastbeat::http::Server;
use lastbeat_engine::Rules;
use lastbeat_wire::reply::{Bye, ByeReason};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{error, info, warn};

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::counters::Counters;
use crate::error::RunError;
use crate::ingest;
use crate::journal::Journal;
use crate::keeper::inbox::{self, Message};
use crate::keeper::{Keeper, TICK};
use crate::snapshot::Identity;
use crate::views::{self, AppState};
use crate::{access, spool};

/// The most connections at once; each costs a file descriptor and some KiB.
const CONNECTIONS_MAX: usize = 16_384;
/// A peer that has not sent the head of a request by then is cut (slow by malice or by a dead network).
const HEAD_MAX: Duration = Duration::from_secs(10);
/// A peer that takes nothing of its answer for this long is cut: a reader of events that stalled.
const TAKE_MAX: Duration = Duration::from_secs(10);
/// What one connection may have waiting in a direction; 1,000 stalled readers of events hold 64 MiB.
const BUFFER_MAX_BYTES: usize = 64 * 1024;
/// Between "not ready" and the goodbye, times the scale: whoever asks `/readyz` twice in this time sees it, sends
/// nobody here any more, and no request is met by a closed port meanwhile.
const UNREADY_FOR: Duration = Duration::from_millis(500);
/// Everything that is open when the collector stops has this long, times the scale.
const STOP_MAX: Duration = Duration::from_secs(10);
/// What was cut then ends as soon as it is polled; only a fault of our own holds it for longer.
const CUT_MAX: Duration = Duration::from_secs(1);
/// The keeper's last commit may take this long more: it is what all acknowledgements rest on.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(10);
/// How often the spool directory is read.
const SPOOL_EVERY: Duration = Duration::from_secs(1);

/// Runs a collector on a listening socket until `shutdown` resolves, then takes leave of everybody.
///
/// Needs a tokio runtime with I/O and time. When it returns without an error, everything acknowledged as
/// durable is in the journal, nothing it started runs any more, and the data directory is free for a successor.
///
/// # Errors
/// When the journal or the socket cannot be used, or the keeper fails.
pub async fn run(
    config: Config,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    run_then(config, listener, shutdown, || {}).await
}

/// [`run`] that calls `opened` once, as soon as the journal is open and requests are answered; never when it
/// fails or is asked to stop before.
///
/// # Errors
/// As [`run`].
pub async fn run_then(
    config: Config,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
    opened: impl FnOnce(),
) -> Result<(), RunError> {
    let listener = to_tokio(listener).map_err(|source| RunError::Listener { source })?;
    let listen = listener.local_addr().map_err(|source| RunError::Listener { source })?;
    let mut parts = start(&config, listen)?;
    let state = parts.state.clone();
    let mut shutdown = pin!(shutdown);

    let is_open = tokio::select! {
        // First, because it tells why: the keeper says so before its inbox is gone.
        biased;
        gone = &mut parts.keeper_done => Err(keeper_error(gone)),
        outcome = open(&config, &state) => outcome.map(|()| true),
        // Asked to stop before it began: nobody is there to say goodbye to.
        () = &mut shutdown => Ok(false),
    }?;
    let mut outcome = Ok(());
    if is_open {
        parts.ready.send_replace(true);
        info!(%listen, collector = %state.identity.id, epoch = state.identity.epoch, "the collector watches");
        state.tracker.spawn(read_spool(config.clone(), state.clone()));
        state.tracker.spawn(serve(listener, app(state.clone()), state.clone(), HEAD_MAX));
        opened();
        tokio::select! {
            () = &mut shutdown => {}
            gone = &mut parts.keeper_done => outcome = Err(keeper_error(gone)),
        }
        take_leave(&config, &parts).await;
    }
    // The keeper's own error is told first; it then has nothing left to commit.
    outcome.and(end_keeper(&mut parts).await)
}

/// All routes; needs no port.
pub(crate) fn app(state: AppState) -> Router {
    Router::new()
        .merge(ingest::door::routes())
        .merge(ingest::link::routes())
        .merge(ingest::operator::routes())
        .merge(ingest::ask::routes())
        .merge(views::api::routes())
        .merge(views::plans::routes())
        .merge(views::metrics::routes())
        .merge(views::health::routes())
        .merge(views::page::routes())
        .merge(views::live::routes())
        .fallback(access::not_found)
        .method_not_allowed_fallback(access::method_not_allowed)
        .layer(CatchPanicLayer::custom(access::panicked))
        .layer(from_fn_with_state(state.clone(), access::guard))
        .with_state(state)
}

/// Runs what may block where blocking is allowed; none when the runtime is going down.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// What was started, and the handles to end it by.
pub(crate) struct Parts {
    pub(crate) state: AppState,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) bye: watch::Sender<Option<Bye>>,
    keeper_done: oneshot::Receiver<Result<(), RunError>>,
}

/// Opens the journal and starts the keeper on its own thread: commits block.
pub(crate) fn start(config: &Config, listen: SocketAddr) -> Result<Parts, RunError> {
    let (journal, opening) =
        Journal::open(&config.data_dir).map_err(|source| RunError::Journal { source })?;
    let clock = Clock::continue_after(opening.last_mark);
    let identity = Identity { id: opening.collector_id, epoch: opening.epoch, started: clock.started() };
    let counters = Arc::new(Counters::default());
    let reader = journal.reader();
    let (inbox, mail) = inbox::inbox();
    let keeper = Keeper::new(
        journal,
        opening,
        clock.clone(),
        Rules::scaled(config.scale),
        config.scale,
        Arc::clone(&counters),
    );
    let published = keeper.subscribe();
    let (done, keeper_done) = oneshot::channel();
    std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || {
            let outcome = keeper.run(&mail).map_err(|source| RunError::Journal { source });
            // Nobody listens only when `run` was dropped half-way.
            let _ = done.send(outcome);
        })
        .map_err(|source| RunError::StartKeeper { source })?;
    let (ready, is_ready) = watch::channel(false);
    let (bye, said) = watch::channel(None);
    let state = AppState {
        published,
        bye: said,
        stop: CancellationToken::new(),
        tracker: TaskTracker::new(),
        ready: is_ready,
        clock,
        inbox,
        counters,
        journal: reader,
        identity,
        listen,
        scale: config.scale,
        links: Arc::new(Semaphore::new(ingest::link::LINKS_MAX)),
        switchboard: Arc::default(),
    };
    Ok(Parts { state, ready, bye, keeper_done })
}

/// Reads what waited on disk, then ends the absence: the keeper judges from here on, by the pulse.
///
/// # Errors
/// When the keeper is gone.
pub(crate) async fn open(config: &Config, state: &AppState) -> Result<(), RunError> {
    let inbox = &state.inbox;
    spool::drain(&config.spool_dir, inbox, &state.counters).await;
    let (done, watching) = oneshot::channel();
    inbox.send(Message::Watch { done }, 0).await.map_err(|_| RunError::KeeperGone)?;
    watching.await.map_err(|_| RunError::KeeperGone)?;
    state.tracker.spawn(pulse(state.clone()));
    Ok(())
}

fn keeper_error(gone: Result<Result<(), RunError>, oneshot::error::RecvError>) -> RunError {
    match gone {
        Ok(Err(error)) => error,
        Ok(Ok(())) | Err(_) => RunError::KeeperGone,
    }
}

async fn read_spool(config: Config, state: AppState) {
    let mut unreadable = spool::Unreadable::default();
    let mut every = tokio::time::interval(SPOOL_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut bye = state.bye.clone();
    loop {
        tokio::select! {
            _ = bye.wait_for(Option::is_some) => return,
            _ = every.tick() => {}
        }
        tokio::select! {
            _ = spool::pass(&config.spool_dir, &state.inbox, &state.counters, &mut unreadable) => {}
            // The keeper may hang in a commit. The files stay, and what was journaled of them is known then.
            () = state.stop.cancelled() => return,
        }
    }
}

/// Tells the keeper that the tasks of this runtime are at work, through the same queue that facts come by and
/// behind those that wait for room. One pulse waits at a time; one that is held up is late, which is the point.
///
/// It ends with the goodbye: the links are told to go then, so their silence says nothing.
async fn pulse(state: AppState) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut bye = state.bye.clone();
    let pulses = async {
        loop {
            every.tick().await;
            let (taken, was_taken) = oneshot::channel();
            // Refused and dropped only by a keeper that is gone.
            if state.inbox.send(Message::Pulse { taken }, 0).await.is_err() || was_taken.await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pulses => {}
        _ = bye.wait_for(Option::is_some) => {}
    }
}

fn to_tokio(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Answers requests until the goodbye, then waits for those that are open until the cut.
async fn serve(listener: TcpListener, app: Router, state: AppState, head_max: Duration) {
    let counters = Arc::clone(&state.counters);
    let server = Server::new(listener, app)
        .connections_max(CONNECTIONS_MAX)
        // Links have a limit of their own, which is higher: they hold less.
        .upgraded_apart()
        .head_max(head_max)
        .take_max(TAKE_MAX)
        .buffer_max_bytes(BUFFER_MAX_BYTES)
        .on_refused(move || counters.connections_refused.bump());
    let leave = CancellationToken::new();
    let mut bye = state.bye.clone();
    let goodbye = async {
        let _ = bye.wait_for(Option::is_some).await;
        leave.cancel();
    };
    tokio::join!(server.run(leave.clone(), state.stop.clone()), goodbye);
}

/// Says goodbye to everybody and waits for them, up to the deadline; what is left then is cut.
async fn take_leave(config: &Config, parts: &Parts) {
    grow_unready(config, parts).await;
    let bye = match config.back_by {
        Some(within) => {
            Bye { reason: ByeReason::Restarting, back_by: Some(clock::wall_in(within).to_string()) }
        }
        None => Bye { reason: ByeReason::Stopped, back_by: None },
    };
    info!(reason = ?bye.reason, back_by = bye.back_by, "the collector takes its leave");
    parts.bye.send_replace(Some(bye));
    let tracker = &parts.state.tracker;
    tracker.close();
    if tokio::time::timeout(STOP_MAX.mul_f64(config.scale), tracker.wait()).await.is_err() {
        warn!(open = tracker.len(), "the deadline passed: what is still open is cut");
        parts.state.stop.cancel();
        if tokio::time::timeout(CUT_MAX, tracker.wait()).await.is_err() {
            error!(open = tracker.len(), "some of it did not end when it was cut");
        }
    }
}

/// Says that it is not to be counted on, while everything goes on as before.
async fn grow_unready(config: &Config, parts: &Parts) {
    parts.ready.send_replace(false);
    tokio::time::sleep(UNREADY_FOR.mul_f64(config.scale.min(1.0))).await;
}

/// Lets the keeper take what still waits and commit it.
pub(crate) async fn end_keeper(parts: &mut Parts) -> Result<(), RunError> {
    if parts.keeper_done.is_terminated() {
        return Ok(());
    }
    let last_commit = async {
        // A keeper that is gone already has told why.
        let _ = parts.state.inbox.send(Message::Stop, 0).await;
        (&mut parts.keeper_done).await
    };
    match tokio::time::timeout(LAST_COMMIT_MAX, last_commit).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) => Err(RunError::KeeperGone),
        Err(_) => {
            error!("the last commit did not come to an end");
            Err(RunError::KeeperGone)
        }
    }
}
