//! The tables, and what is written when a collector starts.

use std::path::Path;

use lastbeat_engine::Moment;
use lastbeat_wire::RunId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{JournalError, Opening};
use crate::clock::Mark;

/// The version of these tables, in SQLite's `user_version`.
const VERSION: i64 = 1;

/// `taken_ms` is on the axis. `live` tells presence from what was delivered later from a spool.
const TABLES: &str = "
CREATE TABLE facts (
    row         INTEGER PRIMARY KEY,
    run_id      BLOB NOT NULL,
    source      TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    service     TEXT NOT NULL,
    worker      TEXT NOT NULL,
    taken_ms    INTEGER NOT NULL,
    age_ms      INTEGER NOT NULL,
    live        INTEGER NOT NULL,
    signal_json TEXT NOT NULL,
    UNIQUE (run_id, source, seq)
) STRICT;
CREATE TABLE axis (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    moment_ms INTEGER NOT NULL,
    wall_ms   INTEGER NOT NULL
) STRICT;
CREATE TABLE collector (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    collector_id BLOB NOT NULL,
    epoch        INTEGER NOT NULL
) STRICT;
";

/// Writes a fact unless its identity is there.
pub(super) const INSERT: &str = "
INSERT INTO facts (run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (run_id, source, seq) DO NOTHING";

/// Whether the fact of this identity has this content; `age_ms` apart, which grows while one waits.
pub(super) const STORED: &str =
    "SELECT signal_json = ?4 FROM facts WHERE run_id = ?1 AND source = ?2 AND seq = ?3";

/// Moves the mark of the axis.
pub(super) const SET_AXIS: &str = "
INSERT INTO axis (only_row, moment_ms, wall_ms) VALUES (1, ?1, ?2)
ON CONFLICT (only_row) DO UPDATE SET moment_ms = ?1, wall_ms = ?2";

/// Sets the connection up and makes the tables of a fresh journal.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let failed = |source| JournalError::Open { path: path.into(), source };
    let found = set_up(connection).map_err(failed)?;
    match found {
        0 => create(connection).map_err(failed),
        VERSION => Ok(()),
        found => Err(JournalError::Schema { path: path.into(), found, known: VERSION }),
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Counts one more start; a fresh journal mints the collector's identity.
pub(super) fn count_start(connection: &mut Connection) -> rusqlite::Result<Opening> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO collector (only_row, collector_id, epoch) VALUES (1, ?1, 1)
         ON CONFLICT (only_row) DO UPDATE SET epoch = epoch + 1",
        params![RunId::mint().as_u128().to_be_bytes()],
    )?;
    let (id, epoch): ([u8; 16], i64) =
        transaction.query_row("SELECT collector_id, epoch FROM collector", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let last_mark = transaction
        .query_row("SELECT moment_ms, wall_ms FROM axis", [], |row| {
            let (moment_ms, wall_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Mark {
                moment: Moment::from_millis(moment_ms.cast_unsigned()),
                wall_ms: wall_ms.cast_unsigned(),
            })
        })
        .optional()?;
    transaction.commit()?;
    Ok(Opening {
        collector_id: RunId::from_u128(u128::from_be_bytes(id)),
        epoch: epoch.cast_unsigned(),
        last_mark,
    })
}
