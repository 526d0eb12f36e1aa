//! A stage for scenarios: one roster, one clock in the test's hand, facts said in one line each.
//!
//! It plays the keeper's part: it gives facts their moments and sequence numbers, steps what the roster
//! proposes, and keeps every fact so that a scenario can be replayed.
// Each test binary uses a part of the stage.
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::Arc;

use lastbeat_engine::ending::{Cause, CauseKind, ClassHint, Cleanup, Exit, Panic, Sender, Step, StepOutcome};
use lastbeat_engine::fact::{
    Agent, AgentStatus, Asked, Away, FactId, Final, SignalSeen, Start, WitnessStart,
};
use lastbeat_engine::{
    Alert, Class, Condition, Fact, Moment, Proposal, Roster, Rules, RunId, Source, Standing, WallOffset,
    What, words,
};

/// The collector's own identity on the stage.
pub(crate) const COLLECTOR: RunId = RunId(u128::MAX);

pub(crate) struct Stage {
    pub(crate) roster: Roster,
    pub(crate) now: Moment,
    pub(crate) facts: Vec<Fact>,
    seqs: HashMap<(RunId, Source), u64>,
    names: HashMap<RunId, (Arc<str>, Arc<str>)>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Rules::default())
    }

    /// A stage under other rules.
    pub(crate) fn with(rules: Rules) -> Self {
        Self {
            roster: Roster::new(rules),
            now: Moment::from_millis(1_000_000),
            facts: Vec::new(),
            seqs: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// A run of `s/w`.
    pub(crate) fn run(&mut self, number: u128) -> RunId {
        self.run_of(number, "w")
    }

    pub(crate) fn run_of(&mut self, number: u128, worker: &str) -> RunId {
        let run = RunId(number);
        self.names.insert(run, ("s".into(), worker.into()));
        run
    }

    pub(crate) fn own(&mut self, run: RunId, what: What) -> &mut Self {
        self.say(run, Source::Own, 0, true, what)
    }

    pub(crate) fn witness(&mut self, run: RunId, what: What) -> &mut Self {
        self.say(run, Source::Witness, 0, true, what)
    }

    /// A fact that lay in a spool: old, and no presence.
    pub(crate) fn spooled(&mut self, run: RunId, source: Source, age_ms: u64, what: What) -> &mut Self {
        self.say(run, source, age_ms, false, what)
    }

    /// A live word that was under way for a while.
    pub(crate) fn spoken(&mut self, run: RunId, source: Source, age_ms: u64, what: What) -> &mut Self {
        self.say(run, source, age_ms, true, what)
    }

    pub(crate) fn say(
        &mut self,
        run: RunId,
        source: Source,
        age_ms: u64,
        live: bool,
        what: What,
    ) -> &mut Self {
        let seq = self.seqs.entry((run, source)).or_default();
        *seq += 1;
        let (service, worker) = self.names[&run].clone();
        let id = FactId { run, source, seq: *seq };
        self.take(Fact { id, service, worker, taken: self.now, age_ms, what });
        if live && let Some(proposal) = self.roster.heard(run, source, self.now) {
            self.observe(proposal);
        }
        self
    }

    pub(crate) fn take(&mut self, fact: Fact) {
        self.roster.step(&fact);
        self.facts.push(fact);
    }

    /// A fact of the observer, of a run or of no single one.
    pub(crate) fn observed(&mut self, run: RunId, what: What) -> &mut Self {
        let of_none = matches!(what, What::Away(_) | What::MassSilence(_));
        let (service, worker) = ("s".into(), "w".into());
        self.observe(Proposal { run: (!of_none).then_some(run), service, worker, what });
        self
    }

    fn observe(&mut self, proposal: Proposal) {
        let run = proposal.run.unwrap_or(COLLECTOR);
        let seq = self.roster.observer_seq(run);
        let id = FactId { run, source: Source::Observer, seq };
        let Proposal { service, worker, what, .. } = proposal;
        self.take(Fact { id, service, worker, taken: self.now, age_ms: 0, what });
    }

    /// A fact of an operator about no single run.
    pub(crate) fn operator(&mut self, what: What) -> &mut Self {
        let id =
            FactId { run: COLLECTOR, source: Source::Operator, seq: self.roster.next_seq(Source::Operator) };
        let (service, worker) = ("lastbeat".into(), "collector".into());
        self.take(Fact { id, service, worker, taken: self.now, age_ms: 0, what });
        self
    }

    pub(crate) fn beat(&mut self, run: RunId, source: Source) -> &mut Self {
        if let Some(proposal) = self.roster.heard(run, source, self.now) {
            self.observe(proposal);
        }
        self
    }

    /// A beat with one agent's counter.
    pub(crate) fn beat_with(&mut self, run: RunId, agent: &str, counter: u64) -> &mut Self {
        self.beat(run, Source::Own);
        if let Some(proposal) = self.roster.progressed(run, [(agent, counter)].into_iter(), self.now) {
            self.observe(proposal);
        }
        self
    }

    pub(crate) fn link(&mut self, run: RunId, voice: Source, number: u64) -> &mut Self {
        self.roster.linked(run, voice, number);
        self
    }

    pub(crate) fn unlink(&mut self, run: RunId, voice: Source, number: u64) -> &mut Self {
        if let Some(proposal) = self.roster.unlinked(run, voice, number) {
            self.observe(proposal);
        }
        self
    }

    /// Lets time pass, expiring what is due on the way.
    pub(crate) fn pass(&mut self, ms: u64) -> &mut Self {
        let until = self.now.plus(ms);
        while let Some(due) = self.roster.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            for proposal in self.roster.advance(self.now) {
                self.observe(proposal);
            }
        }
        self.now = until;
        self
    }

    /// The observer is away this long and comes back without having heard anything.
    pub(crate) fn away(&mut self, ms: u64) -> &mut Self {
        let from = self.now;
        self.now = from.plus(ms);
        let seq = self.roster.observer_seq(COLLECTOR);
        let id = FactId { run: COLLECTOR, source: Source::Observer, seq };
        let what = What::Away(Away { from, to: self.now });
        self.take(Fact {
            id,
            service: "lastbeat".into(),
            worker: "collector".into(),
            taken: self.now,
            age_ms: 0,
            what,
        });
        self
    }

    pub(crate) fn class(&self, run: RunId) -> Option<Class> {
        self.roster.snapshot().run(run).and_then(|(_, run)| run.verdict().class())
    }

    /// Who asked, in one word, of a run that has ended.
    pub(crate) fn cause_kind(&self, run: RunId) -> Option<&'static str> {
        let snapshot = self.roster.snapshot();
        let cause = snapshot.run(run)?.1.verdict().ending()?.cause.as_ref()?;
        Some(cause.kind.as_str())
    }

    pub(crate) fn standing(&self) -> Standing {
        let snapshot = self.roster.snapshot();
        snapshot.worker("s", "w").expect("s/w has spoken").standing(self.now, snapshot.rules())
    }

    pub(crate) fn condition(&self) -> Condition {
        self.standing().condition
    }

    pub(crate) fn words(&self) -> String {
        let snapshot = self.roster.snapshot();
        let worker = snapshot.worker("s", "w").expect("s/w has spoken");
        let standing = worker.standing(self.now, snapshot.rules());
        words::worker_words(worker, &standing, self.now, snapshot.rules(), WallOffset(0))
    }

    pub(crate) fn open_alerts(&self) -> Vec<&'static str> {
        let open = self.alerts().into_iter().filter(|alert| alert.resolved.is_none());
        open.map(|alert| alert.name.as_str()).collect()
    }

    pub(crate) fn alerts(&self) -> Vec<Alert> {
        self.roster.snapshot().alerts(self.now)
    }

    /// A roster that saw the same facts and nothing else.
    pub(crate) fn replayed(&self) -> Roster {
        let mut roster = Roster::new(Rules::default());
        for fact in &self.facts {
            roster.step(fact);
        }
        roster
    }

    /// A linked run that is ready, with its link.
    pub(crate) fn live(&mut self, number: u128) -> RunId {
        let run = self.run(number);
        self.own(run, start()).own(run, What::Ready).link(run, Source::Own, 1);
        run
    }

    /// A program under a witness, not linked, ready.
    pub(crate) fn witnessed(&mut self, number: u128) -> RunId {
        let run = self.run(number);
        self.witness(run, witness_start(None)).link(run, Source::Witness, 1);
        run
    }
}

