//! A place to run the binary in: an empty spool directory, and a port where nobody answers.

use std::io::{BufRead, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use lastbeat_wire::{Envelope, Signal, spool};
use rustix::net::{AddressFamily, SocketType};

/// How long anything may take before the test has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Stand {
    pub(crate) spool: tempfile::TempDir,
    /// Bound but not listening: a connection is refused, and nobody else can take the port meanwhile.
    _nobody: OwnedFd,
    port: u16,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let nobody = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&nobody, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let bound = SocketAddr::try_from(rustix::net::getsockname(&nobody).expect("it is bound"));
        let port = bound.expect("an IP address").port();
        Self { spool: tempfile::tempdir().expect("a directory"), _nobody: nobody, port }
    }

    pub(crate) fn collector(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The binary, with nothing of our own environment that could decide a test.
    pub(crate) fn lastbeat(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment(Command::new(env!("CARGO_BIN_EXE_lastbeat")));
        command.args(arguments);
        command
    }

    /// The same environment for another program.
    pub(crate) fn environment(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LASTBEAT_") {
                command.env_remove(name);
            }
        }
        command
            .env("LASTBEAT_SPOOL_DIR", self.spool.path())
            .env("LASTBEAT_COLLECTOR", self.collector())
            .env("LASTBEAT_FLUSH_BUDGET", "200ms")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The facts of the one spool file, in their order.
    pub(crate) fn facts(&self) -> Vec<Envelope> {
        let files: Vec<_> = std::fs::read_dir(self.spool.path())
            .expect("the spool directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == spool::EXTENSION))
            .collect();
        assert_eq!(files.len(), 1, "one voice of one run has one file: {files:?}");
        let bytes = std::fs::read(&files[0]).expect("the file");
        let now = spool::Instant { boot_id: None, boottime_ms: 0, wall_ms: 0 };
        spool::decode(&bytes, &now)
            .expect("its header is whole")
            .into_iter()
            .map(|fact| fact.expect("each line is whole").envelope)
            .collect()
    }

    /// The signals of the one spool file, after checking that they are counted in order.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        let facts = self.facts();
        assert!(facts.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{facts:?}");
        facts.into_iter().map(|fact| fact.signal).collect()
    }
}

/// Waits for the end, with a limit.
pub(crate) fn finish(mut child: Child) -> Output {
    let pid = child.id();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(err) = &mut err {
                err.read_to_end(&mut text).expect("standard error is readable");
            }
            text
        });
        let mut stdout = Vec::new();
        if let Some(out) = &mut out {
            out.read_to_end(&mut stdout).expect("standard output is readable");
        }
        let status = child.wait().expect("it can be waited for");
        let stderr = errors.join().expect("standard error was read");
        tell.send(Output { status, stdout, stderr }).ok();
    });
    told.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("process {pid} did not end in {LIMIT:?}"))
}

/// Runs to the end.
pub(crate) fn output(mut command: Command) -> Output {
    finish(command.spawn().expect("the binary starts"))
}

/// Reads the first line of a child's output, with a limit; gives the rest back.
pub(crate) fn first_line(out: ChildStdout) -> (String, BufReader<ChildStdout>) {
    next_line(BufReader::new(out))
}

/// Reads the next line, with a limit; gives the rest back.
pub(crate) fn next_line<R: BufRead + Send + 'static>(mut reader: R) -> (String, R) {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        tell.send((line.trim_end().to_owned(), reader)).ok();
    });
    told.recv_timeout(LIMIT).expect("a line in time")
}

/// Reads until every holder of the other end is gone, with a limit.
pub(crate) fn to_the_end(mut reader: BufReader<ChildStdout>) -> String {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        tell.send(text).ok();
    });
    told.recv_timeout(LIMIT).expect("everybody who holds the output is gone in time")
}

/// Sends a signal to a process that is alive.
pub(crate) fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it is alive");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
