//! The stop signals of this process, while a run waits for its stop.
//!
//! A thread hears SIGINT and SIGTERM from [`listen`] until the run has stopped. After that, and after the
//! second in which several signals are one request, they have their default action again: a host that hangs
//! behind its final heartbeat can still be ended by Ctrl+C.
//!
//! So can a host that hangs before its stop begins. The stop begins where the host polls the future that
//! waits for it, and a runtime whose only thread is stuck polls nothing: then the signal that asked ends the
//! process after all, at the stop deadline or when somebody insists.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::lifecycle::Inner;
use crate::sender::{Asker, Closer};
use crate::stop_request::ONE_REQUEST;

/// How many runs of this process listen.
static LISTENERS: Mutex<usize> = Mutex::new(0);
/// Whether a stop signal has its default action. The handlers that look at it are installed once.
static DEFAULT_ACTION: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Ends the listening when it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    closer: Closer,
    closed: Arc<AtomicBool>,
    run: Arc<Inner>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // In a forked child nobody listens, and the pulse may be locked for ever, by a thread that is not there.
        if self.run.courier.is_forked() {
            return;
        }
        self.closed.store(true, Ordering::SeqCst);
        self.closer.close();
        self.run.pulse.ring();
    }
}

/// Hears stop signals on a thread of its own, until the value is dropped.
pub(crate) fn listen(run: &Arc<Inner>) -> Option<Listening> {
    let asker = match Asker::listen(&[SIGINT, SIGTERM]) {
        Ok(asker) => asker,
        Err(error) => {
            tracing::warn!(%error, "stop signals cannot be heard");
            return None;
        }
    };
    // After the listener: as soon as the default action is off, somebody hears.
    let counted = Counted::begin();
    let closed = Arc::new(AtomicBool::new(false));
    let listening = Listening { closer: asker.closer(), closed: Arc::clone(&closed), run: Arc::clone(run) };
    let run = Arc::clone(run);
    let started = std::thread::Builder::new().name("lastbeat-signals".into()).spawn(move || {
        let mut armed = false;
        for heard in asker {
            let number = heard.number;
            run.signalled(heard);
            if !armed {
                armed = true;
                arm(&run, &closed, number);
            }
        }
        let same_request = run.stop.same_request_for();
        // Not kept alive for the pause: the courier goes with the last that holds the run.
        drop(run);
        std::thread::sleep(same_request);
        drop(counted);
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread to hear stop signals on");
    }
    Some(listening)
}

/// From the first signal on, sees to it that the stop begins or the process ends. On a thread of its own:
/// the one that hears must hear whether somebody insists.
fn arm(run: &Arc<Inner>, closed: &Arc<AtomicBool>, signal: i32) {
    let (run, closed) = (Arc::clone(run), Arc::clone(closed));
    let started = std::thread::Builder::new()
        .name("lastbeat-patience".into())
        .spawn(move || end_unless_begun(&run, &closed, signal));
    if let Err(error) = started {
        tracing::warn!(%error, "nobody watches that the stop begins: a further signal ends the process");
        default_action().store(true, Ordering::SeqCst);
    }
}

fn end_unless_begun(run: &Inner, closed: &AtomicBool, signal: i32) {
    let flush_budget = run.flush_budget.min(run.stop_deadline / 2);
    let heard_at = Instant::now();
    // Asked long ago in another way, the stop still has the time of one request from the first signal on.
    let asked_at = run.stop.first().map_or(heard_at, |(_, asked_at)| asked_at);
    let until = (asked_at + run.stop_deadline.saturating_sub(flush_budget)).max(heard_at + ONE_REQUEST);
    let is_settled = || run.is_over.load(Ordering::Acquire) || closed.load(Ordering::SeqCst);
    run.pulse.wait_until(until, || is_settled() || run.stop.is_forced());
    // Whoever sets it first has the end in hands: this thread, or the stop.
    if closed.load(Ordering::SeqCst) || run.is_over.swap(true, Ordering::AcqRel) {
        return;
    }
    tracing::error!(
        forced = run.stop.is_forced(),
        "the stop did not begin, the host does not come to it: the signal ends the process"
    );
    // First, so that one more signal ends it even while the collector is told.
    default_action().store(true, Ordering::SeqCst);
    let _ = run.courier.flush(flush_budget);
    if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
        tracing::error!(%error, signal, "the signal could not be raised again");
    }
}

/// One that listens; when the last one goes, the default actions are back.
struct Counted;

impl Counted {
    fn begin() -> Self {
        let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
        *listeners += 1;
        default_action().store(false, Ordering::SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
        *listeners -= 1;
        if *listeners == 0 {
            default_action().store(true, Ordering::SeqCst);
        }
    }
}

fn default_action() -> &'static AtomicBool {
    DEFAULT_ACTION.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let theirs = Arc::clone(&flag);
            if let Err(error) = signal_hook::flag::register_conditional_default(signal, theirs) {
                tracing::warn!(%error, signal, "after the stop this signal will do nothing");
            }
        }
        flag
    })
}
