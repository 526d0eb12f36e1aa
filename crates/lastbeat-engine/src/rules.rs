//! Every deadline there is, in one place, each with the rule it serves.

/// The deadlines, in milliseconds. All but the run's own interval, promises and grace are scaled together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Beat interval of a run that named none (default 5,000).
    pub interval_ms: u64,
    /// `overdue` after this many intervals of silence.
    pub overdue_intervals: u64,
    /// `unreachable` after this many intervals of silence.
    pub unreachable_intervals: u64,
    /// `lost` after this many intervals of silence, but not before [`Rules::lost_floor_ms`].
    pub lost_intervals: u64,
    /// The least silence that may be called `lost` (default 15,000).
    pub lost_floor_ms: u64,
    /// From the close of the newest link without a final to `lost` (default 10,000: a proxy's restart
    /// drops a socket for up to 6 s).
    pub link_ms: u64,
    /// Stop deadline of a run whose ask, client and witness named none (default 30,000).
    pub stop_ms: u64,
    /// The longest single extension of a stop deadline (default 60,000).
    pub extend_max_ms: u64,
    /// All extensions of one stop together (default 600,000).
    pub extend_total_ms: u64,
    /// An agent is stuck after so many of its own progress intervals without progress (3).
    pub stuck_intervals: u64,
    /// Start deadline (default 60,000).
    pub start_ms: u64,
    /// A witnessed run that lives this long after its final did not keep its word (default 10,000).
    pub goodbye_ms: u64,
    /// Stop signals within this time of the first are one request (default 1,000; not scaled: people are not).
    pub one_request_ms: u64,
    /// An ending's alert resolves when a successor was ready this long (default 60,000).
    pub steady_ms: u64,
    /// So many bad endings within [`Rules::loop_ms`] are a crash loop (default 5).
    pub loop_endings: usize,
    /// See [`Rules::loop_endings`] (default 60,000).
    pub loop_ms: u64,
    /// Suspended for longer than this pages (default 60,000).
    pub suspended_ms: u64,
    /// So many watched runs at least are needed to call a silence a mass silence (default 8).
    pub mass_runs: usize,
    /// They must be on so many hosts at least (default 2).
    pub mass_hosts: usize,
    /// One in this many of them must be silent (default 2: half).
    pub mass_one_in: usize,
    /// The members of a mass silence are called lost after this (default 300,000).
    pub mass_ms: u64,
    /// A worker that stopped or completed leaves the list after this (86,400,000; not scaled).
    pub stopped_kept_ms: u64,
    /// One that failed leaves the list after this (604,800,000; not scaled).
    pub failed_kept_ms: u64,
    /// The longest restart promise that is believed (600,000; not scaled).
    pub promise_max_ms: u64,
    /// The most workers of one roster (1,000,000): what names itself anew with every start would fill any memory.
    pub workers_max: usize,
    /// Resolved alerts are told this long (3,600,000; not scaled).
    pub resolved_kept_ms: u64,
    /// A wrong rule, to see whether it is caught.
    #[cfg(feature = "planted")]
    pub planted: Option<crate::planted::Bug>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            interval_ms: 5_000,
            overdue_intervals: 2,
            unreachable_intervals: 3,
            lost_intervals: 6,
            lost_floor_ms: 15_000,
            link_ms: 10_000,
            stop_ms: 30_000,
            extend_max_ms: 60_000,
            extend_total_ms: 600_000,
            stuck_intervals: 3,
            start_ms: 60_000,
            goodbye_ms: 10_000,
            one_request_ms: 1_000,
            steady_ms: 60_000,
            loop_endings: 5,
            loop_ms: 60_000,
            suspended_ms: 60_000,
            mass_runs: 8,
            mass_hosts: 2,
            mass_one_in: 2,
            mass_ms: 300_000,
            stopped_kept_ms: 86_400_000,
            failed_kept_ms: 604_800_000,
            promise_max_ms: 600_000,
            workers_max: 1_000_000,
            resolved_kept_ms: 3_600_000,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

impl Rules {
    /// The default deadlines times `scale` (`LASTBEAT_DEADLINES_SCALE`); never below one millisecond.
    #[must_use]
    pub fn scaled(scale: f64) -> Self {
        let times = |ms: u64| {
            // Milliseconds of minutes are far below 2^52, so the float holds them exactly.
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let scaled = (ms as f64 * scale).round() as u64;
            scaled.max(1)
        };
        let plain = Self::default();
        Self {
            interval_ms: times(plain.interval_ms),
            lost_floor_ms: times(plain.lost_floor_ms),
            link_ms: times(plain.link_ms),
            stop_ms: times(plain.stop_ms),
            extend_max_ms: times(plain.extend_max_ms),
            extend_total_ms: times(plain.extend_total_ms),
            loop_ms: times(plain.loop_ms),
            suspended_ms: times(plain.suspended_ms),
            start_ms: times(plain.start_ms),
            goodbye_ms: times(plain.goodbye_ms),
            steady_ms: times(plain.steady_ms),
            mass_ms: times(plain.mass_ms),
            ..plain
        }
    }

    /// The full silence timeout of a run with this interval: max(6T, 15 s).
    #[must_use]
    pub fn silence_ms(&self, interval_ms: u64) -> u64 {
        interval_ms.saturating_mul(self.lost_intervals).max(self.lost_floor_ms)
    }
}
