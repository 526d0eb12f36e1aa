//! The collector's axis of moments, and the only reading of time.
//!
//! A moment is milliseconds on a journaled axis: it never goes backwards, follows the boot-time clock
//! while the collector runs (suspended time counts), and the wall clock's delta, never below zero,
//! across restarts. Wall time is only shown, never judged by.
//!
//! Invariant: no other module reads a clock; the crate's clippy.toml holds that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use lastbeat_engine::Moment;
use lastbeat_wire::spool;

/// The two clocks are read one after the other, and adjusted while they run, so their difference wavers. Only
/// when it has moved by more than this is a past moment shown at another time than before, and then by whole
/// seconds: so a restart shows it at the same time again.
const WAVER_MAX_MS: u64 = 750;

/// Where the axis stood, as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The moment.
    pub(crate) moment: Moment,
    /// The wall clock at that moment, in ms since 1970.
    pub(crate) wall_ms: u64,
}

/// The collector's clock: one for each start.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// The moment at which this start began.
    started: Moment,
    /// The boot-time clock at that moment, in ms.
    boottime_at_start_ms: u64,
    /// The offset by which moments are shown, for all clones.
    shown_offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Continues the axis after `last`, the last mark of the journal; without one it begins at wall time.
    pub(crate) fn continue_after(last: Option<Mark>) -> Self {
        let mark = Mark { moment: moment_after(last, wall_ms()), wall_ms: wall_ms() };
        Self {
            started: mark.moment,
            boottime_at_start_ms: boottime_ms(),
            // An axis begins at wall time.
            shown_offset_ms: Arc::new(AtomicI64::new(steady(0, mark.wall_offset_ms()))),
        }
    }

    /// The moment at which this start began.
    pub(crate) const fn started(&self) -> Moment {
        self.started
    }

    /// Now, on the axis.
    pub(crate) fn now(&self) -> Moment {
        self.started.plus(boottime_ms().saturating_sub(self.boottime_at_start_ms))
    }

    /// Now, with the wall clock beside it.
    pub(crate) fn mark(&self) -> Mark {
        Mark { moment: self.now(), wall_ms: wall_ms() }
    }

    /// Now, to show moments by: a past one is at the same wall time from one reading to the next, unless the wall
    /// clock was set.
    pub(crate) fn shown(&self) -> Mark {
        let mark = self.mark();
        let known = self.shown_offset_ms.load(Relaxed);
        let offset = steady(known, mark.wall_offset_ms());
        if offset != known {
            self.shown_offset_ms.store(offset, Relaxed);
        }
        let wall_ms = mark.wall_ms.saturating_add_signed(offset - mark.wall_offset_ms());
        Mark { moment: mark.moment, wall_ms }
    }
}

/// The offset to go on with, after one that was known and one that was read.
const fn steady(known_ms: i64, read_ms: i64) -> i64 {
    if read_ms.abs_diff(known_ms) <= WAVER_MAX_MS {
        return known_ms;
    }
    (read_ms + 500).div_euclid(1_000) * 1_000
}

impl Mark {
    /// What to add to a moment to get milliseconds since 1970.
    pub(crate) fn wall_offset_ms(self) -> i64 {
        // Both are at most some thousand years in milliseconds.
        self.wall_ms.cast_signed() - self.moment.as_millis().cast_signed()
    }
}

/// The point in time that spool files count their waiting from.
pub(crate) fn spool_instant() -> spool::Instant {
    spool::Instant { boot_id: boot_id(), boottime_ms: boottime_ms(), wall_ms: wall_ms() }
}

/// A reading to tell durations by, finer than moments are.
pub(crate) fn stopwatch() -> Duration {
    boottime()
}

/// The wall clock in `ahead` from now: when the collector says it will be back.
pub(crate) fn wall_in(ahead: Duration) -> Timestamp {
    let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
    timestamp(wall_ms().saturating_add(ahead_ms).cast_signed())
}

/// A wall-clock time for display; what jiff cannot hold is shown as its end.
pub(crate) fn timestamp(wall_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(wall_ms).unwrap_or(if wall_ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Where the axis goes on when the wall clock says `wall_ms`. A wall clock set back adds nothing.
fn moment_after(last: Option<Mark>, wall_ms: u64) -> Moment {
    match last {
        None => Moment::from_millis(wall_ms),
        Some(last) => last.moment.plus(wall_ms.saturating_sub(last.wall_ms)),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads time")]
fn wall_ms() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Before 1970 there is no log to compare with either.
    since_1970.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2))
}

fn boottime_ms() -> u64 {
    u64::try_from(boottime().as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads time")]
fn boottime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    Duration::from_secs(time.tv_sec.cast_unsigned()) + Duration::from_nanos(nanoseconds)
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Mark = Mark { moment: Moment::from_millis(5_000), wall_ms: 1_000_000 };

    #[test]
    fn a_first_start_begins_at_wall_time() {
        assert_eq!(moment_after(None, 1_234), Moment::from_millis(1_234));
    }

    #[test]
    fn an_absence_moves_the_axis_by_the_walls_delta() {
        assert_eq!(moment_after(Some(LAST), 1_060_000), Moment::from_millis(65_000));
    }

    #[test]
    fn a_wall_clock_set_back_never_turns_the_axis_back() {
        assert_eq!(moment_after(Some(LAST), 0), Moment::from_millis(5_000));
    }

    #[test]
    fn moments_of_one_start_never_go_backwards() {
        let clock = Clock::continue_after(Some(LAST));
        let readings: Vec<Moment> = (0..1_000).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] >= clock.started());
    }

    #[test]
    fn a_past_moment_is_shown_at_the_same_time_until_the_wall_clock_is_set() {
        for wavering in [-750, -1, 0, 1, 750] {
            assert_eq!(steady(1_000, 1_000 + wavering), 1_000);
        }
        assert_eq!(steady(0, 3_600_001), 3_600_000);
        assert_eq!(steady(0, 3_599_999), 3_600_000);
        assert_eq!(steady(3_600_000, -1_800_003), -1_800_000);
    }

    #[test]
    fn a_restart_shows_a_past_moment_at_the_same_time_again() {
        let before = Clock::continue_after(None);
        let mark = before.mark();
        let after = Clock::continue_after(Some(mark));
        assert_eq!(before.shown().wall_offset_ms(), after.shown().wall_offset_ms());
    }

    #[test]
    fn a_moment_is_shown_by_the_walls_present_offset() {
        let mark = Mark { moment: Moment::from_millis(5_000), wall_ms: 1_000_000 };
        assert_eq!(timestamp(4_000 + mark.wall_offset_ms()).as_millisecond(), 999_000);
    }
}
