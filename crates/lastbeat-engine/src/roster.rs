//! The roster: all workers, their deadlines in order, and the one way a fact moves anything.
//!
//! Invariant: [`Roster::step`] depends on the fact and on nothing else; time enters as a fact. [`Roster::advance`]
//! only *proposes* what has expired; the caller journals the proposal and steps it like any other fact.
//! Invariant: a beat costs no allocation and moves no deadline; deadlines are looked at again when they are due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::alert::{Alert, alerts};
use crate::counts::Counts;
use crate::ending::Class;
use crate::fact::{Away, Deadline, Expired, Fact, RunId, Source, What};
use crate::moment::Moment;
use crate::rules::Rules;
use crate::run::Run;
use crate::worker::Worker;

/// Where a worker stands in the roster.
type Slot = usize;

/// A fact the observer should journal and step: it has no identity yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The run it speaks of.
    pub run: RunId,
    /// Its service.
    pub service: Arc<str>,
    /// Its worker.
    pub worker: Arc<str>,
    /// What it says.
    pub what: What,
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub run: RunId,
    /// Its service.
    pub service: Arc<str>,
    /// Its worker.
    pub worker: Arc<str>,
    /// The class it had; none: it lived.
    pub from: Option<Class>,
    /// The class it has; none: it lives after all.
    pub to: Option<Class>,
}

/// A run is known under another service or worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The service it is known under.
    pub service: Arc<str>,
    /// The worker it is known under.
    pub worker: Arc<str>,
}

/// All workers and their deadlines.
#[derive(Debug, Clone)]
pub struct Roster {
    rules: Rules,
    workers: Vec<Arc<Worker>>,
    by_name: BTreeMap<(Arc<str>, Arc<str>), Slot>,
    by_run: HashMap<RunId, Slot>,
    due: BTreeSet<(Moment, Slot)>,
    due_of: Vec<Option<Moment>>,
    counts: Arc<Counts>,
    collector_seq: u64,
}

