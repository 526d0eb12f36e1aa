//! A collector under test: its life, its answers, and the commands that talk to it.

use std::fmt::Debug;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use lastbeat_wire::report::{
    AlertReport, AlertsReport, RunReport, RunsReport, StatusReport, WorkerReport, WorkersReport,
};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::process::Process;
use crate::tools;
use crate::wait::until;

/// Ports for collectors lie below the kernel's range for outgoing connections (from 32768): a collector
/// that is away must find its port free again, whatever connects where in the meantime.
const PORTS: std::ops::Range<u16> = 18_000..30_000;

/// A collector with a data directory and a spool directory of its own.
#[derive(Debug)]
pub struct Collector {
    process: Option<Process>,
    home: TempDir,
    port: u16,
    scale: f64,
    web: ureq::Agent,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub complaint: String,
    /// How long it took.
    pub took: Duration,
}

/// What an HTTP request was answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `content-type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Collector {
    /// A collector with the deadlines of the contract.
    #[must_use]
    pub fn start() -> Self {
        Self::start_scaled(1.0)
    }

    /// A collector, and all that is started against it, with every deadline multiplied by `scale`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_scaled(scale: f64) -> Self {
        let home = tempfile::Builder::new().prefix("lastbeat-test-").tempdir().expect("a temporary folder");
        let mut collector = Self { process: None, home, port: free_port(), scale, web: agent() };
        collector.come_back();
        collector
    }

    /// Starts it on the same port and the same data directory, with more arguments for `serve`, and waits
    /// until it answers.
    ///
    /// # Panics
    /// When it runs already or does not come up.
    pub fn come_back_with(&mut self, arguments: &[&str]) {
        assert!(self.process.is_none(), "the collector runs already");
        let mut command = self.command(tools::program("lastbeat"));
        command.arg("serve").arg(format!("--listen={}", self.address()));
        command.arg("--data-dir").arg(self.data_dir()).args(arguments);
        let mut process = Process::start("lastbeat serve", &mut command);
        let line = process.line("http://");
        assert!(line.contains(&self.url()), "serve printed {line:?}, not {}", self.url());
        self.process = Some(process);
        until("the collector to be ready", PATIENCE, || match self.request("GET", "/readyz") {
            Ok(reply) if reply.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Starts it on the same port and the same data directory, and waits until it answers.
    pub fn come_back(&mut self) {
        self.come_back_with(&[]);
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not end within [`PATIENCE`].
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the collector runs");
        process.signal(Signal::TERM);
        process.end(PATIENCE)
    }

    /// Kills it with -9, and reaps it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("the collector runs").kill();
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the collector runs").pid()
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address as a URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its journal lies here.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A duration of the contract, as this collector counts it.
    #[must_use]
    pub fn scaled(&self, contract: Duration) -> Duration {
        contract.mul_f64(self.scale)
    }

    /// A command that talks to this collector and spools beside it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = tools::command(program);
        command
            .env("LASTBEAT_COLLECTOR", self.url())
            .env("LASTBEAT_SPOOL_DIR", self.home.path().join("spool"))
            .env("LASTBEAT_DEADLINES_SCALE", self.scale.to_string());
        command
    }

    /// Runs `lastbeat` with `arguments` against this collector.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Answer {
        let mut command = self.command(tools::program("lastbeat"));
        command.args(arguments);
        answer(&format!("lastbeat {}", arguments.join(" ")), &mut command)
    }

    /// Runs `lastbeat` and reads its standard output as JSON.
    ///
    /// # Panics
    /// When it is none, or not of the form that is asked for.
    #[must_use]
    pub fn cli_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let answer = self.cli(arguments);
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {answer:?}"))
    }

    /// One request without a body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn request(&self, method: &str, path: &str) -> Result<Reply, String> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url()));
        self.run(request.body(()).map_err(|error| error.to_string())?)
    }

    /// One POST with these headers.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, String> {
        let mut request = ureq::http::Request::builder().method("POST").uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request.body(body).map_err(|error| error.to_string())?)
    }

    fn run<B: ureq::AsSendBody>(&self, request: ureq::http::Request<B>) -> Result<Reply, String> {
        let mut response = self.web.run(request).map_err(|error| error.to_string())?;
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        Ok(Reply {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default().into(),
            body: response.body_mut().read_to_string().map_err(|error| error.to_string())?,
        })
    }

    /// `GET path`, read as JSON.
    ///
    /// # Errors
    /// When it is not answered with 200 and such a body.
    pub fn try_get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let reply = self.request("GET", path)?;
        if reply.status != 200 {
            return Err(format!("{path}: {reply:?}"));
        }
        serde_json::from_str(&reply.body).map_err(|error| format!("{path}: {error}: {}", reply.body))
    }

    /// `GET path`, read as JSON.
    ///
    /// # Panics
    /// When it is not answered with 200 and such a body.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.try_get(path).unwrap_or_else(|error| panic!("{error}"))
    }

    /// One worker, by `service/worker`.
    #[must_use]
    pub fn worker(&self, who: &str) -> WorkerReport {
        self.get(&format!("/v1/workers/{who}"))
    }

    /// All workers.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerReport> {
        self.get::<WorkersReport>("/v1/workers").workers
    }

    /// The runs of one worker, newest first.
    #[must_use]
    pub fn runs(&self, who: &str) -> Vec<RunReport> {
        self.get::<RunsReport>(&format!("/v1/workers/{who}/runs")).runs
    }

    /// The sentence, the counts, the collector itself.
    #[must_use]
    pub fn status(&self) -> StatusReport {
        self.get("/v1/status")
    }

    /// All alerts of the last hour.
    #[must_use]
    pub fn alerts(&self) -> Vec<AlertReport> {
        self.get::<AlertsReport>("/v1/alerts").alerts
    }

    /// The alerts of one worker.
    #[must_use]
    pub fn alerts_of(&self, who: &str) -> Vec<AlertReport> {
        let theirs = |alert: &AlertReport| {
            let named = alert.service.as_ref().zip(alert.worker.as_ref());
            named.is_some_and(|(service, worker)| format!("{service}/{worker}") == who)
        };
        self.alerts().into_iter().filter(theirs).collect()
    }

    /// Waits until the worker is as `so` wants it.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn wait_for(
        &self,
        who: &str,
        what: impl Debug,
        limit: Duration,
        so: impl Fn(&WorkerReport) -> bool,
    ) -> WorkerReport {
        until(&format!("{who} to be {what:?}"), limit, || {
            let report: WorkerReport = self.try_get(&format!("/v1/workers/{who}"))?;
            if so(&report) { Ok(report) } else { Err(format!("{report:#?}")) }
        })
    }

    /// The value of the series with this name and exactly these labels at `/metrics`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let page = self.request("GET", "/metrics").expect("the collector answers").body;
        let mut wanted: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        wanted.sort();
        let value = page.lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let inside = if rest.is_empty() { "" } else { rest.strip_prefix('{')?.strip_suffix('}')? };
            // Neither names nor words of ours hold a comma.
            let mut found: Vec<&str> = inside.split(',').filter(|label| !label.is_empty()).collect();
            found.sort_unstable();
            if found == wanted { value.parse().ok() } else { None }
        });
        value.unwrap_or_else(|| panic!("no {name} with {wanted:?} in:\n{page}"))
    }
}

/// Runs a command to its end.
#[must_use]
pub fn answer(name: &str, command: &mut Command) -> Answer {
    let begun = Instant::now();
    let output = command.stdin(std::process::Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    Answer {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        // A kept connection would answer for a collector that is gone.
        .max_idle_connections(0)
        .build()
        .into()
}

/// A port nobody listens on. Tests run as processes of their own, so each begins its search elsewhere.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let first = u16::try_from(u32::from(span).min(std::process::id().wrapping_mul(37) % u32::from(span)));
    let first = first.expect("below the span");
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (first + step % span) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {} and {}", PORTS.start, PORTS.end);
}
