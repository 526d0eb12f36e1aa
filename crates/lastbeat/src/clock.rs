//! The client's clocks: how long ago a thing was said, whatever the wall clock does meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastbeat_wire::spool::Instant as SpoolInstant;

/// Milliseconds since boot, suspended time included: a fact said before the lid was closed is old.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn boottime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

/// Milliseconds since this process first asked; elsewhere no boot-time clock is at hand.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn boottime_ms() -> u64 {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    whole_ms(FIRST.get_or_init(std::time::Instant::now).elapsed())
}

/// Now, in the form a spool file keeps.
pub(crate) fn spool_instant() -> SpoolInstant {
    SpoolInstant {
        boot_id: boot_id(),
        boottime_ms: boottime_ms(),
        wall_ms: whole_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
    }
}

/// The kernel's boot id, where there is one.
pub(crate) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// A duration in whole milliseconds.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