impl Roster {
    /// An empty roster under these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            workers: Vec::new(),
            by_name: BTreeMap::new(),
            by_run: HashMap::new(),
            due: BTreeSet::new(),
            due_of: Vec::new(),
            counts: Arc::default(),
            collector_seq: 0,
        }
    }

    /// The rules it judges by.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Checks that a run is not known under another name.
    ///
    /// # Errors
    /// [`Clash`] names the worker it belongs to.
    pub fn check(&self, run: RunId, service: &str, worker: &str) -> Result<(), Clash> {
        match self.by_run.get(&run).map(|slot| &self.workers[*slot]) {
            Some(known) if *known.service != *service || *known.worker != *worker => {
                Err(Clash { service: Arc::clone(&known.service), worker: Arc::clone(&known.worker) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it knows a worker of this name, or may learn of one more.
    #[must_use]
    pub fn has_room_for(&self, service: &str, worker: &str) -> bool {
        self.workers.len() < self.rules.workers_max
            || self.by_name.contains_key(&(service.into(), worker.into()))
    }

    /// A live word of a run came: a beat, or any fact that did not lie in a spool, new or repeated. Call it
    /// after [`Roster::step`] of that fact; replay calls it for facts that were live, and ignores the answer.
    /// A run that was thought gone proposes `seen`.
    pub fn heard(&mut self, run: RunId, source: Source, at: Moment) -> Option<Proposal> {
        let slot = *self.by_run.get(&run)?;
        let worker = Arc::make_mut(&mut self.workers[slot]);
        let known = worker.run_mut(run)?;
        let was_closed = known.hot.closed.is_some();
        known.hear(source, at);
        let gone = known.is_thought_gone();
        let awake = source == Source::Own && known.has_recovered(at, &self.rules);
        // A beat only moves deadlines away; they are looked at again when the old one is due. A run whose
        // deadline had been shortened by a closed link is the exception worth its cost.
        if was_closed {
            self.schedule(slot);
        }
        (gone || awake).then(|| self.propose(slot, run, What::Seen))
    }

    /// The progress counters of a live beat came. Call it after [`Roster::heard`] of that beat. A run that was hung
    /// and moves again proposes `seen`.
    pub fn progressed<'a>(
        &mut self,
        run: RunId,
        counters: impl Iterator<Item = (&'a str, u64)>,
        at: Moment,
    ) -> Option<Proposal> {
        let slot = *self.by_run.get(&run)?;
        let known = Arc::make_mut(&mut self.workers[slot]).run_mut(run)?;
        for (agent, counter) in counters {
            known.count(agent, counter, at);
        }
        known.has_recovered(at, &self.rules).then(|| self.propose(slot, run, What::Seen))
    }

    /// A link speaks for a run now; it is the newest of this voice.
    pub fn linked(&mut self, run: RunId, voice: Source, number: u64) {
        if let Some(slot) = self.by_run.get(&run).copied() {
            if let Some(run) = Arc::make_mut(&mut self.workers[slot]).run_mut(run) {
                run.link(voice, number);
            }
            self.schedule(slot);
        }
    }

    /// A link closed. Proposes `link_closed` when it was the newest of this voice and the run had not said or
    /// shown its end. A collector that closes its own links on its way out does not call this.
    pub fn unlinked(&mut self, run: RunId, voice: Source, number: u64) -> Option<Proposal> {
        let slot = *self.by_run.get(&run)?;
        let known = Arc::make_mut(&mut self.workers[slot]).run_mut(run)?;
        let newest = known.unlink(voice, number);
        let over = known.dossier.exit.is_some() || (voice == Source::Own && known.dossier.fin.is_some());
        self.schedule(slot);
        (newest && !over).then(|| self.propose(slot, run, What::LinkClosed(voice)))
    }

    /// The next `seq` of the observer for a run, or for the collector itself when the run is not known.
    #[must_use]
    pub fn observer_seq(&self, run: RunId) -> u64 {
        let slot = self.by_run.get(&run);
        let known = slot.and_then(|slot| self.workers[*slot].run(run));
        known.map_or(self.collector_seq, |run| run.observer_seq) + 1
    }

    /// Takes one fact. The same fact again changes nothing.
    pub fn step(&mut self, fact: &Fact) -> Vec<Change> {
        if let What::Away(away) = fact.what {
            self.collector_seq = self.collector_seq.max(fact.id.seq);
            self.away(away);
            return Vec::new();
        }
        let slot = self.slot_of(fact);
        let worker = Arc::make_mut(&mut self.workers[slot]);
        let newly_ended_agent = Self::ends_an_agent(worker, fact);
        let (shifts, forgotten) = worker.step(fact, &self.rules);
        if let Some(run) = worker.run_mut(fact.id.run) {
            if fact.id.source == Source::Observer {
                run.observer_seq = run.observer_seq.max(fact.id.seq);
            }
            if let What::LinkClosed(_) = fact.what {
                run.closed(fact.taken);
            }
        }
        let counts = Arc::make_mut(&mut self.counts);
        if let Some(end) = newly_ended_agent {
            *counts.agent_ends.entry((Arc::clone(&fact.service), end)).or_default() += 1;
        }
        for shift in &shifts {
            if let Some((from, _)) = shift.from {
                *counts.amendments.entry((from, shift.to)).or_default() += 1;
            }
        }
        for run in forgotten {
            self.by_run.remove(&run);
        }
        counts.take(worker, &self.rules);
        let changes = shifts
            .into_iter()
            .map(|shift| Change {
                run: shift.run,
                service: Arc::clone(&worker.service),
                worker: Arc::clone(&worker.worker),
                from: shift.from.map(|(class, _)| class),
                to: shift.to,
            })
            .collect();
        self.schedule(slot);
        changes
    }

    fn ends_an_agent(worker: &Worker, fact: &Fact) -> Option<crate::ending::AgentEnd> {
        use crate::fact::AgentStatus;
        let What::Agent(agent) = &fact.what else { return None };
        let AgentStatus::Ended(end) = agent.status else { return None };
        let known = worker.run(fact.id.run).and_then(|run| run.dossier.agents.get(&agent.name));
        known.is_none_or(|known| known.seq < fact.id.seq).then_some(end)
    }

    /// The observer was away: every run that had not ended is excused for that time (D6).
    fn away(&mut self, away: Away) {
        for slot in 0..self.workers.len() {
            let worker = Arc::make_mut(&mut self.workers[slot]);
            for run in &mut worker.runs {
                run.excuse(away);
            }
            self.schedule(slot);
        }
    }

    /// When the next inferred deadline may be due. May be early (a beat has moved it since), never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due.first().map(|(moment, _)| *moment)
    }

    /// Proposes what has expired by `now`, in the order of the deadlines. Call it again after stepping the
    /// proposals: one expiry may uncover the next.
    pub fn advance(&mut self, now: Moment) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        while let Some((moment, slot)) = self.due.first().copied().filter(|(moment, _)| *moment <= now) {
            let next = self.workers[slot].next_deadline(&self.rules);
            match next {
                Some((due, run, which)) if due <= now => {
                    let last_seen = self.workers[slot].run(run).map(|run| run.last_sign(which, &self.rules));
                    let what = What::Expired(Expired { which, due, last_seen });
                    proposals.push(self.propose(slot, run, what));
                    // It stays out until the proposal is stepped, which schedules it anew.
                    self.due.remove(&(moment, slot));
                    self.due_of[slot] = None;
                }
                _ => self.schedule(slot),
            }
        }
        proposals
    }

    /// Puts a worker's deadline back when its proposal could not be journaled.
    pub fn reschedule(&mut self, proposal: &Proposal) {
        if let Some(slot) = self.by_run.get(&proposal.run).copied() {
            self.schedule(slot);
        }
    }

    /// Everything a view may look at, without copying the fleet: workers are shared until they change.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rules: self.rules.clone(),
            workers: self.by_name.values().map(|slot| Arc::clone(&self.workers[*slot])).collect(),
            counts: Arc::clone(&self.counts),
        }
    }

    fn slot_of(&mut self, fact: &Fact) -> Slot {
        if let Some(slot) = self.by_run.get(&fact.id.run) {
            return *slot;
        }
        let name = (Arc::clone(&fact.service), Arc::clone(&fact.worker));
        let slot = match self.by_name.get(&name) {
            Some(slot) => *slot,
            None => {
                self.workers.push(Arc::new(Worker::new(Arc::clone(&name.0), Arc::clone(&name.1))));
                self.due_of.push(None);
                self.by_name.insert(name, self.workers.len() - 1);
                self.workers.len() - 1
            }
        };
        self.by_run.insert(fact.id.run, slot);
        slot
    }

    fn schedule(&mut self, slot: Slot) {
        let next =
            self.workers[slot].next_deadline(&self.rules).map(|(due, _, _): (Moment, RunId, Deadline)| due);
        if let Some(old) = self.due_of[slot].take() {
            self.due.remove(&(old, slot));
        }
        if let Some(due) = next {
            self.due.insert((due, slot));
            self.due_of[slot] = Some(due);
        }
    }

    fn propose(&self, slot: Slot, run: RunId, what: What) -> Proposal {
        let worker = &self.workers[slot];
        Proposal { run, service: Arc::clone(&worker.service), worker: Arc::clone(&worker.worker), what }
    }
}

/// What the views look at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    rules: Rules,
    workers: Vec<Arc<Worker>>,
    counts: Arc<Counts>,
}

impl Snapshot {
    /// The rules that judged.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// All workers by (service, worker).
    #[must_use]
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, service: &str, worker: &str) -> Option<&Arc<Worker>> {
        let place =
            self.workers.binary_search_by(|known| (&*known.service, &*known.worker).cmp(&(service, worker)));
        place.ok().map(|place| &self.workers[place])
    }

    /// One run and its worker.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<(&Arc<Worker>, &Run)> {
        self.workers.iter().find_map(|worker| Some((worker, worker.run(id)?)))
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All alerts, open ones first.
    #[must_use]
    pub fn alerts(&self, now: Moment) -> Vec<Alert> {
        let mut all: Vec<Alert> =
            self.workers.iter().flat_map(|worker| alerts(worker, now, &self.rules)).collect();
        all.sort_by_key(|alert| (alert.resolved.is_some(), std::cmp::Reverse(alert.since)));
        all
    }
}
