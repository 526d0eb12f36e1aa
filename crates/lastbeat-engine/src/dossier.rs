//! The dossier of one run: all its facts, folded.
//!
//! Invariant: [`Dossier::admit`] is commutative, associative and idempotent, whatever the order and however
//! often a fact comes (M5, I7). Each field is a first, a last, or a bounded set of firsts by `seq`.
//! Invariant: it only collects. What the facts mean is said in [`crate::judge`].

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ending::{CauseKind, Cleanup, Exit, Panic, Step};
use crate::fact::{
    Agent, Asked, Deadline, Expired, Extend, Fact, Final, LeftBehind, Phase, SignalSeen, Source, Start, What,
    WitnessStart,
};
use crate::moment::Moment;

/// The most asks and the most seen signals that are kept; the first two decide everything.
pub const ASKS_MAX: usize = 8;
/// The most extensions of one stop that are kept: one each 600 ms for all the ten minutes they may add.
pub const EXTENDS_MAX: usize = 1_024;
/// The most steps a cleanup is folded from; a plan of more is told by the final alone.
pub const STEPS_MAX: usize = 64;
/// The most agents of one run.
pub const AGENTS_MAX: usize = 128;

/// A fact's content with its place in time and in its speaker's count.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped<T> {
    /// The speaker's count.
    pub seq: u64,
    /// When it was received.
    pub taken: Moment,
    /// When it happened: receipt less age.
    pub occurred: Moment,
    /// What it says.
    pub value: T,
}

/// All facts of one run, folded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dossier {
    /// Its own start.
    pub start: Option<Stamped<Start>>,
    /// Its witness's account of the start.
    pub witness_start: Option<Box<Stamped<WitnessStart>>>,
    /// Its own word that it is ready.
    pub ready: Option<Stamped<()>>,
    /// Ready by the notify protocol.
    pub notify_ready: Option<Stamped<()>>,
    /// The newest phase.
    pub phase: Option<Stamped<Phase>>,
    /// Asks that were told of, by who told and its count; the first few.
    pub asks: BTreeMap<(Source, u64), Stamped<Asked>>,
    /// Signals to stop that its witness received, the first few.
    pub signals: BTreeMap<u64, Stamped<SignalSeen>>,
    /// When its witness received the newest signal to stop.
    pub newest_signal: Option<Stamped<()>>,
    /// The newest hang-up that its witness received: it may be a reload.
    pub hangup: Option<Box<Stamped<SignalSeen>>>,
    /// The newest QUIT from a process that its witness received: it may be a call for a thread dump.
    pub quit: Option<Box<Stamped<SignalSeen>>>,
    /// By the notify protocol: it reloads (true), or is ready again.
    pub reloading: Option<Stamped<bool>>,
    /// By the notify protocol: it reloaded at least once.
    pub reloaded: Option<Stamped<()>>,
    /// Its extensions of the stop deadline, the first ones.
    pub extends: BTreeMap<u64, Stamped<Extend>>,
    /// The newest word on each step.
    pub steps: BTreeMap<Arc<str>, Stamped<Step>>,
    /// The newest word on each agent.
    pub agents: BTreeMap<Arc<str>, Stamped<Agent>>,
    /// How often agents promise progress, in ms.
    pub paces: BTreeMap<Arc<str>, Stamped<u64>>,
    /// The newest panic.
    pub panic: Option<Stamped<Panic>>,
    /// The final beat.
    pub fin: Option<Box<Stamped<Final>>>,
    /// The wait status.
    pub exit: Option<Stamped<Exit>>,
    /// The out-of-memory killer was at work.
    pub oom: Option<Stamped<()>>,
    /// State T: entered (true) or left.
    pub held: Option<Stamped<bool>>,
    /// The last lines.
    pub tail: Option<Stamped<Vec<String>>>,
    /// What was open before the kill.
    pub left_behind: Option<Stamped<LeftBehind>>,
    /// The newest of "expired by silence, its own or its host's, or link" and "seen again".
    pub gone: Option<Stamped<Option<Expired>>>,
    /// The newest of "promised progress is missing" and "seen again".
    pub stuck: Option<Stamped<Option<Expired>>>,
    /// The newest closed link of the run itself and of its witness.
    pub closed: Option<Stamped<Source>>,
    /// The newest closed link of its witness.
    pub witness_closed: Option<Stamped<()>>,
    /// Deadlines other than silence and link that passed, the newest word on each.
    pub expired: BTreeMap<Deadline, Stamped<Expired>>,
}

