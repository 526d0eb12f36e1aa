//! Waiting for something to be so, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// How often a probe is asked again.
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Ok`, and returns what it answered.
///
/// # Panics
/// When `limit` passes first: with `what` was waited for and the last thing the probe saw instead.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) => assert!(
                begun.elapsed() < limit,
                "waited {:.1} s for {what}; seen instead: {seen}",
                limit.as_secs_f64()
            ),
        }
        thread::sleep(PROBE_EVERY);
    }
}

/// Asks `check` again and again for the whole of `span`; it panics itself when what must hold does not.
pub fn throughout(span: Duration, mut check: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        check();
        thread::sleep(PROBE_EVERY * 5);
    }
    check();
}
