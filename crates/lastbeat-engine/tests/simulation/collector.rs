//! The collector: the engine with a journal, played by the contract of the keeper, and everything it says.
//!
//! Invariant: what it says is looked at after every fact, and whenever time alone may have changed an alert.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use lastbeat_engine::fact::{Away, FactId};
use lastbeat_engine::{
    Alert, AlertName, Fact, Moment, Proposal, Roster, Rules, RunId, Snapshot, Source, What, alert,
};

use crate::script::Script;
use crate::told::{Ring, Saying, Stood, Told};

const ITSELF: RunId = RunId(u128::MAX);

/// One word on its way into the journal.
pub(crate) struct Word<'a> {
    pub(crate) run: u32,
    pub(crate) slot: usize,
    pub(crate) source: Source,
    pub(crate) seq: u64,
    pub(crate) age_ms: u64,
    pub(crate) what: &'a What,
    /// It came over a link, and did not lie in a spool.
    pub(crate) live: bool,
}

pub(crate) struct Collector {
    rules: Rules,
    roster: Roster,
    journal: Vec<(Fact, bool)>,
    known: HashSet<FactId>,
    names: Vec<(Arc<str>, Arc<str>)>,
    /// It neither runs nor listens.
    pub(crate) down: bool,
    /// It is stopped; what comes waits.
    pub(crate) held: bool,
    watched_until: u64,
    /// What was said last: of each run its class, its cause and the outcome of its cleanup; of each worker its open
    /// alerts, by their place in the rings, and of each host.
    classes: Vec<Words>,
    same_process: Vec<Option<u32>>,
    changes: Vec<usize>,
    open: Vec<Vec<(AlertName, usize)>>,
    /// Of each worker the condition that was said last.
    conditions: Vec<Option<&'static str>>,
    open_hosts: Vec<(AlertName, String, usize)>,
    hosts_moved: bool,
    silence: Option<usize>,
    /// Whose alerts are to be looked at when all that came at once is taken.
    moved: Vec<usize>,
    all_moved: bool,
    pub(crate) told: Told,
    record: bool,
}

/// What is written to it, as a number.
struct Hashed(u64);

impl std::fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
        Ok(())
    }
}