pub(crate) fn start() -> What {
    What::Start(Start { goodbye: true, ..Start::default() })
}

pub(crate) fn witness_start(back_within_ms: Option<u64>) -> What {
    What::WitnessStart(WitnessStart { start: Start::default(), ready: true, back_within_ms })
}

pub(crate) fn by_signal(signal: &str) -> Cause {
    let sender = Sender {
        pid: 790,
        uid: 1000,
        ppid: Some(788),
        comm: Some("bash".into()),
        cmdline: Some("bash".into()),
        tty: Some("pts/3".into()),
        gone: false,
        outside_namespace: false,
    };
    Cause { signal: Some(signal.into()), sender: Some(sender), ..Cause::of(CauseKind::Signal) }
}

pub(crate) fn keyboard() -> Cause {
    Cause { signal: Some("SIGINT".into()), ..Cause::of(CauseKind::Keyboard) }
}

pub(crate) fn asked(cause: Cause) -> What {
    What::Asked(Asked { cause, deadline_ms: None })
}

pub(crate) fn seen(cause: Cause) -> What {
    What::SignalSeen(SignalSeen { cause, forwarded: true })
}

pub(crate) fn step(name: &str, outcome: Option<StepOutcome>) -> Step {
    Step {
        name: name.into(),
        outcome,
        done: None,
        total: None,
        skipped: None,
        attempts: Some(1),
        duration_ms: Some(10),
        timeout_ms: None,
        error: None,
        why_skipped: None,
        failed_items: Vec::new(),
    }
}

