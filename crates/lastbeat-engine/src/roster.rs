//! The roster: all workers, their deadlines in order, and the one way a fact moves anything.
//!
//! Invariant: [`Roster::step`] depends on the fact and on nothing else; time enters as a fact. [`Roster::advance`]
//! only *proposes* what has expired; the caller journals the proposal and steps it like any other fact.
//! Invariant: a beat costs no allocation and moves no deadline; deadlines are looked at again when they are due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::counts::Counts;
use crate::ending::Class;
use crate::fact::{Away, Deadline, Expired, Fact, Forget, MassSilence, RunId, Source, What, WitnessStart};
use crate::host::Hosts;
use crate::moment::Moment;
use crate::plan::Window;
use crate::rules::Rules;
use crate::run::{Folded, Run};
use crate::silence::{Count, Guard, MEMBERS_MAX};
use crate::snapshot::Snapshot;
use crate::worker::{Shift, Worker};

/// The most announced windows in memory; what ended first goes first.
pub const PLANS_MAX: usize = 4_096;
/// The most absences of the observer in memory; what was due before the oldest was judged long ago.
pub const ABSENCES_MAX: usize = 64;
/// A fleet that was counted and found well is not counted anew within this share of a beat interval.
const COUNTS_AN_INTERVAL: u64 = 5;

/// Where a worker stands in the roster.
type Slot = usize;

