//! Settings in code, and the way into a run: its identity, its start, its beats.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastbeat_wire::signal::{Signal, Start};
use lastbeat_wire::{Name, RunId, Source};

use crate::BoxError;
use crate::agent::Agents;
use crate::clock::{boot_id, whole_ms};
use crate::config::Config;
use crate::courier::{Courier, Identity};
use crate::deadline::Deadline;
use crate::gate::Gate;
use crate::inner::{Heeds, Inner, usable_name};
use crate::lifecycle::Lastbeat;
use crate::sender::{Stat, cut};
use crate::spawn::OwnTasks;
use crate::stop_request::StopRequest;
use crate::wait::Pulse;

/// The longest version, environment and host name kept, in bytes.
const LABEL_MAX_BYTES: usize = 128;
/// The most accepted exit codes kept.
const ACCEPTED_MAX: usize = 32;

/// Settings of a worker. What is set here wins over the environment, which wins over the defaults.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct Builder {
    service: String,
    worker: String,
    collector: Option<String>,
    interval: Option<Duration>,
    stop_deadline: Option<Duration>,
    flush_budget: Option<Duration>,
    back_within: Option<Duration>,
    version: Option<String>,
    environment: Option<String>,
    accept_exit: Vec<i32>,
    spool_dir: Option<PathBuf>,
    heeds: Heeds,
}

impl Builder {
    pub(crate) fn new(service: &str, worker: &str) -> Self {
        Self {
            service: service.to_owned(),
            worker: worker.to_owned(),
            collector: None,
            interval: None,
            stop_deadline: None,
            flush_budget: None,
            back_within: None,
            version: None,
            environment: None,
            accept_exit: Vec::new(),
            spool_dir: None,
            heeds: Heeds::default(),
        }
    }

    /// The collector's address, `http://HOST:PORT`.
    pub fn collector(mut self, url: &str) -> Self {
        self.collector = Some(url.to_owned());
        self
    }

    /// The beat interval, 0.5 to 60 s, by default 5 s. `LASTBEAT_DEADLINES_SCALE` multiplies it.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How long a stop may take in all, by default 30 s. `LASTBEAT_DEADLINES_SCALE` multiplies it. Under
    /// `lastbeat run` it is at most the grace of the witness, which kills when that is over.
    pub const fn stop_deadline(mut self, deadline: Duration) -> Self {
        self.stop_deadline = Some(deadline);
        self
    }

    /// How long the final heartbeat is offered to the collector before it stays in the spool, by default
    /// 2 s, inside the stop deadline. `LASTBEAT_DEADLINES_SCALE` multiplies it.
    pub const fn flush_budget(mut self, budget: Duration) -> Self {
        self.flush_budget = Some(budget);
        self
    }

    /// A [promise to be back](Lastbeat::promise_back_within), given from the start.
    pub const fn back_within(mut self, within: Duration) -> Self {
        self.back_within = Some(within);
        self
    }

    /// The version of the program.
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// The environment it runs in, such as `live` or `dry_run`.
    pub fn environment(mut self, environment: &str) -> Self {
        self.environment = Some(environment.to_owned());
        self
    }

    /// Exit codes beside 0 that are fine.
    pub fn accept_exit(mut self, codes: &[i32]) -> Self {
        self.accept_exit = codes.iter().copied().take(ACCEPTED_MAX).collect();
        self
    }

    /// Where facts wait that no collector has acknowledged.
    pub fn spool_dir(mut self, dir: PathBuf) -> Self {
        self.spool_dir = Some(dir);
        self
    }

    /// Lets the collector ask this worker to stop: `lastbeat stop`. Its cause is then the operator.
    pub const fn stoppable(mut self) -> Self {
        self.heeds.stop = true;
        self
    }

    /// Lets the collector ask this worker to [pause](Lastbeat::pause) and to go on: `lastbeat pause`.
    pub const fn pausable(mut self) -> Self {
        self.heeds.pause = true;
        self
    }

    /// Takes SIGHUP for a request to stop, while the run waits for one. Its terminal's closing is then a stop with
    /// all its steps, not a death.
    pub const fn stop_on_hangup(mut self) -> Self {
        self.heeds.hangup = true;
        self
    }

    /// Takes SIGQUIT (Ctrl+\) for a request to stop, while the run waits for one.
    pub const fn stop_on_quit(mut self) -> Self {
        self.heeds.quit = true;
        self
    }

