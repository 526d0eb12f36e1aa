//! `lastbeat serve` starts and stops as told; `lastbeat demo` shows what it promises.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::stand::{LIMIT, Stand, finish, first_line, next_line, output, send, text};

fn serve(stand: &Stand, more: &[&str]) -> (Child, String) {
    let mut command = stand.lastbeat(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(stand.spool.path().join("data")).args(more).stdin(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (line, _) = first_line(child.stdout.take().expect("piped"));
    (child, line)
}

#[test]
fn the_real_port_is_printed_and_a_stop_is_a_success() {
    let stand = Stand::new();
    let (child, line) = serve(&stand, &[]);
    let address = line.strip_prefix("lastbeat is at http://").expect("the first line says where it is");
    assert_ne!(address.rsplit_once(':').map(|(_, port)| port), Some("0"));
    let url = format!("http://{address}");
    let status = output(stand.lastbeat(&["status", "--collector", &url]));
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert!(text(&status.stdout).starts_with("No worker has reported yet"), "{}", text(&status.stdout));
    let unknown = output(stand.lastbeat(&["explain", "shop/api", "--collector", &url]));
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).ends_with("hint: lastbeat status\n"), "{}", text(&unknown.stderr));
    send(child.id(), Signal::TERM);
    assert_eq!(finish(child).status.code(), Some(0));
}

#[test]
fn what_is_planned_is_listed_until_its_end_and_a_refusal_is_exit_1() {
    let stand = Stand::new();
    let (child, line) = serve(&stand, &[]);
    let url = line.strip_prefix("lastbeat is at ").expect("the first line says where it is").to_owned();
    let told = |arguments: &[&str]| {
        let mut command = stand.lastbeat(arguments);
        command.env("LASTBEAT_COLLECTOR", &url).env("USER", "anna").env_remove("SUDO_USER");
        output(command)
    };
    assert!(text(&told(&["plan", "list"]).stdout).starts_with("Nothing is planned"));
    let made = told(&["plan", "restart", "shop/api", "--for=5m", "--why=new release", "--deploy=42"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let said = text(&made.stdout);
    assert!(said.starts_with("planned: restart of shop/api until "), "{said}");
    let id = said.trim_end().rsplit(' ').next().expect("the command that ends it").to_owned();

    let list = text(&told(&["plan", "list"]).stdout);
    for word in ["◷", &id, "restart", "shop/api", "42", "anna@", "new release"] {
        assert!(list.contains(word), "{word}: {list}");
    }
    let list = text(&told(&["plan", "list", "--json"]).stdout);
    assert!(list.contains(r#""state":"open""#) && list.contains(r#""v":1"#), "{list}");

    for _ in 0..2 {
        let over = told(&["plan", "end", &id]);
        assert_eq!(over.status.code(), Some(0), "{}", text(&over.stderr));
        assert!(text(&over.stdout).starts_with("over: restart of shop/api since "), "{}", text(&over.stdout));
    }
    assert!(text(&told(&["plan", "list"]).stdout).contains('□'));

    for (arguments, code, hint) in [
        (&["plan", "end", "nosuch"][..], "unknown_plan", "lastbeat plan list"),
        (&["forget", "shop/api"], "not_found", "lastbeat status"),
    ] {
        let refused = told(arguments);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("({code})")) && said.ends_with(&format!("hint: {hint}\n")), "{said}");
    }
    send(child.id(), Signal::TERM);
    assert_eq!(finish(child).status.code(), Some(0));
}

#[test]
fn who_cannot_be_asked_is_told_why_with_exit_1_and_what_to_do() {
    let stand = Stand::new();
    let (child, line) = serve(&stand, &[]);
    let url = line.strip_prefix("lastbeat is at ").expect("the first line says where it is").to_owned();
    let told = |arguments: &[&str]| {
        let mut command = stand.lastbeat(arguments);
        command.env("LASTBEAT_COLLECTOR", &url).env("LASTBEAT_FLUSH_BUDGET", "20s");
        command
    };
    let refused = |verb: &str, code: &str, hint: &str| {
        let refused = output(told(&[verb, "shop/api"]));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert_eq!(text(&refused.stdout), "", "nothing was asked");
        assert!(said.contains(&format!("/v1/workers/shop/api/{verb}: ")), "{said}");
        assert!(said.contains(&format!("({code})\nhint: {hint}")), "{said}");
        said
    };
    for verb in ["stop", "pause", "resume"] {
        refused(verb, "not_found", "lastbeat status\n");
    }
    // A program that knows nothing of us says nothing of itself, and its witness does not speak for it.
    let mut witness = told(&["run", "--worker", "shop/api", "--", "sh", "-c", "echo up; read line"]);
    let mut witness = witness.stdin(Stdio::piped()).spawn().expect("it starts");
    let (up, _rest) = first_line(witness.stdout.take().expect("piped"));
    assert_eq!(up, "up");
    until_known(&stand, &url);
    for verb in ["stop", "pause", "resume"] {
        let said = refused(verb, "not_opted_in", "send its process SIGTERM where it runs; ");
        assert!(said.contains(&format!("did not say that it may be asked to {verb}")), "{said}");
    }
    drop(witness.stdin.take());
    finish(witness);
    for verb in ["stop", "pause", "resume"] {
        refused(verb, "not_running", "lastbeat status\n");
    }
    send(child.id(), Signal::TERM);
    assert_eq!(finish(child).status.code(), Some(0));
}

/// Waits until the collector knows the worker; the witness starts its program before it is heard.
fn until_known(stand: &Stand, url: &str) {
    let begun = Instant::now();
    while output(stand.lastbeat(&["explain", "shop/api", "--collector", url])).status.code() != Some(0) {
        assert!(begun.elapsed() < LIMIT, "the witness was not heard");
    }
}

#[test]
fn a_collector_that_cannot_open_its_journal_says_so_and_not_where_it_is() {
    let stand = Stand::new();
    let file = stand.spool.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let (holder, _) = serve(&stand, &[]);
    let in_use = stand.spool.path().join("data");
    for data in [file, in_use] {
        let mut command =
            stand.lastbeat(&["serve", "--listen", "localhost:0", "--back-by", "20m", "--data-dir"]);
        command.arg(&data);
        let output = output(command);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("error: cannot serve from {}", data.display())), "{said}");
        assert!(said.contains("warning: --back-by is more than 10m and counts as 10m"), "{said}");
    }
    send(holder.id(), Signal::TERM);
    assert_eq!(finish(holder).status.code(), Some(0));
}