/// A fact the observer should journal and step: it has no identity yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The run it speaks of; none: it is about no single run, and carries the collector's id.
    pub run: Option<RunId>,
    /// Its service; of a fact about no single run, empty.
    pub service: Arc<str>,
    /// Its worker; of a fact about no single run, empty.
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
    hosts: Hosts,
    windows: BTreeMap<Arc<str>, Window>,
    /// The same, shared with the views.
    told_windows: Arc<[Window]>,
    ended_plans: BTreeMap<Arc<str>, Moment>,
    guard: Guard,
    /// When the observer did not watch, the newest [`ABSENCES_MAX`]; the same for all workers.
    absences: Option<Arc<[Away]>>,
    /// The newest count of each speaker about no single run.
    about_none: BTreeMap<Source, u64>,
    /// Places of forgotten workers.
    free: Vec<Slot>,
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
            hosts: Hosts::default(),
            windows: BTreeMap::new(),
            told_windows: Arc::default(),
            ended_plans: BTreeMap::new(),
            guard: Guard::default(),
            absences: None,
            about_none: BTreeMap::new(),
            free: Vec::new(),
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
        self.by_name.len() < self.rules.workers_max
            || self.by_name.contains_key(&(service.into(), worker.into()))
    }

    /// A live word of a run came: a beat, or any fact that did not lie in a spool (D4: what did is no presence), new
    /// or repeated. Call it
    /// after [`Roster::step`] of that fact; replay calls it for facts that were live, and ignores the answer.
    /// A run that was thought gone proposes `seen`.
    pub fn heard(&mut self, run: RunId, source: Source, at: Moment) -> Option<Proposal> {
        let slot = *self.by_run.get(&run)?;
        let worker = Arc::make_mut(&mut self.workers[slot]);
        let known = worker.run_mut(run)?;
        let was_shortened = known.hot.closed.is_some();
        let was_held_back = known.folded.is_some_and(|folded| known.is_unheard_since(&folded));
        known.hear(source, at, &self.rules);
        let gone = known.is_thought_gone();
        if self.guard.open().is_some() {
            self.guard.heard(run, known.host_name());
        }
        let awake = source == Source::Own && known.has_recovered(at, &self.rules);
        // A beat only moves deadlines away; they are looked at again when the old one is due. A run whose
        // deadline had been shortened by a closed link is the exception worth its cost.
        if was_shortened || was_held_back {
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
        known.map_or_else(|| self.next_seq(Source::Observer), |run| run.observer_seq + 1)
    }

    /// The next `seq` of a speaker about no single run.
    #[must_use]
    pub fn next_seq(&self, source: Source) -> u64 {
        self.about_none.get(&source).copied().unwrap_or_default() + 1
    }

    /// Takes one fact. The same fact again changes nothing.
    pub fn step(&mut self, fact: &Fact) -> Vec<Change> {
        match &fact.what {
            What::Away(away) => self.away(*away),
            What::MassSilence(silence) => self.mass_silence(silence, fact.taken),
            What::Plan(plan) => {
                let (from, until) = (fact.occurred(), fact.occurred().plus(plan.for_ms));
                // Its end may have come first.
                let until = self.ended_plans.get(&plan.id).map_or(until, |ended| until.min(*ended).max(from));
                let window = Window { plan: plan.clone(), from, until };
                self.windows.entry(Arc::clone(&plan.id)).or_insert(window);
                self.count_about_none(fact);
                return self.replan(&plan.id, fact);
            }
            What::PlanEnd(end) => {
                let ended = self.ended_plans.entry(Arc::clone(&end.id)).or_insert(fact.taken);
                *ended = fact.taken.min(*ended);
                if let Some(window) = self.windows.get_mut(&end.id) {
                    window.until = window.until.min(fact.taken).max(window.from);
                }
                if self.ended_plans.len() > PLANS_MAX {
                    let oldest =
                        self.ended_plans.iter().min_by_key(|(_, at)| **at).map(|(id, _)| Arc::clone(id));
                    oldest.map(|oldest| self.ended_plans.remove(&oldest));
                }
                self.count_about_none(fact);
                return self.replan(&end.id, fact);
            }
            What::Forget(forget) => self.forget(&forget.service, &forget.worker),
            What::Start(_)
            | What::Ready
            | What::Phase(_)
            | What::Agent(_)
            | What::Asked(_)
            | What::Extend(_)
            | What::Step(_)
            | What::Panic(_)
            | What::Final(_)
            | What::WitnessStart(_)
            | What::SignalSeen(_)
            | What::Notify(_)
            | What::Stopped
            | What::Continued
            | What::Oom
            | What::OutputTail(_)
            | What::LeftBehind(_)
            | What::Exit(_)
            | What::LinkClosed(_)
            | What::Expired(_)
            | What::Seen => return self.step_run(fact),
        }
        self.count_about_none(fact);
        Vec::new()
    }

    fn count_about_none(&mut self, fact: &Fact) {
        let count = self.about_none.entry(fact.id.source).or_default();
        *count = (*count).max(fact.id.seq);
    }

    /// A fact of one run.
    fn step_run(&mut self, fact: &Fact) -> Vec<Change> {
        let slot = self.slot_of(fact);
        let missed = self.last_away().filter(|away| fact.occurred() < away.to);
        #[cfg(feature = "planted")]
        let fact = &crate::planted::told(&self.workers[slot], fact, &self.rules);
        let worker = Arc::make_mut(&mut self.workers[slot]);
        let newly_ended_agent = Self::ends_an_agent(worker, fact);
        worker.admit(fact);
        if let Some(away) = missed
            && let Some(run) = worker.run_mut(fact.id.run).filter(|run| run.hot.away.is_none())
        {
            // What it did while nobody listened is heard only now; nothing may be missed of it yet.
            run.excuse(away);
        }
        if let Some(run) = worker.run_mut(fact.id.run) {
            if fact.id.source == Source::Observer {
                run.observer_seq = run.observer_seq.max(fact.id.seq);
            }
            if let What::LinkClosed(_) = fact.what {
                run.closed(fact.taken);
            }
        }
        if let Some(end) = newly_ended_agent {
            let counts = Arc::make_mut(&mut self.counts);
            *counts.agent_ends.entry((Arc::clone(&fact.service), end)).or_default() += 1;
        }
        let concerned = self.learn_of_host(slot, fact);
        let mut changes = Vec::new();
        for slot in concerned {
            let shifts = Arc::make_mut(&mut self.workers[slot]).rejudge(fact, &self.rules);
            changes.extend(self.settle(slot, shifts));
        }
        let forgotten = Arc::make_mut(&mut self.workers[slot]).forget_oldest(fact.id.run);
        for run in forgotten {
            self.by_run.remove(&run.id);
            let host = run.host_name().filter(|host| !self.workers[slot].has_run_on(host));
            host.into_iter().for_each(|host| self.hosts.forget(slot, host));
        }
        changes
    }

    /// What follows from a worker that was judged anew.
    fn settle(&mut self, slot: Slot, shifts: Vec<Shift>) -> Vec<Change> {
        let worker = Arc::make_mut(&mut self.workers[slot]);
        let counts = Arc::make_mut(&mut self.counts);
        for shift in &shifts {
            if let Some((from, _)) = shift.from {
                *counts.amendments.entry((from, shift.to)).or_default() += 1;
            }
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

    /// A start told of a host. Gives the workers to judge anew: its own, and of a new boot, all that ran there before.
    fn learn_of_host(&mut self, slot: Slot, fact: &Fact) -> Vec<Slot> {
        let mut concerned = vec![slot];
        let (What::Start(start) | What::WitnessStart(WitnessStart { start, .. })) = &fact.what else {
            return concerned;
        };
        if self.hosts.take(slot, start, fact.occurred()) {
            let host = start.host.as_deref().unwrap_or_default();
            concerned.extend(self.hosts.workers(host).filter(|other| *other != slot));
        }
        concerned.retain(|other| {
            let moved = |run: &Run| self.hosts.rebooted(run) != run.rebooted;
            let moved = self.workers[*other].runs.iter().any(moved);
            if moved {
                for run in &mut Arc::make_mut(&mut self.workers[*other]).runs {
                    run.rebooted = self.hosts.rebooted(run);
                }
            }
            moved || *other == slot
        });
        concerned
    }

    /// A window came or was shortened: the workers it speaks of are judged anew.
    fn replan(&mut self, id: &str, fact: &Fact) -> Vec<Change> {
        let Some(window) = self.windows.get(id).cloned() else { return Vec::new() };
        if self.windows.len() > PLANS_MAX
            && let Some(first) = self.windows.values().min_by_key(|it| it.until).map(|it| it.plan.id.clone())
        {
            self.windows.remove(&first);
        }
        self.told_windows = self.windows.values().cloned().collect();
        let service = &window.plan.service;
        let from = (Arc::clone(service), Arc::from(""));
        let slots: Vec<Slot> = self
            .by_name
            .range(from..)
            .take_while(|((of, _), _)| of == service)
            .filter(|((of, worker), _)| window.concerns(of, worker))
            .map(|(_, slot)| *slot)
            .collect();
        let mut changes = Vec::new();
        for slot in slots {
            let worker = Arc::make_mut(&mut self.workers[slot]);
            worker.take_window(window.clone());
            let shifts = worker.rejudge(fact, &self.rules);
            changes.extend(self.settle(slot, shifts));
        }
        changes
    }

    /// The windows that speak of a worker, in the order of their announcement.
    fn windows_for(&self, service: &str, worker: &str) -> Vec<Window> {
        let mut windows: Vec<Window> =
            self.windows.values().filter(|window| window.concerns(service, worker)).cloned().collect();
        windows.sort_by_key(|window| (window.from, Arc::clone(&window.plan.id)));
        windows
    }

    /// Half of the fleet fell silent, or is heard again.
    fn mass_silence(&mut self, silence: &MassSilence, at: Moment) {
        let over = silence.members.is_empty();
        let members: Vec<RunId> = if over {
            self.guard.end(at).into_iter().collect()
        } else {
            self.guard.declare(at, &silence.members, silence.of);
            silence.members.clone()
        };
        for id in members {
            let Some(slot) = self.by_run.get(&id).copied() else { continue };
            if let Some(run) = Arc::make_mut(&mut self.workers[slot]).run_mut(id) {
                if over {
                    run.folded =
                        run.folded.map(|folded| Folded { until: folded.until.or(Some(at)), ..folded });
                } else {
                    run.folded = Some(Folded { since: at, until: None });
                    self.guard.waiting.insert(run.host_name().unwrap_or_default().into());
                }
            }
            self.schedule(slot);
        }
    }

    /// A worker leaves the list, unless one of its runs is open.
    fn forget(&mut self, service: &str, name: &str) {
        let key = (Arc::from(service), Arc::from(name));
        let Some(slot) = self.by_name.get(&key).copied() else { return };
        if self.workers[slot].runs.iter().any(|run| !run.ended()) {
            return;
        }
        let nobody = Worker::new(Arc::from(""), Arc::from(""), Vec::new());
        let worker = std::mem::replace(&mut self.workers[slot], Arc::new(nobody));
        for run in &worker.runs {
            self.by_run.remove(&run.id);
        }
        worker.runs.iter().filter_map(Run::host_name).for_each(|host| self.hosts.forget(slot, host));
        self.by_name.remove(&key);
        self.schedule(slot);
        self.free.push(slot);
    }

    fn ends_an_agent(worker: &Worker, fact: &Fact) -> Option<crate::ending::AgentEnd> {
        use crate::fact::AgentStatus;
        let What::Agent(agent) = &fact.what else { return None };
        let AgentStatus::Ended(end) = agent.status else { return None };
        let known = worker.run(fact.id.run).and_then(|run| run.dossier.agents.get(&agent.name));
        known.is_none_or(|known| known.seq < fact.id.seq).then_some(end)
    }

    fn last_away(&self) -> Option<Away> {
        self.absences.as_ref().and_then(|absences| absences.last().copied())
    }

    /// The observer was away: every run that had not ended is excused for that time.
    fn away(&mut self, away: Away) {
        let known = self.absences.as_deref().unwrap_or_default();
        let kept = &known[known.len().saturating_sub(ABSENCES_MAX - 1)..];
        self.absences = Some(kept.iter().copied().chain([away]).collect());
        for slot in 0..self.workers.len() {
            let worker = Arc::make_mut(&mut self.workers[slot]);
            worker.absences.clone_from(&self.absences);
            for run in &mut worker.runs {
                run.excuse(away);
            }
            self.schedule(slot);
        }
    }

    /// When the next inferred deadline may be due. May be early (a beat has moved it since), never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let due = self.due.first().map(|(moment, _)| *moment);
        if self.guard.is_over() { Some(Moment::default()) } else { due }
    }

    /// Proposes what has expired by `now`, in the order of the deadlines. Step the proposals before calling it
    /// again; do call it again, for one expiry may uncover the next.
    pub fn advance(&mut self, now: Moment) -> Vec<Proposal> {
        let (mut proposals, mut asked_hosts) = (Vec::new(), HashMap::new());
        if self.guard.is_over() || self.all_members_are_settled(now) {
            return vec![Self::about_none(What::MassSilence(MassSilence { members: Vec::new(), of: 0 }))];
        }
        while let Some((moment, slot)) = self.due.first().copied().filter(|(moment, _)| *moment <= now) {
            let worker = &self.workers[slot];
            let next = worker.next_deadline(&self.rules).filter(|(due, _, _)| *due <= now);
            let may_be_many = next.is_some_and(|(_, _, which)| which.is_a_silence())
                || worker.next_look(&self.rules).is_some_and(|look| look <= now);
            if may_be_many {
                // A look can wait for the next one; a death cannot be taken back.
                let look_ms = self.rules.interval_ms / COUNTS_AN_INTERVAL;
                let silence = self.many_are_silent(now, if next.is_some() { 0 } else { look_ms });
                if !silence.is_empty() {
                    // Step it first: it moves the deadlines of all its members.
                    proposals.extend(silence);
                    return proposals;
                }
                Arc::make_mut(&mut self.workers[slot]).looked();
            }
            if let Some((due, run, which)) = next {
                let host_is_gone =
                    which == Deadline::Silence && self.whole_host_is_silent(slot, run, now, &mut asked_hosts);
                let which = if host_is_gone { Deadline::Host } else { which };
                let last_seen = self.workers[slot].run(run).map(|run| run.last_sign(which, &self.rules));
                proposals.push(self.propose(slot, run, What::Expired(Expired { which, due, last_seen })));
                // It stays out until the proposal is stepped, which schedules it anew.
                self.due.remove(&(moment, slot));
                self.due_of[slot] = None;
            } else if self.workers[slot].leaves_at(&self.rules).is_some_and(|leaves| leaves <= now) {
                let (service, worker) = (&self.workers[slot].service, &self.workers[slot].worker);
                let forget = Forget { service: Arc::clone(service), worker: Arc::clone(worker) };
                proposals.push(Self::about_none(What::Forget(forget)));
                self.due.remove(&(moment, slot));
                self.due_of[slot] = None;
            } else {
                self.schedule(slot);
            }
        }
        proposals
    }

    /// Whether a run that comes to its silence timeout lost its host: at least two runs of it were open, and all are
    /// silent with their witnesses. A link that closed shows that the host was still there.
    /// `asked` remembers the answers of one moment: of a host with many runs, each comes to its timeout.
    fn whole_host_is_silent(
        &self,
        slot: Slot,
        run: RunId,
        now: Moment,
        asked: &mut HashMap<String, bool>,
    ) -> bool {
        // Who fell silent with half of the fleet is lost inside that alert, not with its host.
        let alone = |run: &&Run| run.rebooted.is_none() && run.folded.is_none_or(|it| it.until.is_some());
        let run = self.workers[slot].run(run).filter(alone);
        let Some(host) = run.and_then(Run::host_name) else { return false };
        if let Some(known) = asked.get(host) {
            return *known;
        }
        let of_host = self
            .hosts
            .workers(host)
            .flat_map(|slot| &self.workers[slot].runs)
            .filter(|run| run.host_name() == Some(host) && run.dossier.fin.is_none());
        let (mut many, mut silent) = (0, 0);
        for run in of_host {
            let went_with_it = run.is_just_lost_with_its_host(now, &self.rules);
            if went_with_it || !run.ended() {
                many += 1;
                silent += usize::from(went_with_it || run.is_plainly_silent(now, &self.rules));
            }
        }
        asked.insert(host.to_owned(), many >= 2 && silent == many);
        many >= 2 && silent == many
    }

    /// A mass silence, if half of the fleet is silent now; in pieces, for a fact is bounded.
    /// While one is open, who falls silent after the others is folded into it.
    fn many_are_silent(&mut self, now: Moment, fresh_ms: u64) -> Vec<Proposal> {
        let fresh = self.guard.counted.is_some_and(|counted| now.since(counted) <= fresh_ms);
        if fresh || self.by_run.len() < self.rules.mass_runs {
            return Vec::new();
        }
        let since = self.guard.open().map(|silence| silence.since);
        // All who are silent, and those of them who are not members of the open silence already.
        let (mut all, mut others) = (Count::default(), Count::default());
        for worker in &self.workers {
            // Nobody waits for a run that has a ready successor: or a silence that ended because all its members have
            // one would begin anew with them, for ever.
            let awaited =
                |run: &&Run| !worker.is_child_of_a_live_run(run) && !worker.is_missed_no_more(run.id);
            for run in worker.runs.iter().filter(awaited) {
                let Some(is_silent) = run.silence_of(now, &self.rules) else { continue };
                let is_member = self.guard.misses(run.id);
                // Who was heard since fell silent alone, or with half of those that were left.
                let is_straggler = since.is_some_and(|since| run.hot.last_seen <= since);
                all.add(run, is_silent, !is_member && is_straggler);
                if !is_member {
                    others.add(run, is_silent, true);
                }
            }
        }
        let verdict = others.verdict(&self.rules).or_else(|| all.verdict(&self.rules));
        let (members, of) = verdict.unwrap_or_default();
        self.guard.counted = members.is_empty().then_some(now);
        members
            .chunks(MEMBERS_MAX)
            .map(|members| Self::about_none(What::MassSilence(MassSilence { members: members.to_vec(), of })))
            .collect()
    }

    /// A mass silence whose hosts never come back is over when each of its members has told its end or was
    /// replaced: nobody is missed any more.
    fn all_members_are_settled(&mut self, now: Moment) -> bool {
        let long_enough =
            self.guard.open().is_some_and(|silence| now.since(silence.since) > self.rules.mass_ms);
        let fresh_ms = self.rules.interval_ms / COUNTS_AN_INTERVAL;
        if !long_enough || self.guard.settled.is_some_and(|looked| now.since(looked) < fresh_ms) {
            return false;
        }
        self.guard.settled = Some(now);
        self.guard.missed().all(|id| {
            let worker = self.by_run.get(&id).map(|slot| &self.workers[*slot]);
            worker.is_none_or(|worker| worker.is_missed_no_more(id))
        })
    }

    /// Puts the deadlines back when a proposal could not be journaled.
    pub fn reschedule(&mut self, proposal: &Proposal) {
        let named = match &proposal.what {
            What::Forget(forget) => {
                self.by_name.get(&(Arc::clone(&forget.service), Arc::clone(&forget.worker)))
            }
            What::Start(_)
            | What::Ready
            | What::Phase(_)
            | What::Agent(_)
            | What::Asked(_)
            | What::Extend(_)
            | What::Step(_)
            | What::Panic(_)
            | What::Final(_)
            | What::WitnessStart(_)
            | What::SignalSeen(_)
            | What::Notify(_)
            | What::Stopped
            | What::Continued
            | What::Oom
            | What::OutputTail(_)
            | What::LeftBehind(_)
            | What::Exit(_)
            | What::LinkClosed(_)
            | What::Expired(_)
            | What::Seen
            | What::Away(_)
            | What::MassSilence(_)
            | What::Plan(_)
            | What::PlanEnd(_) => proposal.run.as_ref().and_then(|run| self.by_run.get(run)),
        };
        if let Some(slot) = named.copied() {
            self.schedule(slot);
        }
    }

    fn about_none(what: What) -> Proposal {
        Proposal { run: None, service: Arc::from(""), worker: Arc::from(""), what }
    }

    /// Everything a view may look at, without copying the fleet: workers are shared until they change.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rules: self.rules.clone(),
            workers: self.by_name.values().map(|slot| Arc::clone(&self.workers[*slot])).collect(),
            counts: Arc::clone(&self.counts),
            silences: self.guard.told.clone(),
            windows: Arc::clone(&self.told_windows),
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
                let windows = self.windows_for(&name.0, &name.1);
                let mut worker = Worker::new(Arc::clone(&name.0), Arc::clone(&name.1), windows);
                worker.absences.clone_from(&self.absences);
                let worker = Arc::new(worker);
                let slot = self.free.pop().unwrap_or(self.workers.len());
                if slot == self.workers.len() {
                    self.workers.push(worker);
                    self.due_of.push(None);
                } else {
                    self.workers[slot] = worker;
                }
                self.by_name.insert(name, slot);
                slot
            }
        };
        self.by_run.insert(fact.id.run, slot);
        slot
    }

    fn schedule(&mut self, slot: Slot) {
        let worker = &self.workers[slot];
        let deadline = worker.next_deadline(&self.rules).map(|(due, _, _)| due);
        let next = deadline
            .into_iter()
            .chain(worker.next_look(&self.rules))
            .min()
            .or_else(|| worker.leaves_at(&self.rules));
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
        Proposal {
            run: Some(run),
            service: Arc::clone(&worker.service),
            worker: Arc::clone(&worker.worker),
            what,
        }
    }
}
