//! The one-use claim: whoever of the child and its offspring removes this file first is this run.
//!
//! The child's environment names the run, its witness and the claim. A linked client joins only if its
//! parent is the witness and it removed the file, so a grandchild or a re-executed self cannot.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastbeat_wire::RunId;

/// A claim this old is nobody's: a client joins when it starts. Its witness was killed, or has no client.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most entries of the directory looked at for them.
const ENTRIES_MAX: usize = 4_096;
/// The most of them removed at once.
const SWEPT_MAX: usize = 256;

/// The variables by which a child finds its claim. Those of a witness above us are none of our child's: joined by
/// them it would speak for the other run.
pub(crate) const VARIABLES: [&str; 3] = ["LASTBEAT_RUN_ID", "LASTBEAT_WITNESS_PID", "LASTBEAT_CLAIM"];

/// A claim on disk; what nobody used goes with it.
pub(crate) struct Claim {
    path: PathBuf,
}

impl Claim {
    /// Puts the file in place, readable for this user only.
    pub(crate) fn put(spool_dir: &Path, run_id: RunId) -> io::Result<Self> {
        let dir = spool_dir.join("claims");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        sweep(&dir);
        // The child may start elsewhere (`--cwd`): it needs the whole path.
        let path = std::path::absolute(dir.join(run_id.to_string()))?;
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path })
    }

    /// What the child's environment says of it.
    pub(crate) fn environment(&self, run_id: RunId) -> [(&'static str, OsString); 3] {
        let [run, witness, claim] = VARIABLES;
        [
            (run, run_id.to_string().into()),
            (witness, std::process::id().to_string().into()),
            (claim, self.path.clone().into()),
        ]
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // It is gone where a client has joined.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what killed witnesses left, so that they do not fill the disk file by file.
fn sweep(dir: &Path) {
    // Tidying up is no reason to fail: what cannot be read or removed stays.
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    entries
        .take(ENTRIES_MAX)
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<RunId>().is_ok()))
        .filter(|entry| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            // A file of the future has no age.
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE))
        })
        .take(SWEPT_MAX)
        .for_each(|entry| drop(std::fs::remove_file(entry.path())));
}
