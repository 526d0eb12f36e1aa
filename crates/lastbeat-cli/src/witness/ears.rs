//! What the witness hears: the signals that people and supervisors send it in the child's stead, and the
//! child's end.
//!
//! Invariant: everything that can fail is done before there is a child. A child that runs is watched.

use std::sync::mpsc::{Receiver, Sender as Outlet, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use lastbeat::witness::sender::{Asker, Closer, Heard, ignored_signals};
use rustix::process::{Pid, Signal};
use rustix_libc_wrappers::process::SignalExt as _;

use super::child;

/// What is heard beside the real-time signals: all that would end the witness and leave the child alone,
/// and what a terminal's reader wants to know of (its size, its return from a pause).
///
/// Not among them: faults of our own (SEGV, BUS, FPE, ILL, TRAP, SYS); the stops of job control, which
/// shall stop us; PIPE, which every Rust program ignores, for it comes from its own writing.
const PASSED_ON: [Signal; 17] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::CONT,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

/// What the main thread hears of.
pub(super) enum Event {
    /// A signal arrived.
    Heard(Heard),
    /// The child has ended and waits to be reaped.
    Ended,
}

/// Hears signals from before the child exists, so that none falls between.
pub(crate) struct Ears {
    pub(super) events: Receiver<Event>,
    closer: Closer,
    signals: JoinHandle<()>,
    waiter: JoinHandle<()>,
    child: SyncSender<Pid>,
}

impl Ears {
    /// Begins to hear. A signal that was ignored when we were started stays ignored, for the child too:
    /// that is how `nohup` and a shell's background jobs are protected.
    pub(crate) fn open() -> std::io::Result<Self> {
        let ignored = ignored_signals();
        let real_time = Signal::rt_min().as_raw()..=Signal::rt_max().as_raw();
        let wanted: Vec<i32> = PASSED_ON
            .into_iter()
            .map(Signal::as_raw)
            .chain(real_time)
            .filter(|signal| !ignored.contains(*signal))
            .chain([Signal::CHILD.as_raw()])
            .collect();
        let asker = Asker::listen(&wanted)?;
        let closer = asker.closer();
        // Unbounded only in name: of each kind only a few wait to be read, and the main thread does nothing
        // that waits.
        let (outlet, events) = channel();
        let (child, to_watch) = sync_channel(1);
        let waiter = wait_for(to_watch, outlet.clone())?;
        let signals = std::thread::Builder::new().name("lastbeat-signals".into()).spawn(move || {
            for signal in asker {
                if outlet.send(Event::Heard(signal)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { events, closer, signals, waiter, child })
    }

    /// Hears of this child's end as well, even where SIGCHLD is blocked by whoever started us.
    pub(super) fn watch(&self, child: Pid) {
        // There is room for the one child; a thread that is gone leaves SIGCHLD.
        let _ = self.child.try_send(child);
    }

    /// Ends the hearing, once the child is reaped.
    pub(super) fn close(self) {
        self.closer.close();
        drop((self.events, self.child));
        // Both threads end by themselves now; one that panicked has nothing more to say.
        let _ = self.waiter.join();
        let _ = self.signals.join();
    }
}

/// The thread that waits for the child, once there is one.
fn wait_for(child: Receiver<Pid>, outlet: Outlet<Event>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("lastbeat-wait".into()).spawn(move || {
        // Nothing is sent when the program could not be started.
        if let Ok(pid) = child.recv() {
            child::wait_for_end(pid);
            // Only a main thread that has stopped listening does not hear it.
            let _ = outlet.send(Event::Ended);
        }
    })
}
