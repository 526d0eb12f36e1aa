//! The one axis of time the engine knows.

/// Milliseconds on the collector's journaled axis. It never goes backwards; what it has to do with a wall
/// clock is the collector's business, and no verdict's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment this many milliseconds after the axis began.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the axis began.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Later by this many milliseconds; stays at the end of the axis rather than wrapping.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Earlier by this many milliseconds; stays at its beginning rather than wrapping.
    #[must_use]
    pub const fn less(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds since an earlier moment; 0 when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
