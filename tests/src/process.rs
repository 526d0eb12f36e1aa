//! One process: started, listened to, signalled, ended and reaped.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// The most that is kept of one process's output, in bytes; what comes after is read and let go.
const TRANSCRIPT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// How much of a process's output is shown when a test fails, in bytes.
const TAIL_BYTES: usize = 4_000;
/// How often a child is asked whether it has ended.
const REAP_EVERY: Duration = Duration::from_millis(2);
/// How long a process may take to go by itself once its children are gone.
const LAST_ORDERS: Duration = Duration::from_millis(500);

/// What a process has said so far, on both streams.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    text: String,
    /// How many streams may still say something.
    open: usize,
}

impl Transcript {
    /// Reads `stream` to its end on a thread of its own.
    pub fn follow(&self, mut stream: impl Read + Send + 'static) {
        let transcript = self.clone();
        self.lock().open += 1;
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count) = stream.read(&mut buffer)
                && count > 0
            {
                transcript.push(&String::from_utf8_lossy(&buffer[..count]));
            }
            transcript.lock().open -= 1;
            transcript.0.1.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: &str) {
        let mut said = self.lock();
        if said.text.len() < TRANSCRIPT_MAX_BYTES {
            said.text.push_str(text);
        }
        self.0.1.notify_all();
    }

    /// All of it, once nobody holds the streams any more who could say more; none when that takes longer.
    fn whole(&self, limit: Duration) -> Option<String> {
        let open = |said: &mut Said| said.open > 0;
        let (said, timeout) =
            self.0.1.wait_timeout_while(self.lock(), limit, open).unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then(|| said.text.clone())
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// The end of it, for a message about a failure.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = self.text();
        let cut = (text.len().saturating_sub(TAIL_BYTES)..=text.len()).find(|at| text.is_char_boundary(*at));
        let cut = cut.unwrap_or(0);
        if cut == 0 { text } else { format!("[{cut} bytes before]{}", &text[cut..]) }
    }

    /// The first whole line that holds `needle`, as soon as it is there.
    #[must_use]
    pub fn line(&self, needle: &str, limit: Duration) -> Option<String> {
        let find = |text: &str| {
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            whole.lines().find(|line| line.contains(needle)).map(str::to_owned)
        };
        let missing = |said: &mut Said| find(&said.text).is_none();
        let (said, _) =
            self.0.1.wait_timeout_while(self.lock(), limit, missing).unwrap_or_else(PoisonError::into_inner);
        find(&said.text)
    }
}

/// A child process. Dropped, it is ended with all its descendants, and reaped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    transcript: Transcript,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with all three streams in our hands.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let transcript = Transcript::default();
        transcript.follow(child.stdout.take().expect("piped"));
        transcript.follow(child.stderr.take().expect("piped"));
        let stdin = child.stdin.take();
        Self { name: name.into(), child, stdin, transcript, status: None }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.transcript.text()
    }

    /// All that it said, once it has ended with success.
    ///
    /// # Panics
    /// When it lives on past `limit`, failed, or left somebody behind who could say more.
    pub fn last_words(&mut self, limit: Duration) -> String {
        let status = self.end(limit);
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.transcript.tail());
        let whole = self.transcript.whole(limit);
        whole.unwrap_or_else(|| panic!("{} has ended, and its streams are held by others", self.name))
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it does not listen any more.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()) {
            panic!("{} does not take {line:?}: {error}\n{}", self.name, self.transcript.text());
        }
    }

    /// The first line of its output that holds `needle`.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub fn line(&mut self, needle: &str) -> String {
        self.line_within(needle, PATIENCE)
    }

    /// The first line of its output that holds `needle`.
    ///
    /// # Panics
    /// When none comes within `limit`.
    pub fn line_within(&mut self, needle: &str, limit: Duration) -> String {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.transcript.line(needle, Duration::from_millis(100)) {
                return line;
            }
            let ended = self.ended();
            assert!(
                ended.is_none() && begun.elapsed() < limit,
                "{} never said {needle:?} (ended: {ended:?}); it said:\n{}",
                self.name,
                self.transcript.tail()
            );
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended: {:?}\n{}", self.name, self.status, self.output());
        send(self.pid(), signal);
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it lives on past `limit`.
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                begun.elapsed() < limit,
                "{} (pid {}) still lives after {:.1} s; it said:\n{}",
                self.name,
                self.pid(),
                limit.as_secs_f64(),
                self.transcript.tail()
            );
            thread::sleep(REAP_EVERY);
        }
    }

    /// Closes its standard input and gives it `limit` to end by itself.
    pub fn hang_up(&mut self, limit: Duration) {
        drop(self.stdin.take());
        let begun = Instant::now();
        while self.ended().is_none() && begun.elapsed() < limit {
            thread::sleep(REAP_EVERY);
        }
    }

    /// Kills it as a power cut would, and reaps it.
    ///
    /// # Panics
    /// When the kernel does not deliver a KILL within [`PATIENCE`].
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            send(self.pid(), Signal::KILL);
        }
        self.end(PATIENCE);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let ended = self.ended();
            eprintln!("--- {} (pid {}, {ended:?}) said:\n{}", self.name, self.pid(), self.transcript.tail());
        }
        if matches!(self.child.try_wait(), Ok(Some(_))) || self.status.is_some() {
            return;
        }
        drop(self.stdin.take());
        end_all(self.pid(), &mut || matches!(self.child.try_wait(), Ok(Some(_))));
        drop(self.child.wait());
    }
}

/// Ends the descendants of `pid` first, so that it can reap them itself, then `pid`.
pub(crate) fn end_all(pid: u32, ended: &mut dyn FnMut() -> bool) {
    let below = descendants(pid);
    for child in &below {
        send(*child, Signal::KILL);
    }
    let begun = Instant::now();
    while !below.is_empty() && begun.elapsed() < LAST_ORDERS {
        if ended() {
            return;
        }
        thread::sleep(REAP_EVERY);
    }
    send(pid, Signal::KILL);
}

/// Sends a signal by id; a process that is gone already is no fault.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// The children of a process, and theirs.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .flat_map(|child| [vec![child], descendants(child)].concat())
        .collect()
}

/// The processes of the session that `leader` leads or led, zombies among them: what it started and left behind is
/// still in its session when it is gone.
///
/// # Panics
/// When the kernel does not list its processes.
#[must_use]
pub fn in_session(leader: u32) -> Vec<u32> {
    // State, parent, group, session.
    let is_in = |pid: &u32| stat(&format!("/proc/{pid}/stat")).nth(3) == Some(leader.to_string());
    listed("/proc").filter(is_in).collect()
}

/// The states of the threads of a process, a letter for each: `T` is held still.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn states(pid: u32) -> String {
    let tasks = format!("/proc/{pid}/task");
    listed(&tasks).filter_map(|task| stat(&format!("{tasks}/{task}/stat")).next()).collect()
}

/// The numbers in a folder of `/proc`.
fn listed(folder: &str) -> impl Iterator<Item = u32> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What stands in a `stat` after the name, which may hold anything. Nothing when that one is gone.
fn stat(path: &str) -> impl Iterator<Item = String> + use<> {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}
