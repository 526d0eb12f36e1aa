//! The processes of the demo: started, signalled, and cleared away without an orphan.
//!
//! Each has its own process group, so that Ctrl+C reaches the demo alone and the demo decides the order;
//! each ends when its standard input closes, so that even a killed demo leaves nobody behind.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lastbeat_wire::RunId;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::Interrupt;
use crate::collector::Collector;
use crate::commands::serve::AT;
use crate::failure::Failure;

/// What every deadline is multiplied by unless the environment says otherwise: the tour takes half a
/// minute then.
const SCALE: &str = "0.2";
/// How long the collector may take to say where it is.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a process may take to end after SIGTERM before it is killed: a step's 5 s and room.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// How often an end is looked for; nobody reads faster.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// How a worker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// By the demo itself.
    Alone,
    /// By `lastbeat run`.
    ByWitness,
}

/// A collector, its workers, and the directory where both write.
pub(super) struct Stage {
    dir: PathBuf,
    program: PathBuf,
    url: String,
    collector: Option<Child>,
    workers: Vec<(String, Child)>,
}

impl Stage {
    /// Starts the collector on a free port: the wanted one, or any.
    pub(super) fn set(wanted: SocketAddr, interrupt: &Interrupt) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::failed("cannot start the demo", error);
        let program = std::env::current_exe().map_err(cannot)?;
        // Another demo may run: the name is this one's alone.
        let dir = std::env::temp_dir().join(format!("lastbeat-demo-{}", RunId::mint()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(cannot)?;
        let mut stage = Self { dir, program, url: String::new(), collector: None, workers: Vec::new() };
        let listen = match TcpListener::bind(wanted) {
            Ok(_) => wanted,
            Err(_) => SocketAddr::new(wanted.ip(), 0),
        };
        let mut command = stage.command();
        command.arg("serve").arg("--until-stdin-closes");
        command.arg("--listen").arg(listen.to_string()).arg("--data-dir").arg(stage.dir.join("data"));
        // Its log would tell every act a second time, between the lines of the tour.
        command.env("LASTBEAT_LOG", std::env::var("LASTBEAT_LOG").unwrap_or_else(|_| "off".into()));
        let mut collector = command.stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let said = collector.stdout.take();
        stage.collector = Some(collector);
        let (tell, told) = channel();
        std::thread::Builder::new()
            .name("demo-collector".into())
            .spawn(move || {
                for line in
                    said.into_iter().flat_map(|said| BufReader::new(said).lines()).map_while(Result::ok)
                {
                    // Only the first line is waited for; the others are read so that their writer never waits.
                    let _ = tell.send(line);
                }
            })
            .map_err(cannot)?;
        let started = Instant::now();
        while started.elapsed() < START_LIMIT && !interrupt.during(Duration::ZERO) {
            match told.recv_timeout(GLANCE) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix(AT) {
                        url.clone_into(&mut stage.url);
                        return Ok(stage);
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(Failure::failed("cannot start the demo", "its collector did not say where it is")
            .hint("LASTBEAT_LOG=debug lastbeat demo"))
    }

    /// Where the page is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The collector, to be read.
    pub(super) fn collector(&self) -> Result<Collector, Failure> {
        Collector::at(&self.url)
    }

    /// Starts a worker.
    pub(super) fn start(&mut self, worker: &str, how: Watched, arguments: &[&str]) -> Result<(), Failure> {
        let mut command = self.command();
        if how == Watched::ByWitness {
            command.args(["run", "--worker", worker, "--"]).arg(&self.program);
        }
        command.arg("demo-worker").arg(worker).args(arguments);
        // Its panic is on the page; here it would look like the demo's own.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().map_err(|error| Failure::failed(format!("cannot start {worker}"), error))?;
        self.workers.push((worker.to_owned(), child));
        Ok(())
    }

    /// Signals the process that was started last for a worker.
    pub(super) fn signal(&self, worker: &str, signal: Signal) -> Result<(), Failure> {
        let process = self.workers.iter().rev().find(|(name, _)| name == worker);
        let pid = process.map(|(_, child)| child.id());
        signal_pid(worker, pid, signal)
    }

    /// Waits for an asked end, so that no zombie is left beside its successor.
    pub(super) fn wait_for_end(&mut self, worker: &str) {
        let limit = Instant::now() + STOP_LIMIT;
        for (_, child) in self.workers.iter_mut().filter(|(name, _)| name == worker) {
            end_by(child, limit);
        }
        self.workers.retain(|(name, _)| name != worker);
    }

    /// Stops everybody, the collector last, and removes what they wrote.
    pub(super) fn clear(&mut self) {
        for (_, child) in &self.workers {
            terminate(child);
        }
        let limit = Instant::now() + STOP_LIMIT;
        for (_, child) in &mut self.workers {
            end_by(child, limit);
        }
        self.workers.clear();
        if let Some(mut collector) = self.collector.take() {
            terminate(&collector);
            end_by(&mut collector, Instant::now() + STOP_LIMIT);
        }
        // A second call finds nothing.
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            // What is set for real workers must not reach these.
            if name.to_str().is_some_and(|name| name.starts_with("LASTBEAT_") && name != "LASTBEAT_LOG") {
                command.env_remove(name);
            }
        }
        command
            .env("LASTBEAT_DEADLINES_SCALE", scale())
            .env("LASTBEAT_SPOOL_DIR", spool_dir(&self.dir))
            .env("LASTBEAT_COLLECTOR", &self.url)
            .stdin(Stdio::piped())
            .process_group(0);
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}

fn spool_dir(dir: &Path) -> PathBuf {
    dir.join("spool")
}

/// What the demo's deadlines are multiplied by.
pub(super) fn scale() -> String {
    std::env::var("LASTBEAT_DEADLINES_SCALE").unwrap_or_else(|_| SCALE.into())
}

/// Signals one process.
pub(super) fn signal_pid(worker: &str, pid: Option<u32>, signal: Signal) -> Result<(), Failure> {
    let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.ok_or_else(|| Failure::failed(format!("cannot signal {worker}"), "it has no process"))?;
    kill_process(pid, signal).map_err(|error| Failure::failed(format!("cannot signal {worker}"), error))
}

fn terminate(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended; it is not reaped yet, so the pid is nobody else's.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Waits for an end, and brings it about at the limit.
fn end_by(child: &mut Child, limit: Instant) {
    // Closes standard input, the other way to ask.
    drop(child.stdin.take());
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= limit {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = child.wait();
            return;
        }
        std::thread::sleep(GLANCE);
    }
}