impl Dossier {
    /// Takes one fact of this run.
    pub fn admit(&mut self, fact: &Fact) {
        match &fact.what {
            What::Start(start) => first(&mut self.start, fact, start),
            What::Ready => first(&mut self.ready, fact, &()),
            What::Phase(phase) => last(&mut self.phase, fact, phase),
            What::Agent(agent) => {
                last_by_name(&mut self.agents, &agent.name, fact, agent, AGENTS_MAX);
                if let Some(every_ms) = agent.progress_every_ms {
                    last_by_name(&mut self.paces, &agent.name, fact, &every_ms, AGENTS_MAX);
                }
            }
            What::Asked(asked) => {
                firsts(&mut self.asks, (fact.id.source, fact.id.seq), fact, asked, ASKS_MAX)
            }
            What::Extend(extend) => firsts(&mut self.extends, fact.id.seq, fact, extend, EXTENDS_MAX),
            What::Step(step) => last_by_name(&mut self.steps, &step.name, fact, step, STEPS_MAX),
            What::Panic(panic) => last(&mut self.panic, fact, panic),
            What::Final(fin) => first(&mut self.fin, fact, fin),
            What::WitnessStart(start) => first(&mut self.witness_start, fact, start),
            What::SignalSeen(seen) => match stop_signal(seen) {
                Some(true) => {
                    firsts(&mut self.signals, fact.id.seq, fact, seen, ASKS_MAX);
                    last(&mut self.newest_signal, fact, &());
                }
                Some(false) if seen.cause.signal.as_deref() == Some("SIGHUP") => {
                    last(&mut self.hangup, fact, seen);
                }
                Some(false) => last(&mut self.quit, fact, seen),
                None => {}
            },
            What::Notify(notify) => {
                if notify.ready {
                    first(&mut self.notify_ready, fact, &());
                }
                if notify.reloading || notify.ready {
                    last(&mut self.reloading, fact, &notify.reloading);
                }
                if notify.reloading {
                    first(&mut self.reloaded, fact, &());
                }
            }
            What::Stopped => last(&mut self.held, fact, &true),
            What::Continued => last(&mut self.held, fact, &false),
            What::Oom => first(&mut self.oom, fact, &()),
            What::OutputTail(lines) => last(&mut self.tail, fact, lines),
            What::LeftBehind(left) => first(&mut self.left_behind, fact, left),
            What::Exit(exit) => first(&mut self.exit, fact, exit),
            What::LinkClosed(voice) => {
                last(&mut self.closed, fact, voice);
                if *voice == Source::Witness {
                    last(&mut self.witness_closed, fact, &());
                }
            }
            What::Expired(expired) => match expired.which {
                Deadline::Silence | Deadline::Link | Deadline::Host => {
                    last(&mut self.gone, fact, &Some(*expired))
                }
                Deadline::Progress => last(&mut self.stuck, fact, &Some(*expired)),
                Deadline::Stop | Deadline::Start | Deadline::Promise | Deadline::Goodbye => {
                    let held = self.expired.get(&expired.which);
                    if held.is_none_or(|held| fact.id.seq > held.seq) {
                        self.expired.insert(expired.which, stamp(fact, expired));
                    }
                }
            },
            What::Seen => {
                last(&mut self.gone, fact, &None);
                last(&mut self.stuck, fact, &None);
            }
            // Facts about no single run never reach a dossier.
            What::Away(_) | What::MassSilence(_) | What::Plan(_) | What::PlanEnd(_) | What::Forget(_) => {}
        }
    }

