//! The oracle on what is said of one run beside its class: cause, cleanup, date, and what later evidence may undo.
//!
//! Invariant: nothing of the engine is imported here.

use crate::oracle::{LIE, Loud, MASS, Oracle, START, STOP, loudness, silence};
use crate::script::{End, Mode, PlanKind};
use crate::told::Deed;

/// Moments are told in whole milliseconds.
const GRAIN: u64 = 2;

impl Oracle<'_> {
    /// I7, I8: what is wrong with what was said of it, beside its class.
    pub(crate) fn beside_the_class(&self, deed: &Deed) -> Vec<String> {
        let all = [
            self.wrong_author(deed),
            self.wrong_cleanup(deed),
            self.dated_late(deed),
            self.undone(deed),
            self.went_with_its_host(deed),
        ];
        all.into_iter().flatten().collect()
    }

    /// Its end was told, by its own last word or by who saw its exit.
    fn is_told(&self, deed: &Deed) -> bool {
        self.exit_heard(deed).is_some() || deed.final_heard.is_some()
    }

    /// I7: whoever asked is named; of whom nobody asked, nobody is named; a KILL nobody announced has an author whom
    /// nobody saw.
    fn wrong_author(&self, deed: &Deed) -> Option<String> {
        let is_killed = |class| matches!(class, "killed" | "watchdog");
        let expected = match deed.end {
            End::Stopped
            | End::Promised(_)
            | End::Extended
            | End::Overstayed
            | End::Unclean
            | End::WrongCode
            | End::Forced => self.is_told(deed).then_some(deed.asker)?,
            End::TimedOut => deed.asked_heard.and(self.exit_heard(deed)).and(Some(deed.asker))?,
            End::Killed | End::Watchdog => {
                deed.class.filter(|class| is_killed(class)).map(|_| Some("unknown"))?
            }
            End::Done | End::Panicked | End::Segv | End::Exited | End::Silent | End::NeverReady => {
                self.is_told(deed).then_some(None)?
            }
            End::Alive | End::OutOfMemory | End::Unready | End::Reexecuted | End::PowerLost => return None,
        };
        // Who announces a stop asks first.
        let announced = self.told.windows.iter().any(|it| {
            let asks = it.kind != PlanKind::Maintenance && it.slots.contains(&deed.slot);
            asks && it.from <= deed.ended && deed.leaving <= it.to + LIE
        });
        let by_hangup = deed.hangups.iter().any(|at| deed.ended <= at + STOP + LIE);
        let right = by_hangup || deed.cause == expected || announced && deed.cause == Some("operator");
        (!right).then(|| {
            format!(
                "I7: run {} of w{:02} ({:?}, {:?}) was stopped by {expected:?}, and {:?} is named",
                deed.run, deed.slot, deed.mode, deed.end, deed.cause
            )
        })
    }

    /// I7: the outcome of the cleanup is the worst of what was told of it.
    fn wrong_cleanup(&self, deed: &Deed) -> Option<String> {
        let linked = deed.mode.linked();
        let expected = match deed.end {
            End::Stopped | End::Promised(_) | End::Extended | End::Overstayed | End::WrongCode if linked => {
                "complete"
            }
            End::Unclean if linked => "failed",
            End::Forced => "skipped",
            End::Unclean => "partial",
            End::Stopped | End::Promised(_) => "none_declared",
            End::Done | End::Panicked => "none_declared",
            // Asked, and gone without a word of it.
            End::TimedOut if linked => deed.asked_heard.and(deed.ready_heard).map(|_| "skipped")?,
            End::Alive
            | End::TimedOut
            | End::Extended
            | End::Overstayed
            | End::WrongCode
            | End::Killed
            | End::OutOfMemory
            | End::Segv
            | End::Exited
            | End::Silent
            | End::NeverReady
            | End::Unready
            | End::Watchdog
            | End::Reexecuted
            | End::PowerLost => return None,
        };
        // A client says it in its last word; of others, their witness does.
        let told = if linked && deed.end != End::TimedOut {
            deed.final_heard.is_some()
        } else {
            self.exit_heard(deed).is_some()
        };
        let planned = deed.mode == Mode::Unlinked && deed.end == End::Panicked;
        (told && !planned && deed.cleanup != Some(expected)).then(|| {
            format!(
                "I7: the cleanup of run {} of w{:02} ({:?}, {:?}) was {expected}, and is called {:?}",
                deed.run, deed.slot, deed.mode, deed.end, deed.cleanup
            )
        })
    }

    /// I7: an ending that rests on a deadline is dated when that was due, however late somebody woke up for it.
    fn dated_late(&self, deed: &Deed) -> Option<String> {
        let of_it = self.said.get(&deed.run)?;
        // What was said first; later verdicts had to wait for those before them.
        of_it.first().and_then(|it| {
            let dated = it.inferred?;
            let due = match it.class? {
                "lost" | "host_lost" => self.silent_since(deed, it.at)? + silence(deed),
                "start_failed" => deed.start_heard? + START,
                _ => return None,
            };
            let due = self.slept_through(due, silence(deed));
            // In a mass silence it is waited for longer.
            let folded = self.masses.iter().any(|ring| ring.open_within(due.saturating_sub(MASS), it.at));
            (dated > due + GRAIN && !folded).then(|| {
                format!(
                    "I7: run {} of w{:02} is called {:?} at {}, due at {due} and dated {dated}",
                    deed.run, deed.slot, it.class, it.at
                )
            })
        })
    }

    /// Since when nothing was heard of it, at a moment when it was missed.
    fn silent_since(&self, deed: &Deed, at: u64) -> Option<u64> {
        let gap = || deed.gaps.iter().find(|(from, to)| *from <= at && at <= *to).map(|(from, _)| *from);
        Some(deed.last_heard).filter(|heard| *heard <= at).or_else(gap).filter(|since| *since > 0)
    }

    /// I8: who was called dead when nobody had come in its place stays dead when somebody does.
    fn undone(&self, deed: &Deed) -> Option<String> {
        // The same process under another run was alive all the time.
        if deed.class != Some("superseded") || deed.end == End::Reexecuted {
            return None;
        }
        let first = self.successors(deed).map(|next| next.started).min()?;
        let undone = self.said.get(&deed.run)?.windows(2).find(|pair| {
            pair[1].class == Some("superseded")
                && pair[0].class.is_some_and(|class| loudness(class) == Loud::Page)
                && pair[0].at + LIE < first
        })?;
        Some(format!(
            "I8: run {} was {:?} at {}, and is undone by a successor",
            deed.run, undone[0].class, undone[0].at
        ))
    }

    /// I7: a host that lost its power, and told of its new boot, took them with it.
    fn went_with_its_host(&self, deed: &Deed) -> Option<String> {
        let (_, _, on) =
            self.told.boots.iter().find(|(host, off, _)| *host == deed.host && *off == deed.ended)?;
        // What had waited for a collector that was held came after the boot: that looks like life.
        let silent = deed.last_heard < *on;
        let heard = self.boot_heard(deed).is_some_and(|heard| heard + MASS + silence(deed) < self.told.until);
        let wrong = deed.start_heard.is_some() && deed.class != Some("host_rebooted");
        (deed.end == End::PowerLost && silent && heard && wrong && !self.is_told(deed)).then(|| {
            format!(
                "I7: run {} of w{:02} went with its host and is called {:?}",
                deed.run, deed.slot, deed.class
            )
        })
    }

    /// When the collector first heard a start of a boot of its host that came after its end.
    pub(crate) fn boot_heard(&self, deed: &Deed) -> Option<u64> {
        let (_, _, on) =
            self.told.boots.iter().find(|(host, off, _)| *host == deed.host && *off == deed.ended)?;
        let later = self.told.deeds.iter().filter(|it| it.host == deed.host && it.started >= *on);
        later.filter_map(|it| it.start_heard).min()
    }
}
