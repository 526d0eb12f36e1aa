//! The child process: how it is started, signalled, killed, and what `/proc` knows of it.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use lastbeat_wire::signal::{Exit, Start};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use rustix_libc_wrappers::process::SignalExt as _;

use super::claim;
use super::forward::Attachment;

/// The most descendants that are killed one by one; past that a fork bomb is at work, and its group's
/// terminal has to go.
const DESCENDANTS_MAX: usize = 10_000;

/// A child that is not reaped yet.
pub(crate) struct Child {
    process: std::process::Child,
    pid: Pid,
    attachment: Attachment,
}

impl Child {
    /// Starts a program.
    pub(crate) fn start(
        command: &[OsString],
        cwd: Option<&Path>,
        environment: &[(&str, OsString)],
        attachment: Attachment,
    ) -> std::io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| std::io::Error::other("there is no command"))?;
        let mut prepared = Command::new(program);
        for name in claim::VARIABLES {
            prepared.env_remove(name);
        }
        prepared.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = cwd {
            prepared.current_dir(dir);
        }
        match attachment {
            Attachment::Detached => {
                prepared.process_group(0);
            }
            Attachment::Member | Attachment::Leader => {}
        }
        let process = prepared.spawn()?;
        let pid = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| std::io::Error::other("the kernel gave a pid that is none"))?;
        Ok(Self { process, pid, attachment })
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    /// How it hangs on a terminal, together with us.
    pub(crate) const fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// Passes a signal on; tells whether there was somebody to take it.
    pub(crate) fn signal(&self, number: i32) -> bool {
        rustix::process::Signal::from_raw(number)
            .is_some_and(|signal| rustix::process::kill_process(self.pid, signal).is_ok())
    }

    /// Kills the child and what it started: by its group where that is its own, else one by one, for then
    /// the group is ours and the shell's too.
    pub(crate) fn kill_all(&self) {
        let kill = rustix::process::Signal::KILL;
        match self.attachment {
            Attachment::Detached => {
                // A group without members is what is wanted.
                let _ = rustix::process::kill_process_group(self.pid, kill);
            }
            Attachment::Member | Attachment::Leader => {
                let descendants = descendants_of(self.pid.as_raw_pid());
                let _ = rustix::process::kill_process(self.pid, kill);
                for (pid, born) in descendants {
                    // Its parent is gone and may have been reaped: only the same birth is the same process.
                    if stat_of(pid).is_some_and(|stat| stat.start_ticks == born)
                        && let Some(pid) = Pid::from_raw(pid)
                    {
                        let _ = rustix::process::kill_process(pid, kill);
                    }
                }
            }
        }
    }

    /// Takes the wait status; from here on the pid may be another's.
    pub(crate) fn reap(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait()
    }
}

/// How this process hangs on a terminal.
pub(crate) fn attachment() -> Attachment {
    match (std::io::stdin().is_terminal(), leads_its_session()) {
        (false, _) => Attachment::Detached,
        (true, false) => Attachment::Member,
        (true, true) => Attachment::Leader,
    }
}

/// Blocks until the child has ended, and leaves it to be reaped.
pub(super) fn wait_for_end(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(rustix::process::waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
}

/// How the child has ended, if it has; it is left to be reaped.
pub(super) fn end_of(pid: Pid) -> Option<WaitIdStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    rustix::process::waitid(WaitId::Pid(pid), options).ok().flatten()
}

/// The signal that asks to stop of which a child died, or says by its exit code that it did.
pub(super) fn asked_by(end: &WaitIdStatus) -> Option<i32> {
    let by_code = || end.exit_status().map(|code| code - 128);
    let asking = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].map(Signal::as_raw);
    end.terminating_signal().or_else(by_code).filter(|signal| asking.contains(signal))
}

/// The wait status as a fact.
pub(crate) fn exit_of(status: ExitStatus, killed_by_witness: bool) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal().map(|number| {
        signal_hook::low_level::signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
    });
    Exit {
        code: status.code(),
        killed_by_witness: killed_by_witness && signal.as_deref() == Some("SIGKILL"),
        signal,
        core_dumped: status.core_dumped(),
    }
}

/// The wait status as an exit code of our own: the child's code, or 128+n for signal n.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|number| 128 + number)).unwrap_or(1);
    // The kernel keeps exit codes in 8 bits and signals are below 65.
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// What identifies the child on its host, as its own `start` would say it.
pub(crate) fn identity_of(pid: Option<Pid>) -> Start {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    // The namespace link of a process that has already ended cannot be read; it began in ours.
    let pid_ns = std::fs::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|link| link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok());
    Start {
        boot_id: read("/proc/sys/kernel/random/boot_id").filter(|id| !id.is_empty()),
        pid: pid.and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()),
        pid_ns,
        start_ticks: pid.and_then(|pid| stat_of(pid.as_raw_pid())).map(|stat| stat.start_ticks),
        host: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        ..Start::default()
    }
}

/// Whether this process leads its session. Asked of `/proc`, for the call panics in a container that was entered
/// from outside: its session's leader is in no namespace of ours and has the id 0 there.
fn leads_its_session() -> bool {
    stat_of("self").is_some_and(|stat| stat.session == stat.pid)
}

struct Stat {
    pid: i32,
    ppid: i32,
    session: i32,
    start_ticks: u64,
}

fn stat_of(process: impl std::fmt::Display) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may hold some itself; fields are counted behind the last one.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    Some(Stat {
        pid: text.split_ascii_whitespace().next()?.parse().ok()?,
        ppid: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Every process below this one, with its birth.
fn descendants_of(root: i32) -> Vec<(i32, u64)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let all: Vec<(i32, Stat)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat_of(pid)?)))
        .collect();
    let mut found: Vec<(i32, u64)> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.ppid == parent) {
            if found.len() >= DESCENDANTS_MAX {
                return found;
            }
            found.push((*pid, stat.start_ticks));
            parents.push(*pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_wait_status_passes_through_as_a_shell_would_say_it() {
        // Raw wait statuses: the code in the second byte, the signal in the low seven bits, 0x80 for a core.
        assert_eq!(code_of(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
        let core = exit_of(ExitStatus::from_raw(0x80 | 11), false);
        assert_eq!((core.code, core.signal.as_deref(), core.core_dumped), (None, Some("SIGSEGV"), true));
    }

    #[test]
    fn only_a_death_by_kill_is_our_kill() {
        assert!(exit_of(ExitStatus::from_raw(9), true).killed_by_witness);
        // It ended by itself just before our KILL arrived.
        assert!(!exit_of(ExitStatus::from_raw(0), true).killed_by_witness);
    }

    #[test]
    fn this_process_has_an_identity_and_its_parent_has_it_as_a_descendant() {
        let own = i32::try_from(std::process::id()).expect("a pid is positive");
        let identity = identity_of(Pid::from_raw(own));
        assert!(identity.boot_id.is_some() && identity.pid_ns.is_some() && identity.host.is_some());
        let stat = stat_of(own).expect("we are alive");
        assert_eq!(identity.start_ticks, Some(stat.start_ticks));
        assert!(descendants_of(stat.ppid).contains(&(own, stat.start_ticks)));
    }
}
