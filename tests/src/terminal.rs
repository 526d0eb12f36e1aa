//! A process in a terminal of its own: what a person types reaches it as it would from a keyboard.

use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::process::Signal;

use crate::PATIENCE;
use crate::process::{Transcript, end_all, send};
use crate::tools;

/// Ctrl+C, as the keyboard sends it; the terminal makes a SIGINT of it.
pub const CTRL_C: &str = "\x03";

/// A pseudo-terminal with a process that leads its session.
pub struct Terminal {
    name: String,
    // Held so that the terminal stays open: closing it hangs the process up.
    _master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    transcript: Transcript,
    ended: Option<ExitStatus>,
}

impl Terminal {
    /// Opens a terminal and starts `command` in it.
    ///
    /// # Panics
    /// When either cannot be done.
    #[must_use]
    pub fn start(name: &str, command: &Command) -> Self {
        let size = PtySize { rows: 40, cols: 200, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal can be opened");
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(key, value),
                None => builder.env_remove(key),
            }
        }
        builder.cwd(tools::repository());
        let child = pair.slave.spawn_command(builder).expect("a process can be started in a terminal");
        drop(pair.slave);
        let transcript = Transcript::default();
        transcript.follow(pair.master.try_clone_reader().expect("a terminal can be read"));
        let keyboard = pair.master.take_writer().expect("a terminal can be written");
        Self { name: name.into(), _master: pair.master, keyboard, child, transcript, ended: None }
    }

    /// An interactive bash, ready for its first command.
    #[must_use]
    pub fn bash() -> Self {
        let mut command = tools::command("bash");
        command.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ").env("HISTFILE", "");
        Self::start("bash in a terminal", &command)
    }

    /// The process that leads the terminal's session.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("a started process has an id")
    }

    /// Types `text`.
    ///
    /// # Panics
    /// When the terminal is closed.
    pub fn type_in(&mut self, text: &str) {
        let typed = self.keyboard.write_all(text.as_bytes()).and_then(|()| self.keyboard.flush());
        if let Err(error) = typed {
            panic!("{} takes no typing: {error}\n{}", self.name, self.transcript.text());
        }
    }

    /// What stands on the screen, from the beginning.
    #[must_use]
    pub fn output(&self) -> String {
        self.transcript.text()
    }

    /// The first line on the screen that holds `needle`.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub fn line(&self, needle: &str) -> String {
        self.transcript
            .line(needle, PATIENCE)
            .unwrap_or_else(|| panic!("{} never said {needle:?}; it said:\n{}", self.name, self.output()))
    }

    /// Waits for the end of the leading process.
    ///
    /// # Panics
    /// When it lives on past `limit`.
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = &self.ended {
                return status.clone();
            }
            self.ended = self.child.try_wait().expect("a child can be waited for");
            assert!(
                self.ended.is_some() || begun.elapsed() < limit,
                "{} still lives after {:.1} s; it said:\n{}",
                self.name,
                limit.as_secs_f64(),
                self.output()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.output());
        }
        if self.ended.is_some() || matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = self.child.process_id() {
            end_all(pid, &mut || matches!(self.child.try_wait(), Ok(Some(_))));
            send(pid, Signal::KILL);
        }
        drop(self.child.wait());
    }
}
