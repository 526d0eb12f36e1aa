//! Who asked: a stop signal, and what can be read of its sender before that is gone.
//!
//! Invariant: what could not be read is said (`gone`), never guessed.

use lastbeat_wire::signal::{CauseKind, Sender};

/// The longest command line kept, in bytes.
const CMDLINE_MAX_BYTES: usize = 256;
/// The longest piece of a `/proc` file read for it, in bytes.
const READ_MAX_BYTES: u64 = 4 * 1024;

/// One signal that arrived, and what is known of its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its number.
    pub number: i32,
    /// Its name, such as `SIGTERM`.
    pub signal: String,
    /// What this process makes of it.
    pub kind: CauseKind,
    /// Who sent it; none when the kernel did or nobody can know.
    pub sender: Option<Sender>,
}

/// Reads a process from `/proc`, as the sender of a signal. Pid 0 is a process outside the pid namespace.
#[must_use]
pub fn read(pid: u32, uid: u32) -> Sender {
    let mut sender = Sender {
        pid,
        uid,
        ppid: None,
        comm: None,
        cmdline: None,
        tty: None,
        gone: false,
        outside_namespace: pid == 0,
    };
    if pid == 0 {
        return sender;
    }
    let Some(stat) = read_proc(pid, "stat").and_then(|bytes| Stat::parse(&bytes)) else {
        sender.gone = true;
        return sender;
    };
    sender.ppid = Some(stat.ppid);
    sender.tty = stat.tty();
    sender.comm = Some(stat.comm);
    sender.cmdline = read_proc(pid, "cmdline").and_then(|bytes| readable_cmdline(&bytes));
    sender
}

/// What pid 1 has become when the units are down and it ends all that is left; `comm` holds 15 bytes.
const TAKES_THE_HOST_DOWN: &str = "systemd-shutdow";

/// What a signal from user space says of its cause: pid 1 and a parent without a terminal supervise, and a pid 1
/// that is there to take the host down does that.
///
/// A unit that systemd stops on the way down cannot be told from one that it stops alone without asking systemd over
/// a bus: that is its supervisor's doing here, and not guessed.
#[must_use]
pub(crate) fn kind_of(sender: &Sender, parent: u32) -> CauseKind {
    if sender.pid == 1 && sender.comm.as_deref() == Some(TAKES_THE_HOST_DOWN) {
        return CauseKind::HostShutdown;
    }
    let supervises = sender.pid == 1 || (sender.pid == parent && sender.tty.is_none() && !sender.gone);
    if supervises && !sender.outside_namespace { CauseKind::Supervisor } else { CauseKind::Signal }
}

