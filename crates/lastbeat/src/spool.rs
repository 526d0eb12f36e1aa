//! The spool: facts on disk that no collector has acknowledged, for whoever delivers them later.
//!
//! Written whole beside its place, synced, renamed, and the directory synced; removed only when every
//! fact in it was acknowledged durable. The form of a file is the wire crate's.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use lastbeat_wire::envelope::ENVELOPE_MAX_BYTES;
use lastbeat_wire::spool::{EXTENSION, Instant, decode_lines, encode_into, file_name};
use lastbeat_wire::{Envelope, RunId, Signal, Source};

use crate::courier::Identity;

/// The most files of earlier runs that one run delivers.
const LEFTOVERS_MAX: usize = 16;
/// The most entries of the directory looked at for them.
const ENTRIES_MAX: usize = 4_096;
/// The largest file of an earlier run that is delivered, in bytes: twice a full outbox with long texts. A larger one
/// is left to the collector of this host or `lastbeat flush`, which are no guests in somebody's memory.
const LEFTOVER_MAX_BYTES: u64 = 512 * 1024;
/// What of a file is read to see whose it is: more than its header and its first fact.
const HEAD_MAX_BYTES: u64 = 1_024 + ENVELOPE_MAX_BYTES as u64;

/// Where one voice's file lies.
pub(crate) fn path_of(dir: &Path, run_id: RunId, source: Source) -> PathBuf {
    dir.join(file_name(run_id, source))
}

/// Writes the file; when this returns, it survives a power cut.
pub(crate) fn write(path: &Path, now: &Instant, envelopes: &[Envelope]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a spool file has a directory"))?;
    create_dir(dir)?;
    // The pid keeps two processes apart that speak of one run, client and witness.
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = create_private(&beside).and_then(|file| {
        let mut out = BufWriter::new(file);
        encode_into(&mut out, now, envelopes)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        drop(fs::remove_file(&beside));
        return Err(error);
    }
    sync_dir(dir)
}

/// Removes a file, if it is still there: the collector of this host may have been first.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        crate::events::quietly(
            || tracing::debug!(path = %path.display(), %error, "a delivered spool file could not be removed"),
        );
    }
}

/// A file of an earlier run of the same worker.
#[derive(Debug)]
pub(crate) struct Leftover {
    path: PathBuf,
    pub(crate) envelopes: Vec<Envelope>,
    digest: u64,
}

impl Leftover {
    /// Reads one of [`leftovers`]. None when it is not to be delivered: a file with a damaged line is left alone,
    /// the collector of this host or `lastbeat flush` will report it.
    pub(crate) fn read(path: PathBuf, identity: &Identity, now: &Instant) -> Option<Self> {
        let bytes = read_up_to(&path, LEFTOVER_MAX_BYTES + 1)?;
        if bytes.len() as u64 > LEFTOVER_MAX_BYTES {
            return None;
        }
        let read = decode_lines(&bytes, now).ok()?;
        let envelopes: Vec<Envelope> =
            read.map(|line| line.map(|read| read.envelope)).collect::<Result<_, _>>().ok()?;
        // Without an ending it could be of a run that lives, and its facts would look like a sign of life.
        let tells_an_ending =
            envelopes.iter().any(|envelope| matches!(envelope.signal, Signal::Final(_) | Signal::Exit(_)));
        let is_theirs = envelopes.iter().all(|envelope| is_earlier(envelope, identity));
        (is_theirs && tells_an_ending).then(|| Self { path, envelopes, digest: digest(&bytes) })
    }

    /// Removes the file, unless its run has written it anew meanwhile.
    pub(crate) fn remove(&self) {
        let bytes = read_up_to(&self.path, LEFTOVER_MAX_BYTES + 1);
        if bytes.is_some_and(|bytes| digest(&bytes) == self.digest) {
            remove(&self.path);
        }
    }
}

/// Finds what earlier runs of this worker left, by the first fact of each file; the files are read one by one when
/// their turn comes, since all of them at once would be a lot for a guest.
pub(crate) fn leftovers(dir: &Path, identity: &Identity, now: &Instant) -> VecDeque<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return VecDeque::new() };
    entries
        .take(ENTRIES_MAX)
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
        .filter(|path| first_fact(path, now).is_some_and(|first| is_earlier(&first, identity)))
        .take(LEFTOVERS_MAX)
        .collect()
}

fn first_fact(path: &Path, now: &Instant) -> Option<Envelope> {
    let head = read_up_to(path, HEAD_MAX_BYTES)?;
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let length = lines.next()?.len() + lines.next()?.len();
    Some(decode_lines(&head[..length], now).ok()?.next()?.ok()?.envelope)
}