#[test]
fn a_run_that_was_delivered_needs_no_word_and_is_named_by_its_status() {
    let stand = Stand::new();
    let (child, line) = serve(&stand, &[]);
    let url = line.strip_prefix("lastbeat is at ").expect("the first line says where it is");
    let run = |code: &str| {
        let mut command =
            stand.lastbeat(&["run", "--worker", "shop/api", "--", "sh", "-c", &format!("exit {code}")]);
        command.env("LASTBEAT_COLLECTOR", url).env("LASTBEAT_FLUSH_BUDGET", "20s");
        let output = output(command);
        assert_eq!(text(&output.stderr), "");
    };
    run("0");
    run("3");
    let status = output(stand.lastbeat(&["status", "shop/api", "--collector", url]));
    let shown = text(&status.stdout);
    let identity = |what: &str| {
        let run = shown.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("{shown}"));
        let told = output(stand.lastbeat(&["explain", run, "--collector", url]));
        assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
        text(&told.stdout)
    };
    assert!(identity("run ").contains("it exited with 3"));
    send(child.id(), Signal::TERM);
    assert_eq!(finish(child).status.code(), Some(0));
}

#[test]
fn a_second_stop_a_second_later_ends_it_at_once_whoever_is_waited_for() {
    let stand = Stand::new();
    let (mut child, line) = serve(&stand, &[]);
    let address = line.strip_prefix("lastbeat is at http://").expect("the first line says where it is");
    // A request under way, whose body never comes: a stop waits for it.
    let mut slow = TcpStream::connect(address).expect("it listens");
    slow.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(
        slow,
        "POST /v1/beats HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nexpect: 100-continue\r\n\r\n"
    )
    .expect("it takes the head");
    let mut go_on = [0; 12];
    slow.read_exact(&mut go_on).expect("it asks for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100");
    send(child.id(), Signal::TERM);
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    loop {
        let (said, rest) = next_line(log);
        log = rest;
        assert!(!said.is_empty(), "it ended before it took its leave");
        if said.contains("takes its leave") {
            break;
        }
    }
    // Signals within a second of the first are one request; the first was heard before the line was said.
    std::thread::sleep(Duration::from_secs(1));
    send(child.id(), Signal::TERM);
    assert_eq!(finish(child).status.code(), Some(128 + 15));
}

#[test]
fn a_ctrl_c_that_was_ignored_from_the_start_stops_no_collector() {
    let stand = Stand::new();
    let mut command = stand.environment(Command::new("env"));
    command.args(["--ignore-signal=INT", env!("CARGO_BIN_EXE_lastbeat"), "serve", "--listen=127.0.0.1:0"]);
    command.arg("--data-dir").arg(stand.spool.path().join("data"));
    let mut child = command.spawn().expect("it starts");
    let (line, _out) = first_line(child.stdout.take().expect("piped"));
    assert!(line.starts_with("lastbeat is at http://"), "{line}");
    send(child.id(), Signal::INT);
    // Of two signals that wait the lower is heard first, so this one is told only if the other was not.
    send(child.id(), Signal::TERM);
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0));
    let log = text(&output.stderr);
    let asked: Vec<&str> = log.lines().filter(|line| line.contains("asked to stop")).collect();
    assert!(asked.len() == 1 && asked[0].contains("SIGTERM"), "{log}");
}

#[test]
fn a_collector_that_was_told_so_ends_with_its_parent() {
    let stand = Stand::new();
    let (mut child, _) = serve(&stand, &["--until-stdin-closes"]);
    drop(child.stdin.take());
    assert_eq!(finish(child).status.code(), Some(0));
}

#[test]
fn every_act_of_the_demo_is_judged_as_it_should_be_and_nothing_is_left() {
    let stand = Stand::new();
    let mut command = stand.lastbeat(&["demo", "--exit-after-tour", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", stand.spool.path());
    let output = output(command);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(std::fs::read_dir(stand.spool.path()).expect("the directory").count(), 0);
}
