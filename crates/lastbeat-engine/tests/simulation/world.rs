//! The world: processes with clients and witnesses, a network that is cut and heals, a collector with a journal.
//!
//! The client and the witness are played by the contract of the link: facts in order, sent again until they are
//! acknowledged, a new link begins with a start, what is left at the end lies in a spool that a collector reads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use lastbeat_engine::ending::{Cause, CauseKind, ClassHint, Cleanup, Exit, Panic, Step, StepOutcome};
use lastbeat_engine::fact::{Asked, Away, FactId, Final, SignalSeen, Start, WitnessStart};
use lastbeat_engine::{Fact, Moment, Proposal, Roster, Rules, RunId, Source, What};

use crate::oracle::{Deed, End, Ring, SILENCE, Saying, T, Told};
use crate::random::Random;

const COLLECTOR: RunId = RunId(u128::MAX);
/// How long a world is played, in ms, before it comes to rest.
const PLAYED: u64 = 15 * 60_000;
/// Then all is in reach again, and everything that waits arrives.
const REST: u64 = 4 * 60_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker's next process starts.
    Start(usize),
    /// What fate has for a process.
    Fate(u128),
    /// A process that has said its last waits for the answer, then leaves.
    Leave(u128, u64),
    /// A speaker beats and sends what waits.
    Beat(u128, u8),
    /// A message reaches the collector: speaker, link, and whether it is a beat.
    Arrive(u128, u8, u64),
    /// The socket of a dead process is seen closed.
    Close(u128, u8, u64),
    /// The collector looks at the clock and the spool.
    Tick,
    /// The collector dies, or is held.
    Down,
    /// It is back.
    Up,
    /// A worker's network is cut.
    Cut(usize),
    /// It heals.
    Heal(usize),
}

/// One voice of one process.
struct Speaker {
    source: Source,
    said: Vec<(u64, What)>,
    acked: BTreeSet<u64>,
    link: u64,
    linked: bool,
    alive: bool,
    last_ack: u64,
}

struct Process {
    slot: usize,
    started: u64,
    ended: Option<u64>,
    end: End,
    /// When it said its last.
    leaving: Option<u64>,
    cut: bool,
    voices: BTreeMap<u8, Speaker>,
}

pub(crate) struct World {
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    chance: Random,
    roster: Roster,
    journal: Vec<(Fact, bool)>,
    known: BTreeSet<FactId>,
    up: bool,
    watched_until: u64,
    runs: BTreeMap<u128, Process>,
    cut_since: BTreeMap<usize, u64>,
    links: u64,
    next_run: u128,
    told: Told,
    open: BTreeSet<(String, String)>,
    classes: BTreeMap<u128, Option<String>>,
}

const OWN: u8 = 0;
const WITNESS: u8 = 1;

