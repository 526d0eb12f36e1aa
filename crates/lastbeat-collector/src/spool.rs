//! The reading side of the spool directory: facts that nobody took when they happened.
//!
//! A file is removed only when the journal has every fact of it. Spooled facts are never presence: the
//! process that wrote them may be long gone.
//!
//! Invariant: a file that cannot be used is set aside under another name and logged, never removed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lastbeat_wire::Refusal;
use lastbeat_wire::envelope::Decoded;
use lastbeat_wire::spool::{self, EXTENSION, FILE_MAX_BYTES};
use tracing::{info, warn};

use crate::clock;
use crate::counters::Counters;
use crate::ingest::door::is_temporary;
use crate::keeper::inbox::{Inbox, Outcome, Via};

/// The most files of one pass; the others wait for the next.
const FILES_PER_PASS_MAX: usize = 256;
/// The most directory entries one pass looks at.
const ENTRIES_PER_PASS_MAX: usize = 65_536;
/// The ending of a file that was set aside.
const DAMAGED: &str = "damaged";

/// One file as it was read.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    /// Device, inode, size and time of change: a writer may have put a newer file in its place.
    identity: Identity,
    bytes: usize,
    /// What its lines said; none when the header cannot be believed.
    lines: Result<Vec<Result<Decoded, Refusal>>, Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64, u64, i64, i64);

/// Reads what lies in the directory, hands it to the keeper and tidies up what the journal has.
pub(crate) async fn pass(directory: &Path, inbox: &Inbox, counters: &Counters, unreadable: &mut Unreadable) {
    let found = crate::assembly::blocking({
        let (directory, known) = (directory.to_owned(), unreadable.clone());
        move || scan(&directory, known)
    });
    let Some((found, known)) = found.await else { return };
    *unreadable = known;
    for file in found {
        deliver(file, inbox, counters).await;
    }
}

/// Names of files that could not be read, so that each is logged once. Every pass tries
/// them again: want of file descriptors or a disk's fault may pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unreadable(BTreeSet<OsString>);

async fn deliver(file: Found, inbox: &Inbox, counters: &Counters) {
    let Found { path, identity, bytes, lines } = file;
    let settled = match lines {
        Err(refusal) => {
            warn!(file = %path.display(), error = %refusal, "a spool file cannot be believed and is set aside");
            Settled::SetAside
        }
        Ok(lines) => {
            let mut refused = 0;
            let mut envelopes = Vec::with_capacity(lines.len());
            for line in lines {
                match line {
                    Ok(decoded) => envelopes.push(decoded),
                    Err(refusal) => {
                        refused += 1;
                        warn!(file = %path.display(), error = %refusal, "a line of a spool file is refused");
                    }
                }
            }
            let Ok(outcomes) = inbox.submit(envelopes, Via::Spool, bytes).await else { return };
            settle(&path, refused, &outcomes, counters)
        }
    };
    if matches!(settled, Settled::SetAside) {
        counters.spool_damaged.bump();
    }
    // Whether it worked is seen by the next pass: a file that is still there is read again.
    let _ = crate::assembly::blocking(move || tidy(&path, identity, settled)).await;
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The journal has all of it.
    Remove,
    /// Some of it will never be taken.
    SetAside,
    /// The journal cannot take it now.
    Keep,
}

fn settle(path: &Path, mut refused: usize, outcomes: &[Outcome], counters: &Counters) -> Settled {
    if outcomes.iter().any(is_temporary) {
        return Settled::Keep;
    }
    let mut taken = 0;
    for outcome in outcomes {
        match outcome {
            Ok(_) => taken += 1,
            Err(refusal) => {
                refused += 1;
                warn!(file = %path.display(), code = %refusal.code, error = %refusal, "a spooled fact is refused");
            }
        }
    }
    counters.spool_facts.add(taken);
    info!(file = %path.display(), taken, refused, "delivered a spool file");
    if refused == 0 { Settled::Remove } else { Settled::SetAside }
}

