//! The journal: one append-only table of facts in SQLite, and the mark of the axis.
//!
//! A fact is answered only after the commit that holds it (WAL, `synchronous = FULL`). Verdicts are not
//! stored: they are a pure function of the facts. Read `schema` for the tables, `read` for what views
//! ask of a run.
//!
//! Invariant: SQL is written here and nowhere else; after an I/O error nothing is written again, because
//! the `fsync` after a failed one says OK without having written.

mod read;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastbeat_engine::Moment;
use lastbeat_wire::{FactId, RunId, Source};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

pub(crate) use read::{Reader, StoredFact};

use crate::clock::Mark;

/// The database's name in the data directory.
const FILE_NAME: &str = "journal.sqlite3";
/// Held for as long as a collector works on the data directory.
const LOCK_NAME: &str = "lock";
/// How long a commit waits for somebody who looks into the database with a tool of their own.
const BUSY_MAX: Duration = Duration::from_millis(500);
/// Commits between two checkpoints: about 4 MB of WAL when each holds a single fact.
const CHECKPOINT_EVERY_COMMITS: u32 = 512;
/// Facts between two checkpoints, for large batches.
const CHECKPOINT_EVERY_FACTS: usize = 4_096;

/// What went wrong with the journal, and what was being done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}", path.display())]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The lock file cannot be used.
    #[error("cannot lock the data directory {}", path.display())]
    Lock {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another collector has the data directory.
    #[error("another collector works on the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("cannot open the journal {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database was written by a newer version, or is none of ours.
    #[error("the journal {} has schema {found}, this version knows {known}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Facts or the axis cannot be written.
    #[error("cannot append {facts} facts to the journal")]
    Append {
        /// How many were to be written.
        facts: usize,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The write-ahead log cannot be brought into the database.
    #[error("cannot checkpoint the journal")]
    Checkpoint {
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Stored facts cannot be read.
    #[error("cannot read the journal")]
    Read {
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// An earlier write failed in a way that forbids another.
    #[error("the journal is read-only since a write failed")]
    ReadOnly,
}

/// One fact to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its identity.
    pub(crate) id: FactId,
    /// The service's name.
    pub(crate) service: &'a str,
    /// The worker's name.
    pub(crate) worker: &'a str,
    /// When it was taken.
    pub(crate) taken: Moment,
    /// How old it was then.
    pub(crate) age_ms: u64,
    /// Whether it came from a living speaker; a spooled one is no presence.
    pub(crate) live: bool,
    /// The signal in canonical JSON.
    pub(crate) signal_json: &'a str,
}

/// What became of one fact of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is new, and now in the journal.
    New,
    /// It was there before; the same content.
    Known,
    /// Its identity was there before, with other content. Nothing was written.
    Conflict,
}

/// What the journal knew when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The collector's identity; it stays with its journal.
    pub(crate) collector_id: RunId,
    /// How often a collector was started on it, this time included.
    pub(crate) epoch: u64,
    /// Where the axis stood; none in a fresh journal.
    pub(crate) last_mark: Option<Mark>,
}

/// The writing side; the keeper owns the only one.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Connection,
    path: PathBuf,
    /// Set by a failure after which nothing may be written.
    read_only: bool,
    commits_since_checkpoint: u32,
    facts_since_checkpoint: usize,
    /// Dropped last: another collector may take the directory then.
    _lock: File,
}

impl Journal {
    /// Opens the journal of a data directory, or makes a fresh one, and counts one more start.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, Opening), JournalError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|source| JournalError::MakeDirectory { path: data_dir.into(), source })?;
        let lock = lock(data_dir)?;
        let path = data_dir.join(FILE_NAME);
        let failed = |source| JournalError::Open { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(BUSY_MAX).map_err(failed)?;
        schema::prepare(&mut connection, &path)?;
        let opening = schema::count_start(&mut connection).map_err(failed)?;
        let journal = Self {
            connection,
            path,
            read_only: false,
            commits_since_checkpoint: 0,
            facts_since_checkpoint: 0,
            _lock: lock,
        };
        Ok((journal, opening))
    }

