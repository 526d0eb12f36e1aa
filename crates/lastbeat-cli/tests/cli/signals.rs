//! What each signal to the witness does: to the witness, to the child, and to what is told of it.

use std::io::BufReader;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lastbeat_wire::Signal as Fact;
use lastbeat_wire::signal::{CauseKind, SignalSeen};
use rustix::process::Signal;
use rustix_libc_wrappers::process::SignalExt as _;

use crate::stand::{Stand, finish, first_line, next_line, output, send, text};

/// Starts a shell script under a witness, and waits until its traps are set: it then says `up`.
fn start(stand: &Stand, grace: &str, script: &str) -> (Child, BufReader<ChildStdout>) {
    let arguments = ["run", "--worker", "shop/api", "--grace", grace, "--", "sh", "-c", script];
    let mut witness = stand.lastbeat(&arguments).spawn().expect("it starts");
    let (line, rest) = first_line(witness.stdout.take().expect("piped"));
    assert_eq!(line, "up");
    (witness, rest)
}

/// What was told of signals, between the start and the exit.
fn seen(stand: &Stand) -> Vec<SignalSeen> {
    let signals = stand.signals();
    assert!(
        matches!(signals.first(), Some(Fact::WitnessStart(_)))
            && matches!(signals.last(), Some(Fact::Exit(_))),
        "{signals:?}"
    );
    signals
        .into_iter()
        .filter_map(|signal| match signal {
            Fact::SignalSeen(seen) => Some(seen),
            Fact::WitnessStart(_) | Fact::Exit(_) => None,
            other => panic!("nobody said {other:?}"),
        })
        .collect()
}

/// A trap comes at once only while the shell waits; what it waits for goes by itself.
const WAIT: &str = "echo up; while :; do sleep 1 >/dev/null 2>&1 & wait $!; done";

#[test]
fn a_signal_that_asks_nothing_goes_to_the_child_and_ends_neither() {
    let errands = [
        Signal::USR1,
        Signal::USR2,
        Signal::ABORT,
        Signal::ALARM,
        Signal::STKFLT,
        Signal::CONT,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::VTALARM,
        Signal::PROF,
        Signal::WINCH,
        Signal::IO,
        Signal::POWER,
        Signal::rt_min(),
        Signal::rt(7).expect("there are more than seven"),
        Signal::rt_max(),
    ];
    let traps: String =
        errands.iter().map(|signal| signal.as_raw()).map(|n| format!("trap 'echo got {n}' {n}; ")).collect();
    let stand = Stand::new();
    // A grace that were started by one of them would be over before the last.
    let (witness, mut out) = start(&stand, "1ms", &format!("{traps} trap 'exit 5' HUP; {WAIT}"));
    // Ignored, as in every Rust program: its own writing to a closed pipe is none of the child's business.
    send(witness.id(), Signal::PIPE);
    for signal in errands {
        send(witness.id(), signal);
        let (line, rest) = next_line(out);
        out = rest;
        assert_eq!(line, format!("got {}", signal.as_raw()));
    }
    send(witness.id(), Signal::HUP);
    assert_eq!(finish(witness).status.code(), Some(5));
    let seen = seen(&stand);
    assert_eq!(seen.len(), 1, "only the hang-up is told: {seen:?}");
    assert_eq!((seen[0].signal.as_str(), seen[0].forwarded), ("SIGHUP", true));
}

#[test]
fn the_child_begins_with_the_signals_as_they_are_for_every_program() {
    let stand = Stand::new();
    let status = output(stand.lastbeat(&["run", "--worker", "a/b", "--", "cat", "/proc/self/status"]));
    let status = text(&status.stdout);
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        u64::from_str_radix(line.trim(), 16).expect("hexadecimal")
    };
    assert_eq!(mask("SigIgn:") & (1 << (Signal::PIPE.as_raw() - 1)), 0, "we ignore PIPE, it does not");
    assert_eq!(mask("SigCgt:"), 0);
    assert_eq!(mask("SigBlk:"), 0);
}

