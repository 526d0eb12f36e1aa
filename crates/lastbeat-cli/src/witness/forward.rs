//! What a signal to the witness does to the child: one small table, and the rule that makes several
//! signals one request.
//!
//! Invariant: pure. Tested without processes.

use std::time::{Duration, Instant};

use lastbeat_wire::signal::CauseKind;
use rustix::process::Signal;

const SIGHUP: i32 = Signal::HUP.as_raw();
const SIGINT: i32 = Signal::INT.as_raw();
const SIGQUIT: i32 = Signal::QUIT.as_raw();
const SIGABRT: i32 = Signal::ABORT.as_raw();
const SIGTERM: i32 = Signal::TERM.as_raw();
pub(super) const SIGCHLD: i32 = Signal::CHILD.as_raw();
const SIGCONT: i32 = Signal::CONT.as_raw();
const SIGXCPU: i32 = Signal::XCPU.as_raw();
const SIGXFSZ: i32 = Signal::XFSZ.as_raw();
const SIGWINCH: i32 = Signal::WINCH.as_raw();
const SIGIO: i32 = Signal::IO.as_raw();

/// How the witness hangs on a terminal; it decides the child's process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Standard input is no terminal: the child gets its own group, and nothing reaches it but through us.
    Detached,
    /// A shell's terminal: the child shares our group, Ctrl+C reaches both and job control goes on working.
    Member,
    /// A terminal that was opened for us (`ssh -t`, `xterm -e`): as before, but we are whom its end is told.
    Leader,
}

/// Who sent the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The kernel, for a key at the terminal or the terminal's new size. It goes to the whole foreground
    /// group.
    Keyboard,
    /// The kernel, for the terminal's end. It goes to the session's leader, and to the foreground group only
    /// when that leader has died of it.
    Hangup,
    /// A process, or a timer that was set before we were started (`alarm` and then `exec`). It goes to whom
    /// it names.
    Process,
    /// Our own doing: a limit of ours, a fault of ours. The child has its own.
    Own,
}

/// Who sent a signal, from what is known of it.
pub(crate) fn origin(signal: i32, kind: CauseKind, sender: Option<u32>, own_pid: u32) -> Origin {
    match (sender, kind, signal) {
        // The kernel names the offender as the sender of these.
        (Some(pid), _, SIGXFSZ | SIGABRT) if pid == own_pid => Origin::Own,
        (Some(_), _, _) => Origin::Process,
        (None, CauseKind::Keyboard, _) | (None, _, SIGWINCH) => Origin::Keyboard,
        // The kernel lets a stopped group go on, to hear of its terminal's end.
        (None, CauseKind::TerminalHangup, _) | (None, _, SIGCONT) => Origin::Hangup,
        (None, _, SIGXCPU | SIGIO) => Origin::Own,
        (None, _, _) => Origin::Process,
    }
}

/// What is done with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// The child gets it from us.
    Forward,
    /// The child got it already.
    Swallow,
}

/// The table.
pub(crate) const fn passing(attachment: Attachment, origin: Origin) -> Passing {
    match (attachment, origin) {
        (Attachment::Member | Attachment::Leader, Origin::Keyboard)
        | (Attachment::Member, Origin::Hangup)
        | (_, Origin::Own) => Passing::Swallow,
        (Attachment::Leader, Origin::Hangup)
        | (Attachment::Member | Attachment::Leader, Origin::Process)
        | (Attachment::Detached, Origin::Keyboard | Origin::Hangup | Origin::Process) => Passing::Forward,
    }
}

/// What a signal means to us, beside that the child gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It asks to stop: it is told, and starts the grace at whose end the child is killed. Several within a
    /// second are one.
    Ask,
    /// It may be an ask, but to many programs it means "read your configuration again" or "show what your
    /// threads do": it is told, each time. What it was shows in what the child does.
    Notice,
    /// It is between its sender and the child.
    Errand,
}

/// The meaning of each signal. A terminal that is gone asks for no reload.
pub(crate) fn meaning(signal: i32, origin: Origin, kind: CauseKind) -> Meaning {
    match signal {
        SIGTERM | SIGINT => Meaning::Ask,
        SIGQUIT if origin == Origin::Keyboard => Meaning::Ask,
        SIGHUP if kind == CauseKind::TerminalHangup => Meaning::Ask,
        SIGHUP | SIGQUIT => Meaning::Notice,
        _ => Meaning::Errand,
    }
}

/// Signals within this time of the first are one request: a person mashing Ctrl+C, a group and a parent's
/// forward. Many servers take the second for "drop everything".
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Which stop requests have been passed on, and when.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// At most one entry for each of the signals that ask.
    first: Vec<(i32, Instant)>,
}

