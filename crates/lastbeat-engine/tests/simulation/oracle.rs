//! What must hold, said by somebody who knows what was done to each process and nothing of how it is judged.
//!
//! Invariant: nothing of the engine is imported here.

use std::collections::HashMap;

use crate::script::{End, Mode, PlanKind};
use crate::told::{Deed, Ring, Stood, Told};

#[path = "conditions.rs"]
mod conditions;
#[path = "truth.rs"]
mod truth;

/// From a closed link to a loss.
pub(crate) const LINK: u64 = 10_000;
/// What a verdict may take beyond its deadline.
pub(crate) const SLACK: u64 = 2_000;
/// A reported death is in the alert state so soon after the receipt (I3).
pub(crate) const REPORTED: u64 = 1_000;
/// A stop may take so long where nothing else is said.
pub(crate) const STOP: u64 = 10_000;
/// A start may take so long.
pub(crate) const START: u64 = 60_000;
/// Members of a mass silence are called lost after this.
pub(crate) const MASS: u64 = 300_000;
/// A successor that was ready so long has shown that all is well.
pub(crate) const STEADY: u64 = 60_000;
/// The most a sender lies about its facts' age.
pub(crate) const LIE: u64 = 400;
/// Of so many amendments of one run the engine remembers all.
const AMENDMENTS: usize = 16;

/// How loud an ending should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loud {
    Silent,
    Ticket,
    Page,
}

pub(crate) fn loudness(class: &str) -> Loud {
    match class {
        "completed" | "shutdown" | "superseded" => Loud::Silent,
        "shutdown_degraded" | "shutdown_aborted" | "exited_silently" => Loud::Ticket,
        _ => Loud::Page,
    }
}

/// The longest a client waits before it dials again.
const REDIAL: u64 = 3_500;

/// The full silence timeout: max(6T, 15 s).
pub(crate) fn silence(deed: &Deed) -> u64 {
    (deed.interval * 6).max(15_000)
}

/// What was done and said, by worker.
pub(crate) struct Oracle<'a> {
    pub(crate) told: &'a Told,
    pub(crate) by_slot: HashMap<usize, Vec<&'a Deed>>,
    pub(crate) rings: HashMap<usize, Vec<&'a Ring>>,
    pub(crate) masses: Vec<&'a Ring>,
    pub(crate) said: HashMap<u32, Vec<&'a crate::told::Saying>>,
    pub(crate) stood: HashMap<usize, Vec<&'a Stood>>,
}