    /// The reading side, for views.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.path.clone())
    }

    /// Whether an earlier failure forbids writing.
    pub(crate) const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Writes facts and the mark in one transaction: when this returns, they survive a power cut.
    ///
    /// When it fails nothing of the batch is written. A full disk may have room again later; after
    /// any other failure of the disk the journal stays read-only.
    pub(crate) fn append(
        &mut self,
        entries: &[Entry<'_>],
        mark: Mark,
    ) -> Result<Vec<Appended>, JournalError> {
        if self.read_only {
            return Err(JournalError::ReadOnly);
        }
        let outcome = write(&mut self.connection, entries, mark);
        let appended = self.judge(outcome, |source| JournalError::Append { facts: entries.len(), source })?;
        self.commits_since_checkpoint += 1;
        self.facts_since_checkpoint += entries.len();
        Ok(appended)
    }

    /// Brings the write-ahead log into the database when enough has gathered.
    ///
    /// SQLite's own checkpoint at commit is off: it would swallow a failed `fsync`.
    pub(crate) fn tend(&mut self) -> Result<(), JournalError> {
        let due = self.commits_since_checkpoint >= CHECKPOINT_EVERY_COMMITS
            || self.facts_since_checkpoint >= CHECKPOINT_EVERY_FACTS;
        if self.read_only || !due {
            return Ok(());
        }
        let outcome = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.judge(outcome, |source| JournalError::Checkpoint { source })?;
        self.commits_since_checkpoint = 0;
        self.facts_since_checkpoint = 0;
        Ok(())
    }

    /// The highest count of one voice of a run; 0 when it said nothing.
    pub(crate) fn highest_seq(&self, run_id: RunId, source: Source) -> Result<u64, JournalError> {
        let run_id = run_id.as_u128().to_be_bytes();
        let highest = self
            .connection
            .query_row(read::HIGHEST, params![run_id, source.as_str()], |row| row.get::<_, Option<i64>>(0));
        let highest = highest.map_err(|source| JournalError::Read { source })?;
        Ok(highest.map_or(0, i64::cast_unsigned))
    }

    /// Hands every fact, in the order of the journal, to `take`.
    ///
    /// A row that is not what this version writes is handed over as its error: the others still count.
    pub(crate) fn replay(
        &self,
        mut take: impl FnMut(rusqlite::Result<StoredFact>),
    ) -> Result<(), JournalError> {
        let failed = |source| JournalError::Read { source };
        let mut statement = self.connection.prepare(read::ALL).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            take(StoredFact::from_row(row));
        }
        Ok(())
    }

    fn judge<T>(
        &mut self,
        outcome: rusqlite::Result<T>,
        error: impl FnOnce(rusqlite::Error) -> JournalError,
    ) -> Result<T, JournalError> {
        outcome.map_err(|source| {
            if !may_pass(&source) {
                self.read_only = true;
            }
            error(source)
        })
    }

    /// Lets a test fill the disk: no more pages than there are now.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: Option<u32>) -> rusqlite::Result<()> {
        let pages = pages.unwrap_or(1_000_000);
        self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
    }
}

fn lock(data_dir: &Path) -> Result<File, JournalError> {
    let failed = |source| JournalError::Lock { path: data_dir.into(), source };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join(LOCK_NAME))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: data_dir.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Whether a failure may pass by itself: no room, no memory, or a lock. Nothing was synced then.
fn may_pass(error: &rusqlite::Error) -> bool {
    let Some(failure) = error.sqlite_error() else { return false };
    matches!(
        failure.code,
        ErrorCode::DiskFull | ErrorCode::OutOfMemory | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked
    ) || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
}

fn write(connection: &mut Connection, entries: &[Entry<'_>], mark: Mark) -> rusqlite::Result<Vec<Appended>> {
    // Dropped without a commit, a transaction rolls back.
    let transaction = connection.transaction()?;
    let mut appended = Vec::with_capacity(entries.len());
    {
        let mut insert = transaction.prepare_cached(schema::INSERT)?;
        let mut stored = transaction.prepare_cached(schema::STORED)?;
        for entry in entries {
            let (run_id, source, seq) = key(entry.id);
            let new = insert.execute(params![
                run_id,
                source.as_str(),
                seq,
                entry.service,
                entry.worker,
                entry.taken.as_millis().cast_signed(),
                entry.age_ms.cast_signed(),
                entry.live,
                entry.signal_json,
            ])?;
            appended.push(if new == 1 {
                Appended::New
            } else {
                let same: Option<bool> = stored
                    .query_row(params![run_id, source.as_str(), seq, entry.signal_json], |row| row.get(0))
                    .optional()?;
                if same == Some(true) { Appended::Known } else { Appended::Conflict }
            });
        }
        transaction
            .prepare_cached(schema::SET_AXIS)?
            .execute(params![mark.moment.as_millis().cast_signed(), mark.wall_ms.cast_signed()])?;
    }
    transaction.commit()?;
    Ok(appended)
}

fn key(id: FactId) -> ([u8; 16], Source, i64) {
    // The door takes no seq over i64::MAX.
    (id.run_id.as_u128().to_be_bytes(), id.source, id.seq.cast_signed())
}
