//! The outbox: what was said and is not yet safe, in order, bounded.
//!
//! A ring of 64 facts, and beside it the state of the run: its start, ready, newest phase, first request to
//! stop, the newest word of each agent (of one that has ended, until it is safe), and its ending. A collector that
//! forgot everything must learn from a new link how the run is, so the state is told again on each one, as the same
//! facts: to a collector that has them a repeat is nothing. When the ring is full the oldest fact that tells of no
//! ending gives way and is counted, but first of all a word of an agent that has said a newer one; the state never does.
//!
//! Invariant: pure. No clock, no thread, no socket: the courier brings the time and takes the envelopes.

use std::collections::BTreeMap;

use lastbeat_wire::envelope::VERSION;
use lastbeat_wire::signal::{Agent, Signal};
use lastbeat_wire::{Envelope, FactId, Name};

use crate::courier::Identity;

mod fit;
#[cfg(test)]
mod tests;

/// The most facts that wait at once, beside those that are the state.
pub(crate) const FACTS_MAX: usize = 64;
/// The most agents whose newest word is state; the words of further ones are facts like others. A server that is
/// stopped in the middle of its work says the end of all of them at once: with the ring there is room for a hundred. With
/// the five other parts of the state and a full ring it makes fewer facts than a spool file may hold.
const STATE_AGENTS_MAX: usize = 56;
const _: () = assert!(FACTS_MAX + STATE_AGENTS_MAX + 5 <= lastbeat_wire::spool::FACTS_MAX);

/// What a fact of the state tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Start,
    Ready,
    Phase,
    Asked,
    Agent(Name),
    Ending,
}

#[derive(Debug)]
struct Fact {
    signal: Signal,
    said_ms: u64,
    /// What it is of the state; none: it goes as soon as it is safe.
    part: Option<Part>,
    /// The same agent has said something newer.
    outdated: bool,
    /// Sent on the link that is open now.
    sent: bool,
    /// An ending that the collector did not take by the link that is open now.
    refused: bool,
    /// Nothing more is to be done for it: it was durable once, or given up.
    settled: bool,
}

impl Fact {
    const fn is_end_of_an_agent(&self) -> bool {
        matches!(self.signal, Signal::Agent(Agent { end: Some(_), .. }))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    identity: Identity,
    last_seq: u64,
    facts: BTreeMap<u64, Fact>,
    dropped: u64,
    goodbye_said: bool,
}

impl Outbox {
    pub(crate) const fn new(identity: Identity) -> Self {
        Self { identity, last_seq: 0, facts: BTreeMap::new(), dropped: 0, goodbye_said: false }
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Takes a durable fact. After the final nothing is said any more.
    pub(crate) fn say(&mut self, signal: Signal, now_ms: u64) {
        if self.goodbye_said {
            return;
        }
        let Some(signal) = fit::fit(signal) else {
            self.dropped += 1;
            return;
        };
        self.goodbye_said = matches!(signal, Signal::Final(_));
        let part = self.take_part(&signal);
        let room = FACTS_MAX - usize::from(part.is_none());
        while self.facts.values().filter(|fact| fact.part.is_none()).count() > room {
            self.make_room();
        }
        let seq = self.next_seq();
        let fact = Fact {
            signal,
            said_ms: now_ms,
            part,
            outdated: false,
            sent: false,
            refused: false,
            settled: false,
        };
        self.facts.insert(seq, fact);
    }

    /// A beat to be sent now, with its place in the same count; none before the start and after the final.
    /// It is not kept: the next one says it better.
    pub(crate) fn beat(&mut self, signal: Signal) -> Option<Envelope> {
        if self.goodbye_said || self.holder(&Part::Start).is_none() {
            return None;
        }
        let seq = self.next_seq();
        Some(self.envelope(seq, signal, 0))
    }

    /// A new link is open: the state is told again, and all that is not safe, in order.
    pub(crate) fn link_opened(&mut self) {
        for fact in self.facts.values_mut() {
            fact.sent = false;
            fact.refused = false;
        }
    }

    /// Takes what this link has not carried yet, up to `max_bytes` of JSON (at least one fact).
    pub(crate) fn take_unsent(&mut self, now_ms: u64, max_bytes: usize) -> Vec<(FactId, String)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for (seq, fact) in self.facts.iter_mut().filter(|(_, fact)| !fact.sent) {
            let age_ms = now_ms.saturating_sub(fact.said_ms);
            let envelope = envelope_of(&self.identity, *seq, fact.signal.clone(), age_ms);
            let Ok(json) = serde_json::to_string(&envelope) else {
                // `fit` put the signal into JSON already, so this cannot be; it must not wedge the rest.
                fact.sent = true;
                continue;
            };
            if !taken.is_empty() && bytes + json.len() > max_bytes {
                break;
            }
            bytes += json.len();
            fact.sent = true;
            taken.push((envelope.id(), json));
        }
        taken
    }

    /// The collector has it. Only what is durable is let go.
    pub(crate) fn acked(&mut self, id: FactId, durable: bool) {
        if durable && self.is_mine(id) {
            self.settle(id.seq);
        }
    }

    /// The collector does not take it and would not by this link. An ending waits for another one, or for
    /// whoever reads the spool; anything else is given up.
    pub(crate) fn refused(&mut self, id: FactId) {
        if !self.is_mine(id) {
            return;
        }
        match self.facts.get_mut(&id.seq) {
            Some(fact) if fact.settled => {}
            Some(fact) if fact.signal.is_terminal() => fact.refused = true,
            Some(_) | None => {
                self.dropped += 1;
                self.settle(id.seq);
            }
        }
    }

    /// How many facts no collector has made durable.
    pub(crate) fn waiting(&self) -> usize {
        self.unsettled().count()
    }

