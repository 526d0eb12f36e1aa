//! The oracle on how alerts stand: what maintenance held back is told at its end, what is well again is resolved in
//! time, and nothing is resolved before that.
//!
//! Invariant: nothing of the engine is imported here.

use crate::oracle::{LIE, Loud, Oracle, SLACK, STEADY, loudness, silence};
use crate::script::{End, PlanKind};
use crate::told::{Deed, Ring};

/// Alerts of an ending: they stand until a successor was ready for a minute.
const OF_ENDINGS: &[&str] = &[
    "LastbeatWorkerFailed",
    "LastbeatRestartOverdue",
    "LastbeatHostLost",
    "LastbeatHostRebooted",
    "LastbeatMaintenanceOver",
];

impl Oracle<'_> {
    fn of_slot(&self, slot: usize) -> impl Iterator<Item = &Ring> {
        self.rings.get(&slot).into_iter().flatten().copied()
    }

    /// I3: what was down when maintenance ended, and nobody had come since, is told under its name.
    pub(crate) fn still_down(&self, deed: &Deed) -> Option<String> {
        let slot = deed.slot;
        let page = deed.class.is_some_and(|class| loudness(class) == Loud::Page);
        let heard = self.exit_heard(deed)?;
        let of_slot = || self.told.windows.iter().filter(|it| it.slots.contains(&slot));
        let window = of_slot().find(|it| {
            it.kind == PlanKind::Maintenance && it.from + LIE < deed.ended && heard + LIE < it.to
        })?;
        let by = self.after_absences(window.to, silence(deed)) + SLACK;
        let nobody_came = self.successors(deed).all(|next| next.started > by);
        let alone = of_slot().all(|it| it.from == window.from || it.to < deed.started || it.from > by);
        let rang = self
            .of_slot(slot)
            .any(|ring| ring.name == "LastbeatMaintenanceOver" && ring.open_within(window.to, by));
        let own_affair = deed.parent.is_none() && deed.ready_heard.is_some();
        (page && own_affair && nobody_came && alone && by < self.told.until && !rang).then(|| {
            format!(
                "I3: run {} of w{slot:02} ({:?}) is down after maintenance; nobody was paged by {by}",
                deed.run, deed.end
            )
        })
    }

    /// I1: one page for a loop, instead of one for each turn of it.
    pub(crate) fn beside_a_loop(&self, ring: &Ring) -> Option<String> {
        let slot = ring.slot.filter(|_| ring.name == "LastbeatWorkerFailed")?;
        let mut loops = self.of_slot(slot).filter(|it| it.name == "LastbeatCrashLoop");
        let end = |to: Option<u64>| to.unwrap_or(self.told.until);
        let both = loops.find(|it| it.from.max(ring.from) + LIE < end(it.to).min(end(ring.to)))?;
        Some(format!("I1: {} of w{slot:02} is open beside its crash loop of {}", ring.name, both.from))
    }

    /// The newest run of a worker was ready, and in reach, for a steady minute: since when this is known.
    pub(crate) fn well_since(&self, deed: &Deed) -> Option<u64> {
        let known = deed.ready_heard? + STEADY + SLACK;
        let lives = deed.leaving > known && deed.final_at.is_none_or(|at| at > known);
        let newest = self.successors(deed).all(|next| next.started > known);
        let seen = known < self.told.until && !self.is_disturbed(deed, deed.started, known);
        let in_reach = deed.gaps.iter().all(|(from, to)| *from == 0 || *to < deed.started || known < *from);
        // Another run of the worker may have died since, or its death become known; then there is news.
        let news = self.by_slot[&deed.slot]
            .iter()
            .filter(|it| it.run != deed.run && it.started <= known)
            .any(|it| it.ended.max(it.last_heard) + LIE > deed.started);
        (deed.parent.is_none() && lives && newest && seen && in_reach && !news).then_some(known)
    }

    /// I1: an alert of an ending that stands although all is well again.
    pub(crate) fn stays(&self, deed: &Deed) -> Option<String> {
        let at = self.well_since(deed)?;
        let open = |ring: &Ring| {
            let of_ending =
                OF_ENDINGS.contains(&ring.name) && ring.from < deed.ready_heard.unwrap_or_default();
            of_ending && ring.open_within(at, at)
        };
        let ring = self.of_slot(deed.slot).find(|ring| open(ring))?;
        Some(format!(
            "I1: {} of w{:02} is open since {} and at {at}, though run {} is ready for a minute",
            ring.name, deed.slot, ring.from, deed.run
        ))
    }

    /// I1: at the end nothing stands for a worker that is well, or of which nobody has died.
    pub(crate) fn stands_in_the_end(&self, ring: &Ring) -> Option<String> {
        let (slot, until) = (ring.slot?, self.told.until);
        let deeds = &self.by_slot[&slot];
        let newest = deeds.iter().rev().find(|deed| deed.parent.is_none())?;
        let well = newest.end == End::Alive
            && newest.class.is_none()
            && newest.ready_heard.is_some_and(|ready| ready > ring.from && ready + STEADY + SLACK < until);
        let dead = deeds.iter().any(|deed| deed.class.is_some_and(|class| loudness(class) == Loud::Page));
        let lie = OF_ENDINGS.contains(&ring.name) && well || ring.name == "LastbeatWorkerFailed" && !dead;
        (ring.to.is_none() && lie).then(|| {
            format!("I1: {} of w{slot:02} is open since {} and still at the end", ring.name, ring.from)
        })
    }

    /// Whose end an alert is about that opens now: the newest that is said to be gone badly, or promised to be back.
    fn whom_it_misses(&self, slot: usize, at: u64) -> Option<&Deed> {
        let missed = |deed: &&&Deed| {
            let said = self.said_at(deed, at);
            let badly = said.is_some_and(|class| loudness(class) == Loud::Page);
            deed.parent.is_none() && (badly || said.is_some() && self.promised(deed).is_some())
        };
        self.by_slot[&slot].iter().rev().find(missed).copied()
    }

    /// I2, I3: an alert of an ending stands until a successor was ready for a minute, or other evidence took it back.
    pub(crate) fn vanishes(&self, ring: &Ring) -> Option<String> {
        let (slot, to) = (ring.slot?, ring.to?);
        if !OF_ENDINGS.contains(&ring.name) {
            return None;
        }
        let deeds = &self.by_slot[&slot];
        let gone = self.whom_it_misses(slot, ring.from)?;
        // Whoever came in its place was ready for a minute, or did its work.
        let well = self.successors(gone).any(|next| {
            // Whose end nobody has told yet was taken to be well.
            let told = self.exit_heard(next).or(next.final_heard).filter(|heard| *heard <= to);
            let until = told.map_or(to, |_| next.ended.min(to)) + LIE;
            let done = next.class == Some("completed") && next.ended <= to + LIE;
            done || next.ready.is_some_and(|ready| ready + STEADY <= until)
        });
        // So does a child, as long as nobody has heard of its parent.
        let fatherless = |it: &&&Deed| {
            let parent = it.parent.map(|parent| &self.told.deeds[parent as usize]);
            parent.is_some_and(|parent| parent.start_heard.is_none_or(|heard| heard > to))
        };
        let mut fatherless = deeds.iter().filter(fatherless);
        let well = well || fatherless.any(|it| it.class == Some("completed") && it.ended <= to + LIE);
        // An operator was at work while it stood, or had just been.
        let maintained = self
            .told
            .windows
            .iter()
            .any(|it| it.slots.contains(&slot) && it.from <= to + LIE && ring.from <= it.to + STEADY);
        // What was said of one of its runs was amended at this moment.
        let amended = deeds.iter().any(|deed| {
            self.said
                .get(&deed.run)
                .is_some_and(|said| said.windows(2).any(|pair| pair[0].class.is_some() && pair[1].at == to))
        });
        let looped = self.of_slot(slot).any(|it| it.name == "LastbeatCrashLoop" && it.open_within(to, to));
        // A word that came late, of the promising run or of one that was there in time.
        let late = self.told.absences.iter().any(|(left, back)| *left <= to && ring.from <= back + 60_000)
            || deeds.iter().any(|deed| self.is_cut_off(deed, ring.from.saturating_sub(60_000), to));
        let late = ring.name == "LastbeatRestartOverdue" && late;
        // What lay in one spool is read word by word: what opens and is resolved on the way woke nobody.
        let at_once = to <= ring.from + LIE;
        (!at_once && !well && !maintained && !amended && !looped && !late).then(|| {
            format!(
                "I2: {} of w{slot:02} from {} is resolved at {to}, and nobody is steady",
                ring.name, ring.from
            )
        })
    }

    /// I11, and the same for a host: one alert for it, while one of its workers is down with it.
    pub(crate) fn each_host_once(&self) -> Vec<String> {
        let mut all = Vec::new();
        let of_host = |ring: &&Ring| ring.host.is_some();
        for ring in self.told.rings.iter().filter(of_host) {
            let others = self.told.rings.iter().filter(|it| it.host == ring.host && it.name == ring.name);
            let there = |it: &&Ring| it.slot.is_none() && it.open_within(ring.from, ring.from);
            let one = others.filter(there).count();
            if one != 1 {
                all.push(format!(
                    "I11: {one} alerts {} of h{} at {}, not one",
                    ring.name,
                    ring.host.unwrap_or_default(),
                    ring.from
                ));
            }
        }
        all
    }
}