pub(crate) fn cleaned(steps: Vec<Step>) -> Cleanup {
    Cleanup { steps, duration_ms: Some(10), ..Cleanup::default() }
}

pub(crate) fn goodbye(cause: Cause, cleanup: Cleanup, back_within_ms: Option<u64>) -> What {
    What::Final(Final {
        hint: Some(ClassHint::Shutdown),
        cause: Some(cause),
        cleanup: Some(cleanup),
        back_within_ms,
    })
}

pub(crate) fn clean_goodbye(cause: Cause, back_within_ms: Option<u64>) -> What {
    goodbye(cause, cleaned(vec![step("flush", Some(StepOutcome::Ok))]), back_within_ms)
}

pub(crate) fn panic_of(message: &str) -> What {
    What::Panic(Panic { message: message.into(), location: Some("src/main.rs:7:5".into()) })
}

pub(crate) fn exit_code(code: i32) -> What {
    What::Exit(Exit { code: Some(code), ..Exit::default() })
}

pub(crate) fn exit_signal(signal: &str) -> What {
    What::Exit(Exit { signal: Some(signal.into()), ..Exit::default() })
}

pub(crate) fn agent_ended(name: &str, end: lastbeat_engine::ending::AgentEnd) -> What {
    What::Agent(Agent {
        name: name.into(),
        status: AgentStatus::Ended(end),
        progress_every_ms: None,
        error: None,
    })
}

pub(crate) fn extend(by_ms: u64, counter: u64) -> What {
    What::Extend(lastbeat_engine::fact::Extend { by_ms, step: Some("drain".into()), counter: Some(counter) })
}

pub(crate) fn agent_at_work(name: &str, progress_every_ms: u64) -> What {
    let status = AgentStatus::Alive(lastbeat_engine::fact::AgentState::Running);
    What::Agent(Agent { name: name.into(), status, progress_every_ms: Some(progress_every_ms), error: None })
}
