//! The way of facts: check, one transaction, step, answer.

use std::collections::{BTreeMap, HashMap};

use lastbeat_engine::{Fact, FactId, Moment, Proposal};
use lastbeat_wire::envelope::Decoded;
use lastbeat_wire::reply::Ack;
use lastbeat_wire::{Code, Name, Refusal, RunId, Signal, Source};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::inbox::{Outcome, Via};
use super::{Dirty, Keeper, UNWRITTEN_MAX, telling};
use crate::clock;
use crate::ingest::translate;
use crate::journal::{Appended, Entry, JournalError};

/// The service that the collector's own facts are kept under.
pub(super) const OWN_SERVICE: &str = "lastbeat";
/// The worker that the collector's own facts are kept under.
pub(super) const OWN_WORKER: &str = "collector";

/// Something of one batch, with the reading of the clock at which it was taken.
#[derive(Debug)]
pub(super) enum Submission {
    /// Envelopes.
    Facts { taken: Moment, envelopes: Vec<Decoded>, via: Via, reply: oneshot::Sender<Vec<Outcome>> },
    /// The end of a link.
    Unlinked { taken: Moment, link: u64, voices: Vec<(RunId, Source)> },
}

/// What is to be done with one envelope, before the journal has spoken.
#[derive(Debug)]
enum Plan {
    /// Nothing.
    Refuse(Refusal),
    /// Move last-seen.
    Beat,
    /// The transaction's entry of this place.
    Journal(usize),
}

impl Keeper {
    /// Takes one batch: all its durable facts in one transaction, or none of them.
    pub(super) fn take(&mut self, submissions: Vec<Submission>) {
        if submissions.is_empty() {
            return;
        }
        let (plans, appended) = {
            let (plans, entries) = self.plan(&submissions);
            (plans, self.append(&entries))
        };
        let mut plans = plans.into_iter();
        let mut answers = Vec::new();
        for submission in submissions {
            match submission {
                Submission::Unlinked { taken, link, voices } => self.unlink(taken, link, voices),
                Submission::Facts { taken, envelopes, via, reply } => {
                    let outcomes = envelopes
                        .into_iter()
                        .zip(&mut plans)
                        .map(|(decoded, plan)| self.settle(decoded, plan, taken, via, &appended))
                        .collect();
                    answers.push((reply, outcomes));
                }
            }
        }
        self.write_observations();
        // Shown first, answered then: who reads after an ack sees what was acknowledged.
        self.publish_when_due();
        for (reply, outcomes) in answers {
            // The one who asked may have gone; what was journaled stays journaled.
            let _ = reply.send(outcomes);
        }
    }

