//! The panic hook: tells of a panic and goes on to whatever hook was there before.
//!
//! A hook cannot know whether the panic will be caught, so it says only that there was one. Whether the run
//! came down is told by its final heartbeat, its exit or its silence.

use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, Once, PoisonError, TryLockError, Weak};

use lastbeat_wire::signal::{Panic, Signal};

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
    for run in voices {
        // Told by the host's own hook and log too; here it has its place in the trace of the run.
        crate::events::panicked(&run.span, &message, location.as_deref());
        let panic = Panic { message: message.clone(), location: location.clone() };
        run.courier.say_from_hook(Signal::Panic(panic));
        // No guard will run after this: what is to be told must be told now.
        if cfg!(panic = "abort") {
            let _ = run.courier.flush(run.flush_budget);
        }
    }
}