/// The signals that were ignored when this process began, as `/proc` tells them; none where it does not.
#[must_use]
pub fn ignored_signals() -> Ignored {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    Ignored(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

/// A set of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored(u64);

impl Ignored {
    /// Whether this one is in it, by its number from 1 to 64.
    #[must_use]
    pub const fn contains(self, signal: i32) -> bool {
        matches!(signal, 1..=64) && self.0 & (1 << (signal - 1)) != 0
    }
}

fn read_proc(pid: u32, file: &str) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/{file}")).ok()?;
    file.take(READ_MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn readable_cmdline(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).replace('\0', " ");
    let text = cut(text.trim_end(), CMDLINE_MAX_BYTES);
    (!text.is_empty()).then(|| text.to_owned())
}

/// The beginning of a text, at most so many bytes, whole characters only.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    comm: String,
    ppid: u32,
    session: u32,
    tty_nr: u32,
    pub(crate) start_ticks: u64,
}

impl Stat {
    /// Reads the file's bytes. The name stands in parentheses and may itself hold some, and spaces.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let open = text.find('(')?;
        let close = text.rfind(')')?;
        let comm = text.get(open + 1..close)?.to_owned();
        let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
        // Counted from the state, which is field 3 of proc(5).
        Some(Self {
            comm,
            ppid: fields.get(1)?.parse().ok()?,
            // In a container that was entered from outside, the leader of the session has no id there.
            session: fields.get(3)?.parse().unwrap_or(0),
            tty_nr: u32::from_ne_bytes(fields.get(4)?.parse::<i32>().ok()?.to_ne_bytes()),
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// The controlling terminal's name. Majors 136 to 143 are pseudo-terminals, 4 is the console's.
    fn tty(&self) -> Option<String> {
        let major = (self.tty_nr >> 8) & 0xfff;
        let minor = (self.tty_nr & 0xff) | ((self.tty_nr >> 12) & 0xf_ff00);
        match (major, minor) {
            (0, 0) => None,
            (136..=143, _) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
            (4, 0..=63) => Some(format!("tty{minor}")),
            (4, _) => Some(format!("ttyS{}", minor - 64)),
            _ => Some(format!("{major}:{minor}")),
        }
    }
}

#[cfg(unix)]
pub use asker::{Asker, Closer};

#[cfg(unix)]
mod asker {
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::WithOrigin;
    use signal_hook::iterator::exfiltrator::origin::Origin;
    use signal_hook::low_level::siginfo::Cause;

    use super::{CauseKind, Heard, Stat, kind_of, read};

    /// Hears signals, one after the other; iterating blocks until the next one or until it is closed.
    ///
    /// From [`Asker::listen`] on, the default action of these signals is off for good.
    #[derive(Debug)]
    pub struct Asker {
        signals: SignalsInfo<WithOrigin>,
        /// This process had a terminal when it began to listen.
        had_terminal: bool,
    }

    /// Ends an [`Asker`] from another thread.
    #[derive(Debug, Clone)]
    pub struct Closer(signal_hook::iterator::Handle);

    impl Closer {
        /// Makes the iteration end.
        pub fn close(&self) {
            self.0.close();
        }
    }

    impl Asker {
        /// Begins to listen, by number (`SIGTERM` is 15).
        ///
        /// # Errors
        /// When the kernel or the library refuses a handler for one of them.
        pub fn listen(signals: &[i32]) -> std::io::Result<Self> {
            Ok(Self { signals: SignalsInfo::new(signals)?, had_terminal: has_terminal() })
        }

        /// What ends the iteration.
        #[must_use]
        pub fn closer(&self) -> Closer {
            Closer(self.signals.handle())
        }
    }

    impl Iterator for Asker {
        type Item = Heard;

        fn next(&mut self) -> Option<Heard> {
            let had_terminal = self.had_terminal;
            self.signals.forever().next().map(|origin| heard(&origin, had_terminal))
        }
    }

    fn heard(origin: &Origin, had_terminal: bool) -> Heard {
        let number = origin.signal;
        let signal = signal_hook::low_level::signal_name(number)
            .map_or_else(|| format!("signal {number}"), str::to_owned);
        let (kind, sender) = match (origin.cause, origin.process) {
            (Cause::Kernel, _) => (kind_from_kernel(number), None),
            (_, Some(process)) => {
                let pid = u32::try_from(process.pid).unwrap_or(0);
                let sender = read(pid, process.uid);
                let lost_terminal = had_terminal && !has_terminal();
                let kind = if number == signal_hook::consts::SIGHUP && lost_terminal && is_above_us(pid) {
                    CauseKind::TerminalHangup
                } else {
                    kind_of(&sender, std::os::unix::process::parent_id())
                };
                (kind, Some(sender))
            }
            (_, None) => (CauseKind::Signal, None),
        };
        Heard { number, signal, kind, sender }
    }

    fn own_stat() -> Option<Stat> {
        Stat::parse(&std::fs::read("/proc/self/stat").ok()?)
    }

    /// The kernel takes the terminal from all processes of a session when it is gone.
    fn has_terminal() -> bool {
        own_stat().is_some_and(|stat| stat.tty_nr != 0)
    }

    /// Our parent, or the leader of our session: an interactive shell sends the hang-up itself.
    fn is_above_us(pid: u32) -> bool {
        pid == std::os::unix::process::parent_id() || own_stat().is_some_and(|stat| stat.session == pid)
    }

    const fn kind_from_kernel(number: i32) -> CauseKind {
        match number {
            signal_hook::consts::SIGINT | signal_hook::consts::SIGQUIT => CauseKind::Keyboard,
            signal_hook::consts::SIGHUP => CauseKind::TerminalHangup,
            _ => CauseKind::Signal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"812 (a) b (c) S 790 812 812 34819 812 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 2";
        let stat = Stat::parse(line).expect("it is whole");
        assert_eq!(stat.comm, "a) b (c");
        assert_eq!((stat.ppid, stat.session, stat.start_ticks), (790, 812, 123_456));
        assert_eq!(stat.tty().as_deref(), Some("pts/3"));
    }

    #[test]
    fn a_process_that_is_gone_is_said_to_be_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("true runs");
        let pid = child.id();
        child.wait().expect("it ends");
        let sender = read(pid, 1000);
        assert!(sender.gone && sender.comm.is_none() && sender.pid == pid && sender.uid == 1000);
    }

    #[test]
    fn a_sender_outside_the_pid_namespace_has_no_number_and_is_not_gone() {
        let sender = read(0, 0);
        assert!(sender.outside_namespace && !sender.gone);
        assert_eq!(kind_of(&sender, 0), CauseKind::Signal);
    }

    #[test]
    fn only_a_pid_1_that_takes_the_host_down_is_the_hosts_end() {
        let named = |pid, comm: &str| Sender { pid, comm: Some(comm.into()), ..read(0, 0) };
        let inside = |sender| Sender { outside_namespace: false, ..sender };
        assert_eq!(kind_of(&inside(named(1, "systemd-shutdow")), 1), CauseKind::HostShutdown);
        assert_eq!(kind_of(&inside(named(1, "systemd")), 1), CauseKind::Supervisor);
        assert_eq!(kind_of(&inside(named(812, "systemd-shutdow")), 1), CauseKind::Signal);
    }

    #[test]
    fn this_process_is_read_whole() {
        let sender = read(std::process::id(), 0);
        assert!(sender.comm.is_some() && sender.cmdline.is_some() && sender.ppid.is_some());
    }
}
