//! The reading side of the spool directory: facts that nobody took when they happened.
//!
//! A file is removed only when the journal has every fact of it. Spooled facts are never presence: the
//! process that wrote them may be long gone.
//!
//! Invariant: a file that cannot be used is set aside under another name and logged, never removed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lastbeat_wire::Refusal;
use lastbeat_wire::envelope::Decoded;
use lastbeat_wire::spool::{self, EXTENSION, FILE_MAX_BYTES};
use rustix::fs::OFlags;
use tracing::{info, warn};

use crate::clock;
use crate::counters::Counters;
use crate::ingest::door::is_temporary;
use crate::keeper::inbox::{Inbox, Outcome, Via};

/// The most files of one pass; the others wait for the next.
const FILES_PER_PASS_MAX: usize = 256;
/// The most passes before the collector watches: a million files. Whoever writes faster than they are read has to
/// be watched meanwhile.
const DRAIN_PASSES_MAX: usize = 4_096;
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

/// How a pass left the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// There was room for all that lay there, or nothing of it could be taken.
    Nothing,
    /// As many files as a pass takes were there, and some are gone now: another pass finds others.
    More,
}

/// Reads what lies in the directory, hands it to the keeper and tidies up what the journal has.
pub(crate) async fn pass(
    directory: &Path,
    inbox: &Inbox,
    counters: &Counters,
    unreadable: &mut Unreadable,
) -> Left {
    let found = crate::assembly::blocking({
        let (directory, known) = (directory.to_owned(), unreadable.clone());
        move || scan(&directory, known)
    });
    let Some((found, known)) = found.await else { return Left::Nothing };
    *unreadable = known;
    let was_full = found.len() == FILES_PER_PASS_MAX;
    let mut some_are_gone = false;
    for file in found {
        some_are_gone |= deliver(file, inbox, counters).await;
    }
    if was_full && some_are_gone { Left::More } else { Left::Nothing }
}

/// Passes over the directory until nothing is left that can be taken: what happened in an absence is known before
/// anything is judged by it.
pub(crate) async fn drain(directory: &Path, inbox: &Inbox, counters: &Counters) {
    let mut unreadable = Unreadable::default();
    for _ in 0..DRAIN_PASSES_MAX {
        if pass(directory, inbox, counters, &mut unreadable).await == Left::Nothing {
            return;
        }
    }
    warn!(directory = %directory.display(), "there is no end to the spool: the rest is read while watching");
}

/// Names of files that could not be read, so that each is logged once. Every pass tries
/// them again: want of file descriptors or a disk's fault may pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unreadable(BTreeSet<OsString>);

/// Whether the file is gone from its place.
async fn deliver(file: Found, inbox: &Inbox, counters: &Counters) -> bool {
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
            let Ok(outcomes) = inbox.submit(envelopes, Via::Spool, bytes).await else { return false };
            settle(&path, refused, &outcomes, counters)
        }
    };
    if matches!(settled, Settled::SetAside) {
        counters.spool_damaged.bump();
    }
    // A file that is still there is read again by the next pass.
    let tidied = crate::assembly::blocking(move || tidy(&path, identity, settled)).await;
    settled != Settled::Keep && matches!(tidied, Some(Ok(())))
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
    // A pipe by such a name would be waited for until somebody writes into it, and the pass with it.
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let identity = identity(&metadata);
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
    async fn a_pipe_by_the_name_of_a_file_is_not_waited_for() {
        let directory = tempfile::TempDir::new().unwrap();
        let pipe = directory.path().join("a.self.spool");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let path = directory.path().to_owned();
        let scanning = tokio::task::spawn_blocking(move || scan(&path, Unreadable::default()));
        let limit = std::time::Duration::from_secs(10);
        let Ok(scanned) = tokio::time::timeout(limit, scanning).await else {
            // Whoever opens its other end lets the one who waits go, so that the test ends.
            drop(OpenOptions::new().read(true).write(true).open(&pipe));
            panic!("a pipe is waited for");
        };
        let (found, unreadable) = scanned.unwrap();
        assert_eq!((found.len(), unreadable.0.len()), (0, 1));
    }

    #[tokio::test]
    async fn all_that_waited_is_in_the_journal_before_anything_is_judged() {
        let trial = Trial::not_open(tempfile::TempDir::new().unwrap());
        let (directory, state) = (&trial.config.spool_dir, &trial.parts.state);
        fs::create_dir_all(directory).unwrap();
        let runs: Vec<_> = (0..=FILES_PER_PASS_MAX as u128).map(run).collect();
        for of in &runs {
            let last = envelope(*of, "self", 3, json!({ "type": "final", "class_hint": "completed" }));
            let last = serde_json::from_value(last).unwrap();
            let file = directory.join(spool::file_name(*of, lastbeat_wire::Source::Own));
            fs::write(file, spool::encode(&clock::spool_instant(), &[last]).unwrap()).unwrap();
        }
        crate::assembly::open(&trial.config, state).await.unwrap();
        for of in runs {
            assert_eq!(state.journal.facts_of(of).unwrap().len(), 1, "{of} waits for a later pass");
        }
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_taken_is_not_tried_again_and_again_before_the_start() {
        let trial = Trial::not_open(tempfile::TempDir::new().unwrap());
        let directory = &trial.config.spool_dir;
        // Files of damaged lines in a directory that cannot be tidied would be found by every pass.
        fs::create_dir_all(directory).unwrap();
        for number in 0..FILES_PER_PASS_MAX {
            fs::write(directory.join(format!("a{number}.self.spool")), "").unwrap();
            fs::create_dir_all(directory.join(format!("a{number}.self.spool.damaged/kept"))).unwrap();
        }
        let counters = Counters::default();
        let left = pass(directory, &trial.parts.state.inbox, &counters, &mut Unreadable::default()).await;
        assert_eq!(left, Left::Nothing);
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