    /// Checks every envelope against what is known, in order, and gathers what goes to the journal.
    fn plan<'a>(&self, submissions: &'a [Submission]) -> (Vec<Plan>, Vec<Entry<'a>>) {
        let (mut plans, mut entries) = (Vec::new(), Vec::new());
        // Runs that this batch is the first to tell of.
        let mut fresh: HashMap<RunId, (&Name, &Name)> = HashMap::new();
        for submission in submissions {
            let Submission::Facts { taken, envelopes, via, .. } = submission else { continue };
            for decoded in envelopes {
                let envelope = &decoded.envelope;
                let names = (&envelope.service, &envelope.worker);
                let known = *fresh.get(&envelope.run_id).unwrap_or(&names);
                plans.push(if known != names || !self.belongs(decoded) {
                    Plan::Refuse(Refusal::new(
                        Code::RunConflict,
                        format!("run {} is known under another service or worker", envelope.run_id),
                    ))
                } else if !self.roster.has_room_for(envelope.service.as_str(), envelope.worker.as_str()) {
                    Plan::Refuse(Refusal::new(
                        Code::TooManyWorkers,
                        "the collector can learn of no more workers",
                    ))
                } else if envelope.signal.is_durable() {
                    fresh.insert(envelope.run_id, names);
                    entries.push(Entry {
                        id: envelope.id(),
                        service: envelope.service.as_str(),
                        worker: envelope.worker.as_str(),
                        taken: *taken,
                        age_ms: envelope.age_ms,
                        live: *via != Via::Spool,
                        signal_json: &decoded.signal_json,
                    });
                    Plan::Journal(entries.len() - 1)
                } else {
                    Plan::Beat
                });
            }
        }
        (plans, entries)
    }

    fn belongs(&self, decoded: &Decoded) -> bool {
        let envelope = &decoded.envelope;
        // The collector's own identity stands for facts about no single run; nobody else speaks by it.
        envelope.run_id != self.collector_id
            && self
                .roster
                .check(translate::run(envelope.run_id), envelope.service.as_str(), envelope.worker.as_str())
                .is_ok()
    }

    /// Commits entries with the mark of the axis; nothing to write is no transaction.
    pub(super) fn append(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Appended>, JournalError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mark = self.clock.mark();
        let begun = clock::stopwatch();
        let appended = self.journal.append(entries, mark);
        self.counters.journal_appends.took(clock::stopwatch().saturating_sub(begun));
        match &appended {
            Ok(_) => self.marked = mark.moment,
            Err(failure) => self.tell_of(failure),
        }
        appended
    }

    /// Steps or moves what the journal allows, and says what became of one envelope.
    fn settle(
        &mut self,
        decoded: Decoded,
        plan: Plan,
        taken: Moment,
        via: Via,
        appended: &Result<Vec<Appended>, JournalError>,
    ) -> Outcome {
        let id = decoded.envelope.id();
        let mut counters = BTreeMap::new();
        let outcome = match plan {
            Plan::Refuse(refusal) => return Err(refusal),
            Plan::Beat => {
                if let Signal::Beat(beat) = decoded.envelope.signal {
                    counters = beat.agents;
                }
                Ok(Ack { run_id: id.run_id, source: id.source, seq: id.seq, durable: false })
            }
            Plan::Journal(place) => {
                let outcome = match appended.as_ref().map(|appended| appended[place]) {
                    Ok(Appended::New) => {
                        self.step(decoded, taken);
                        Ok(Ack { run_id: id.run_id, source: id.source, seq: id.seq, durable: true })
                    }
                    Ok(Appended::Known) => {
                        Ok(Ack { run_id: id.run_id, source: id.source, seq: id.seq, durable: true })
                    }
                    Ok(Appended::Conflict) => Err(Refusal::new(
                        Code::SeqConflict,
                        format!("{} #{} of run {} was said before, otherwise", id.source, id.seq, id.run_id),
                    )),
                    Err(_) => Err(Refusal::new(Code::JournalUnavailable, "the journal cannot be written")),
                };
                // A new link begins with a start, so beats need not tell of their link.
                if let Via::Link(number) = via {
                    self.roster.linked(translate::run(id.run_id), translate::source(id.source), number);
                }
                outcome
            }
        };
        // Whatever became of the fact, its speaker is alive; a file is not.
        if via != Via::Spool {
            self.hear(id.run_id, id.source, taken);
            if !counters.is_empty() {
                let counters = counters.iter().map(|(agent, counter)| (agent.as_str(), *counter));
                let moved = self.roster.progressed(translate::run(id.run_id), counters, taken);
                self.observe(taken, moved);
            }
        }
        outcome
    }

    fn step(&mut self, decoded: Decoded, taken: Moment) {
        let Decoded { envelope, .. } = decoded;
        let id = translate::fact_id(envelope.id());
        // Plain beats were planned apart, and all else is a fact.
        let Some(what) = translate::what(envelope.signal, self.scale) else { return };
        self.step_fact(&Fact {
            id,
            service: envelope.service.as_str().into(),
            worker: envelope.worker.as_str().into(),
            taken,
            age_ms: envelope.age_ms,
            what,
        });
    }

    pub(super) fn step_fact(&mut self, fact: &Fact) {
        for change in self.roster.step(fact) {
            telling::tell(&change);
        }
        self.soil(Dirty::Facts);
    }

    fn hear(&mut self, run_id: RunId, source: Source, taken: Moment) {
        let seen = self.roster.heard(translate::run(run_id), translate::source(source), taken);
        self.soil(Dirty::Beats);
        self.observe(taken, seen);
    }

    fn unlink(&mut self, taken: Moment, link: u64, voices: Vec<(RunId, Source)>) {
        for (run_id, source) in voices {
            let closed = self.roster.unlinked(translate::run(run_id), translate::source(source), link);
            self.soil(Dirty::Facts);
            self.observe(taken, closed);
        }
    }

    fn observe(&mut self, taken: Moment, proposal: Option<Proposal>) {
        let Some(proposal) = proposal else { return };
        if self.unwritten.len() == UNWRITTEN_MAX {
            warn!("too many observations wait for the journal: the oldest is dropped");
            self.unwritten.pop_front();
        }
        self.unwritten.push_back((taken, proposal));
    }

    /// Journals what was observed since, then steps it. What cannot be written waits.
    pub(super) fn write_observations(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.unwritten);
        match self.write_proposals(waiting.into()) {
            Ok(()) => true,
            Err(waiting) => {
                self.unwritten = waiting.into();
                false
            }
        }
    }

    /// Journals proposals as the collector's facts about their runs, then steps them. What the journal cannot
    /// take now is given back.
    pub(super) fn write_proposals(
        &mut self,
        proposals: Vec<(Moment, Proposal)>,
    ) -> Result<(), Vec<(Moment, Proposal)>> {
        let mut facts: Vec<OwnFact> = proposals
            .into_iter()
            .filter_map(|(taken, proposal)| {
                let Some(run) = proposal.run else {
                    return self.about_none(lastbeat_engine::Source::Observer, taken, proposal.what);
                };
                let fact = Fact {
                    id: FactId { run, source: lastbeat_engine::Source::Observer, seq: 0 },
                    service: proposal.service,
                    worker: proposal.worker,
                    taken,
                    age_ms: 0,
                    what: proposal.what,
                };
                OwnFact::new(fact)
            })
            .collect();
        self.number(&mut facts);
        let own_run = translate::run(self.collector_id);
        let refused = self.write_facts(facts).map_err(|waiting| {
            waiting.into_iter().map(|own| (own.fact.taken, own.into_proposal(own_run))).collect::<Vec<_>>()
        })?;
        for own in refused {
            // Its deadline left the roster when it was proposed: without this it would never be judged.
            self.roster.reschedule(&own.into_proposal(own_run));
        }
        Ok(())
    }

    /// A fact about no single run: it carries the collector's own identity. [`Keeper::number`] counts it.
    pub(super) fn about_none(
        &self,
        source: lastbeat_engine::Source,
        taken: Moment,
        what: lastbeat_engine::What,
    ) -> Option<OwnFact> {
        OwnFact::new(Fact {
            id: FactId { run: translate::run(self.collector_id), source, seq: 0 },
            service: OWN_SERVICE.into(),
            worker: OWN_WORKER.into(),
            taken,
            age_ms: 0,
            what,
        })
    }

    /// The next count of the observer for a run, or of a speaker about no single run.
    fn next_seq(&self, run: lastbeat_engine::RunId, source: lastbeat_engine::Source) -> u64 {
        let skipped = self.skipped.get(&(run, source)).copied().unwrap_or(0);
        let known = if run == translate::run(self.collector_id) {
            self.roster.next_seq(source)
        } else {
            self.roster.observer_seq(run)
        };
        known.max(skipped + 1)
    }

    /// Gives the collector's own facts their counts.
    pub(super) fn number(&self, facts: &mut [OwnFact]) {
        let mut next: HashMap<_, u64> = HashMap::new();
        for OwnFact { fact, .. } in facts {
            let (run, source) = (fact.id.run, fact.id.source);
            let seq = next.entry((run, source)).or_insert_with(|| self.next_seq(run, source));
            fact.id.seq = *seq;
            *seq += 1;
        }
    }

    /// Journals the collector's own facts, then steps them. Facts whose count was used before are counted anew
    /// after the journal, once; what is refused then too is returned.
    ///
    /// # Errors
    /// What the journal cannot take now.
    pub(super) fn write_facts(&mut self, facts: Vec<OwnFact>) -> Result<Vec<OwnFact>, Vec<OwnFact>> {
        let mut used = self.write_once(facts)?;
        if used.is_empty() {
            return Ok(used);
        }
        if let Err(failure) = self.count_after_journal(&used) {
            self.tell_of(&failure);
            return Err(used);
        }
        self.number(&mut used);
        let refused = self.write_once(used)?;
        for OwnFact { fact, .. } in &refused {
            error!(run = %translate::run_out(fact.id.run), seq = fact.id.seq, "an observer's count was used before");
        }
        Ok(refused)
    }

    /// Returns the facts whose count is used already.
    fn write_once(&mut self, facts: Vec<OwnFact>) -> Result<Vec<OwnFact>, Vec<OwnFact>> {
        let entries: Vec<Entry<'_>> = facts.iter().map(OwnFact::entry).collect();
        let Ok(appended) = self.append(&entries) else { return Err(facts) };
        let mut used = Vec::new();
        for (own, appended) in facts.into_iter().zip(appended) {
            match appended {
                Appended::New => self.step_fact(&own.fact),
                Appended::Known | Appended::Conflict => used.push(own),
            }
        }
        Ok(used)
    }

    /// The journal holds more of the observer than the roster knows: a run that was forgotten and came back.
    fn count_after_journal(&mut self, facts: &[OwnFact]) -> Result<(), JournalError> {
        for OwnFact { fact, .. } in facts {
            let (run, source) = (translate::run_out(fact.id.run), translate::source_out(fact.id.source));
            let highest = self.journal.highest_seq(run, source)?;
            self.skipped.insert((fact.id.run, fact.id.source), highest);
        }
        Ok(())
    }
}

/// A fact of the collector's own, with its form in the journal.
#[derive(Debug)]
pub(super) struct OwnFact {
    pub(super) fact: Fact,
    pub(super) said: String,
}

impl OwnFact {
    /// None of what only others may say.
    fn new(fact: Fact) -> Option<Self> {
        let said = serde_json::to_value(translate::own(&fact.what)?).ok()?;
        Some(Self { fact, said: said.to_string() })
    }

    fn entry(&self) -> Entry<'_> {
        let Self { fact, said } = self;
        Entry {
            id: lastbeat_wire::FactId {
                run_id: translate::run_out(fact.id.run),
                source: translate::source_out(fact.id.source),
                seq: fact.id.seq,
            },
            service: &fact.service,
            worker: &fact.worker,
            taken: fact.taken,
            age_ms: fact.age_ms,
            live: false,
            signal_json: said,
        }
    }

    /// What it was made of; `own_run` stands for no single run.
    fn into_proposal(self, own_run: lastbeat_engine::RunId) -> Proposal {
        let Fact { id, service, worker, what, .. } = self.fact;
        Proposal { run: (id.run != own_run).then_some(id.run), service, worker, what }
    }
}