    /// Takes SIGHUP from a process for a request to read the configuration anew, while the run waits for its stop:
    /// `reload` runs on a thread of its own, and the run is `reloading` meanwhile. An error or a panic of it is
    /// logged and changes nothing. A SIGHUP because the terminal closed is a stop all the same.
    pub fn on_reload<F>(mut self, reload: F) -> Self
    where
        F: Fn() -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.heeds.reload = Some(Arc::new(reload));
        self
    }

    /// Connects. Never fails and never waits: a setting that cannot be used is logged, and its default is used. With
    /// an address that cannot be used nothing is sent; facts are spooled at the end.
    #[must_use]
    pub fn connect(self) -> Lastbeat {
        let mut config = self.config();
        let claim = Claim::from_env();
        let parent_run = claim.as_ref().and_then(Claim::of_an_ancestor);
        let adopted = claim.and_then(Claim::take);
        if adopted.is_some()
            && let Some(grace) = witness_grace()
            && config.stay_inside(grace)
        {
            crate::events::quietly(|| {
                tracing::warn!(
                    grace_ms = whole_ms(grace),
                    "the witness ends a stop sooner than this worker would: its grace is the stop deadline"
                )
            });
        }
        let identity = self.identity(&config, adopted);
        let parent_run = crate::ancestry::parent_of(&identity).or(parent_run);
        let environment = self.environment.clone().or_else(|| config.environment.clone());
        let span = crate::events::run_span(&identity, self.version.as_deref(), environment.as_deref());
        let inner = Arc::new(Inner {
            title: format!("{}/{}", identity.service, identity.worker),
            run_id: identity.run_id,
            courier: Courier::start(identity, &config),
            agents: Agents::default(),
            own_tasks: OwnTasks::default(),
            stop: StopRequest::default(),
            deadline: Deadline::new(
                config.stop_deadline,
                config.flush_budget,
                config.scale,
                adopted.is_some(),
            ),
            gate: Gate::default(),
            streams: Arc::default(),
            pulse: Pulse::default(),
            environment,
            scale: config.scale,
            flush_budget: config.flush_budget,
            heeds: self.heeds.clone(),
            is_ready: AtomicBool::new(false),
            promise: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            flushes: Mutex::default(),
            summary: Mutex::default(),
            span,
        });
        if let Some(within) = self.back_within {
            inner.promise_back_within(within);
        }
        inner.say(Signal::Start(self.start(&config, parent_run)));
        // Weak: the courier must not keep alive what owns it.
        let beating = Arc::downgrade(&inner);
        let make =
            move || beating.upgrade().map_or_else(|| Agents::default().beat(), |run| run.agents.beat());
        inner.courier.keep_beating_with(config.interval, Arc::new(make));
        let obeying = Arc::downgrade(&inner);
        inner.courier.obey_with(Arc::new(move |asking, request| {
            if let Some(run) = obeying.upgrade() {
                run.obey(asking, request);
            }
        }));
        crate::panic::watch(&inner);
        Lastbeat::of(inner)
    }

    fn config(&self) -> Config {
        let (mut config, errors) = Config::read(|name| std::env::var_os(name));
        for error in errors {
            crate::events::quietly(|| tracing::warn!(%error, "a setting cannot be used"));
        }
        if let Some(url) = &self.collector {
            config.collector = url.clone();
        }
        if let Some(interval) = self.interval {
            config.set_interval(interval);
        }
        if let Some(deadline) = self.stop_deadline {
            config.set_stop_deadline(deadline);
        }
        if let Some(budget) = self.flush_budget {
            config.set_flush_budget(budget);
        }
        if let Some(dir) = &self.spool_dir {
            config.spool_dir = dir.clone();
        }
        config
    }

    /// Under a witness the run is called what the witness calls it: one run has one name.
    fn identity(&self, config: &Config, adopted: Option<RunId>) -> Identity {
        let theirs = |name: &Option<String>| {
            let name = name.as_deref().filter(|_| adopted.is_some())?;
            Name::new(name).ok()
        };
        let named = |code: &str, env: &Option<String>| {
            theirs(env).unwrap_or_else(|| match env {
                Some(env) if code.is_empty() => usable_name(env),
                _ => usable_name(code),
            })
        };
        Identity {
            run_id: adopted.unwrap_or_else(RunId::mint),
            source: Source::Own,
            service: named(&self.service, &config.service),
            worker: named(&self.worker, &config.worker),
        }
    }

    fn capabilities(&self) -> Vec<String> {
        let Heeds { stop, pause, reload, .. } = &self.heeds;
        let declared = [("goodbye", true), ("stop", *stop), ("pause", *pause), ("reload", reload.is_some())];
        declared.into_iter().filter(|(_, can)| *can).map(|(word, _)| word.to_owned()).collect()
    }

    fn start(&self, config: &Config, parent_run: Option<RunId>) -> Start {
        let label = |text: &String| cut(text, LABEL_MAX_BYTES).to_owned();
        Start {
            interval_ms: Some(whole_ms(config.interval)),
            grace_ms: Some(whole_ms(config.stop_deadline)),
            accept_exit: self.accept_exit.clone(),
            capabilities: self.capabilities(),
            boot_id: boot_id(),
            pid: Some(std::process::id()),
            pid_ns: pid_namespace(),
            start_ticks: own_start_ticks(),
            host: host_name().as_ref().map(label),
            version: self.version.as_ref().map(label),
            environment: self.environment.as_ref().or(config.environment.as_ref()).map(label),
            parent_run,
        }
    }
}

