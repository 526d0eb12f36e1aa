//! Stop signals: who sent them, what a second one does, and what is left of the handlers afterwards.
//!
//! A test binary of its own: signals concern a whole process.

#[path = "../worker/peer.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need all of it")]
mod peer;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lastbeat::Plan;
use lastbeat_wire::signal::{CauseKind, PhaseTo, Signal, StepOutcome};
use rustix::process::{Pid, Signal as Number, getpid, getuid, kill_process};

use peer::{LIMIT, Peer, builder, cleanup};

/// Set for the child that one test starts: this same binary, told where its collector is.
const CHILD: &str = "LASTBEAT_TEST_CHILD_COLLECTOR";
/// Set beside it: the child's stop deadline.
const CHILD_DEADLINE_MS: &str = "LASTBEAT_TEST_CHILD_DEADLINE_MS";

/// Set beside it: what the child heeds.
const CHILD_HEEDS: &str = "LASTBEAT_TEST_CHILD_HEEDS";

/// Sends TERM to this process until the worker has heard it. All within a second are one request.
fn terminate(until_asked: &lastbeat::CancellationToken) {
    let until = Instant::now() + LIMIT;
    while !until_asked.is_cancelled() {
        assert!(Instant::now() < until, "the worker hears a signal");
        kill_process(getpid(), Number::TERM).expect("we may signal ourselves");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_names_its_sender_and_a_second_one_a_second_later_skips_what_is_left() {
    // So that a TERM before the worker listens does not end this process.
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, seen).expect("a handler");
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = Arc::new(builder(&peer.url(), dir.path()).connect());
    let (release, released) = channel::<()>();
    let plan = Plan::new()
        .step_blocking("hangs", Duration::from_secs(9), move |_| Ok(released.recv_timeout(LIMIT)?))
        .step("never-run", Duration::from_secs(1), |_| async { Ok(()) });
    let theirs = Arc::clone(&worker);
    let stopping = std::thread::spawn(move || theirs.run_until_stopped_blocking(plan));

    terminate(&worker.stop_requested());
    let first_heard = Instant::now();
    let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    let Signal::Asked(asked) = heard.envelope.signal else { panic!("it was asked for") };
    assert_eq!(asked.cause.signal.as_deref(), Some("SIGTERM"));
    assert_eq!(asked.cause.kind, CauseKind::Signal);
    let sender = asked.cause.sender.clone().expect("somebody sent it");
    assert_eq!(sender.pid, std::process::id());
    assert_eq!(sender.uid, getuid().as_raw());
    assert!(sender.comm.is_some() && sender.cmdline.is_some() && !sender.gone);

    peer.next(|heard| matches!(&heard.envelope.signal, Signal::Step(step) if step.outcome.is_none()));
    // Time itself is the rule under test: a second request comes a second after the first.
    std::thread::sleep(Duration::from_millis(1_100).saturating_sub(first_heard.elapsed()));
    kill_process(getpid(), Number::TERM).expect("we may signal ourselves");
    stopping.join().expect("the stop ends");
    drop(release);

    peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    let fin = peer.final_of(worker.run_id());
    assert_eq!(fin.cause, Some(asked.cause), "the first cause stands");
    let cleanup = cleanup(fin);
    assert!(cleanup.forced);
    let rows: Vec<_> = cleanup.steps.iter().map(|step| (step.name.as_str(), step.outcome)).collect();
    assert_eq!(rows, [("hangs", Some(StepOutcome::Skipped)), ("never-run", Some(StepOutcome::Skipped))]);
}

/// Not a test by itself: the body of the child that the next test starts. It stops as it should, and then
/// hangs where a host's own code might.
#[test]
fn child_that_hangs_after_its_final() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let worker = builder(&url, dir.path()).connect();
    worker.ready();
    worker.run_until_stopped_blocking(Plan::new());
    drop(worker);
    loop {
        std::thread::park();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_that_hangs_after_its_final_can_still_be_ended_by_a_signal() {
    let mut peer = Peer::start();
    let child = Child::listening(&mut peer, "child_that_hangs_after_its_final", &[]);
    child.terminate();
    let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Final(_)));
    assert_eq!(child.ended_by_asking_again(), Some(Number::TERM.as_raw()));
    let fin = peer::final_in(&heard.envelope).expect("it was asked for");
    let sender = fin.cause.and_then(|cause| cause.sender).expect("we sent it");
    assert_eq!(sender.pid, std::process::id());
}