    /// A client is linked in: it announced that it can say goodbye.
    #[must_use]
    pub fn linked(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.value.goodbye)
    }

    /// A witness reports it.
    #[must_use]
    pub const fn witnessed(&self) -> bool {
        self.witness_start.is_some()
    }

    /// When it was ready. Once a client has joined, only its own word counts.
    #[must_use]
    pub fn ready_at(&self) -> Option<Moment> {
        let by_witness = || {
            let start = self.witness_start.as_ref()?;
            let notified = self.notify_ready.as_ref().map(|ready| ready.occurred);
            start.value.ready.then_some(start.occurred).or(notified)
        };
        match (&self.ready, &self.start) {
            (Some(ready), _) => Some(ready.occurred),
            (None, Some(_)) => None,
            (None, None) => by_witness(),
        }
    }

    /// When it started, by the earlier account.
    #[must_use]
    pub fn started_at(&self) -> Option<Moment> {
        let own = self.start.as_ref().map(|start| start.occurred);
        let witness = self.witness_start.as_ref().map(|start| start.occurred);
        own.into_iter().chain(witness).min()
    }

    /// Promised progress is missing: since when, and the last there was.
    #[must_use]
    pub fn hung(&self) -> Option<Expired> {
        self.stuck.as_ref().and_then(|stuck| stuck.value)
    }

    /// What is told of the start by the run itself, else by its witness.
    pub(crate) fn told<T>(&self, what: impl Fn(&Start) -> Option<T>) -> Option<T> {
        let own = self.start.as_ref().and_then(|start| what(&start.value));
        own.or_else(|| self.witness_start.as_ref().and_then(|start| what(&start.value.start)))
    }

    /// Exit codes beside 0 that are fine, by either account.
    pub(crate) fn accepts(&self, code: i32) -> bool {
        let own = self.start.as_ref().map(|start| &start.value.accept_exit);
        let witness = self.witness_start.as_ref().map(|start| &start.value.start.accept_exit);
        own.into_iter().chain(witness).any(|codes| codes.contains(&code))
    }

    /// What was cleaned up: the final's account, else what the steps told before it ended.
    #[must_use]
    pub fn cleanup(&self) -> Cleanup {
        let left = self.left_behind.as_ref().map(|left| left.value.children.clone()).unwrap_or_default();
        if let Some(mut told) = self.fin.as_ref().and_then(|fin| fin.value.cleanup.clone()) {
            // Who has ended cannot see what it left behind; its witness does.
            let known = |pid| told.children_left.iter().any(|(known, _)| *known == pid);
            let unknown: Vec<_> = left.into_iter().filter(|(pid, _)| !known(*pid)).collect();
            told.children_left.extend(unknown);
            return told;
        }
        let mut steps: Vec<&Stamped<Step>> = self.steps.values().collect();
        steps.sort_by_key(|step| step.seq);
        let steps = steps.into_iter().map(|step| step.value.clone()).collect();
        Cleanup { steps, children_left: left, ..Cleanup::default() }
    }
}

/// Whether a signal asks a process to stop (true), may ask it something else (false), or neither.
fn stop_signal(seen: &SignalSeen) -> Option<bool> {
    match seen.cause.signal.as_deref() {
        // An operator asks by whatever signal; by KILL, to force it.
        _ if seen.cause.kind == CauseKind::Operator => Some(true),
        Some("SIGTERM" | "SIGINT") => Some(true),
        Some("SIGQUIT") => Some(seen.cause.kind == CauseKind::Keyboard),
        // Its terminal is gone: nobody asks for a reload that way, whatever it declared.
        Some("SIGHUP") => Some(seen.cause.kind == CauseKind::TerminalHangup),
        Some(_) | None => None,
    }
}

fn stamp<T: Clone>(fact: &Fact, value: &T) -> Stamped<T> {
    Stamped { seq: fact.id.seq, taken: fact.taken, occurred: fact.occurred(), value: value.clone() }
}

/// What is rare and large lies in a box: a fleet is a million dossiers, most of them of runs that have only started.
fn first<T: Clone, S>(held: &mut Option<S>, fact: &Fact, value: &T)
where
    S: Borrow<Stamped<T>> + From<Stamped<T>>,
{
    if held.as_ref().is_none_or(|held| fact.id.seq < held.borrow().seq) {
        *held = Some(stamp(fact, value).into());
    }
}

fn last<T: Clone, S>(held: &mut Option<S>, fact: &Fact, value: &T)
where
    S: Borrow<Stamped<T>> + From<Stamped<T>>,
{
    if held.as_ref().is_none_or(|held| fact.id.seq > held.borrow().seq) {
        *held = Some(stamp(fact, value).into());
    }
}

fn firsts<K: Ord, T: Clone>(held: &mut BTreeMap<K, Stamped<T>>, key: K, fact: &Fact, value: &T, max: usize) {
    held.insert(key, stamp(fact, value));
    if held.len() > max {
        held.pop_last();
    }
}

/// The newest word for each of the first `max` names in alphabetical order: a set whose members do not
/// depend on the order of arrival.
fn last_by_name<T: Clone>(
    held: &mut BTreeMap<Arc<str>, Stamped<T>>,
    name: &Arc<str>,
    fact: &Fact,
    value: &T,
    max: usize,
) {
    match held.get_mut(name) {
        Some(held) if fact.id.seq <= held.seq => {}
        Some(held) => *held = stamp(fact, value),
        None => {
            held.insert(Arc::clone(name), stamp(fact, value));
            if held.len() > max {
                held.pop_last();
            }
        }
    }
}
