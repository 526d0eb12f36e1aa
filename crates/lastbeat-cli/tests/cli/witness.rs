//! `lastbeat run` with real children and no collector: the child is not disturbed, and all that was seen
//! waits on disk in its order.

use std::fs::{DirBuilder, File};
use std::process::Command;
use std::time::{Duration, SystemTime};

use lastbeat_wire::Signal;
use lastbeat_wire::signal::CauseKind;

use crate::stand::{Stand, finish, first_line, output, send, text, to_the_end};

const RUN: [&str; 4] = ["run", "--worker", "shop/api", "--"];

fn run<'a>(command: &[&'a str]) -> Vec<&'a str> {
    RUN.iter().chain(command).copied().collect()
}

fn terminate(pid: u32) {
    send(pid, rustix::process::Signal::TERM);
}

#[test]
fn an_exit_code_passes_through_and_waits_on_disk() {
    let stand = Stand::new();
    let output = output(stand.lastbeat(&run(&["sh", "-c", "echo its own output; exit 3"])));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "its own output\n");
    assert_eq!(
        text(&output.stderr),
        format!(
            "warning: no collector at {} took 2 facts of this run, which wait in {} for a `lastbeat serve` with \
             the same LASTBEAT_SPOOL_DIR\n",
            stand.collector(),
            stand.spool.path().display()
        )
    );
    let signals = stand.signals();
    let [Signal::WitnessStart(start), Signal::Exit(exit)] = &signals[..] else { panic!("{signals:?}") };
    assert!(start.ready && start.start.pid.is_some() && start.start.start_ticks.is_some());
    assert_eq!((start.start.grace_ms, start.start.interval_ms), (Some(30_000), Some(5_000)));
    assert_eq!((exit.code, exit.signal.as_deref(), exit.killed_by_witness), (Some(3), None, false));
    let fact = &stand.facts()[0];
    assert_eq!((fact.service.as_str(), fact.worker.as_str()), ("shop", "api"));
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    let stand = Stand::new();
    let output = output(stand.lastbeat(&run(&["sh", "-c", "kill -9 $$"])));
    assert_eq!(output.status.code(), Some(137));
    let signals = stand.signals();
    let Some(Signal::Exit(exit)) = signals.last() else { panic!("{signals:?}") };
    assert_eq!((exit.code, exit.signal.as_deref(), exit.killed_by_witness), (None, Some("SIGKILL"), false));
}

/// A container that was entered from outside: the leader of our session has no id in our namespace.
#[test]
fn in_a_container_entered_from_outside_it_works_as_elsewhere() {
    let stand = Stand::new();
    let mut command = stand.environment(Command::new("unshare"));
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_lastbeat")]);
    let output = output({
        command.args(run(&["sh", "-c", "exit 3"]));
        command
    });
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let signals = stand.signals();
    assert!(matches!(&signals[..], [Signal::WitnessStart(_), Signal::Exit(_)]), "{signals:?}");
}

#[test]
fn a_program_that_is_not_there_is_127_and_a_start_that_failed() {
    let stand = Stand::new();
    let output = output(stand.lastbeat(&run(&["no-such-program-anywhere"])));
    assert_eq!(output.status.code(), Some(127));
    let said = text(&output.stderr);
    assert!(
        said.contains("\nerror: cannot start `no-such-program-anywhere`: there is no such program\nhint: "),
        "{said}"
    );
    let signals = stand.signals();
    let [Signal::WitnessStart(start), Signal::Exit(exit)] = &signals[..] else { panic!("{signals:?}") };
    assert!(!start.ready && start.start.pid.is_none());
    assert_eq!(exit.code, Some(127));
}

#[test]
fn a_directory_is_said_to_be_one_from_where_the_program_would_start() {
    let stand = Stand::new();
    std::fs::create_dir(stand.spool.path().join("tools")).expect("a directory");
    let mut command = stand.lastbeat(&["run", "--worker", "shop/api", "--cwd"]);
    command.arg(stand.spool.path()).args(["--", "./tools"]);
    let output = output(command);
    assert_eq!(output.status.code(), Some(126));
    let said = text(&output.stderr);
    assert!(
        said.ends_with(
            "error: cannot start `./tools`: it is a directory\nhint: ls ./tools   # name a program in it\n"
        ),
        "{said}"
    );
}

