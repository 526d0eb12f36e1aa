//! What, why, hint; and the exit code that goes with it.

use crate::stand::{Stand, output, text};

#[test]
fn an_unknown_verb_is_a_usage_error_with_a_suggestion() {
    let output = output(Stand::new().lastbeat(&["statsu"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'status'"), "{}", text(&output.stderr));
}

#[test]
fn the_help_lists_the_exit_codes_and_hides_what_is_not_for_people() {
    let output = output(Stand::new().lastbeat(&["--help"]));
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(help.contains("4  no collector answers"), "{help}");
    assert!(!help.contains("demo-worker"), "{help}");
}

#[test]
fn the_help_of_a_verb_names_the_variables_that_count_for_it_and_no_other() {
    let expected: [(&str, &[&str], &[&str]); 7] = [
        #[cfg(feature = "collector")]
        ("serve", &["SPOOL_DIR", "DEADLINES_SCALE", "LOG"], &["COLLECTOR", "BEAT_INTERVAL"]),
        #[cfg(not(feature = "collector"))]
        ("explain", &["COLLECTOR"], &["LOG"]),
        (
            "run",
            &[
                "COLLECTOR",
                "SPOOL_DIR",
                "SERVICE",
                "WORKER",
                "ENVIRONMENT",
                "BEAT_INTERVAL",
                "STOP_DEADLINE",
                "FLUSH_BUDGET",
                "DEADLINES_SCALE",
            ],
            &["LOG"],
        ),
        ("status", &["COLLECTOR"], &["SPOOL_DIR", "LOG"]),
        ("plan", &["COLLECTOR"], &["SPOOL_DIR", "LOG"]),
        ("stop", &["COLLECTOR"], &["STOP_DEADLINE", "LOG"]),
        ("pause", &["COLLECTOR"], &["LOG"]),
        ("resume", &["COLLECTOR"], &["LOG"]),
    ];
    for (verb, counted, others) in expected {
        let help = text(&output(Stand::new().lastbeat(&[verb, "--help"])).stdout);
        let (_, environment) = help.split_once("\nEnvironment:\n").expect(verb);
        let names = |name: &&str| environment.contains(&format!("LASTBEAT_{name}"));
        assert!(counted.iter().all(&names), "{help}");
        assert!(!others.iter().any(names), "{help}");
    }
}

#[test]
fn what_is_neither_a_worker_nor_a_run_says_where_to_find_both() {
    let output = output(Stand::new().lastbeat(&["explain", "nosuch"]));
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("`lastbeat status SERVICE/WORKER` names the run of one"), "{said}");
}

#[cfg(feature = "collector")]
#[test]
fn a_setting_that_cannot_be_read_fails_the_demo_once_and_before_it_starts() {
    let stand = Stand::new();
    let mut command = stand.lastbeat(&["demo", "--exit-after-tour"]);
    command.env("TMPDIR", stand.spool.path()).env("LASTBEAT_DEADLINES_SCALE", "fast");
    let output = output(command);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr).matches("error: ").count(), 1, "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(stand.spool.path()).expect("the directory").count(), 0);
}

#[test]
fn a_wrong_flag_value_says_what_would_be_right() {
    let output = output(Stand::new().lastbeat(&["run", "--worker", "a/b", "--grace", "30", "--", "true"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("500ms, 5s, 2m"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_typed_ends_with_the_command_that_shows_what_can() {
    for (arguments, hint) in [
        (&["statsu"][..], "lastbeat --help"),
        (&["status", "--jsn"], "lastbeat status --help"),
        (&["run", "--worker=a b/c", "--", "true"], "lastbeat run --help"),
        (&["plan", "stop", "shop", "--for=soon", "--why=because"], "lastbeat plan stop --help"),
    ] {
        let output = output(Stand::new().lastbeat(arguments));
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: ") && said.ends_with(&format!("\nhint: {hint}\n")), "{said}");
        assert!(!said.contains("For more information"), "one hint: {said}");
    }
    let none = output(Stand::new().lastbeat(&[]));
    assert_eq!(none.status.code(), Some(2));
    assert!(!text(&none.stderr).contains("hint:"), "the help itself: {}", text(&none.stderr));
}

#[test]
fn a_plan_needs_a_time_and_a_reason() {
    for arguments in [
        &["plan", "stop", "shop", "--why=because"][..],
        &["plan", "stop", "shop", "--for=1m"],
        &["plan", "stop", "shop", "--for=1m", "--why="],
        &["plan", "stop", "shop", "--for=31d", "--why=because"],
        &["plan", "stop", "shop", "--for=721h", "--why=because"],
        &["plan", "stop", "a b", "--for=1m", "--why=because"],
        &["plan"],
        &["forget", "shop"],
    ] {
        let output = output(Stand::new().lastbeat(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_request_names_one_worker_and_only_a_stop_is_forced_or_waited_for() {
    for arguments in [
        &["stop"][..],
        &["stop", "shop"],
        &["stop", "shop/api", "--why="],
        &["stop", "shop/api", "--who="],
        &["stop", "shop/api", "--timeout=5"],
        &["stop", "shop/api", "--timeout=5s", "--no-wait"],
        &["pause", "shop"],
        &["pause", "shop/api", "--force"],
        &["resume", "shop/api", "--no-wait"],
    ] {
        let output = output(Stand::new().lastbeat(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_witness_must_know_which_worker_it_watches() {
    let output = output(Stand::new().lastbeat(&["run", "--", "true"]));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "error: which worker is this?: neither --worker nor LASTBEAT_SERVICE and LASTBEAT_WORKER say it\n\
         hint: lastbeat run --worker SERVICE/WORKER -- CMD…\n"
    );
}

#[test]
fn no_collector_is_exit_4_with_the_command_that_starts_one() {
    let stand = Stand::new();
    for arguments in [
        &["status"][..],
        &["explain", "shop/api"],
        &["forget", "shop/api"],
        &["stop", "shop/api"],
        &["stop", "shop/api", "--force", "--no-wait"],
        &["pause", "shop/api"],
        &["resume", "shop/api"],
        &["plan", "stop", "shop", "--for=1m", "--why=because"],
        &["plan", "end", "a"],
        &["plan", "list"],
    ] {
        let output = output(stand.lastbeat(arguments));
        assert_eq!(output.status.code(), Some(4));
        let said = text(&output.stderr);
        let expected = format!("error: no collector answers at {}: connection refused\n", stand.collector());
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains("hint: lastbeat serve"), "{said}");
    }
}

#[test]
fn a_collector_address_that_is_none_is_a_usage_error() {
    let output = output(Stand::new().lastbeat(&["status", "--collector", "ftp://somewhere"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("has to begin with http://"), "{}", text(&output.stderr));
}

#[test]
fn a_setting_that_cannot_be_read_is_named() {
    let stand = Stand::new();
    let mut command = stand.lastbeat(&["run", "--worker", "a/b", "--", "true"]);
    command.env("LASTBEAT_DEADLINES_SCALE", "fast");
    let output = output(command);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("LASTBEAT_DEADLINES_SCALE"), "{}", text(&output.stderr));
}

#[cfg(feature = "collector")]
#[test]
fn a_port_in_use_says_who_holds_it_and_offers_another() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound");
    let stand = Stand::new();
    let data = stand.spool.path().join("data");
    let mut command = stand.lastbeat(&["serve", "--listen", &address.to_string(), "--data-dir"]);
    command.arg(data);
    let output = output(command);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("error: cannot listen on {address}: the port is held by ")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    assert!(said.contains("hint: lastbeat serve --listen 127.0.0.1:"), "{said}");
}

#[cfg(feature = "collector")]
#[test]
fn a_collector_does_not_listen_beyond_loopback_unless_told_so() {
    let output = output(Stand::new().lastbeat(&["serve", "--listen", "0.0.0.0:0"]));
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("nothing protects the collector"), "{said}");
    assert!(said.contains("--insecure-listen"), "{said}");
}

/// Answers one request with these bytes, as whatever is at that port.
fn answering(response: &'static str) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("a request");
        assert!(request[..read].starts_with(b"GET /v1/"));
        stream.write_all(response.as_bytes()).expect("the answer is sent");
    });
    address
}

#[test]
fn a_refusal_is_shown_as_the_collector_said_it() {
    let address = answering(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 77\r\nconnection: close\r\n\r\n\
         {\"error\":{\"code\":\"overloaded\",\"message\":\"too much waits\",\"hint\":\"try later\"}}",
    );
    let url = format!("http://{address}");
    let output = output(Stand::new().lastbeat(&["explain", "shop/api", "--collector", &url]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "error: cannot read {url}/v1/workers/shop/api: too much waits (overloaded)\nhint: try later\n"
        )
    );
}

#[test]
fn another_program_at_that_port_is_not_taken_for_a_collector() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    let url = format!("http://{address}");
    let output = output(Stand::new().lastbeat(&["status", "--collector", &url]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not one of a lastbeat collector"), "{}", text(&output.stderr));
}