fn scan(directory: &Path, mut unreadable: Unreadable) -> (Vec<Found>, Unreadable) {
    let Ok(entries) = fs::read_dir(directory) else { return (Vec::new(), unreadable) };
    let mut names: Vec<OsString> = entries
        .take(ENTRIES_PER_PASS_MAX)
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == EXTENSION))
        .collect();
    // A run's `self` is read before its `witness`, and older runs before newer ones.
    names.sort();
    unreadable.0.retain(|name| names.binary_search(name).is_ok());
    let mut found = Vec::new();
    for name in names {
        // A file that cannot be read takes no place from one that can.
        if found.len() == FILES_PER_PASS_MAX {
            break;
        }
        match read(&directory.join(&name)) {
            Ok(file) => {
                unreadable.0.remove(&name);
                found.push(file);
            }
            // Delivered and removed by somebody else.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = directory.join(&name);
                if unreadable.0.insert(name) {
                    warn!(file = %path.display(), %error, "a spool file cannot be read; it is tried again");
                }
            }
        }
    }
    (found, unreadable)
}

fn read(path: &Path) -> io::Result<Found> {
    let file = File::open(path)?;
    let identity = identity(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let lines = if bytes.len() > FILE_MAX_BYTES {
        let message = format!("spool file: over {FILE_MAX_BYTES} bytes");
        Err(Refusal::new(lastbeat_wire::Code::BodyTooLarge, message))
    } else {
        spool::decode(&bytes, &clock::spool_instant())
    };
    Ok(Found { path: path.to_owned(), identity, bytes: bytes.len(), lines })
}

fn identity(metadata: &fs::Metadata) -> Identity {
    Identity(metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

fn tidy(path: &Path, read: Identity, settled: Settled) -> io::Result<()> {
    // A writer that put newer facts in its place has renamed another file here.
    if identity(&fs::metadata(path)?) != read {
        return Ok(());
    }
    match settled {
        Settled::Remove => fs::remove_file(path),
        Settled::SetAside => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".");
            aside.push(DAMAGED);
            fs::rename(path, aside)
        }
        Settled::Keep => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trial::{Trial, envelope, run};

    #[tokio::test]
    async fn a_file_that_could_not_be_read_once_is_delivered_as_soon_as_it_can() {
        let trial = Trial::new().await;
        let directory = &trial.config.spool_dir;
        let (state, mut unreadable) = (&trial.parts.state, Unreadable::default());
        // A directory opens like a file and fails the read, for root too.
        let file = directory.join("a.self.spool");
        fs::create_dir_all(&file).unwrap();
        pass(directory, &state.inbox, &state.counters, &mut unreadable).await;
        assert_eq!(unreadable.0.len(), 1, "known, so that it is logged once");

        fs::remove_dir(&file).unwrap();
        let final_beat = envelope(run(1), "self", 3, json!({ "type": "final", "class_hint": "completed" }));
        let final_beat = serde_json::from_value(final_beat).unwrap();
        fs::write(&file, spool::encode(&clock::spool_instant(), &[final_beat]).unwrap()).unwrap();
        pass(directory, &state.inbox, &state.counters, &mut unreadable).await;
        assert_eq!(state.journal.facts_of(run(1)).unwrap().len(), 1);
        assert!(!file.exists());
        assert_eq!(unreadable.0.len(), 0);
    }

    #[tokio::test]
    async fn files_that_cannot_be_read_take_no_place_from_those_that_can() {
        let directory = tempfile::TempDir::new().unwrap();
        for number in 0..FILES_PER_PASS_MAX {
            fs::create_dir(directory.path().join(format!("a{number}.self.spool"))).unwrap();
        }
        fs::write(directory.path().join("b.self.spool"), "").unwrap();
        let (found, unreadable) = scan(directory.path(), Unreadable::default());
        assert_eq!((found.len(), unreadable.0.len()), (1, FILES_PER_PASS_MAX));
    }
}