impl Requests {
    /// Whether the same signal came less than a second ago. Another one is passed on: a child may ignore
    /// the first kind.
    pub(crate) fn is_repeat(&mut self, signal: i32, now: Instant) -> bool {
        match self.first.iter_mut().find(|(number, _)| *number == signal) {
            Some((_, at)) if now.saturating_duration_since(*at) < ONE_REQUEST => true,
            Some((_, at)) => {
                *at = now;
                false
            }
            None => {
                self.first.push((signal, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_to_a_terminal_a_key_has_reached_the_child_and_a_process_has_not() {
        for attachment in [Attachment::Member, Attachment::Leader] {
            assert_eq!(passing(attachment, Origin::Keyboard), Passing::Swallow);
            assert_eq!(passing(attachment, Origin::Process), Passing::Forward);
        }
    }

    #[test]
    fn the_end_of_a_terminal_is_told_to_the_leader_alone_who_passes_it_on() {
        assert_eq!(passing(Attachment::Leader, Origin::Hangup), Passing::Forward);
        assert_eq!(passing(Attachment::Member, Origin::Hangup), Passing::Swallow);
    }

    #[test]
    fn in_its_own_group_the_child_gets_every_signal_from_us() {
        for origin in [Origin::Keyboard, Origin::Hangup, Origin::Process] {
            assert_eq!(passing(Attachment::Detached, origin), Passing::Forward);
        }
    }

    #[test]
    fn the_same_signal_within_a_second_is_one_request_and_a_later_one_is_another() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut requests = Requests::default();
        assert!(!requests.is_repeat(SIGTERM, start));
        assert!(requests.is_repeat(SIGTERM, after(100)));
        assert!(!requests.is_repeat(SIGINT, after(200)));
        assert!(requests.is_repeat(SIGTERM, after(999)));
        assert!(!requests.is_repeat(SIGTERM, after(1_000)));
        assert!(requests.is_repeat(SIGTERM, after(1_500)));
    }

    #[test]
    fn a_key_a_stop_signal_and_a_closed_terminal_ask_and_a_reload_or_a_thread_dump_do_not() {
        for origin in [Origin::Keyboard, Origin::Process] {
            assert_eq!(meaning(SIGTERM, origin, CauseKind::Signal), Meaning::Ask);
            assert_eq!(meaning(SIGINT, origin, CauseKind::Signal), Meaning::Ask);
        }
        assert_eq!(meaning(SIGQUIT, Origin::Keyboard, CauseKind::Keyboard), Meaning::Ask);
        assert_eq!(meaning(SIGQUIT, Origin::Process, CauseKind::Signal), Meaning::Notice);
        assert_eq!(meaning(SIGHUP, Origin::Process, CauseKind::Signal), Meaning::Notice);
        for origin in [Origin::Hangup, Origin::Process] {
            assert_eq!(meaning(SIGHUP, origin, CauseKind::TerminalHangup), Meaning::Ask);
        }
        assert_eq!(meaning(Signal::USR1.as_raw(), Origin::Process, CauseKind::Signal), Meaning::Errand);
    }

    #[test]
    fn what_only_we_brought_upon_ourselves_does_not_reach_the_child() {
        let own = 812;
        let limits = [
            origin(SIGXFSZ, CauseKind::Signal, Some(own), own),
            origin(SIGXCPU, CauseKind::Signal, None, own),
        ];
        for limit in limits {
            assert_eq!(limit, Origin::Own);
            for attachment in [Attachment::Detached, Attachment::Member, Attachment::Leader] {
                assert_eq!(passing(attachment, limit), Passing::Swallow);
            }
        }
        assert_eq!(origin(SIGXFSZ, CauseKind::Signal, Some(813), own), Origin::Process);
    }

    #[test]
    fn the_kernel_reaches_us_alone_with_a_timer_and_everybody_with_a_terminal() {
        let alarm = origin(Signal::ALARM.as_raw(), CauseKind::Signal, None, 812);
        assert_eq!(passing(Attachment::Member, alarm), Passing::Forward);
        let resized = origin(SIGWINCH, CauseKind::Signal, None, 812);
        assert_eq!(passing(Attachment::Member, resized), Passing::Swallow);
        assert_eq!(passing(Attachment::Detached, resized), Passing::Forward);
        let interrupt = origin(SIGINT, CauseKind::Keyboard, None, 812);
        assert_eq!(passing(Attachment::Member, interrupt), Passing::Swallow);
        let hangup = origin(SIGHUP, CauseKind::TerminalHangup, None, 812);
        assert_eq!(passing(Attachment::Leader, hangup), Passing::Forward);
    }
}
