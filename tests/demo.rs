//! Promise: the demo shows the main job with real processes, and knows by itself whether it worked.

use std::time::Duration;

use lastbeat_tests::{Process, tools};

/// The tour takes under a minute; a loaded machine may take twice that.
const TOUR: Duration = Duration::from_secs(120);

#[test]
fn the_demo_plays_every_ending_and_ends_with_0() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = tools::command(tools::program("lastbeat"));
    command.args(["demo", "--listen=127.0.0.1:0", "--exit-after-tour"]);
    // Were it to leave anything behind, then there.
    command.env("TMPDIR", home.path()).env("XDG_STATE_HOME", home.path());
    let mut demo = Process::start("lastbeat demo", &mut command);
    let line = demo.line("http://127.0.0.1:");
    assert!(!line.contains(":0/") && !line.ends_with(":0"), "the real port is printed: {line}");
    let status = demo.end(TOUR);
    let told = demo.output();
    assert_eq!(status.code(), Some(0), "{told}");
    for words in [
        "System stopped",
        "Restarting, back by ",
        "Live",
        "Failed: restart overdue since ",
        "Failed: panic \"",
        "Failed: killed (SIGKILL)",
        "Unreachable ",
        "Failed: lost contact ",
        "Completed",
    ] {
        assert!(told.contains(&format!(": {words}")), "the tour tells of no {words:?}:\n{told}");
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("readable").filter_map(Result::ok).collect();
    assert!(left.is_empty(), "the demo leaves {left:?} behind");
}