/// The one-use right to speak of a witness's run.
#[derive(Debug)]
struct Claim {
    run_id: RunId,
    witness_pid: u32,
    file: PathBuf,
}

impl Claim {
    fn from_env() -> Option<Self> {
        let text = |name| std::env::var(name).ok();
        Some(Self {
            run_id: text("LASTBEAT_RUN_ID")?.parse().ok()?,
            witness_pid: text("LASTBEAT_WITNESS_PID")?.parse().ok()?,
            file: PathBuf::from(std::env::var_os("LASTBEAT_CLAIM")?),
        })
    }

    /// The run of the witness's child that started this process, directly or not: not ours, and we are no
    /// successor of it.
    fn of_an_ancestor(&self) -> Option<RunId> {
        parent_pid().is_some_and(|parent| parent != self.witness_pid).then_some(self.run_id)
    }

    /// Joins the run, if the witness is our parent and nobody was first: a grandchild inherits the
    /// variables, and so does this program after it has executed itself anew.
    fn take(self) -> Option<RunId> {
        (parent_pid() == Some(self.witness_pid) && remove_once(&self.file)).then_some(self.run_id)
    }
}

/// How long after a stop signal the witness waits before it kills.
fn witness_grace() -> Option<Duration> {
    let text = std::env::var("LASTBEAT_GRACE_MS").ok()?;
    match text.parse() {
        Ok(grace_ms) => Some(Duration::from_millis(grace_ms)),
        Err(error) => {
            crate::events::quietly(
                || tracing::warn!(%text, %error, "LASTBEAT_GRACE_MS is no number: the own stop deadline holds"),
            );
            None
        }
    }
}

/// Of all who try, one succeeds.
fn remove_once(file: &Path) -> bool {
    std::fs::remove_file(file).is_ok()
}

#[cfg(unix)]
fn parent_pid() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
const fn parent_pid() -> Option<u32> {
    None
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

#[cfg(target_os = "linux")]
fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Some(std::fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

#[cfg(not(target_os = "linux"))]
const fn pid_namespace() -> Option<u64> {
    None
}

fn own_start_ticks() -> Option<u64> {
    Stat::parse(&std::fs::read("/proc/self/stat").ok()?).map(|stat| stat.start_ticks)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn claim(dir: &Path, witness_pid: u32) -> Claim {
        let file = dir.join("claim");
        std::fs::write(&file, b"").expect("the witness makes the claim");
        Claim { run_id: RunId::from_u128(7), witness_pid, file }
    }

    #[test]
    fn a_claim_is_taken_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let ours = claim(dir.path(), std::os::unix::process::parent_id());
        let again = Claim { run_id: ours.run_id, witness_pid: ours.witness_pid, file: ours.file.clone() };
        assert_eq!(ours.take(), Some(RunId::from_u128(7)));
        // Executed anew it is the same process, no child of itself.
        assert_eq!(again.of_an_ancestor(), None);
        assert_eq!(again.take(), None);
    }

    #[test]
    fn a_grandchild_of_the_witness_leaves_the_claim_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let not_our_parent = std::process::id();
        let theirs = claim(dir.path(), not_our_parent);
        let file = theirs.file.clone();
        assert_eq!(theirs.of_an_ancestor(), Some(theirs.run_id));
        assert_eq!(theirs.take(), None);
        assert!(file.exists());
    }

    #[test]
    fn an_adopted_run_is_called_what_its_witness_calls_it() {
        let (mut config, _) = Config::read(|_| None);
        config.service = Some("desk".into());
        config.worker = Some("one".into());
        let named = |builder: Builder, adopted| {
            let identity = builder.identity(&config, adopted);
            format!("{}/{}", identity.service, identity.worker)
        };
        assert_eq!(named(Builder::new("trader", "main"), Some(RunId::from_u128(7))), "desk/one");
        assert_eq!(named(Builder::new("trader", "main"), None), "trader/main");
        assert_eq!(named(Builder::new("", ""), None), "desk/one");
    }
}
