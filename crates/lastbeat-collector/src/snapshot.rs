//! What the keeper publishes and every view renders.

use std::sync::Arc;

use jiff::Timestamp;
use lastbeat_engine::{Moment, WallOffset};
use lastbeat_wire::RunId;

use crate::clock::{self, Mark};

/// Who this collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its identity; it stays with its journal.
    pub(crate) id: RunId,
    /// How often it was started on this journal, from 1.
    pub(crate) epoch: u64,
    /// When this start began.
    pub(crate) started: Moment,
}

/// What was known at one moment; immutable.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Workers, runs, alerts, and what was counted since the first fact of the journal.
    pub(crate) roster: lastbeat_engine::Snapshot,
    /// Silence is not judged before this moment: the collector was away.
    pub(crate) recovering_until: Moment,
    /// The journal cannot be written any more.
    pub(crate) journal_broken: bool,
}

/// A snapshot with a reading of the clock: all that a view needs.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// What was known.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The reading, on the collector's axis.
    pub(crate) now: Moment,
    /// What to add to a moment to get milliseconds since 1970.
    pub(crate) wall_offset_ms: i64,
    /// Who this collector is.
    pub(crate) identity: Identity,
    /// It is on its way out.
    pub(crate) stopping: bool,
}

impl Published {
    /// A snapshot at the reading of a clock.
    pub(crate) fn new(snapshot: Arc<Snapshot>, mark: Mark, identity: Identity, stopping: bool) -> Self {
        Self { snapshot, now: mark.moment, wall_offset_ms: mark.wall_offset_ms(), identity, stopping }
    }

    /// A moment as wall-clock time.
    pub(crate) fn at(&self, moment: Moment) -> Timestamp {
        let ms = moment.as_millis().cast_signed();
        clock::timestamp(ms.saturating_add(self.wall_offset_ms))
    }

    /// The same offset, as the engine's words take it.
    pub(crate) const fn offset(&self) -> WallOffset {
        WallOffset(self.wall_offset_ms)
    }

    /// Whether the collector is just back and waits before it judges silence.
    pub(crate) fn is_recovering(&self) -> bool {
        self.now < self.snapshot.recovering_until
    }
}