    /// The places of the facts that wait.
    pub(crate) fn waiting_seqs(&self) -> impl Iterator<Item = u64> {
        self.unsettled().map(|(seq, _)| seq)
    }

    /// Whether all that waits are endings that the collector refused: waiting longer brings nothing.
    pub(crate) fn only_refused_wait(&self) -> bool {
        self.unsettled().all(|(_, fact)| fact.refused)
    }

    /// What a spool file holds: the state, so that the rest can be placed, and all that is not safe.
    pub(crate) fn to_spool(&self, now_ms: u64) -> Vec<Envelope> {
        self.facts
            .iter()
            .map(|(seq, fact)| self.envelope(*seq, fact.signal.clone(), now_ms.saturating_sub(fact.said_ms)))
            .collect()
    }

    /// How many facts were given up: the ring was full, or the collector refused them.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    const fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    fn is_mine(&self, id: FactId) -> bool {
        id.run_id == self.identity.run_id && id.source == self.identity.source
    }

    fn unsettled(&self) -> impl Iterator<Item = (u64, &Fact)> {
        self.facts.iter().filter(|(_, fact)| !fact.settled).map(|(seq, fact)| (*seq, fact))
    }

    fn holder(&self, part: &Part) -> Option<u64> {
        self.facts.iter().find(|(_, fact)| fact.part.as_ref() == Some(part)).map(|(seq, _)| *seq)
    }

    /// What a fact about to be taken is of the state. Of a phase and of an agent the newest word counts, of
    /// the rest the first.
    fn take_part(&mut self, signal: &Signal) -> Option<Part> {
        let first = |part: Part| self.holder(&part).is_none().then_some(part);
        match signal {
            Signal::Start(_) | Signal::WitnessStart(_) => first(Part::Start),
            Signal::Ready => first(Part::Ready),
            // What the witness saw is its way to say that a stop was asked.
            Signal::Asked(_) | Signal::SignalSeen(_) => first(Part::Asked),
            Signal::Final(_) | Signal::Exit(_) => first(Part::Ending),
            Signal::Phase(_) => {
                self.stand_down(&Part::Phase);
                Some(Part::Phase)
            }
            Signal::Agent(Agent { name, .. }) => {
                self.outdate(name);
                self.has_room_for_an_agent().then(|| Part::Agent(name.clone()))
            }
            Signal::Beat(_)
            | Signal::WitnessBeat
            | Signal::Extend(_)
            | Signal::Step(_)
            | Signal::Panic(_)
            | Signal::Notify(_)
            | Signal::Stopped
            | Signal::Continued
            | Signal::Oom(_)
            | Signal::OutputTail(_)
            | Signal::LeftBehind(_)
            | Signal::LinkClosed(_)
            | Signal::Expired(_)
            | Signal::Seen
            | Signal::Away(_)
            | Signal::MassSilence(_)
            | Signal::Plan(_)
            | Signal::PlanEnd(_)
            | Signal::Forget(_) => None,
        }
    }

    /// The fact that told of this part of the state does so no longer: it goes once it is safe.
    fn stand_down(&mut self, part: &Part) {
        if let Some(seq) = self.holder(part)
            && let Some(fact) = self.facts.get_mut(&seq)
        {
            fact.part = None;
            if fact.settled {
                self.facts.remove(&seq);
            }
        }
    }

    /// An agent says something newer: what it said so far is no state, and goes once it is safe.
    fn outdate(&mut self, agent: &Name) {
        let is_its = |signal: &Signal| matches!(signal, Signal::Agent(Agent { name, .. }) if name == agent);
        self.facts.retain(|_, fact| {
            if is_its(&fact.signal) {
                fact.part = None;
                fact.outdated = true;
            }
            !(fact.outdated && fact.settled)
        });
    }

    /// Whether one more agent's word can be state: the oldest of those that have ended makes room.
    fn has_room_for_an_agent(&mut self) -> bool {
        let is_held = |fact: &Fact| matches!(fact.part, Some(Part::Agent(_)));
        if self.facts.values().filter(|fact| is_held(fact)).count() < STATE_AGENTS_MAX {
            return true;
        }
        let ended = self.facts.values_mut().find(|fact| is_held(fact) && fact.is_end_of_an_agent());
        ended.map(|fact| fact.part = None).is_some()
    }

    fn settle(&mut self, seq: u64) {
        if let Some(fact) = self.facts.get_mut(&seq) {
            fact.settled = true;
            fact.refused = false;
            if fact.part.is_none() || fact.is_end_of_an_agent() {
                self.facts.remove(&seq);
            }
        }
    }

    /// A fact of the ring gives way: one whose agent has said something newer, else the oldest that tells of no
    /// ending; if all do, the oldest: a process that catches its panics may have any number of them, and its final
    /// or exit is state.
    fn make_room(&mut self) {
        let passing = || self.facts.iter().filter(|(_, fact)| fact.part.is_none());
        let gives_way = passing()
            .find(|(_, fact)| fact.outdated)
            .or_else(|| passing().find(|(_, fact)| !fact.signal.is_terminal()))
            .or_else(|| passing().next());
        if let Some(seq) = gives_way.map(|(seq, _)| *seq) {
            self.facts.remove(&seq);
            self.dropped += 1;
        }
    }

    fn envelope(&self, seq: u64, signal: Signal, age_ms: u64) -> Envelope {
        envelope_of(&self.identity, seq, signal, age_ms)
    }
}

fn envelope_of(identity: &Identity, seq: u64, signal: Signal, age_ms: u64) -> Envelope {
    Envelope {
        v: VERSION,
        run_id: identity.run_id,
        source: identity.source,
        seq,
        service: identity.service.clone(),
        worker: identity.worker.clone(),
        age_ms,
        signal,
    }
}