impl World {
    /// Plays the world of a seed to its end.
    pub(crate) fn play(seed: u64) -> Told {
        let mut world = Self {
            now: 1_000_000,
            events: BinaryHeap::new(),
            order: 0,
            chance: Random(seed),
            roster: Roster::new(Rules::default()),
            journal: Vec::new(),
            known: BTreeSet::new(),
            up: true,
            watched_until: 1_000_000,
            runs: BTreeMap::new(),
            cut_since: BTreeMap::new(),
            links: 0,
            next_run: 1,
            told: Told::default(),
            open: BTreeSet::new(),
            classes: BTreeMap::new(),
        };
        world.set_up();
        let end = world.now + PLAYED + REST;
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            if at > end {
                break;
            }
            world.now = at;
            let (facts, tick) = (world.journal.len(), event == Event::Tick);
            world.happen(event);
            if tick || world.journal.len() > facts {
                world.look();
            }
        }
        world.sum_up(end)
    }

    fn set_up(&mut self) {
        let workers = self.chance.between(2, 7);
        for slot in 0..usize::try_from(workers).unwrap_or(2) {
            let at = self.chance.between(0, 10_000);
            self.after(at, Event::Start(slot));
            if self.chance.one_in(3) {
                let at = self.chance.between(30_000, PLAYED - 120_000);
                self.after(at, Event::Cut(slot));
            }
        }
        for _ in 0..self.chance.between(0, 4) {
            let at = self.chance.between(10_000, PLAYED - 180_000);
            self.after(at, Event::Down);
        }
        self.after(250, Event::Tick);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + ms, self.order, event)));
    }

    fn note(&mut self, what: String) {
        self.told.timeline.push(format!("{:>9} {what}", self.now));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(slot) => self.start(slot),
            Event::Fate(run) => self.fate(run),
            Event::Leave(run, until) => self.leave(run, until),
            Event::Beat(run, voice) => self.beat(run, voice),
            Event::Arrive(run, voice, link) => self.arrive(run, voice, link),
            Event::Close(run, voice, link) => self.close(run, voice, link),
            Event::Tick => self.tick(),
            Event::Down => self.down(),
            Event::Up => self.come_back(),
            Event::Cut(slot) => {
                self.note(format!("the network of w{slot} is cut"));
                self.cut_since.entry(slot).or_insert(self.now);
                let long = if self.chance.one_in(2) { 8_000 } else { 90_000 };
                let ms = self.chance.between(500, long);
                self.after(ms, Event::Heal(slot));
            }
            Event::Heal(slot) => self.heal(slot),
        }
    }

    fn start(&mut self, slot: usize) {
        let run = self.next_run;
        self.next_run += 1;
        let witnessed = self.chance.one_in(2);
        let speaker = |source| Speaker {
            source,
            said: Vec::new(),
            acked: BTreeSet::new(),
            link: 0,
            linked: false,
            alive: true,
            last_ack: 0,
        };
        let mut voices = BTreeMap::from([(OWN, speaker(Source::Own))]);
        if witnessed {
            voices.insert(WITNESS, speaker(Source::Witness));
        }
        let process = Process {
            slot,
            started: self.now,
            ended: None,
            end: End::Alive,
            leaving: None,
            cut: false,
            voices,
        };
        self.runs.insert(run, process);
        self.note(format!("run {run} of w{slot} starts{}", if witnessed { ", witnessed" } else { "" }));
        if witnessed {
            self.say(
                run,
                WITNESS,
                What::WitnessStart(WitnessStart { ready: true, ..WitnessStart::default() }),
            );
            self.after(0, Event::Beat(run, WITNESS));
        }
        self.say(run, OWN, What::Start(Start { goodbye: true, ..Start::default() }));
        self.say(run, OWN, What::Ready);
        self.after(1, Event::Beat(run, OWN));
        if self.now < 1_000_000 + PLAYED - 240_000 {
            let lives = self.chance.between(2_000, 300_000);
            self.after(lives, Event::Fate(run));
        }
    }

    fn say(&mut self, run: u128, voice: u8, what: What) {
        let now = self.now;
        if let Some(speaker) = self.runs.get_mut(&run).and_then(|process| process.voices.get_mut(&voice)) {
            speaker.said.push((now, what));
        }
    }

    fn fate(&mut self, run: u128) {
        let Some(process) = self.runs.get_mut(&run).filter(|process| process.leaving.is_none()) else {
            return;
        };
        process.leaving = Some(self.now);
        let (slot, witnessed) = (process.slot, process.voices.contains_key(&WITNESS));
        let end = match self.chance.between(0, 10) {
            0..4 => End::Stopped,
            4..6 => End::Promised(self.chance.between(5_000, 60_000)),
            6 => End::Done,
            7 => End::Panicked,
            8 => End::Killed,
            _ => End::Exited,
        };
        self.note(format!("run {run} of w{slot} ends: {end:?}"));
        let cause = Cause { signal: Some("SIGTERM".into()), ..Cause::of(CauseKind::Signal) };
        if witnessed && matches!(end, End::Stopped | End::Promised(_)) && self.chance.one_in(2) {
            self.say(run, WITNESS, What::SignalSeen(SignalSeen { cause: cause.clone(), forwarded: true }));
            self.send(run, WITNESS);
        }
        if let Some(process) = self.runs.get_mut(&run) {
            process.end = end;
        }
        let words = last_words(end, &cause);
        // Who has last words offers them for the flush budget; who is killed has no time for that.
        let budget = if words.is_empty() { 0 } else { 2_000 };
        for what in words {
            self.say(run, OWN, what);
        }
        self.send(run, OWN);
        self.after(0, Event::Leave(run, self.now + budget));
    }

    fn leave(&mut self, run: u128, until: u64) {
        let now = self.now;
        let Some(process) = self.runs.get_mut(&run) else { return };
        let own = &process.voices[&OWN];
        if own.acked.len() < own.said.len() && now < until {
            self.after(10, Event::Leave(run, until));
            return;
        }
        let (slot, end) = (process.slot, process.end);
        process.ended = Some(now);
        process.cut |= self.cut_since.contains_key(&slot);
        let mut closes = Vec::new();
        for (voice, speaker) in &mut process.voices {
            speaker.alive = false;
            if speaker.linked {
                closes.push((*voice, speaker.link));
            }
        }
        self.note(format!("run {run} of w{slot} is gone"));
        self.say(run, WITNESS, What::Exit(exit_of(end)));
        self.send(run, WITNESS);
        for (voice, link) in closes {
            let ms = self.chance.between(20, 90);
            self.after(ms, Event::Close(run, voice, link));
        }
        let away = match end {
            End::Promised(within) if self.chance.one_in(3) => within + self.chance.between(5_000, 20_000),
            End::Promised(within) => self.chance.between(500, within - 2_000),
            _ => self.chance.between(200, 90_000),
        };
        if !(end == End::Done && self.chance.one_in(2)) {
            self.after(away, Event::Start(slot));
        }
    }

    /// A living speaker, each interval: dials when it has no link, gives up a link without acks.
    fn beat(&mut self, run: u128, voice: u8) {
        let now = self.now;
        let reachable =
            self.up && self.runs.get(&run).is_some_and(|it| !self.cut_since.contains_key(&it.slot));
        let Some(speaker) = self.runs.get_mut(&run).and_then(|process| process.voices.get_mut(&voice)) else {
            return;
        };
        if !speaker.alive {
            return;
        }
        if speaker.linked && now.saturating_sub(speaker.last_ack) > 2 * T {
            speaker.linked = false;
        }
        if !speaker.linked && reachable {
            self.links += 1;
            speaker.link = self.links;
            speaker.linked = true;
            speaker.last_ack = now;
        }
        let next = if speaker.linked { T } else { self.chance.between(500, 3_000) };
        self.send(run, voice);
        self.after(next, Event::Beat(run, voice));
    }

    fn send(&mut self, run: u128, voice: u8) {
        let Some(speaker) = self.runs.get(&run).and_then(|process| process.voices.get(&voice)) else {
            return;
        };
        if speaker.linked {
            let link = speaker.link;
            let ms = self.chance.between(1, 20);
            self.after(ms, Event::Arrive(run, voice, link));
        }
    }

    /// One message: the start, all that is not acknowledged, and a beat. A cut network holds it, a dead
    /// collector loses it.
    fn arrive(&mut self, run: u128, voice: u8, link: u64) {
        let Some(process) = self.runs.get(&run) else { return };
        if !self.up {
            return;
        }
        if self.cut_since.contains_key(&process.slot) {
            return;
        }
        let (source, slot) = (process.voices[&voice].source, process.slot);
        // D4: a witness delivers what its child left in the spool, before the exit.
        if voice == WITNESS && process.ended.is_some() && leaves_a_spool(process.end) {
            self.deliver(run, OWN);
        }
        let speaker = &self.runs[&run].voices[&voice];
        let waiting: Vec<(u64, u64, What)> = speaker
            .said
            .iter()
            .zip(1..)
            .filter(|(_, seq)| *seq == 1 || !speaker.acked.contains(seq))
            .map(|((at, what), seq)| (seq, *at, what.clone()))
            .collect();
        for (seq, at, what) in waiting {
            self.take(run, slot, source, seq, at, what, true);
            self.roster.linked(RunId(run), source, link);
        }
        // An answer may be lost; then all of it comes again.
        if !self.chance.one_in(20) {
            self.acknowledge(run, voice);
        }
        let seen = self.roster.heard(RunId(run), source, Moment::from_millis(self.now));
        self.observe(seen);
    }

    fn acknowledge(&mut self, run: u128, voice: u8) {
        let now = self.now;
        if let Some(speaker) = self.runs.get_mut(&run).and_then(|process| process.voices.get_mut(&voice)) {
            speaker.acked = (1..=speaker.said.len() as u64).collect();
            speaker.last_ack = now;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a fact has that many parts")]
    fn take(&mut self, run: u128, slot: usize, source: Source, seq: u64, at: u64, what: What, live: bool) {
        let id = FactId { run: RunId(run), source, seq };
        if self.known.insert(id) {
            let fact = Fact {
                id,
                service: "s".into(),
                worker: format!("w{slot}").into(),
                taken: Moment::from_millis(self.now),
                age_ms: self.now - at,
                what,
            };
            self.roster.step(&fact);
            self.journal.push((fact, live));
        }
        if live {
            let seen = self.roster.heard(RunId(run), source, Moment::from_millis(self.now));
            self.observe(seen);
        }
    }

    fn observe(&mut self, proposal: Option<Proposal>) {
        let Some(Proposal { run, service, worker, what }) = proposal else { return };
        let id = FactId { run, source: Source::Observer, seq: self.roster.observer_seq(run) };
        let fact = Fact { id, service, worker, taken: Moment::from_millis(self.now), age_ms: 0, what };
        self.roster.step(&fact);
        self.journal.push((fact, false));
    }

    fn close(&mut self, run: u128, voice: u8, link: u64) {
        let Some(process) = self.runs.get(&run) else { return };
        // A cut network hides the close until it heals; a collector that was away has no such socket any more.
        if self.cut_since.contains_key(&process.slot) {
            self.after(1_000, Event::Close(run, voice, link));
            return;
        }
        if self.up {
            let source = process.voices[&voice].source;
            let closed = self.roster.unlinked(RunId(run), source, link);
            self.observe(closed);
        }
    }

    /// The keeper's round: spool, absence, deadlines.
    fn tick(&mut self) {
        self.after(250, Event::Tick);
        if !self.up {
            return;
        }
        self.read_spool();
        self.judge();
        self.watched_until = self.now;
    }

    fn judge(&mut self) {
        let now = Moment::from_millis(self.now);
        loop {
            let proposals = self.roster.advance(now);
            if proposals.is_empty() {
                return;
            }
            for proposal in proposals {
                self.observe(Some(proposal));
            }
        }
    }

    /// What the dead left unacknowledged lies on disk, and is no presence.
    fn read_spool(&mut self) {
        let long_gone = |process: &Process| process.ended.is_some_and(|ended| self.now >= ended + 2_500);
        let dead = self.runs.iter().filter(|(_, process)| long_gone(process));
        let found: Vec<(u128, u8)> = dead
            .flat_map(|(run, process)| {
                let voices = process.voices.keys();
                voices
                    .filter(|voice| **voice == WITNESS || leaves_a_spool(process.end))
                    .map(|voice| (*run, *voice))
            })
            .collect();
        for (run, voice) in found {
            self.deliver(run, voice);
        }
    }

    fn deliver(&mut self, run: u128, voice: u8) {
        let process = &self.runs[&run];
        let speaker = &process.voices[&voice];
        if speaker.acked.len() == speaker.said.len() {
            return;
        }
        let (slot, source, said) = (process.slot, speaker.source, speaker.said.clone());
        for ((at, what), seq) in said.into_iter().zip(1..) {
            self.take(run, slot, source, seq, at, what, false);
        }
        self.acknowledge(run, voice);
    }

    fn down(&mut self) {
        if !self.up {
            return;
        }
        self.note("the collector dies".into());
        self.up = false;
        let long = if self.chance.one_in(2) { 3_000 } else { 120_000 };
        let ms = self.chance.between(100, long);
        self.after(ms, Event::Up);
        for process in self.runs.values_mut() {
            for speaker in process.voices.values_mut() {
                speaker.linked = false;
            }
        }
    }

    /// Replay, then the spool, then the absence is told.
    fn come_back(&mut self) {
        self.note("the collector is back".into());
        let shown = said_by(&self.roster);
        self.roster = Roster::new(Rules::default());
        for (fact, live) in &self.journal {
            self.roster.step(fact);
            if *live {
                let _ = self.roster.heard(fact.id.run, fact.id.source, fact.taken);
            }
        }
        if said_by(&self.roster) != shown {
            self.told.replay_differs.push(self.now);
        }
        self.up = true;
        self.read_spool();
        let (from, to) = (Moment::from_millis(self.watched_until), Moment::from_millis(self.now));
        let id =
            FactId { run: COLLECTOR, source: Source::Observer, seq: self.roster.observer_seq(COLLECTOR) };
        let what = What::Away(Away { from, to });
        let fact = Fact { id, service: "l".into(), worker: "c".into(), taken: to, age_ms: 0, what };
        self.roster.step(&fact);
        self.journal.push((fact, false));
        self.told.absences.push((self.watched_until, self.now));
        self.watched_until = self.now;
    }

    fn heal(&mut self, slot: usize) {
        let Some(since) = self.cut_since.remove(&slot) else { return };
        self.note(format!("the network of w{slot} heals"));
        // Long enough to look dead: the last beat before it may be an interval old.
        let long = self.now - since + T + 5_000 >= SILENCE;
        for process in self.runs.values_mut().filter(|process| process.slot == slot) {
            process.cut |= long && process.ended.is_none_or(|ended| ended >= since);
        }
    }

    /// Writes down what the collector says now, where it is news.
    fn look(&mut self) {
        if !self.up {
            return;
        }
        let snapshot = self.roster.snapshot();
        for (run, class) in said_by(&self.roster) {
            if self.classes.get(&run) != Some(&class) {
                if class.is_some() || self.classes.contains_key(&run) {
                    self.note(format!("run {run} is {}", class.as_deref().unwrap_or("alive")));
                    self.told.said.push(Saying { run, at: self.now, class: class.clone() });
                }
                self.classes.insert(run, class);
            }
        }
        let open: BTreeSet<(String, String)> = snapshot
            .alerts(Moment::from_millis(self.now))
            .into_iter()
            .filter(|alert| alert.resolved.is_none())
            .map(|alert| (alert.worker.to_string(), alert.name.as_str().to_owned()))
            .collect();
        let before = std::mem::replace(&mut self.open, open.clone());
        for (open, (worker, name)) in open
            .difference(&before)
            .map(|ring| (true, ring))
            .chain(before.difference(&open).map(|ring| (false, ring)))
        {
            let word = if open { "opens" } else { "is resolved" };
            self.told.timeline.push(format!("{:>9} {name} of {worker} {word}", self.now));
            let (worker, name) = (worker.clone(), name.clone());
            self.told.alerts.push(Ring { worker, name, at: self.now, open });
        }
    }

    fn sum_up(mut self, until: u64) -> Told {
        for (run, process) in &self.runs {
            let ended = process.ended.unwrap_or(until);
            self.told.agent_hours += (ended - process.started) as f64 / 3_600_000.0;
            self.told.deeds.push(Deed {
                run: *run,
                worker: format!("w{}", process.slot),
                witnessed: process.voices.contains_key(&WITNESS),
                started: process.started,
                leaving: process.leaving.unwrap_or(until),
                ended,
                end: process.end,
                cut: process.cut,
            });
        }
        self.told.deeds.sort_by_key(|deed| deed.started);
        self.told.until = until;
        self.told
    }
}

/// KILL and a bare exit leave no spool of the process itself.
fn leaves_a_spool(end: End) -> bool {
    !matches!(end, End::Killed | End::Exited)
}

fn exit_of(end: End) -> Exit {
    let code = |code| Exit { code: Some(code), ..Exit::default() };
    match end {
        End::Alive | End::Stopped | End::Promised(_) | End::Done => code(0),
        End::Panicked => code(101),
        End::Exited => code(1),
        End::Killed => Exit { signal: Some("SIGKILL".into()), ..Exit::default() },
    }
}

/// What a process says before it is gone.
fn last_words(end: End, cause: &Cause) -> Vec<What> {
    let flushed = Step {
        name: "flush".into(),
        outcome: Some(StepOutcome::Ok),
        done: None,
        total: None,
        skipped: None,
        attempts: None,
        duration_ms: None,
        timeout_ms: None,
        error: None,
        why_skipped: None,
        failed_items: Vec::new(),
    };
    let cleanup = Some(Cleanup { steps: vec![flushed], ..Cleanup::default() });
    let asked = || What::Asked(Asked { cause: cause.clone(), deadline_ms: None });
    let fin = |hint, cause, cleanup, back_within_ms| {
        What::Final(Final { hint: Some(hint), cause, cleanup, back_within_ms })
    };
    match end {
        End::Alive | End::Killed | End::Exited => Vec::new(),
        End::Stopped => vec![asked(), fin(ClassHint::Shutdown, Some(cause.clone()), cleanup, None)],
        End::Promised(within) => {
            vec![asked(), fin(ClassHint::Shutdown, Some(cause.clone()), cleanup, Some(within))]
        }
        End::Done => vec![fin(ClassHint::Completed, None, None, None)],
        End::Panicked => {
            let panic = What::Panic(Panic { message: "x".into(), location: None });
            vec![panic, fin(ClassHint::Crashed, None, None, None)]
        }
    }
}

fn said_by(roster: &Roster) -> BTreeMap<u128, Option<String>> {
    let snapshot = roster.snapshot();
    let runs = snapshot.workers().iter().flat_map(|worker| worker.runs());
    runs.map(|run| (run.id().0, run.verdict().class().map(|class| class.as_str().to_owned()))).collect()
}