/// Everything that must not have been said, and all that should have been.
pub(crate) fn complaints(told: &Told) -> Vec<String> {
    let oracle = Oracle::new(told);
    let mut all: Vec<String> =
        told.replay_differs.iter().map(|at| format!("I6: replay at {at} shows other verdicts")).collect();
    all.extend(told.unsafe_acks.iter().map(|run| format!("I5: an acknowledged word of run {run} is lost")));
    all.extend(told.bare.iter().map(|run| format!("I12: the ending of run {run} names no evidence")));
    all.extend(
        told.meddled
            .iter()
            .map(|(old, new, at)| format!("I9: run {old} changed the newer run {new} at {at}")),
    );
    for deed in &told.deeds {
        all.extend(oracle.about(deed));
        all.extend(oracle.missed(deed));
        all.extend(oracle.beside_the_class(deed));
        all.extend(oracle.still_down(deed));
        all.extend(oracle.stays(deed));
        all.extend(oracle.stands_wrong(deed));
    }
    for ring in &told.rings {
        all.extend(oracle.false_alarm(ring));
        all.extend(oracle.stands_in_the_end(ring));
        all.extend(oracle.vanishes(ring));
        all.extend(oracle.beside_a_loop(ring));
    }
    all.extend(oracle.each_host_once());
    all.extend(oracle.mass_silence());
    all
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(told: &'a Told) -> Self {
        let mut by_slot: HashMap<usize, Vec<&Deed>> = HashMap::new();
        for deed in &told.deeds {
            by_slot.entry(deed.slot).or_default().push(deed);
        }
        let mut rings: HashMap<usize, Vec<&Ring>> = HashMap::new();
        for ring in &told.rings {
            if let Some(slot) = ring.slot {
                rings.entry(slot).or_default().push(ring);
            }
        }
        let masses = told.rings.iter().filter(|ring| ring.slot.is_none() && ring.host.is_none()).collect();
        let mut said: HashMap<u32, Vec<_>> = HashMap::new();
        for saying in &told.said {
            said.entry(saying.run).or_default().push(saying);
        }
        let mut stood: HashMap<usize, Vec<&Stood>> = HashMap::new();
        for it in &told.stood {
            stood.entry(it.slot).or_default().push(it);
        }
        Self { told, by_slot, rings, masses, said, stood }
    }

    /// D6: a deadline that the observer may have slept through fires so long after its return.
    pub(crate) fn after_absences(&self, due: u64, hold: u64) -> u64 {
        self.told
            .absences
            .iter()
            .fold(due, |due, (from, to)| if *from < due { due.max(to + hold) } else { due })
    }

    /// The same for what it would have woken up for: it may have gone away the moment that was due.
    pub(crate) fn slept_through(&self, due: u64, hold: u64) -> u64 {
        self.told
            .absences
            .iter()
            .fold(due, |due, (from, to)| if *from < due + SLACK { due.max(to + hold) } else { due })
    }

    /// The observer is back for less than a full silence of a run that was there when it came.
    pub(crate) fn holds(&self, deed: &Deed, at: u64) -> bool {
        self.told
            .absences
            .iter()
            .any(|(from, to)| *from < at && at + 1 < to + silence(deed) && deed.started < *to)
    }

    /// Later runs of the same worker that are not children.
    pub(crate) fn successors(&self, deed: &Deed) -> impl Iterator<Item = &&'a Deed> {
        let run = deed.run;
        self.by_slot[&deed.slot].iter().filter(move |other| other.run > run && other.parent.is_none())
    }

    /// A witness saw the exit of this process and the collector has heard of it, under whatever run of it.
    pub(crate) fn exit_heard(&self, deed: &Deed) -> Option<u64> {
        if deed.exit_heard.is_some() || deed.end == End::Reexecuted {
            return deed.exit_heard.filter(|_| deed.end != End::Reexecuted);
        }
        let mut at = deed;
        while let Some(older) = at.same_as {
            at = &self.told.deeds[older as usize];
            if at.exit_heard.is_some() {
                return at.exit_heard;
            }
        }
        None
    }

    /// Its end was announced: inside a stop plan, or inside a restart plan that it had seen begin. Whoever is
    /// started by a restart is not asked to stop by it.
    pub(crate) fn is_planned(&self, deed: &Deed) -> Vec<bool> {
        let inside = |at: u64| {
            self.told.windows.iter().any(|it| {
                let announced = match it.kind {
                    PlanKind::Stop => true,
                    PlanKind::Restart => deed.started <= it.from,
                    PlanKind::Maintenance => false,
                };
                announced && it.slots.contains(&deed.slot) && it.from <= at && at < it.to
            })
        };
        // Its sender may lie about the age of the end: at the rim of a window both are true.
        let mut both = vec![inside(deed.ended), inside(deed.ended.saturating_sub(LIE))];
        both.dedup();
        both
    }

    /// The network stood between a worker and the collector.
    pub(crate) fn is_cut_off(&self, deed: &Deed, from: u64, to: u64) -> bool {
        let by_network = self.told.cuts.iter().chain(&self.told.noises);
        by_network
            .filter(|cut| cut.slots.contains(&deed.slot))
            .any(|cut| cut.from <= to && from <= cut.to + 10_000)
    }

    /// I7: whatever the order and the losses, in the end the truth is told. All classes that are true.
    pub(crate) fn right(&self, deed: &Deed) -> Vec<&'static str> {
        let mut right: Vec<_> =
            self.is_planned(deed).into_iter().flat_map(|planned| self.right_if(deed, planned)).collect();
        // A hang-up is what ended a program that knows nothing of this, if it ends within the grace.
        let by_hangup = |at: &u64| deed.ended <= at + STOP + LIE;
        if !deed.reload && deed.hangups.iter().any(by_hangup) {
            right.extend(["shutdown", "shutdown_degraded", "shutdown_timeout"]);
        }
        right
    }

    fn right_if(&self, deed: &Deed, planned: bool) -> Vec<&'static str> {
        let linked = deed.mode.linked();
        let exit = self.exit_heard(deed).is_some();
        let told = deed.final_heard.is_some();
        let replaced = self.successors(deed).next().is_some();
        let mut right = Vec::new();
        // Whom nobody saw end, and who said nothing, is inferred to be gone.
        let unseen = |right: &mut Vec<&'static str>| {
            right.push("lost");
            if replaced {
                right.push("superseded");
            }
            if deed.ready_heard.is_none() && linked {
                right.push("start_failed");
            }
            if deed.asked_heard.is_some() {
                right.push("shutdown_timeout");
            }
            right.push("host_lost");
            // Another boot, and no successor before it: nothing tells a death from the reboot.
            let known = self.successors(deed).filter(|next| next.start_heard.is_some());
            let next = known.map(|next| next.started).min().unwrap_or(u64::MAX);
            let mut boots = self.told.boots.iter().filter(|(host, ..)| *host == deed.host);
            if boots.any(|(_, off, on)| *off >= deed.started && *on <= next) {
                right.push("host_rebooted");
            }
        };
        let by_exit = |seen: &'static [&'static str], right: &mut Vec<&'static str>| {
            right.extend(seen);
            // Its own word that it was ready died with it.
            if linked && deed.ready_heard.is_none() && deed.asked_heard.is_none() {
                right.push("start_failed");
            }
        };
        match deed.end {
            End::Alive => {}
            End::Reexecuted => {
                right.push("superseded");
                // What it became may have come and gone unheard; then all that is known is that it is silent.
                let became = self.told.deeds.iter().filter(|next| next.same_as == Some(deed.run));
                for next in became.filter(|next| next.start_heard.is_none()) {
                    unseen(&mut right);
                    right.extend(self.right_if(next, planned));
                }
            }
            End::PowerLost => {
                unseen(&mut right);
                if told {
                    right.extend([
                        "shutdown",
                        "completed",
                        "crashed",
                        "shutdown_degraded",
                        "shutdown_aborted",
                    ]);
                }
            }
            End::Stopped | End::Promised(_) | End::Extended if told || exit => {
                right.push("shutdown");
                // D3: an extension counts from its receipt; one that a bad network held back comes too late.
                if deed.end == End::Extended && self.is_cut_off(deed, deed.leaving, deed.ended) {
                    right.push("shutdown_timeout");
                }
            }
            // Work that is done while its stop is announced is a stop, if somebody saw it end.
            End::Done if planned && exit => right.push("shutdown"),
            End::Done if told || exit => right.push("completed"),
            End::Unclean if told || exit => right.push("shutdown_degraded"),
            End::WrongCode if exit => right.push("shutdown_degraded"),
            // Without its exit code there is nothing to say against it.
            End::WrongCode if told => right.push("shutdown"),
            End::Forced if told || exit => right.push("shutdown_aborted"),
            End::Panicked if told || exit => {
                right.push(if planned && deed.mode == Mode::Unlinked { "shutdown" } else { "crashed" });
            }
            // Of whom nobody heard that it was asked, all that is known is the KILL.
            End::TimedOut if exit && deed.asked_heard.is_none() => by_exit(&["killed"], &mut right),
            End::TimedOut if exit => right.push("shutdown_timeout"),
            End::Overstayed if told || exit => {
                right.push("shutdown_timeout");
                // D3: a deadline counts from receipt; where the ask came late, there was more time.
                let late = deed.asked_heard.is_none_or(|asked| asked > deed.leaving + SLACK);
                right.extend(late.then_some("shutdown"));
            }
            End::Killed if exit => by_exit(&["killed"], &mut right),
            // Whoever was told to hang when it was killed was taken by the watchdog.
            End::Watchdog if exit => {
                let hung = self.rings.get(&deed.slot).into_iter().flatten().any(|ring| {
                    ring.name == "LastbeatHung"
                        && ring.from < deed.ended
                        && ring.open_within(deed.ended, deed.ended)
                });
                by_exit(if hung { &["watchdog"] } else { &["watchdog", "killed"] }, &mut right);
            }
            End::OutOfMemory if exit && deed.mode.witnessed() => by_exit(&["oom_killed"], &mut right),
            End::OutOfMemory if exit => by_exit(&["killed"], &mut right),
            End::Segv if exit => right.push("crashed"),
            // M8: an exit inside an announced stop was asked for; a linked client would have said so.
            End::Exited if exit => match (planned, linked) {
                (true, false) => right.push("shutdown"),
                (true, true) => by_exit(&["crashed"], &mut right),
                (false, _) => by_exit(&["crashed"], &mut right),
            },
            End::Silent if exit => match (planned, linked) {
                (true, false) => right.push("shutdown"),
                (true, true) => right.push("shutdown_degraded"),
                (false, false) => right.push("completed"),
                (false, true) => by_exit(&["exited_silently"], &mut right),
            },
            End::NeverReady if exit && linked => {
                // Whether the one that comes after a stop was asked to stop as well is a matter of taste.
                right.extend(planned.then_some("crashed").into_iter().chain(["start_failed"]));
            }
            End::NeverReady if exit => right.push(if planned { "shutdown" } else { "crashed" }),
            End::Unready if exit && linked => right.push("start_failed"),
            End::Unready if exit => right.push("killed"),
            End::Stopped
            | End::Promised(_)
            | End::Extended
            | End::Overstayed
            | End::Done
            | End::Unclean
            | End::WrongCode
            | End::Forced
            | End::Panicked
            | End::TimedOut
            | End::Killed
            | End::Watchdog
            | End::OutOfMemory
            | End::Segv
            | End::Exited
            | End::Silent
            | End::NeverReady
            | End::Unready => unseen(&mut right),
        }
        right
    }

    /// The verdicts on one run, at the end and on the way there.
    fn about(&self, deed: &Deed) -> Vec<String> {
        let mut all = Vec::new();
        let who = || format!("run {} of w{:02} ({:?}, {:?})", deed.run, deed.slot, deed.mode, deed.end);
        let right = self.right(deed);
        // Whoever came and went unseen, while nobody listened, left nothing to judge; who has died just now is
        // judged when the world has ended.
        let unheard = deed.start_heard.is_none();
        let judged_by =
            self.after_absences(deed.ended.max(deed.last_heard) + silence(deed) + MASS, silence(deed));
        let too_late = judged_by + SLACK > self.told.until;
        let truth = match deed.class {
            Some(class) => right.contains(&class),
            None => right.is_empty() || unheard || too_late,
        };
        if !truth {
            all.push(format!("I7: {} is called {:?} in the end, not one of {right:?}", who(), deed.class));
        }
        // I4: whoever was in reach all the time is never taken for dead while it lives.
        let said: Vec<_> = self.said.get(&deed.run).into_iter().flatten().collect();
        let shown =
            said.iter().zip(1..).filter(|(it, next)| said.get(*next).is_none_or(|next| next.at > it.at));
        for (saying, _) in shown.filter(|(it, _)| it.at < deed.leaving) {
            if let Some(class) = saying.class
                && !self.may_seem_dead(deed, class, saying.at)
            {
                all.push(format!("I4: {} is called {class} at {} while it lives", who(), saying.at));
            }
        }
        if deed.changes != deed.amended && deed.changes <= AMENDMENTS {
            all.push(format!(
                "I8: the verdict on {} changed {} times, {} amendments are recorded",
                who(),
                deed.changes,
                deed.amended
            ));
        }
        all
    }

    /// Nothing of it was heard for the full silence, or its link was closed for ten seconds (D1); and the observer
    /// had given it one full silence since it came back (D6).
    fn may_seem_dead(&self, deed: &Deed, class: &str, at: u64) -> bool {
        if class == "start_failed" {
            return deed.ready_heard.is_none_or(|ready| ready > at) && at >= deed.started + START - LIE;
        }
        let held = self.holds(deed, at);
        let silent = deed.gaps.iter().any(|(from, to)| {
            // After a cut as long as its timeout it may be called lost until it has dialled again.
            let outlasted = from + silence(deed) <= at + deed.interval && at <= to + REDIAL;
            from + LINK <= at + 100 && at <= *to || outlasted
        });
        // Superseded: another process of this worker was there while this one was away.
        let replaced = class == "superseded" && self.successors(deed).any(|next| next.started <= at);
        matches!(class, "lost" | "host_lost") && silent && !held || replaced
    }
}