#[test]
fn a_program_that_may_not_be_run_is_126() {
    let stand = Stand::new();
    let output = output(stand.lastbeat(&run(&["/etc/passwd"])));
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).contains("hint: ls -l /etc/passwd\n"), "{}", text(&output.stderr));
}

#[test]
fn a_stop_is_passed_on_with_its_sender_and_the_child_ends_as_it_likes() {
    let stand = Stand::new();
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut witness = stand.lastbeat(&run(&["sh", "-c", script])).spawn().expect("it starts");
    let (line, rest) = first_line(witness.stdout.take().expect("piped"));
    assert_eq!(line, "up");
    terminate(witness.id());
    assert_eq!(finish(witness).status.code(), Some(5));
    drop(rest);
    let signals = stand.signals();
    let [Signal::WitnessStart(_), Signal::SignalSeen(seen), Signal::Exit(exit)] = &signals[..] else {
        panic!("{signals:?}")
    };
    assert_eq!((seen.signal.as_str(), seen.forwarded), ("SIGTERM", true));
    assert_eq!(seen.sender.as_ref().map(|sender| sender.pid), Some(std::process::id()));
    assert!(matches!(seen.kind, Some(CauseKind::Signal | CauseKind::Supervisor)), "{seen:?}");
    assert_eq!(exit.code, Some(5));
}

#[test]
fn a_child_that_will_not_stop_is_killed_with_its_group_when_the_grace_is_over() {
    let stand = Stand::new();
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let arguments = ["run", "--worker", "shop/api", "--grace", "300ms", "--", "sh", "-c", script];
    let mut witness = stand.lastbeat(&arguments).spawn().expect("it starts");
    let (line, rest) = first_line(witness.stdout.take().expect("piped"));
    assert_eq!(line, "up");
    terminate(witness.id());
    // Whatever the shell started holds the output as well: its end is the end of the whole group.
    assert_eq!(to_the_end(rest), "");
    assert_eq!(finish(witness).status.code(), Some(137));
    let signals = stand.signals();
    let [Signal::WitnessStart(start), Signal::SignalSeen(_), Signal::Exit(exit)] = &signals[..] else {
        panic!("{signals:?}")
    };
    assert_eq!(start.start.grace_ms, Some(300));
    assert_eq!((exit.signal.as_deref(), exit.killed_by_witness), (Some("SIGKILL"), true));
}

#[test]
fn a_typed_grace_is_not_scaled_and_a_default_one_is() {
    for (typed, expected_ms) in [(&["--grace", "4s"][..], 4_000), (&[], 3_000)] {
        let stand = Stand::new();
        let mut arguments = vec!["run", "--worker", "shop/api", "--back-by", "20s"];
        arguments.extend(typed);
        arguments.extend(["--", "sh", "-c", "echo $LASTBEAT_GRACE_MS"]);
        let mut command = stand.lastbeat(&arguments);
        command.env("LASTBEAT_DEADLINES_SCALE", "0.1").env("LASTBEAT_FLUSH_BUDGET", "2s");
        let output = output(command);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stdout), format!("{expected_ms}\n"), "a linked client has to keep it");
        let signals = stand.signals();
        let Some(Signal::WitnessStart(start)) = signals.first() else { panic!("{signals:?}") };
        assert_eq!(start.start.grace_ms, Some(expected_ms));
        assert_eq!(start.start.interval_ms, Some(500));
        assert_eq!(start.back_within_ms, Some(20_000), "a promise is never scaled");
    }
}

#[test]
fn the_child_finds_a_claim_that_only_it_can_use_and_an_unused_one_goes() {
    let stand = Stand::new();
    let script = "stat -c %a \"$LASTBEAT_CLAIM\"; [ $PPID = $LASTBEAT_WITNESS_PID ] && echo parent; \
                  echo $LASTBEAT_RUN_ID $LASTBEAT_SERVICE $LASTBEAT_WORKER";
    let output = output(stand.lastbeat(&run(&["sh", "-c", script])));
    let run_id = stand.facts()[0].run_id;
    assert_eq!(text(&output.stdout), format!("600\nparent\n{run_id} shop api\n"));
    let claims = std::fs::read_dir(stand.spool.path().join("claims")).expect("the directory of claims");
    assert_eq!(claims.count(), 0);
}