/// Not a test by itself: the body of a child whose only runtime thread is stuck when the stop is asked.
#[test]
fn child_with_a_stuck_runtime() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let deadline = std::env::var(CHILD_DEADLINE_MS).expect("set beside it").parse().expect("a number");
    let dir = tempfile::tempdir().expect("a directory");
    let worker = builder(&url, dir.path()).stop_deadline(Duration::from_millis(deadline)).connect();
    worker.ready();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let stopping = worker.run_until_stopped(Plan::new());
        let stuck = async {
            loop {
                std::thread::park();
            }
        };
        tokio::join!(stopping, stuck);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_that_has_not_begun_at_its_deadline_ends_by_the_signal_that_asked() {
    let mut peer = Peer::start();
    let child = Child::listening(&mut peer, "child_with_a_stuck_runtime", &[(CHILD_DEADLINE_MS, "2000")]);
    let began = Instant::now();
    child.terminate();
    let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    let Signal::Asked(asked) = heard.envelope.signal else { panic!("it was asked for") };
    assert_eq!(asked.cause.sender.map(|sender| sender.pid), Some(std::process::id()));
    assert_eq!(child.ended_by(), Some(Number::TERM.as_raw()));
    assert!(began.elapsed() >= Duration::from_secs(1), "the stop had its time to begin");
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_request_ends_a_process_whose_stop_has_not_begun() {
    let mut peer = Peer::start();
    let child = Child::listening(&mut peer, "child_with_a_stuck_runtime", &[(CHILD_DEADLINE_MS, "3600000")]);
    child.terminate();
    peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    // Time itself is the rule under test: a second request comes a second after the first.
    std::thread::sleep(Duration::from_millis(1_100));
    child.terminate();
    assert_eq!(child.ended_by(), Some(Number::TERM.as_raw()));
}

/// Not a test by itself: the body of a child that a witness started, with a step that never ends.
#[test]
fn child_of_a_witness() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let worker = builder(&url, dir.path()).connect();
    worker.ready();
    let plan = Plan::new().step("hangs", Duration::from_secs(9), |_| std::future::pending());
    worker.run_until_stopped_blocking(plan);
}

#[cfg(target_os = "linux")]
#[test]
fn an_adopted_worker_stops_inside_the_grace_of_its_witness_and_any_other_by_its_own_deadline() {
    let dir = tempfile::tempdir().expect("a directory");
    let claim = dir.path().join("claim");
    std::fs::write(&claim, b"").expect("the witness makes the claim");
    let run_id = lastbeat::RunId::from_u128(7).to_string();
    let pid = std::process::id().to_string();
    let env = [
        ("LASTBEAT_RUN_ID", run_id.as_str()),
        ("LASTBEAT_WITNESS_PID", pid.as_str()),
        ("LASTBEAT_CLAIM", claim.to_str().expect("a temporary path is text")),
        ("LASTBEAT_GRACE_MS", "2000"),
    ];
    let mut peer = Peer::start();
    let child = Child::started(&peer, "child_of_a_witness", &env);
    let start = peer.next_fact().envelope;
    assert_eq!(start.run_id.to_string(), run_id);
    assert!(matches!(start.signal, Signal::Start(start) if start.grace_ms == Some(2_000)));
    child.listens(&mut peer);
    child.terminate();
    let asked = peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    assert!(matches!(asked.envelope.signal, Signal::Asked(asked) if asked.deadline_ms == Some(2_000)));
    let rows = cleanup(peer.final_of(start.run_id)).steps;
    assert_eq!(rows[0].outcome, Some(StepOutcome::TimedOut), "the step has nine seconds, the witness two");
    assert!(rows[0].duration_ms.is_some_and(|cut_ms| cut_ms < 2_000), "{:?}", rows[0]);
    assert_eq!(child.ended_by(), None, "it ends by itself");

    // The claim is taken: the next one is no child of the witness's run.
    let _other = Child::started(&peer, "child_of_a_witness", &env);
    let start = peer.next(|heard| matches!(heard.envelope.signal, Signal::Start(_))).envelope.signal;
    assert!(matches!(start, Signal::Start(start) if start.grace_ms == Some(10_000)));
}

/// Not a test by itself: the body of a child that heeds what this variable names.
#[test]
fn child_that_heeds() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let heeds = std::env::var(CHILD_HEEDS).unwrap_or_default();
    let dir = tempfile::tempdir().expect("a directory");
    let mut builder = builder(&url, dir.path());
    if heeds.contains("hangup") {
        builder = builder.stop_on_hangup();
    }
    if heeds.contains("quit") {
        builder = builder.stop_on_quit();
    }
    if heeds.contains("reload") {
        builder = builder.on_reload(|| Err("the new configuration is worse".into()));
    }
    let worker = builder.connect();
    worker.ready();
    worker.run_until_stopped_blocking(Plan::new());
}

#[cfg(target_os = "linux")]
fn heeding(peer: &mut Peer, heeds: &str) -> Child {
    Child::listening(peer, "child_that_heeds", &[(CHILD_HEEDS, heeds)])
}

