//! What is read back: all facts for the replay, those of one run for a view.

use std::path::PathBuf;

use lastbeat_engine::Moment;
use lastbeat_wire::{FactId, RunId, Source};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::JournalError;

/// The most facts of one run that a view shows: the newest.
pub(crate) const FACTS_SHOWN_MAX: u32 = 1_000;

/// Every fact in the order of the journal.
pub(super) const ALL: &str = "
SELECT run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json FROM facts ORDER BY row";

/// The highest count of one voice of a run.
pub(super) const HIGHEST: &str = "SELECT MAX(seq) FROM facts WHERE run_id = ?1 AND source = ?2";

const OF_RUN: &str = "
SELECT run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json FROM (
    SELECT * FROM facts WHERE run_id = ?1 ORDER BY row DESC LIMIT ?2
) ORDER BY row";

/// One row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredFact {
    /// Its identity.
    pub(crate) id: FactId,
    /// The service's name.
    pub(crate) service: String,
    /// The worker's name.
    pub(crate) worker: String,
    /// When it was taken.
    pub(crate) taken: Moment,
    /// How old it was then.
    pub(crate) age_ms: u64,
    /// Whether it came from a living speaker.
    pub(crate) live: bool,
    /// The signal in canonical JSON.
    pub(crate) signal_json: String,
}

impl StoredFact {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index: usize| row.get::<_, i64>(index).map(i64::cast_unsigned);
        let source: String = row.get(1)?;
        let source = source
            .parse::<Source>()
            .map_err(|refusal| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, refusal.into()))?;
        Ok(Self {
            id: FactId {
                run_id: RunId::from_u128(u128::from_be_bytes(row.get(0)?)),
                source,
                seq: number(2)?,
            },
            service: row.get(3)?,
            worker: row.get(4)?,
            taken: Moment::from_millis(number(5)?),
            age_ms: number(6)?,
            live: row.get(7)?,
            signal_json: row.get(8)?,
        })
    }
}

/// The reading side: it never waits for the writer, nor the writer for it.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    path: PathBuf,
}

impl Reader {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The facts of one run in the order of receipt, at most [`FACTS_SHOWN_MAX`]. It blocks.
    pub(crate) fn facts_of(&self, run_id: RunId) -> Result<Vec<StoredFact>, JournalError> {
        self.read(run_id).map_err(|source| JournalError::Read { source })
    }

    fn read(&self, run_id: RunId) -> rusqlite::Result<Vec<StoredFact>> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        let mut statement = connection.prepare(OF_RUN)?;
        let rows = statement
            .query_map(params![run_id.as_u128().to_be_bytes(), FACTS_SHOWN_MAX], StoredFact::from_row)?;
        rows.collect()
    }
}