#[test]
fn the_claim_of_a_witness_above_is_not_handed_down() {
    let stand = Stand::new();
    // No claim can be put there.
    std::fs::write(stand.spool.path().join("claims"), "").expect("a file");
    let mut command =
        stand.lastbeat(&run(&["sh", "-c", "env | grep -E '^LASTBEAT_(RUN_ID|WITNESS_PID|CLAIM)='"]));
    command.env("LASTBEAT_RUN_ID", "0190d1f0-0000-7000-8000-000000000001");
    command.env("LASTBEAT_WITNESS_PID", "812").env("LASTBEAT_CLAIM", stand.spool.path().join("above"));
    let output = output(command);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "grep finds none");
    assert!(text(&output.stderr).contains("cannot join this run"), "{}", text(&output.stderr));
}

#[test]
fn a_witness_below_another_takes_no_name_from_it() {
    let stand = Stand::new();
    let below = |arguments: &str| format!("{} run {arguments} -- echo ran", env!("CARGO_BIN_EXE_lastbeat"));
    let nameless = output(stand.lastbeat(&run(&["sh", "-c", &below("")])));
    assert_eq!((nameless.status.code(), text(&nameless.stdout)), (Some(2), String::new()));
    let said = text(&nameless.stderr);
    assert!(said.contains("shop/api is watched by a witness above"), "{said}");
    assert!(said.contains("hint: lastbeat run --worker SERVICE/WORKER -- CMD…"), "{said}");
    assert_eq!(stand.facts().iter().filter(|fact| matches!(fact.signal, Signal::WitnessStart(_))).count(), 1);

    // A name of its own is as good by the environment as by the flag.
    for inner in [below("--worker shop/job"), format!("LASTBEAT_WORKER=job {}", below(""))] {
        let named = output(Stand::new().lastbeat(&run(&["sh", "-c", &inner])));
        assert_eq!((named.status.code(), text(&named.stdout)), (Some(0), "ran\n".into()), "{inner}");
    }
}

#[test]
fn claims_of_witnesses_that_were_killed_are_swept_after_a_day() {
    let stand = Stand::new();
    let claims = stand.spool.path().join("claims");
    DirBuilder::new().create(&claims).expect("a directory");
    let days = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    let stale = "0190d1f0-0000-7000-8000-000000000001";
    let fresh = "0190d1f0-0000-7000-8000-000000000002";
    for (name, modified) in [(stale, days(2)), (fresh, days(0)), ("somebody's own", days(2))] {
        let file = File::create(claims.join(name)).expect("a file");
        file.set_modified(modified).expect("its own file");
    }
    assert_eq!(output(stand.lastbeat(&run(&["true"]))).status.code(), Some(0));
    let mut left: Vec<String> = std::fs::read_dir(&claims)
        .expect("the directory of claims")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, [fresh, "somebody's own"]);
}

#[test]
fn what_was_ignored_before_stays_ignored_for_the_child() {
    let stand = Stand::new();
    let binary = env!("CARGO_BIN_EXE_lastbeat");
    // As `nohup` does it. Bit 0 is SIGHUP.
    let script = format!(
        "trap '' HUP; exec {binary} run --worker a/b -- sh -c 'kill -HUP $PPID; grep SigIgn /proc/self/status'"
    );
    let mut command = stand.environment(Command::new("sh"));
    command.args(["-c", &script]);
    let output = output(command);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mask = text(&output.stdout).split_whitespace().last().map(str::to_owned).expect("a mask");
    assert_eq!(u64::from_str_radix(&mask, 16).expect("hexadecimal") & 1, 1);
    assert!(stand.signals().iter().all(|signal| !matches!(signal, Signal::SignalSeen(_))));
}

#[test]
fn the_child_starts_where_it_is_told_to() {
    let stand = Stand::new();
    let dir = stand.spool.path().canonicalize().expect("it exists");
    let dir = dir.to_str().expect("UTF-8");
    let there = output(stand.lastbeat(&["run", "--worker", "a/b", "--cwd", dir, "--", "pwd"]));
    assert_eq!(text(&there.stdout), format!("{dir}\n"));
    let stand = Stand::new();
    let nowhere = output(stand.lastbeat(&["run", "--worker", "a/b", "--cwd", "/no/such/place", "--", "pwd"]));
    assert_eq!(nowhere.status.code(), Some(127));
    assert!(text(&nowhere.stderr).contains("there is no directory /no/such/place"));
}
