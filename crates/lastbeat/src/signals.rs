//! The stop signals of this process, while a run waits for its stop.
//!
//! A thread hears SIGINT and SIGTERM, and SIGHUP and SIGQUIT where the run heeds them, from [`listen`] until the
//! run has stopped. After that, and after the second in which several signals are one request, they have their
//! default action again: a host that hangs behind its final heartbeat can still be ended by Ctrl+C. Handlers that
//! were there before are called too. A signal that was ignored when the process began is left alone: that is how
//! `nohup` and a shell's background jobs are protected.
//!
//! So can a host that hangs before its stop begins. The stop begins where the host polls the future that
//! waits for it, and a runtime whose only thread is stuck polls nothing: then the signal that asked ends the
//! process after all, at the stop deadline or when somebody insists.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lastbeat_wire::signal::CauseKind;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::inner::{Inner, Reload};
use crate::sender::{Asker, Closer, Heard, ignored_signals};
use crate::stop_request::ONE_REQUEST;

/// The signals that a run of this process has ever listened to.
static HELD: Mutex<BTreeMap<i32, Held>> = Mutex::new(BTreeMap::new());

/// One of them.
#[derive(Debug)]
struct Held {
    /// How many runs listen.
    listeners: usize,
    /// Whether it has its default action. The handler that looks at it is installed once.
    default_action: Arc<AtomicBool>,
}

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
    let ignored = ignored_signals();
    let heeds = &run.heeds;
    let hangup = heeds.hangup || heeds.reload.is_some();
    let wanted: Vec<i32> = [(SIGINT, true), (SIGTERM, true), (SIGHUP, hangup), (SIGQUIT, heeds.quit)]
        .into_iter()
        .filter(|(signal, heeded)| *heeded && !ignored.contains(*signal))
        .map(|(signal, _)| signal)
        .collect();
    let asker = match Asker::listen(&wanted) {
        Ok(asker) => asker,
        Err(error) => {
            crate::events::quietly(|| tracing::warn!(%error, "stop signals cannot be heard"));
            return None;
        }
    };
    // After the listener: as soon as the default action is off, somebody hears.
    let counted = Counted::begin(wanted);
    let closed = Arc::new(AtomicBool::new(false));
    let listening = Listening { closer: asker.closer(), closed: Arc::clone(&closed), run: Arc::clone(run) };
    let run = Arc::clone(run);
    let started = std::thread::Builder::new().name("lastbeat-signals".into()).spawn(move || {
        let mut armed = false;
        for heard in asker {
            if let Some(reload) = wanted_reload(&run, &heard) {
                do_reload(&run, reload);
                continue;
            }
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
        crate::events::quietly(|| tracing::warn!(%error, "no thread to hear stop signals on"));
    }
    Some(listening)
}

/// What a hang-up reloads; none where it is a stop: the terminal closed, or nothing was declared.
fn wanted_reload(run: &Inner, heard: &Heard) -> Option<Reload> {
    let by_a_process = heard.number == SIGHUP && heard.kind != CauseKind::TerminalHangup;
    run.heeds.reload.clone().filter(|_| by_a_process)
}

/// Reads the host's configuration anew, on a thread of its own: a stop must be heard meanwhile.
fn do_reload(run: &Arc<Inner>, reload: Reload) {
    if run.stop.is_asked() {
        return;
    }
    let run = Arc::clone(run);
    run.go_to(lastbeat_wire::signal::PhaseTo::Reloading, None, None);
    crate::spawn::thread("lastbeat-reload", move || {
        let reloaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reload()));
        match reloaded {
            Ok(Ok(())) => crate::events::quietly(|| tracing::info!("the configuration was read anew")),
            Ok(Err(error)) => crate::events::quietly(
                || tracing::error!(%error, "the configuration could not be read anew: the old one holds"),
            ),
            Err(_) => {
                crate::events::quietly(|| tracing::error!("the reload panicked: the old configuration holds"))
            }
        }
        run.resume();
    });
}

/// From the first signal on, sees to it that the stop begins or the process ends. On a thread of its own:
/// the one that hears must hear whether somebody insists.
fn arm(run: &Arc<Inner>, closed: &Arc<AtomicBool>, signal: i32) {
    let (run, closed) = (Arc::clone(run), Arc::clone(closed));
    let started = std::thread::Builder::new()
        .name("lastbeat-patience".into())
        .spawn(move || end_unless_begun(&run, &closed, signal));
    if let Err(error) = started {
        crate::events::quietly(
            || tracing::warn!(%error, "nobody watches that the stop begins: a further signal ends the process"),
        );
        default_actions();
    }
}

fn end_unless_begun(run: &Inner, closed: &AtomicBool, signal: i32) {
    let heard_at = Instant::now();
    // Asked long ago in another way, the stop still has the time of one request from the first signal on.
    let asked_at = run.stop.first().map_or(heard_at, |(_, asked_at)| asked_at);
    let until = run.deadline.cut_at(asked_at).max(heard_at + ONE_REQUEST);
    let is_settled = || run.is_over.load(Ordering::Acquire) || closed.load(Ordering::SeqCst);
    run.pulse.wait_until(until, || is_settled() || run.stop.is_forced());
    // Whoever sets it first has the end in hands: this thread, or the stop.
    if closed.load(Ordering::SeqCst) || run.is_over.swap(true, Ordering::AcqRel) {
        return;
    }
    crate::events::quietly(|| {
        tracing::error!(
            forced = run.stop.is_forced(),
            "the stop did not begin, the host does not come to it: the signal ends the process"
        )
    });
    // First, so that one more signal ends it even while the collector is told.
    default_actions();
    let _ = run.courier.flush(run.deadline.flush);
    if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
        crate::events::quietly(|| tracing::error!(%error, signal, "the signal could not be raised again"));
    }
}

/// One that listens; when the last one of a signal goes, its default action is back.
struct Counted {
    signals: Vec<i32>,
}

impl Counted {
    fn begin(signals: Vec<i32>) -> Self {
        for signal in &signals {
            let mut held = held();
            let one = held.entry(*signal).or_insert_with(|| Held::install(*signal));
            one.listeners += 1;
            one.default_action.store(false, Ordering::SeqCst);
        }
        Self { signals }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = held();
        for signal in &self.signals {
            if let Some(one) = held.get_mut(signal) {
                one.listeners -= 1;
                if one.listeners == 0 {
                    one.default_action.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

impl Held {
    fn install(signal: i32) -> Self {
        let default_action = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&default_action);
        if let Err(error) = signal_hook::flag::register_conditional_default(signal, theirs) {
            crate::events::quietly(
                || tracing::warn!(%error, signal, "after the stop this signal will do nothing"),
            );
        }
        Self { listeners: 0, default_action }
    }
}

fn held() -> MutexGuard<'static, BTreeMap<i32, Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives every signal that was ever listened to its default action.
fn default_actions() {
    for held in held().values() {
        held.default_action.store(true, Ordering::SeqCst);
    }
}
