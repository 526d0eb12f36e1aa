//! A host in a process of its own: this same binary, started for [`host`](crate::host) and ordered about.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lastbeat_wire::signal::Final;
use lastbeat_wire::spool::{Instant as SpoolInstant, decode};
use lastbeat_wire::{Envelope, RunId};

use crate::LIMIT;
use crate::trouble::final_in;

/// What the process is to do.
pub(crate) const ROLE: &str = "LASTBEAT_MANNERS_ROLE";
/// Its flush budget.
pub(crate) const BUDGET_MS: &str = "LASTBEAT_MANNERS_BUDGET_MS";
/// What its lines begin with.
pub(crate) const MARK: &str = "host:";

/// A host, and what it left on disk.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    spool: PathBuf,
    /// Removed when the process is dropped.
    _folder: tempfile::TempDir,
}

/// How a host is started.
pub(crate) struct Start<'a> {
    pub(crate) role: &'a str,
    pub(crate) url: &'a str,
    pub(crate) budget: Duration,
    /// A program to start it under, with its arguments.
    pub(crate) under: &'a [&'a str],
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Where it spools, if not in a folder of its own.
    pub(crate) spool: Option<&'a Path>,
}

impl<'a> Start<'a> {
    pub(crate) const fn of(role: &'a str, url: &'a str) -> Self {
        Self { role, url, budget: Duration::from_secs(1), under: &[], env: &[], spool: None }
    }

    pub(crate) fn process(&self) -> Process {
        let this = std::env::current_exe().expect("this test binary");
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
            None => Command::new(this),
        };
        self.run(command.args(["--exact", "host::a_host", "--nocapture"]))
    }

    /// As [`Start::process`], of a program of one's own.
    pub(crate) fn run(&self, command: &mut Command) -> Process {
        let folder = tempfile::tempdir().expect("a directory");
        let spool = self.spool.map_or_else(|| folder.path().join("spool"), Path::to_path_buf);
        let mut child = command
            .env(ROLE, self.role)
            .env(BUDGET_MS, self.budget.as_millis().to_string())
            .env("LASTBEAT_COLLECTOR", self.url)
            .env("LASTBEAT_SPOOL_DIR", &spool)
            .env("RUST_BACKTRACE", "0")
            .envs(self.env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts; `./tests/run` installs what the tests need");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The name of the test stands before the first line of it.
                if let Some(at) = line.find(MARK) {
                    // The test may be over.
                    let _ = tell.send(line[at + MARK.len()..].trim().to_owned());
                }
            }
        });
        Process { child, stdin, lines, spool, _folder: folder }
    }
}

impl Process {
    /// All that it has said and nobody has read.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// What it says next with this word before it.
    pub(crate) fn says(&self, word: &str) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("it never says {word:?}"));
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn order(&mut self, word: &str) {
        let stdin = self.stdin.as_mut().expect("its standard input is open");
        writeln!(stdin, "{word}").expect("it listens");
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < until, "it ends");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The files in its spool directory.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.spool) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// What waits in its spool; every file must be whole.
    pub(crate) fn spooled(&self) -> Vec<Envelope> {
        let files = self.files();
        let whole = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "spool"));
        whole.flat_map(|path| spooled(path)).collect()
    }

    /// The final of a run that waits in the spool.
    pub(crate) fn spooled_final_of(&self, run: RunId) -> Option<Final> {
        self.spooled().iter().filter_map(final_in).find(|(of, _)| *of == run).map(|(_, fin)| fin)
    }

    pub(crate) fn has_spooled_its_final(&self, run: RunId) -> bool {
        self.spooled_final_of(run).is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spooled(file: &Path) -> Vec<Envelope> {
    let now = SpoolInstant { boot_id: None, boottime_ms: 0, wall_ms: 0 };
    let bytes = std::fs::read(file).expect("a spool file");
    let read = decode(&bytes, &now).expect("its header is whole");
    read.into_iter().map(|line| line.expect("a whole line").envelope).collect()
}