#[cfg(target_os = "linux")]
fn next_asked(peer: &mut Peer) -> lastbeat_wire::signal::Cause {
    let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Asked(_)));
    let Signal::Asked(asked) = heard.envelope.signal else { panic!("it was asked for") };
    asked.cause
}

#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_is_a_reload_where_that_is_declared_and_a_quit_is_then_a_stop() {
    let mut peer = Peer::start();
    let child = heeding(&mut peer, "reload,quit");
    child.send(Number::HUP);
    for to in [PhaseTo::Reloading, PhaseTo::Running] {
        let heard = peer.next(|heard| matches!(heard.envelope.signal, Signal::Phase(_)));
        assert!(matches!(heard.envelope.signal, Signal::Phase(phase) if phase.to == to));
    }
    child.send(Number::QUIT);
    let cause = next_asked(&mut peer);
    assert_eq!(cause.signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(child.ended_by(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_is_a_stop_where_that_is_declared_and_ends_everybody_else() {
    let mut peer = Peer::start();
    let child = heeding(&mut peer, "hangup");
    child.send(Number::HUP);
    let cause = next_asked(&mut peer);
    // We are its parent: a supervisor, or a signal by hand where the tests run in a terminal. No terminal closed.
    assert_ne!(cause.kind, CauseKind::TerminalHangup);
    assert_eq!(cause.signal.as_deref(), Some("SIGHUP"));
    assert_eq!(cause.sender.map(|sender| sender.pid), Some(std::process::id()));
    assert_eq!(child.ended_by(), None);

    for number in [Number::HUP, Number::QUIT] {
        let child = heeding(&mut peer, "");
        child.send(number);
        assert_eq!(child.ended_by(), Some(number.as_raw()), "no handler that nobody asked for");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let mut peer = Peer::start();
    let this = std::env::current_exe().expect("this test binary");
    let script = format!("trap '' INT; exec '{}' --exact child_that_heeds", this.display());
    let child = Child::spawned(&peer, std::process::Command::new("sh").args(["-c", &script]));
    child.listens(&mut peer);
    child.send(Number::INT);
    child.terminate();
    assert_eq!(next_asked(&mut peer).signal.as_deref(), Some("SIGTERM"), "as behind nohup or a shell's `&`");
    assert_eq!(child.ended_by(), None);
}

/// This same binary, started for one of its tests; killed when the test is over.
#[cfg(target_os = "linux")]
struct Child(std::cell::RefCell<std::process::Child>);

#[cfg(target_os = "linux")]
impl Child {
    fn started(peer: &Peer, test: &str, env: &[(&str, &str)]) -> Self {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test binary"));
        Self::spawned(peer, command.args(["--exact", test]).envs(env.iter().copied()))
    }

    fn spawned(peer: &Peer, command: &mut std::process::Command) -> Self {
        let child = command.env(CHILD, peer.url()).stdout(std::process::Stdio::null()).spawn();
        Self(child.expect("it starts").into())
    }

    /// One that hears signals.
    fn listening(peer: &mut Peer, test: &str, env: &[(&str, &str)]) -> Self {
        let child = Self::started(peer, test, env);
        child.listens(peer);
        child
    }

    fn listens(&self, peer: &mut Peer) {
        peer.next(|heard| heard.envelope.signal == Signal::Ready);
        let until = Instant::now() + LIMIT;
        while !catches_term(self.0.borrow().id()) {
            assert!(Instant::now() < until, "the child listens");
            std::thread::yield_now();
        }
    }

    fn terminate(&self) {
        self.send(Number::TERM);
    }

    fn send(&self, number: Number) {
        kill_process(Pid::from_child(&self.0.borrow()), number).expect("the child is there");
    }

    /// The signal that ended it; none when it ended by itself.
    fn ended_by(&self) -> Option<i32> {
        self.ended(|| {})
    }

    /// As `ended_by`, with TERM sent until it ends.
    fn ended_by_asking_again(&self) -> Option<i32> {
        self.ended(|| self.terminate())
    }

    fn ended(&self, meanwhile: impl Fn()) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.borrow_mut().try_wait().expect("our child") {
                return status.signal();
            }
            assert!(Instant::now() < until, "the child ends");
            meanwhile();
            std::thread::yield_now();
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Child {
    fn drop(&mut self) {
        let mut child = self.0.borrow_mut();
        // One that has ended needs no end.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether a process has a handler for TERM, as the kernel sees it.
#[cfg(target_os = "linux")]
fn catches_term(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the child is there");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("hexadecimal digits");
    mask & (1 << (Number::TERM.as_raw() - 1)) != 0
}