fn is_earlier(envelope: &Envelope, identity: &Identity) -> bool {
    envelope.service == identity.service
        && envelope.worker == identity.worker
        && (envelope.run_id, envelope.source) != (identity.run_id, identity.source)
}

fn read_up_to(path: &Path, max_bytes: u64) -> Option<Vec<u8>> {
    // A pipe by such a name would be waited for until somebody writes into it.
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(max_bytes)).ok()? + 1);
    File::open(path).ok()?.take(max_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use lastbeat_wire::signal::Final;
    use lastbeat_wire::{Name, Refusal};

    use lastbeat_wire::spool::decode;

    use super::*;
    use crate::outbox::Outbox;

    fn identity(number: u128) -> Identity {
        Identity {
            run_id: RunId::from_u128(number),
            source: Source::Own,
            service: Name::new("trader").expect("a name"),
            worker: Name::new("main").expect("a name"),
        }
    }

    fn at(boottime_ms: u64) -> Instant {
        Instant { boot_id: Some("boot".into()), boottime_ms, wall_ms: 0 }
    }

    fn final_of(number: u128) -> Vec<Envelope> {
        let mut outbox = Outbox::new(identity(number));
        outbox.say(Signal::Final(Final::default()), 1_000);
        outbox.to_spool(1_500)
    }

    #[test]
    fn what_is_written_reads_back_with_its_age_brought_up_to_now() -> Result<(), Refusal> {
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("state/spool");
        let path = path_of(&below, RunId::from_u128(7), Source::Own);
        write(&path, &at(1_500), &final_of(7)).expect("it is written");

        let bytes = fs::read(&path).expect("it is there");
        let read = decode(&bytes, &at(4_500))?;
        assert_eq!(read.len(), 1);
        let envelope = read[0].as_ref().expect("a whole line").envelope.clone();
        assert_eq!((envelope.seq, envelope.age_ms), (1, 3_500));
        assert_eq!(fs::read_dir(&below).expect("the directory").count(), 1, "no file is left beside it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).expect("its mode").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        Ok(())
    }

    #[test]
    fn an_earlier_runs_file_is_found_and_our_own_and_strangers_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in [7, 8] {
            let path = path_of(dir.path(), RunId::from_u128(number), Source::Own);
            write(&path, &at(1_500), &final_of(number)).expect("it is written");
        }
        fs::write(dir.path().join("torn.spool"), b"00000000 {}").expect("it is written");
        let found = leftovers(dir.path(), &identity(8), &at(2_500));
        assert_eq!(found.len(), 1);
        let leftover = Leftover::read(found[0].clone(), &identity(8), &at(2_500)).expect("a whole file");
        assert_eq!(leftover.envelopes[0].run_id, RunId::from_u128(7));

        write(&found[0], &at(9_000), &final_of(7)).expect("its run writes anew");
        leftover.remove();
        assert!(found[0].exists(), "what came since is not thrown away");
        let stranger = Identity { worker: Name::new("other").expect("a name"), ..identity(9) };
        assert!(leftovers(dir.path(), &stranger, &at(2_500)).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_by_the_name_of_a_file_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("a.self.spool");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
        let (tell, told) = std::sync::mpsc::channel();
        let path = dir.path().to_owned();
        std::thread::spawn(move || tell.send(leftovers(&path, &identity(8), &at(2_500)).len()));
        let found = told.recv_timeout(std::time::Duration::from_secs(10));
        // Whoever opens its other end lets the one who waits go.
        drop(fs::OpenOptions::new().read(true).write(true).open(&pipe));
        assert_eq!(found, Ok(0));
    }

    #[test]
    fn an_earlier_runs_file_that_would_fill_a_guests_memory_is_left_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = path_of(dir.path(), RunId::from_u128(7), Source::Own);
        let envelope = final_of(7).remove(0);
        let many: Vec<Envelope> = (1..6_000).map(|seq| Envelope { seq, ..envelope.clone() }).collect();
        write(&path, &at(1_500), &many).expect("it is written");
        assert!(fs::metadata(&path).expect("it is there").len() > LEFTOVER_MAX_BYTES);
        let found = leftovers(dir.path(), &identity(8), &at(2_500));
        assert_eq!(found.len(), 1);
        assert!(Leftover::read(found[0].clone(), &identity(8), &at(2_500)).is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, b"").expect("it is written");
        let path = path_of(&file, RunId::from_u128(7), Source::Own);
        assert!(write(&path, &at(0), &final_of(7)).is_err());
    }
}