#[test]
fn every_reload_reaches_the_child_however_soon_it_follows() {
    let stand = Stand::new();
    let (witness, mut out) =
        start(&stand, "30s", &format!("trap 'echo reload' HUP; trap 'exit 5' TERM; {WAIT}"));
    for _ in 0..5 {
        send(witness.id(), Signal::HUP);
        let (line, rest) = next_line(out);
        out = rest;
        assert_eq!(line, "reload");
    }
    send(witness.id(), Signal::TERM);
    assert_eq!(finish(witness).status.code(), Some(5));
    let told: Vec<(String, bool)> =
        seen(&stand).into_iter().map(|seen| (seen.signal, seen.forwarded)).collect();
    let mut expected = vec![("SIGHUP".to_owned(), true); 5];
    expected.push(("SIGTERM".into(), true));
    assert_eq!(told, expected);
}

/// As whoever stops a control group does: each member gets its own, and a child without a handler is the faster one.
#[test]
fn a_stop_that_strikes_the_child_first_is_told_although_the_child_is_dead_by_then() {
    let stand = Stand::new();
    let (witness, _out) = start(&stand, "30s", "echo up; exec sleep 1000");
    let below = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", witness.id()));
    let child: u32 = below.expect("it lives").trim().parse().expect("its one child");
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    send(child, Signal::TERM);
    while lives() {
        std::thread::yield_now();
    }
    // So far apart are two members of a large group: the child's end was heard long ago.
    std::thread::sleep(Duration::from_millis(50));
    send(witness.id(), Signal::TERM);
    assert_eq!(finish(witness).status.code(), Some(128 + 15));
    let seen = seen(&stand);
    assert_eq!(seen.iter().map(|seen| seen.signal.as_str()).collect::<Vec<_>>(), ["SIGTERM"]);
    assert!(seen[0].sender.is_some(), "{seen:?}");
}

#[test]
fn a_thread_dump_is_no_stop() {
    let stand = Stand::new();
    // Two of them at once, and then longer than the grace.
    let script =
        "trap 'echo dump' QUIT; echo up; n=0; while [ $n -lt 12 ]; do sleep 0.1; n=$((n+1)); done; exit 6";
    let (witness, mut out) = start(&stand, "300ms", script);
    for _ in 0..2 {
        send(witness.id(), Signal::QUIT);
        let (line, rest) = next_line(out);
        out = rest;
        assert_eq!(line, "dump");
    }
    assert_eq!(finish(witness).status.code(), Some(6));
    let seen = seen(&stand);
    assert_eq!(seen.len(), 2, "{seen:?}");
    for dump in seen {
        assert_eq!((dump.signal.as_str(), dump.forwarded), ("SIGQUIT", true));
        assert!(matches!(dump.kind, Some(CauseKind::Signal | CauseKind::Supervisor)), "{dump:?}");
    }
}

#[test]
fn a_second_stop_a_second_later_is_passed_on_and_the_grace_runs_on() {
    let stand = Stand::new();
    let script = format!("n=0; trap 'n=$((n+1)); echo stop $n; [ $n -lt 2 ] || exit 7' TERM; {WAIT}");
    let (witness, out) = start(&stand, "30s", &script);
    send(witness.id(), Signal::TERM);
    let (line, out) = next_line(out);
    assert_eq!(line, "stop 1");
    // What the child has, the witness had before.
    std::thread::sleep(Duration::from_secs(1));
    send(witness.id(), Signal::TERM);
    let (line, _out) = next_line(out);
    assert_eq!(line, "stop 2");
    assert_eq!(finish(witness).status.code(), Some(7));
    let seen = seen(&stand);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|stop| stop.signal == "SIGTERM" && stop.forwarded), "{seen:?}");
}

#[test]
fn a_child_runs_only_when_it_is_watched_whichever_thread_cannot_start() {
    let tool = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(tool.is_ok(), "strace makes the kernel refuse; ./tests/run installs it");
    for nth in 1..=6 {
        let stand = Stand::new();
        let mut command = stand.environment(Command::new("strace"));
        let refusal = format!("inject=clone,clone3:error=EAGAIN:when={nth}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e", &refusal]);
        command.args([env!("CARGO_BIN_EXE_lastbeat"), "run", "--worker", "a/b", "--"]);
        command.args(["sh", "-c", "echo ran; exit 7"]);
        let output = output(command);
        if text(&output.stdout).is_empty() {
            assert_ne!(output.status.code(), Some(0), "refusal {nth}");
        } else {
            assert_eq!(output.status.code(), Some(7), "refusal {nth}: {}", text(&output.stderr));
            let signals = stand.signals();
            let Some(Fact::Exit(exit)) = signals.last() else { panic!("refusal {nth}: {signals:?}") };
            assert_eq!(exit.code, Some(7));
        }
    }
}
