//! `lastbeat demo`: a collector and real workers that live, stop, restart, break a promise, panic and get
//! killed before your eyes.
//!
//! Lives here: the tour ([`tour`]) and the processes it needs ([`stage`]).
//!
//! Invariant: it only starts processes and signals them. Every fact on the page was caused by a process,
//! and every word it prints is read back from the collector.

mod stage;
mod tour;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lastbeat::witness::sender::Asker;

use self::stage::Stage;
use crate::args::Demo;
use crate::commands::settings;
use crate::failure::{Answer, Failure};
use crate::render;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

pub(crate) fn demo(typed: &Demo) -> Result<Answer, Failure> {
    // Before any process starts: its collector would refuse it as well, and the demo for that.
    settings()?;
    let interrupt = Interrupt::listen().map_err(|error| Failure::failed("cannot start the demo", error))?;
    let mut stage = Stage::set(typed.listen, &interrupt)?;
    // Who waits for its end reads it afterwards.
    let pace = if typed.exit_after_tour { tour::Pace::Brisk } else { tour::Pace::Reading };
    let toured = tour::tour(&mut stage, &interrupt, pace);
    if matches!(toured, Ok(tour::Toured::AsExpected | tour::Toured::Otherwise)) && !typed.exit_after_tour {
        render::line("");
        render::line(&format!("The tour is over; all of it is at {} until you press Ctrl+C.", stage.url()));
        interrupt.wait();
    }
    render::line("");
    render::line("Stopping the workers, then their collector.");
    stage.clear();
    match toured? {
        tour::Toured::AsExpected => Ok(Answer::Yes),
        tour::Toured::Otherwise => Ok(Answer::No),
        // Who ends the demo by Ctrl+C got what they asked for; a test that waits for its end did not.
        tour::Toured::Interrupted if typed.exit_after_tour => Ok(Answer::No),
        tour::Toured::Interrupted => Ok(Answer::Yes),
    }
}

/// Ctrl+C, heard between two steps of the demo.
pub(crate) struct Interrupt {
    heard: Receiver<()>,
    seen: std::cell::Cell<bool>,
}

impl Interrupt {
    fn listen() -> std::io::Result<Self> {
        let asker = Asker::listen(&[SIGHUP, SIGINT, SIGTERM])?;
        let (tell, heard) = channel();
        std::thread::Builder::new().name("demo-signals".into()).spawn(move || {
            for _ in asker {
                if tell.send(()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { heard, seen: false.into() })
    }

    /// Passes some time; true as soon as somebody interrupts, and from then on.
    fn during(&self, time: Duration) -> bool {
        if !self.seen.get() {
            self.seen.set(!matches!(self.heard.recv_timeout(time), Err(RecvTimeoutError::Timeout)));
        }
        self.seen.get()
    }

    fn wait(&self) {
        if !self.seen.get() {
            // An error means that nobody can interrupt any more; then there is nothing to wait for.
            let _ = self.heard.recv();
            self.seen.set(true);
        }
    }
}
