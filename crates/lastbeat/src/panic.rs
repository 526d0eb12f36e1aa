//! The panic hook: tells of a panic and goes on to whatever hook was there before.
//!
//! A hook cannot know whether the panic will be caught, so it says only that there was one. Whether the run
//! came down is told by its final heartbeat, its exit or its silence. Where panics abort nothing is caught and no
//! guard runs afterwards: there the hook says the final heartbeat itself.

use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, Once, PoisonError, TryLockError, Weak};
use std::time::Instant;

use lastbeat_wire::signal::{ClassHint, Final, Panic, Signal};

use crate::courier::THREAD_NAME;
use crate::inner::Inner;
use crate::wait::panic_text;

/// The most runs of one process that hear of its panics.
const VOICES_MAX: usize = 16;

static VOICES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());
static INSTALLED: Once = Once::new();

/// Lets this run hear of the process's panics. The hook is installed once and for all.
pub(crate) fn watch(run: &Arc<Inner>) {
    // From a thread that is panicking, std refuses to change the hook, by another panic.
    if std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            tell(info);
            previous(info);
        }));
    });
    let mut voices = VOICES.lock().unwrap_or_else(PoisonError::into_inner);
    voices.retain(|voice| voice.strong_count() > 0);
    if voices.len() < VOICES_MAX {
        voices.push(Arc::downgrade(run));
    }
}

fn alive(voices: &[Weak<Inner>]) -> Vec<Arc<Inner>> {
    voices.iter().filter_map(Weak::upgrade).collect()
}

fn tell(info: &PanicHookInfo<'_>) {
    let ours = std::thread::current().name().is_some_and(|name| {
        name == THREAD_NAME || name.strip_prefix(THREAD_NAME).is_some_and(|rest| rest.starts_with('-'))
    });
    if ours {
        return;
    }
    let message = info.payload_as_str().map_or_else(|| panic_text(&()), crate::wait::bounded);
    let location = info.location().map(ToString::to_string);
    // The panicking thread may hold this lock only inside `watch`, which does not panic; still a hook waits
    // for nobody.
    let voices: Vec<Arc<Inner>> = match VOICES.try_lock() {
        Ok(voices) => alive(&voices),
        Err(TryLockError::Poisoned(left)) => alive(&left.into_inner()),
        Err(TryLockError::WouldBlock) => return,
    };
    let told: Vec<&Arc<Inner>> =
        voices.iter().filter(|run| tell_one(run, &message, location.as_deref())).collect();
    if cfg!(panic = "abort") {
        last_words(&told);
    }
}

fn tell_one(run: &Arc<Inner>, message: &str, location: Option<&str>) -> bool {
    if run.courier.is_forked() {
        return false;
    }
    let (message, location) = (message.to_owned(), location.map(str::to_owned));
    let (weak, said, place) = (Arc::downgrade(run), message.clone(), location.clone());
    // Told by the host's own hook and log too; in the trace of the run it has its place. Not from here: what panicked
    // may be the host's log itself, and a second panic inside of a hook aborts the process.
    let aside = move || {
        if let Some(run) = weak.upgrade() {
            crate::events::panicked(&run.span, &said, place.as_deref());
        }
    };
    run.courier.say_from_hook(Signal::Panic(Panic { message, location }), Box::new(aside))
}

/// Says and delivers, or spools, that these runs crashed; all of them within one flush budget.
fn last_words(runs: &[&Arc<Inner>]) {
    let hint = Some(ClassHint::Crashed);
    for run in runs {
        run.say(Signal::Final(Final { class_hint: hint, ..Final::default() }));
    }
    let began = Instant::now();
    for run in runs {
        let _ = run.courier.flush(run.flush_budget.saturating_sub(began.elapsed()));
    }
}