/// Class, cause and cleanup (I7).
type Words = [Option<&'static str>; 3];

pub(crate) const fn id(run: u32) -> RunId {
    RunId(run as u128 + 1)
}

impl Collector {
    pub(crate) fn new(script: &Script, rules: &Rules, record: bool) -> Self {
        let name = |slot: usize| {
            (Arc::from(format!("s{}", script.slots[slot].service)), Arc::from(format!("w{slot:02}")))
        };
        Self {
            rules: rules.clone(),
            roster: Roster::new(rules.clone()),
            journal: Vec::new(),
            known: HashSet::new(),
            names: (0..script.slots.len()).map(name).collect(),
            down: false,
            held: false,
            watched_until: crate::script::DAWN,
            classes: Vec::new(),
            same_process: Vec::new(),
            changes: Vec::new(),
            open: vec![Vec::new(); script.slots.len()],
            conditions: vec![None; script.slots.len()],
            open_hosts: Vec::new(),
            hosts_moved: false,
            silence: None,
            moved: Vec::new(),
            all_moved: false,
            told: Told { until: script.until, ..Told::default() },
            record,
        }
    }

    /// A run exists now, and may be spoken of.
    pub(crate) fn expect(&mut self, same_process: Option<u32>) {
        self.classes.push(Words::default());
        self.changes.push(0);
        self.same_process.push(same_process);
    }

    /// All that the journal holds.
    pub(crate) fn journaled(&self) -> HashSet<FactId> {
        self.journal.iter().map(|(fact, _)| fact.id).collect()
    }

    pub(crate) const fn listens(&self) -> bool {
        !self.down && !self.held
    }

    /// Adds to the trace: a hash of all that was done and said.
    pub(crate) const fn mark(&mut self, now: u64, what: u64, whom: u64) {
        let mixed = self.told.trace ^ now.wrapping_mul(31) ^ what.rotate_left(40) ^ whom.rotate_left(20);
        self.told.trace = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    fn mark_word(&mut self, now: u64, word: &str) {
        let hash = word.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(131) + u64::from(byte));
        self.mark(now, 17, hash);
    }

    /// A line of the timeline, made only when somebody reads it.
    pub(crate) fn note(&mut self, now: u64, what: impl FnOnce() -> String) {
        if self.record {
            let seconds = now.saturating_sub(crate::script::DAWN);
            let line = format!("{:>6}.{:03}  {}", seconds / 1_000, seconds % 1_000, what());
            self.told.timeline.push(line);
        }
    }

    /// Takes a word, once; says whether it was news.
    pub(crate) fn take(&mut self, word: &Word<'_>, now: u64) -> bool {
        let id = FactId { run: id(word.run), source: word.source, seq: word.seq };
        let news = self.known.insert(id);
        if news {
            let (service, worker) = self.names[word.slot].clone();
            let taken = Moment::from_millis(now);
            let fact = Fact { id, service, worker, taken, age_ms: word.age_ms, what: word.what.clone() };
            self.step(fact, word.live, Some(word.slot));
        }
        news
    }

    fn step(&mut self, fact: Fact, live: bool, slot: Option<usize>) {
        let (run, now) = (fact.id.run, fact.taken.as_millis());
        self.roster.step(&fact);
        // The same fact again changes nothing (M5): one in eight comes twice.
        if fact.id.seq.is_multiple_of(8) {
            self.roster.step(&fact);
        }
        self.mark(now, run.0 as u64, fact.id.seq);
        // All of it, not only that it came.
        let mut content = Hashed(0);
        let _ = write!(content, "{:?} {} {:?}", fact.id.source, fact.age_ms, fact.what);
        self.mark(now, 23, content.0);
        // A start may tell of a new boot of a host, a plan speaks of a service: then all are looked at.
        let all = matches!(
            fact.what,
            What::Start(_)
                | What::WitnessStart(_)
                | What::Plan(_)
                | What::PlanEnd(_)
                | What::MassSilence(_)
                | What::Away(_)
        );
        if self.record {
            let (what, age) = (fact.what.type_name(), fact.age_ms);
            let more = if let What::Expired(expired) = &fact.what { expired.which.as_str() } else { "" };
            let (whom, source) = (run.0.wrapping_sub(1), fact.id.source.as_str());
            let place = slot.map_or_else(String::new, |slot| format!(" of {}", self.names[slot].1));
            self.note(now, || {
                format!("  takes {source} {what} {more} of run {}{place}, aged {age}", whom as u32)
            });
        }
        self.journal.push((fact, live));
        let speaking = (run != ITSELF).then_some(run);
        let snapshot = self.roster.snapshot();
        match slot {
            Some(slot) if !all => {
                self.look_at_runs(&snapshot, slot, speaking, now);
                self.moved.push(slot);
            }
            _ => {
                (0..self.names.len()).for_each(|slot| self.look_at_runs(&snapshot, slot, speaking, now));
                self.all_moved = true;
            }
        }
    }

    /// All that came at once is taken; what is shown now is what a view would show.
    pub(crate) fn settle(&mut self, now: u64) {
        let mut moved = std::mem::take(&mut self.moved);
        if std::mem::take(&mut self.all_moved) {
            self.look_at_all(now);
        } else if !moved.is_empty() {
            moved.sort_unstable();
            moved.dedup();
            let snapshot = self.roster.snapshot();
            moved.iter().for_each(|slot| self.look_at_alerts(&snapshot, *slot, now));
        }
        moved.clear();
        self.moved = moved;
        if std::mem::take(&mut self.hosts_moved) {
            self.look_at_hosts(now);
        }
    }

    /// Of a host there is one alert, instead of one for each of its workers.
    fn look_at_hosts(&mut self, now: u64) {
        let alerts = self.roster.snapshot().alerts(Moment::from_millis(now));
        let of_host =
            |alert: &&Alert| alert.host.is_some() && alert.worker.is_empty() && alert.resolved.is_none();
        let shown: Vec<&Alert> = alerts.iter().filter(of_host).collect();
        let mut open = std::mem::take(&mut self.open_hosts);
        open.retain(|(name, host, ring)| {
            let stays = shown.iter().any(|it| it.name == *name && it.host.as_deref() == Some(host));
            if !stays {
                self.told.rings[*ring].to = Some(now);
                self.note(now, || format!("{} of {host} is resolved", name.as_str()));
            }
            stays
        });
        for alert in shown {
            let host = alert.host.clone().unwrap_or_default();
            if open.iter().all(|(name, of, _)| *name != alert.name || *of != host) {
                let ring = self.ring(None, alert.name, Some(&host), now);
                open.push((alert.name, host, ring));
            }
        }
        self.open_hosts = open;
    }

    fn observe(&mut self, proposal: Option<Proposal>, now: u64) {
        let Some(Proposal { run, service, worker, what }) = proposal else { return };
        let run = run.unwrap_or(ITSELF);
        let id = FactId { run, source: Source::Observer, seq: self.roster.observer_seq(run) };
        let slot = self.names.iter().position(|(_, name)| *name == worker);
        let fact = Fact { id, service, worker, taken: Moment::from_millis(now), age_ms: 0, what };
        self.step(fact, false, slot);
    }

    /// A live word of a run came.
    pub(crate) fn hear(&mut self, run: u32, source: Source, now: u64) {
        let seen = self.roster.heard(id(run), source, Moment::from_millis(now));
        self.observe(seen, now);
    }

    pub(crate) fn count(&mut self, run: u32, counter: u64, now: u64) {
        let counters = [("work", counter)].into_iter();
        let seen = self.roster.progressed(id(run), counters, Moment::from_millis(now));
        self.observe(seen, now);
    }

    pub(crate) fn link(&mut self, run: u32, source: Source, link: u64) {
        self.roster.linked(id(run), source, link);
    }

    pub(crate) fn unlink(&mut self, run: u32, source: Source, link: u64, now: u64) {
        let closed = self.roster.unlinked(id(run), source, link);
        self.observe(closed, now);
    }

    /// A word about no single run, by an operator.
    pub(crate) fn announce(&mut self, what: What, now: u64) {
        let id =
            FactId { run: ITSELF, source: Source::Operator, seq: self.roster.next_seq(Source::Operator) };
        let taken = Moment::from_millis(now);
        let fact = Fact { id, service: "".into(), worker: "".into(), taken, age_ms: 0, what };
        self.step(fact, false, None);
    }

    /// When it wants to be woken, if it is there.
    pub(crate) fn wakes(&self) -> Option<u64> {
        self.roster.next_deadline().filter(|_| self.listens()).map(Moment::as_millis)
    }

    /// Tells what has expired, until nothing more has.
    pub(crate) fn judge(&mut self, now: u64) {
        loop {
            let proposals = self.roster.advance(Moment::from_millis(now));
            if proposals.is_empty() {
                return;
            }
            for proposal in proposals {
                self.observe(Some(proposal), now);
            }
        }
    }

    /// It does not watch from now on.
    pub(crate) const fn leave(&mut self, now: u64) {
        self.watched_until = now;
    }

    /// It watches again, and says for how long it did not (D6).
    pub(crate) fn back(&mut self, now: u64) {
        let (from, to) = (self.watched_until, now);
        self.told.absences.push((from, to));
        let away = Away { from: Moment::from_millis(from), to: Moment::from_millis(to) };
        let id = FactId { run: ITSELF, source: Source::Observer, seq: self.roster.observer_seq(ITSELF) };
        let (taken, what) = (Moment::from_millis(now), What::Away(away));
        let fact = Fact { id, service: "".into(), worker: "".into(), taken, age_ms: 0, what };
        self.step(fact, false, None);
        self.watched_until = now;
    }

    /// Forgets all but the journal and reads it again: what it shows then must be what it showed before (I6).
    pub(crate) fn replay(&mut self, now: u64) {
        let before = self.roster.snapshot();
        self.roster = Roster::new(self.rules.clone());
        for (fact, live) in &self.journal {
            self.roster.step(fact);
            if *live {
                let _ = self.roster.heard(fact.id.run, fact.id.source, fact.taken);
            }
        }
        if !same(&before, &self.roster.snapshot(), now) {
            self.told.replay_differs.push(now);
        }
    }

    pub(crate) fn look_at_all(&mut self, now: u64) {
        let snapshot = self.roster.snapshot();
        (0..self.names.len()).for_each(|slot| self.look_at_alerts(&snapshot, slot, now));
        let silent = snapshot.silences().last().is_some_and(|silence| silence.until.is_none());
        match (self.silence, silent) {
            (None, true) => self.silence = Some(self.ring(None, AlertName::ObserverOrNetwork, None, now)),
            (Some(ring), false) => {
                self.told.rings[ring].to = Some(now);
                self.note(now, || "the mass silence is over".into());
                self.silence = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Time alone may have changed an alert.
    pub(crate) fn look(&mut self, slot: usize, now: u64) {
        let snapshot = self.roster.snapshot();
        self.look_at_alerts(&snapshot, slot, now);
    }

    /// Writes down what it says of a worker's runs now, where it is news: after each fact, as amendments are made.
    fn look_at_runs(&mut self, snapshot: &Snapshot, slot: usize, speaking: Option<RunId>, now: u64) {
        let (service, name) = &self.names[slot];
        let Some(worker) = snapshot.worker(service, name) else { return };
        for run in worker.runs() {
            let index = run.id().0 as usize - 1;
            let ending = run.verdict().ending();
            let class = ending.map(|ending| ending.class.as_str());
            let cause = ending.and_then(|ending| ending.cause.as_ref()).map(|cause| cause.kind.as_str());
            let cleanup = ending.map(|ending| ending.cleanup_outcome.as_str());
            let [before, ..] = std::mem::replace(&mut self.classes[index], [class, cause, cleanup]);
            if before != class {
                self.changes[index] += usize::from(before.is_some());
                let inferred = ending.filter(|it| it.expired.is_some()).map(|it| it.at.as_millis());
                self.say(Saying { run: index as u32, at: now, class, inferred }, speaking);
            }
            if ending.is_some_and(|ending| ending.evidence.iter().all(|kind| kind.facts.is_empty())) {
                self.told.bare.push(index as u32);
            }
        }
    }

    fn look_at_alerts(&mut self, snapshot: &Snapshot, slot: usize, now: u64) {
        let (service, name) = &self.names[slot];
        let Some(worker) = snapshot.worker(service, name) else { return };
        let condition = worker.standing(Moment::from_millis(now), &self.rules).condition.as_str();
        if self.conditions[slot] != Some(condition) {
            self.conditions[slot] = Some(condition);
            self.told.stood.push(Stood { slot, at: now, condition });
            self.mark(now, 29, slot as u64);
            self.mark_word(now, condition);
            self.note(now, || format!("w{slot:02} is {condition}"));
        }
        let alerts = alert::alerts(worker, Moment::from_millis(now), &self.rules);
        let is_open = |name: AlertName| alerts.iter().any(|it| it.name == name && it.resolved.is_none());
        let mut open = std::mem::take(&mut self.open[slot]);
        open.retain(|(name, ring)| {
            let stays = is_open(*name);
            if !stays {
                self.told.rings[*ring].to = Some(now);
                self.hosts_moved |= self.told.rings[*ring].host.is_some();
                self.mark(now, 7, *ring as u64);
                self.note(now, || format!("{} of w{slot:02} is resolved", name.as_str()));
            }
            stays
        });
        for alert in alerts.iter().filter(|alert| alert.resolved.is_none()) {
            if open.iter().all(|(name, _)| *name != alert.name) {
                let of_host = matches!(alert.name, AlertName::HostLost | AlertName::HostRebooted);
                let host = alert.host.as_deref().filter(|_| of_host);
                self.hosts_moved |= of_host;
                open.push((alert.name, self.ring(Some(slot), alert.name, host, now)));
            }
        }
        self.open[slot] = open;
    }

    fn say(&mut self, saying: Saying, speaking: Option<RunId>) {
        let (run, now) = (saying.run as usize, saying.at);
        let word = saying.class.unwrap_or("alive after all");
        self.told.said.push(saying);
        self.mark(now, 3, run as u64);
        self.mark_word(now, word);
        self.mark(now, 19, saying.inferred.unwrap_or_default());
        self.note(now, || format!("run {run} is {word}"));
        // I9: only a run's own facts, those of later runs, and the exit of the same process before it concern it.
        let meddler = speaking.map(|id| id.0 as usize - 1).filter(|speaker| *speaker < run);
        if let Some(speaker) = meddler.filter(|speaker| !self.is_same_process(run, *speaker)) {
            self.told.meddled.push((speaker as u32, run as u32, now));
        }
    }

    fn is_same_process(&self, run: usize, older: usize) -> bool {
        let mut at = run;
        while let Some(before) = self.same_process[at] {
            at = before as usize;
            if at == older {
                return true;
            }
        }
        false
    }

    fn ring(&mut self, slot: Option<usize>, name: AlertName, host: Option<&str>, now: u64) -> usize {
        let whom = slot.map_or_else(|| host.unwrap_or("the fleet").into(), |slot| format!("w{slot:02}"));
        self.note(now, || format!("{} of {whom} opens", name.as_str()));
        self.mark(now, 5, slot.unwrap_or(usize::MAX) as u64);
        self.mark_word(now, name.as_str());
        let host = host.and_then(|host| host.trim_start_matches('h').parse().ok());
        self.told.rings.push(Ring { slot, host, name: name.as_str(), from: now, to: None });
        self.told.rings.len() - 1
    }

    /// Hands over what was said, with the last class of each run and how often it changed.
    pub(crate) fn sum_up(mut self) -> Told {
        let snapshot = self.roster.snapshot();
        let runs = snapshot.workers().iter().flat_map(|worker| worker.runs());
        let amended: std::collections::HashMap<u32, usize> =
            runs.map(|run| (run.id().0 as u32 - 1, run.amendments().len())).collect();
        for deed in &mut self.told.deeds {
            [deed.class, deed.cause, deed.cleanup] = self.classes[deed.run as usize];
            let mut trace = self.told.trace;
            for word in [deed.cause, deed.cleanup].into_iter().flatten() {
                trace =
                    word.bytes().fold(trace, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
            }
            self.told.trace = trace;
            deed.changes = self.changes[deed.run as usize];
            deed.amended = amended.get(&deed.run).copied().unwrap_or(deed.changes);
        }
        self.told.facts = self.journal.len();
        self.told
    }
}

/// Byte for byte: whatever their whole rendering would show is compared, but without making strings of it: verdicts,
/// amendments, alerts, notices, counters, silences and windows. `LastbeatOrphaned` alone rests on beats, which leave no
/// trace.
fn same(before: &Snapshot, after: &Snapshot, now: u64) -> bool {
    let runs = |snapshot: &Snapshot| {
        let all = snapshot.workers().iter().flat_map(|worker| worker.runs());
        all.map(|run| (run.id(), run.verdict().clone(), run.amendments().to_vec())).collect::<Vec<_>>()
    };
    let alerts = |snapshot: &Snapshot| {
        let mut all = snapshot.alerts(Moment::from_millis(now));
        all.retain(|alert: &Alert| alert.name != AlertName::Orphaned);
        all
    };
    let at = Moment::from_millis(now);
    runs(before) == runs(after)
        && alerts(before) == alerts(after)
        && before.notices(at) == after.notices(at)
        && before.counts() == after.counts()
        && before.silences() == after.silences()
        && before.windows() == after.windows()
}
