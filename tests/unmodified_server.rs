//! Promise: a server that has never heard of lastbeat is understood under `lastbeat run`.

use std::time::Duration;

use lastbeat_tests::worker::live;
use lastbeat_tests::{Collector, PATIENCE, Process, scenes, tools};
use lastbeat_wire::report::{Class, Condition, Severity, WorkerReport};
use lastbeat_wire::signal::{CauseKind, CleanupOutcome};

const WHO: &str = "market-watch/api";

/// The real uvicorn with a FastAPI application, under a witness, once it serves.
fn serve(collector: &Collector) -> Process {
    let servers = tools::repository().join("tests/servers");
    let python = tools::tool(tools::repository().join("tests/.venv/bin/python"));
    let mut command = collector.command(tools::program("lastbeat"));
    command.args(["run", "--worker", WHO, "--cwd"]).arg(&servers).arg("--").arg(python);
    command.args(["-m", "uvicorn", "shop:app", "--host=127.0.0.1", "--port=0", "--no-use-colors"]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut witness = Process::start("lastbeat run uvicorn", &mut command);
    let line = witness.line("running on http://");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    let body = ureq::get(format!("http://{address}/")).call().expect("it serves").body_mut().read_to_string();
    assert_eq!(body.expect("a body"), r#"{"say":"hello"}"#);
    witness
}

#[test]
fn uvicorn_asked_to_stop_is_a_shutdown_although_signal_15_ends_it() {
    let collector = Collector::start();
    let mut witness = serve(&collector);
    live(&collector, WHO);
    assert_eq!(collector.worker(WHO).run.map(|run| (run.linked, run.witnessed)), Some((false, true)));

    let shell = scenes::kill_from_a_shell(witness.pid());
    let status = witness.end(PATIENCE);
    assert_eq!(status.code(), Some(143), "128 + 15 passes through");
    assert!(witness.output().contains("shop is closed"), "the server's own cleanup ran");

    let stopped = |report: &WorkerReport| report.condition == Condition::Stopped;
    let report = collector.wait_for(WHO, Condition::Stopped, PATIENCE, stopped);
    let ending = report.run.and_then(|run| run.ending).expect("it has ended");
    assert_eq!((ending.class, report.severity), (Class::Shutdown, Severity::None));
    let exit = ending.exit.expect("its witness saw it");
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGTERM")));
    let cause = ending.cause.expect("it was asked");
    assert_eq!((cause.kind, cause.signal.as_deref()), (CauseKind::Signal, Some("SIGTERM")));
    let sender = cause.sender.expect("bash lives and can be read");
    assert_eq!((sender.pid, sender.comm.as_deref()), (shell.pid(), Some("bash")));
    assert_eq!(ending.cleanup.outcome, CleanupOutcome::NoneDeclared);
    assert!(report.words.starts_with("System stopped "), "{}", report.words);
    assert_eq!(collector.alerts(), []);
    let explain = collector.cli(&["explain", WHO]);
    assert!(explain.out.contains("no error"), "{explain:?}");

    let mut again = serve(&collector);
    live(&collector, WHO);
    assert_eq!(collector.runs(WHO).len(), 2);
    assert_eq!(collector.alerts(), []);
    let _shell = scenes::kill_from_a_shell(again.pid());
    again.end(Duration::from_secs(10));
}
