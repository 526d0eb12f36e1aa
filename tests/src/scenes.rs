//! Ways a worker comes to its end, each brought about as it happens in life.
//!
//! Shared by the tests that ask the HTTP side and the commands, and by those that read the page. A scene
//! returns as soon as the deed is done: what becomes of it is for the test to find out.

use std::time::Instant;

use rustix::process::Signal;

use crate::PATIENCE;
use crate::collector::Collector;
use crate::process::send;
use crate::terminal::{CTRL_C, Terminal};
use crate::worker::Worker;

/// The plan of a worker whose cleanup goes well.
pub const CLEAN_PLAN: &[&str] = &["--step=cancel-orders:ok:3/3", "--step=flush:ok"];

/// A linked worker in a terminal, and somebody who presses Ctrl+C in it. Returns its exit code.
pub fn stopped_by_ctrl_c(collector: &Collector, who: &str) -> u32 {
    let mut terminal = Worker::start_in_terminal(collector, who, CLEAN_PLAN);
    terminal.type_in(CTRL_C);
    terminal.end(PATIENCE).exit_code()
}

/// A linked worker, and somebody who types `kill -TERM` in a shell. Returns the shell, which lives on.
#[must_use]
pub fn stopped_from_a_shell(collector: &Collector, who: &str, arguments: &[&str]) -> Terminal {
    let mut worker = Worker::start(collector, who, arguments);
    let shell = kill_from_a_shell(worker.pid());
    worker.end();
    shell
}

/// Somebody who opens a terminal and types `kill -TERM PID` into its shell.
#[must_use]
pub fn kill_from_a_shell(pid: u32) -> Terminal {
    let mut shell = Terminal::bash();
    shell.type_in(&format!("kill -TERM {pid}\r"));
    shell
}

/// A linked worker that promises to be back, and is asked to stop. Ends with it gone.
pub fn leaves_with_a_promise(collector: &Collector, who: &str, back_within: &str) {
    let mut worker = Worker::start(collector, who, &[&format!("--back-within={back_within}")]);
    worker.signal(Signal::TERM);
    worker.end();
}

/// A linked worker whose main task panics.
pub fn panics(collector: &Collector, who: &str) {
    let mut worker = Worker::start(collector, who, &[]);
    worker.tell("panic the till is empty");
    worker.end();
}

/// A linked worker under a witness, ended by a KILL. Returns its witness, and when the KILL was sent.
#[must_use]
pub fn killed_under_its_witness(collector: &Collector, who: &str) -> (Worker, Instant) {
    let worker = Worker::start_witnessed(collector, who, &[], &[]);
    send(worker.pid(), Signal::KILL);
    (worker, Instant::now())
}

/// A linked worker without a witness, ended by a KILL and reaped.
pub fn killed_alone(collector: &Collector, who: &str) {
    Worker::start(collector, who, &[]).process().kill();
}
