//! The oracle on alerts: which must have been open, and which must not.
//!
//! Invariant: nothing of the engine is imported here.

use crate::oracle::{LIE, LINK, Loud, MASS, Oracle, REPORTED, SLACK, START, STEADY, STOP, loudness, silence};
use crate::script::{End, Mode, PlanKind};
use crate::told::{Deed, Ring};

#[path = "stands.rs"]
mod stands;

const PAGES: &[&str] = &[
    "LastbeatWorkerFailed",
    "LastbeatRestartOverdue",
    "LastbeatCrashLoop",
    "LastbeatHostLost",
    "LastbeatHostRebooted",
    "LastbeatMaintenanceOver",
];

impl Oracle<'_> {
    /// When a death was reported to the collector, by its witness or by its own last word.
    pub(crate) fn reported(&self, deed: &Deed) -> Option<u64> {
        let own = deed.final_heard.filter(|_| deed.mode.linked() && deed.end == End::Panicked);
        self.exit_heard(deed).into_iter().chain(own).min()
    }

    /// By when a death that nobody reported is known (D1).
    fn known_by(&self, deed: &Deed) -> u64 {
        let hold = silence(deed);
        // Nobody knew of it before its start was heard.
        let last = deed.ended.max(deed.last_heard).max(deed.start_heard.unwrap_or_default());
        let closed = deed.closed_heard.filter(|closed| *closed >= deed.ended && *closed < deed.ended + 1_000);
        // Power that fails closes no link: what is heard then is an older one, and its witness's may be open still.
        let closed = closed.filter(|_| deed.end != End::PowerLost);
        let due = match (deed.asked_heard, closed) {
            // Asked: it is waited for until its stop deadline, never called lost before.
            (Some(asked), _) => asked.max(deed.ended) + STOP + deed.extended,
            (None, Some(closed)) => closed + LINK,
            (None, None) => last + hold,
        };
        // Its host is back without it: another boot ends who has not beaten since, as soon as two beats are missing.
        let rebooted = self.boot_heard(deed).filter(|_| deed.end == End::PowerLost);
        let due = rebooted.map_or(due, |heard| due.min(heard.max(last + 2 * deed.interval)));
        self.slept_through(due, hold) + SLACK
    }

    /// By when a bad end must have woken somebody, if it must.
    pub(crate) fn due(&self, deed: &Deed) -> Option<u64> {
        let class = deed.class?;
        if loudness(class) != Loud::Page || deed.end == End::Alive || deed.parent.is_some() {
            return None;
        }
        let by = self.reported(deed).map_or_else(|| self.known_by(deed), |at| at + REPORTED);
        (by < self.told.until).then_some(by)
    }

    pub(crate) fn is_excused(&self, deed: &Deed, by: u64) -> bool {
        let maintained = self.told.windows.iter().any(|it| {
            it.kind == PlanKind::Maintenance
                && it.slots.contains(&deed.slot)
                && it.from <= by
                && deed.ended.saturating_sub(LIE) < it.to + STEADY
        });
        // When it became known, a successor had been steady for a minute, or had done its work.
        let late = self.successors(deed).any(|next| {
            let done = next.class == Some("completed") && next.ended <= by;
            done || next.ready.is_some_and(|ready| ready + STEADY <= by + SLACK)
        });
        // M8: the end of a successor before it was ready, inside an open promise, is the promise's affair.
        let covered =
            deed.ready_heard.is_none() && (self.within_a_promise(deed) || self.within_a_restart(deed));
        maintained || late || covered
    }

    /// It came to its end while an earlier run of its worker was still promised to be back.
    fn within_a_promise(&self, deed: &Deed) -> bool {
        let mut earlier = self.by_slot[&deed.slot].iter().filter(|it| it.run < deed.run);
        earlier.any(|it| {
            let due = self.promised(it).map(|within| it.ended.saturating_add(within));
            due.is_some_and(|due| deed.ended.saturating_sub(LIE) <= due)
        })
    }

    fn within_a_restart(&self, deed: &Deed) -> bool {
        let mut restarts = self.told.windows.iter().filter(|it| it.kind == PlanKind::Restart);
        restarts.any(|it| {
            it.slots.contains(&deed.slot) && it.from <= deed.ended && deed.ended.saturating_sub(LIE) <= it.to
        })
    }

    /// A page for this worker, its host, or the whole fleet was open.
    pub(crate) fn rang(&self, deed: &Deed, from: u64, to: u64) -> Option<u64> {
        let own = self.rings.get(&deed.slot).into_iter().flatten();
        own.filter(|ring| PAGES.contains(&ring.name))
            .chain(&self.masses)
            .filter(|ring| ring.open_within(from, to))
            .map(|ring| ring.from.max(from))
            .min()
    }

    /// I2, I3: what should have been said and was not.
    pub(crate) fn missed(&self, deed: &Deed) -> Vec<String> {
        let mut all = Vec::new();
        let who = || format!("run {} of w{:02} ({:?}, {:?})", deed.run, deed.slot, deed.mode, deed.end);
        if let Some(by) = self.due(deed)
            && !self.is_excused(deed, by)
            && self.rang(deed, deed.ended, by).is_none()
        {
            let how = if self.reported(deed).is_some() { "reported" } else { "unreported" };
            all.push(format!("I3: {} died at {}, {how}; nobody was paged by {by}", who(), deed.ended));
        }
        if let Some(by) = self.broken_by(deed) {
            let rings = self.rings.get(&deed.slot).into_iter().flatten();
            let rang =
                rings.filter(|ring| PAGES.contains(&ring.name)).any(|ring| ring.open_within(deed.ended, by));
            if !rang {
                all.push(format!("I2: {} is not back as promised; nobody was paged by {by}", who()));
            }
        }
        all.extend(self.broken_restart(deed));
        if let Some(by) = self.ticket_by(deed) {
            let rings = self.rings.get(&deed.slot).into_iter().flatten();
            if !rings.filter(|it| !PAGES.contains(&it.name)).any(|it| it.open_within(deed.ended, by)) {
                all.push(format!("I3: {} was not clean; no ticket by {by}", who()));
            }
        }
        all.extend(self.missed_in_life(deed));
        all
    }

    /// By when a broken promise must have woken somebody, if it was broken beyond doubt.
    fn broken_by(&self, deed: &Deed) -> Option<u64> {
        let asked = matches!(deed.end, End::Stopped | End::Promised(_) | End::Unclean);
        let kept = matches!(deed.class, Some("shutdown" | "shutdown_degraded"));
        let within = self.promised(deed).filter(|_| asked && kept && deed.parent.is_none())?;
        let own = matches!(deed.end, End::Promised(_)) && deed.mode.linked();
        let heard = if own { deed.final_heard } else { deed.exit_heard }?;
        let due = deed.ended + within;
        let by =
            self.after_absences(due, silence(deed)).max(heard).max(self.exit_heard(deed).unwrap_or_default());
        let by = self.with_a_killed_witness(deed, heard, by);
        // Somebody came back: in time, or so late or so long ago that it is an affair of the past.
        let ready = self.successors(deed).filter_map(|next| next.ready).min();
        let back = ready.is_some_and(|ready| ready <= due + SLACK || ready <= by + SLACK);
        let in_window = self
            .told
            .windows
            .iter()
            .any(|it| it.slots.contains(&deed.slot) && it.from <= by && it.to + STEADY >= deed.ended);
        (!back && !in_window && by + SLACK < self.told.until).then_some(by + SLACK)
    }

    /// Whose witness was killed is waited for as long as a witness that dials again.
    fn with_a_killed_witness(&self, deed: &Deed, heard: u64, by: u64) -> u64 {
        deed.orphaned.map_or(by, |_| by.max(self.after_absences(heard + LINK, silence(deed))))
    }

    /// I2: who is stopped inside an announced restart is back when that ends (M8), or somebody is woken.
    fn broken_restart(&self, deed: &Deed) -> Option<String> {
        let of_slot = || self.told.windows.iter().filter(|it| it.slots.contains(&deed.slot));
        let window = of_slot().find(|it| {
            let inside = it.from + LIE < deed.leaving && deed.ended + LIE < it.to;
            it.kind == PlanKind::Restart && inside && deed.started + LIE < it.from
        })?;
        let stopped = deed.end == End::Stopped && deed.class == Some("shutdown") && deed.parent.is_none();
        let alone = of_slot().filter(|it| it.from <= window.to + STEADY && it.to >= deed.ended).count() == 1;
        let heard = self.exit_heard(deed).or(deed.final_heard)?;
        let due = window.to.max(deed.ended + self.promised(deed).unwrap_or_default());
        let by = self.after_absences(due, silence(deed)).max(heard);
        let by = self.with_a_killed_witness(deed, heard, by) + SLACK;
        let back = self.successors(deed).any(|next| next.ready.is_some_and(|ready| ready <= by));
        let mut own = self.rings.get(&deed.slot).into_iter().flatten();
        let rang = own.any(|ring| ring.name == "LastbeatRestartOverdue" && ring.open_within(due, by));
        (stopped && alone && !back && !rang && by + SLACK < self.told.until).then(|| {
            format!(
                "I2: run {} of w{:02} is not back when its restart ends; nobody was paged by {by}",
                deed.run, deed.slot
            )
        })
    }

    fn ticket_by(&self, deed: &Deed) -> Option<u64> {
        let class = deed.class.filter(|class| loudness(class) == Loud::Ticket)?;
        let heard = self.exit_heard(deed).or(deed.final_heard.filter(|_| deed.mode == Mode::Linked))?;
        let by = heard + REPORTED;
        let quiet = deed.parent.is_some() || class == "superseded" || self.is_excused(deed, by);
        (!quiet && by < self.told.until).then_some(by)
    }

    /// Hung, suspended, an agent's crash.
    fn missed_in_life(&self, deed: &Deed) -> Vec<String> {
        let mut all = Vec::new();
        let rang = |name: &str, from, to| {
            let rings = self.rings.get(&deed.slot).into_iter().flatten();
            rings.into_iter().any(|ring| ring.name == name && ring.open_within(from, to))
        };
        let calm = |from: u64, to: u64| !self.is_disturbed(deed, from, to);
        for (from, to) in &deed.hangs {
            let by = from + deed.pace.unwrap_or_default() * 3 + deed.interval * 2 + SLACK;
            if by < *to
                && calm(from.saturating_sub(2 * deed.interval), by)
                && !rang("LastbeatHung", *from, by)
            {
                all.push(format!(
                    "I3: run {} of w{:02} hangs since {from}; nobody was paged by {by}",
                    deed.run, deed.slot
                ));
            }
        }
        for (from, to) in deed.suspended.iter().filter(|_| deed.mode.witnessed() && deed.orphaned.is_none()) {
            let by = from + 60_000 + SLACK;
            if by < *to && calm(*from, by) && !rang("LastbeatSuspended", *from, by) {
                all.push(format!(
                    "I3: run {} of w{:02} is stopped since {from}; nobody was paged",
                    deed.run, deed.slot
                ));
            }
        }
        if let Some((_, Some(at))) = deed.orphaned.map(|at| (at, deed.orphaned_heard)) {
            // Its client beats on, and nobody dials in its witness's place.
            let by = at + LINK + deed.interval * 6 + SLACK;
            let known = deed.start_heard.is_some() && deed.leaving > by && by < self.told.until;
            if known && calm(at.saturating_sub(20_000), by) && !rang("LastbeatOrphaned", at, by) {
                all.push(format!(
                    "I3: the witness of run {} of w{:02} is gone; no ticket by {by}",
                    deed.run, deed.slot
                ));
            }
        }
        if let Some((at, Some(heard))) = deed.agent_crashed {
            let by = heard + REPORTED;
            if by < deed.leaving && calm(at, by) && !rang("LastbeatAgentFailed", at, by) {
                all.push(format!(
                    "I3: an agent of run {} of w{:02} crashed; nobody was paged",
                    deed.run, deed.slot
                ));
            }
        }
        all
    }

    /// Something stood between a worker and the collector, or an operator was at work.
    pub(crate) fn is_disturbed(&self, deed: &Deed, from: u64, to: u64) -> bool {
        self.is_cut_off(deed, from, to)
            || self.told.absences.iter().any(|(left, back)| *left <= to && from <= back + silence(deed))
            || self.told.windows.iter().any(|it| {
                it.kind == PlanKind::Maintenance
                    && it.slots.contains(&deed.slot)
                    && it.from <= to
                    && from <= it.to
            })
            || deed
                .own_gaps
                .iter()
                .any(|(left, back)| *left < to && from < *back && back - left > silence(deed))
    }

    /// I1: an alert that opened for no reason.
    pub(crate) fn false_alarm(&self, ring: &Ring) -> Option<String> {
        // What opens and is resolved within one millisecond, before it is published, nobody sees.
        let slot = ring.slot.filter(|_| ring.to != Some(ring.from))?;
        let deeds = &self.by_slot[&slot];
        let at = ring.from;
        let why = match ring.name {
            "LastbeatWorkerFailed" => {
                deeds.iter().any(|deed| self.seems_dead(deed, at) && self.is_its_own_affair(deed, at))
            }
            // One alert for all of a host: of several runs, one at least has been silent for its full timeout.
            "LastbeatHostLost" => {
                let open = |deed: &&Deed| {
                    let told = self.said_at(deed, at - 1).is_some();
                    Some(deed.host) == ring.host && deed.started < at && (deed.ended + MASS > at || !told)
                };
                self.told.deeds.iter().filter(open).count() >= 2
                    && deeds.iter().any(|deed| self.seems_dead(deed, at))
            }
            "LastbeatHostRebooted" => {
                let hosts =
                    self.told.boots.iter().filter(|(host, _, on)| Some(*host) == ring.host && *on <= at);
                hosts.count() > 0
                    && deeds.iter().any(|deed| {
                        // Whoever was gone without a word may have gone with the host.
                        self.seems_dead(deed, at)
                            || deed.ended <= at && self.right(deed).contains(&"host_rebooted")
                    })
            }
            "LastbeatRestartOverdue" => deeds.iter().any(|deed| self.may_be_overdue(deed, at)),
            "LastbeatCrashLoop" => deeds.iter().filter(|deed| self.counts_as_bad(deed, at)).count() >= 5,
            "LastbeatMaintenanceOver" => {
                self.told
                    .windows
                    .iter()
                    .any(|it| it.kind == PlanKind::Maintenance && it.slots.contains(&slot) && it.to <= at)
                    && deeds.iter().any(|deed| {
                        let down =
                            deed.ended <= at && deed.class.is_some_and(|it| loudness(it) != Loud::Silent);
                        let ill = deed.agent_crashed.is_some_and(|(crashed, _)| crashed <= at);
                        let stuck = deed
                            .hangs
                            .iter()
                            .chain(&deed.suspended)
                            .any(|(from, to)| *from <= at && at <= to + SLACK);
                        down || ill || stuck || self.seems_dead(deed, at) || self.may_be_overdue(deed, at)
                    })
            }
            "LastbeatHung" => deeds.iter().any(|deed| {
                let pace = deed.pace.unwrap_or_default() * 3;
                let stuck = |(from, to): &(u64, u64)| {
                    // Whoever is killed while it hangs hangs on until its death is known.
                    let known = if deed.ended <= *to + SLACK { self.known_by(deed) } else { 0 };
                    // One beat may be lost on any day.
                    let until = (to + deed.interval * 2 + SLACK).max(known);
                    from + pace <= at + deed.interval * 2 && at <= until
                };
                let deaf = |(from, to): &(u64, u64)| {
                    from + silence(deed) <= at + 100 && at <= to + SLACK && deed.mode == Mode::Both
                };
                // The witness was out of reach as well, and is only just back: the client is about to dial, too.
                let back =
                    deed.gaps.iter().any(|(_, to)| *to <= at && at < to + silence(deed) && *to < deed.ended);
                deed.hangs.iter().any(stuck)
                    || deed.own_gaps.iter().any(deaf) && !self.wakes(deed, at) && !back
            }),
            "LastbeatSuspended" => deeds.iter().any(|deed| {
                let held = |(from, to): &(u64, u64)| from + 60_000 <= at + LIE && at <= to + SLACK;
                // That it goes on was under way, and the network did not let it pass.
                let unheard = |to: u64| self.is_cut_off(deed, to.saturating_sub(LINK), at);
                // What was stopped when it was last heard of is taken for stopped until it is known to be gone.
                let gone = deed.end == End::PowerLost && at <= self.news_until(deed);
                deed.suspended
                    .iter()
                    .any(|it| held(it) || (unheard(it.1) || gone) && it.0 + 60_000 <= at + LIE)
            }),
            "LastbeatAgentFailed" => {
                deeds.iter().any(|deed| deed.agent_crashed.is_some_and(|(crashed, _)| crashed <= at))
            }
            "LastbeatCleanupNotClean" | "LastbeatExitedSilently" => deeds.iter().any(|deed| {
                let heard = self.exit_heard(deed).or(deed.final_heard).unwrap_or(u64::MAX);
                let unclean = deed.class.is_some_and(|it| loudness(it) == Loud::Ticket);
                let news = at <= heard.saturating_add(REPORTED) || !self.is_answered(deed, at);
                unclean && deed.ended <= at + SLACK && news
            }),
            // Its witness's link may close while its client goes on, whenever the network has a bad day, or the
            // collector was just away.
            "LastbeatOrphaned" => deeds.iter().any(|deed| {
                let disturbed = self.is_disturbed(deed, at.saturating_sub(60_000), at);
                let both = deed.mode == Mode::Both || deed.same_as.is_some();
                let killed = deed.orphaned.is_some_and(|killed| killed + LINK <= at + LIE);
                both && deed.started <= at && at <= self.news_until(deed) && (disturbed || killed)
            }),
            _ => false,
        };
        let maintained = self.maintained(ring);
        (!why || maintained).then(|| {
            let whose: Vec<String> = deeds
                .iter()
                .filter(|deed| deed.started <= at)
                .rev()
                .take(3)
                .map(|deed| {
                    format!(
                        "run {} {:?} {:?} {}..{}",
                        deed.run, deed.end, deed.class, deed.started, deed.ended
                    )
                })
                .collect();
            let how = if maintained { "inside maintenance" } else { "without reason" };
            format!("I1: {} of w{slot:02} opens {how} at {at}; {}", ring.name, whose.join(", "))
        })
    }

    /// It was stopped, has just been continued, and had no time to speak yet: no reason to call it hung.
    fn wakes(&self, deed: &Deed, at: u64) -> bool {
        deed.suspended.iter().any(|(from, to)| *from <= at && at < to + silence(deed))
    }

    /// An alert that opened inside an operator's window, for something that happened inside it.
    fn maintained(&self, ring: &Ring) -> bool {
        let slot = ring.slot.unwrap_or(usize::MAX);
        self.told.windows.iter().any(|it| {
            let inside = it.kind == PlanKind::Maintenance
                && it.slots.contains(&slot)
                && it.from + LIE < ring.from
                && ring.from < it.to;
            inside
                && !self.by_slot[&slot].iter().any(|deed| {
                    // What had happened before the window is nothing that the operator does.
                    let before = |at: u64| at <= it.from + LIE;
                    before(deed.ended) && ring.from <= self.due(deed).unwrap_or(u64::MAX)
                        || deed.orphaned.is_some_and(before)
                        || deed.gaps.iter().any(|(from, to)| before(*from) && it.from < *to)
                        || deed
                            .hangs
                            .iter()
                            .chain(&deed.suspended)
                            .any(|(from, to)| before(*from) && it.from < *to)
                })
        })
    }

    /// What was said of a run last.
    pub(crate) fn said_at(&self, deed: &Deed, at: u64) -> Option<&'static str> {
        self.said.get(&deed.run)?.iter().rev().find(|it| it.at <= at)?.class
    }

    /// Its death is told by an alert of its own: not by its parent, its host, or the promise it was to keep; and it is
    /// called a death at that moment.
    fn is_its_own_affair(&self, deed: &Deed, at: u64) -> bool {
        let said = self.said_at(deed, at);
        let is_told = said.is_some_and(|class| loudness(class) == Loud::Page && !class.starts_with("host_"));
        let parent = deed.parent.map(|parent| &self.told.deeds[parent as usize]);
        let of_a_live_one =
            parent.is_some_and(|parent| parent.ended > deed.ended && self.said_at(parent, at).is_none());
        // Of a parent that nobody has heard of for a full silence, nobody knows that it lives.
        let unheard = |parent: &&Deed| {
            let long = deed.start_heard.is_some_and(|heard| heard + silence(deed) <= at);
            long && parent.start_heard.is_none_or(|heard| heard > at)
        };
        let of_a_live_one = of_a_live_one && !parent.as_ref().is_some_and(unheard);
        is_told && !of_a_live_one && !self.is_an_attempt(deed, at)
    }

    /// It came to its end before it was ready, inside a promise that it was to keep.
    fn is_an_attempt(&self, deed: &Deed, at: u64) -> bool {
        let before =
            self.by_slot[&deed.slot].iter().rev().filter(|it| it.run < deed.run && it.parent.is_none());
        let Some(promising) = before.into_iter().find(|it| it.ready_heard.is_some()) else { return false };
        let Some(within) = self.promised(promising) else { return false };
        let due = promising.final_at.unwrap_or(promising.ended).min(promising.ended) + within;
        deed.ready_heard.is_none()
            && deed.start_heard.is_some()
            && promising.final_heard.or(promising.exit_heard).is_some_and(|heard| heard <= at)
            && matches!(promising.class, Some("shutdown" | "shutdown_degraded" | "shutdown_aborted"))
            && deed.ended + LIE < due
            && self.exit_heard(deed).is_some()
    }

    /// A death, or a silence that looks like one, that is news at this moment.
    fn seems_dead(&self, deed: &Deed, at: u64) -> bool {
        let news = at <= self.news_until(deed) || !self.is_answered(deed, at);
        // It may have said its last and wait for the answer.
        let over = deed.final_at.unwrap_or(deed.ended).min(deed.ended);
        let dead = over <= at + LIE && news && self.ends_badly(deed);
        let gone =
            deed.gaps.iter().any(|(from, to)| *from > 0 && from + LINK <= at + 100 && at <= to + SLACK)
                && deed.started + LINK <= at;
        // Asked to stop, and nothing was heard of an end by the deadline.
        let late = deed.asked_heard.is_some_and(|asked| {
            let told = self.exit_heard(deed).or(deed.final_heard);
            asked + STOP <= at + LIE && told.is_none_or(|told| told >= at) && !self.holds(deed, at)
        });
        let unready = deed.ready_heard.is_none_or(|ready| ready > at) && at + LIE >= deed.started + START;
        let timed_out =
            deed.end == End::TimedOut && deed.leaving + STOP <= at + LIE && at <= self.news_until(deed);
        dead || gone || late || timed_out || unready && at <= self.news_until(deed)
    }

    /// A successor has truly been well for a minute. What had looked like one may turn out to have died: then the
    /// alert stands again.
    fn is_answered(&self, deed: &Deed, at: u64) -> bool {
        self.successors(deed).any(|next| {
            let steady = next.ready.map_or(u64::MAX, |ready| ready + STEADY);
            let lasted = next.final_at.unwrap_or(next.ended) >= steady.saturating_add(LIE);
            let known = next.ready_heard.is_some_and(|heard| heard < at);
            // One that seems to be gone since is no answer, as long as it seems so.
            let seems_gone = next.gaps.iter().any(|(from, to)| *from < steady && at <= *to);
            steady <= at && lasted && known && !seems_gone
        })
    }

    fn ends_badly(&self, deed: &Deed) -> bool {
        // What was lost first and told as a clean stop later looked like a death for a while.
        let looked = self.reported(deed).or(deed.final_heard);
        let told_late = looked.is_none_or(|told| told > deed.ended.min(deed.last_heard) + LINK);
        let bad = self.right(deed).iter().any(|class| loudness(class) == Loud::Page);
        deed.end != End::Alive && (bad || told_late)
    }

    /// Until when a death may be news.
    fn news_until(&self, deed: &Deed) -> u64 {
        let told = self.reported(deed).or(deed.final_heard).unwrap_or_default();
        let inferred = self.known_by(deed) + MASS;
        (told + REPORTED).max(inferred)
    }

    /// Within how many ms it promised to be back: by its own last word, else by the command line of its witness, which
    /// does not speak of who is stopped at the keyboard or announced to stop (M8).
    fn promised(&self, deed: &Deed) -> Option<u64> {
        match deed.end {
            End::Promised(within) if deed.mode.linked() => Some(within),
            // The power went when it had said so.
            End::PowerLost if deed.final_heard.is_some() && deed.said_back.is_some() => deed.said_back,
            End::Alive => None,
            _ => deed.back.filter(|_| {
                let mut stops = self.told.windows.iter().filter(|it| it.kind == PlanKind::Stop);
                let for_good = stops.any(|it| {
                    it.slots.contains(&deed.slot) && it.from <= deed.ended && deed.ended + LIE < it.to
                });
                let announced = self.is_planned(deed).contains(&true);
                let at_the_terminal = matches!(deed.asker, Some("keyboard" | "terminal_hangup"));
                (!at_the_terminal || announced) && !for_good
            }),
        }
    }

    /// A promise was due, and nobody was known to be back.
    fn may_be_overdue(&self, deed: &Deed, at: u64) -> bool {
        let own = self
            .promised(deed)
            .map(|within| deed.final_at.unwrap_or(deed.ended).min(deed.ended).saturating_add(within));
        // M8: a stop inside an announced restart promises to be back before the window ends.
        let windows = self.told.windows.iter().filter(|it| {
            let concerned = it.slots.contains(&deed.slot) && it.from <= deed.ended + LIE;
            it.kind == PlanKind::Restart && concerned && it.to + LIE >= deed.ended
        });
        let held = self.holds(deed, at);
        // Who comes back too late has broken the promise, whether or not the collector still waits.
        let late = self.successors(deed).any(|next| next.ready_heard.is_some_and(|heard| heard <= at));
        let back = |due: u64| {
            self.successors(deed).any(|next| {
                let known = next.ready_heard.is_some_and(|heard| heard < at);
                known && next.ready.is_some_and(|ready| ready + SLACK < due)
            })
        };
        let mut dues = windows.map(|it| it.to).chain(own);
        // A promise that was broken long ago, and made good since, is no reason any more.
        let stands = !self.is_answered(deed, at);
        stands && dues.any(|due| due <= at + LIE && (!held || late) && !back(due))
    }

    fn counts_as_bad(&self, deed: &Deed, at: u64) -> bool {
        let planned =
            matches!(deed.end, End::Alive | End::Stopped | End::Promised(_) | End::Done | End::Extended);
        // A loop stands until somebody is well; one who only seemed to be, whose end is told late, is no such.
        let news = at <= self.news_until(deed) + 60_000 || !self.is_answered(deed, at);
        deed.ended <= at + LIE && news && !planned
    }

    /// I11: half of a fleet that beats as one falls silent at once: one alert, not one for each.
    pub(crate) fn mass_silence(&self) -> Vec<String> {
        let mut all = Vec::new();
        for cut in self.told.cuts.iter().filter(|cut| cut.half) {
            let open_at = |deed: &&crate::told::Deed| {
                deed.started + 30_000 < cut.from && deed.ended > cut.to && deed.parent.is_none()
            };
            let open: Vec<_> = self.told.deeds.iter().filter(open_at).collect();
            let hit: Vec<_> = open.iter().filter(|deed| cut.slots.contains(&deed.slot)).collect();
            let hosts: std::collections::BTreeSet<usize> = hit.iter().map(|deed| deed.host).collect();
            let Some(interval) = open.first().map(|deed| deed.interval) else { continue };
            let as_one = open.iter().all(|deed| deed.interval == interval);
            let silence = (interval * 6).max(15_000);
            let (from, to) = (cut.from, cut.to);
            let clear = |other: &crate::told::Cut| {
                other.from == cut.from || other.to + 60_000 < from || other.from > to
            };
            let alone = self.told.cuts.iter().chain(&self.told.noises).all(clear)
                && self.told.absences.iter().all(|(left, back)| back + MASS < from || *left > to)
                && self.told.boots.iter().all(|(_, off, on)| on + MASS < from || *off > to)
                // Nobody else comes or goes meanwhile, and no operator is at work.
                && self.told.windows.iter().all(|it| it.to < from || it.from > to);
            let much = open.len() >= 9 && hit.len() * 10 >= open.len() * 6 && hosts.len() >= 2;
            if !(as_one && alone && much && to > from + silence + SLACK) {
                continue;
            }
            let groups = self.masses.iter().filter(|ring| ring.open_within(from, to)).count();
            if groups != 1 {
                all.push(format!(
                    "I11: half of the fleet is silent from {from} to {to}: {groups} group alerts, not one"
                ));
            }
            let single = self.told.rings.iter().filter(|ring| {
                matches!(ring.name, "LastbeatWorkerFailed" | "LastbeatHostLost")
                    // Who had lost its link before is missed before the others are.
                    && (from + LINK..to).contains(&ring.from)
                    && ring.slot.is_some_and(|slot| hit.iter().any(|deed| deed.slot == slot))
            });
            for ring in single {
                all.push(format!("I11: {ring:?} while half of the fleet is silent from {from} to {to}"));
            }
        }
        all
    }
}
