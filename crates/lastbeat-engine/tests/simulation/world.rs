//! The world: processes with clients and witnesses, networks that are cut and heal, hosts that lose power, and a
//! collector that dies and comes back, on a virtual clock.
//!
//! The client and the witness are played by the contract of the link: facts in order, sent again until they are
//! acknowledged, a new link begins with a start, what is left at the end lies in a spool that somebody reads later.
//!
//! Invariant: a beat builds no string and touches no map of the world; most of all life is beats.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lastbeat_engine::ending::Exit;
use lastbeat_engine::fact::FactId;
use lastbeat_engine::{Rules, Source, What};

use crate::collector::Collector;
use crate::random::Random;
use crate::script::{End, Mode, Next, Script};
use crate::told::{Deed, Told};
use crate::words::{self, Act, Birth};

/// From a closed link to a loss (D1): a shorter gap is none.
pub(crate) const LINK: u64 = 10_000;
/// What lies in a spool is looked for so long after its writer's end.
const SPOOL: u64 = 2_500;
/// The spools of this host are read by the collector, which runs there.
pub(crate) const NEAR: usize = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The next process of a slot starts.
    Start(usize),
    Act(u32, usize),
    Leave(u32, u64),
    /// A speaker beats and sends what waits.
    Beat(usize),
    /// A speaker without a link tries to get one.
    Dial(usize),
    /// What was said and not answered is sent again.
    Retry(usize),
    /// A message on a link arrives: everything up to this word.
    Arrive(usize, u64, usize),
    /// The socket is seen closed.
    Close(usize, u64),
    /// The journal has synced what came.
    Commit,
    Trouble(usize),
    /// The collector starts again.
    Up,
    /// It dies in its recovery, and is back so long after.
    DownAgain(u64),
    Release,
    Heal(usize),
    Calm(usize),
    Boot(usize),
    Continue(u32),
    Unhang(u32, bool),
    Phase(u32, u8),
    ForkEnds(u32, End),
    /// Somebody reads what a dead process left.
    Spool(u32),
    /// Time alone may have changed an alert.
    Look(usize),
    WitnessEnds(u32),
    PlanEnds(usize),
}

/// One voice of one run.
pub(crate) struct Voice {
    pub(crate) run: u32,
    pub(crate) source: Source,
    pub(crate) said: Vec<(u64, What)>,
    pub(crate) acked: usize,
    pub(crate) link: u64,
    /// The newest link that the collector knows.
    pub(crate) known_link: u64,
    pub(crate) linked: bool,
    pub(crate) dialing: bool,
    pub(crate) retrying: bool,
    /// The newest link that the collector has seen closed.
    pub(crate) closed: u64,
    /// It still speaks; else what is left lies in a spool.
    pub(crate) alive: bool,
    /// What it had not delivered is gone with it.
    pub(crate) lost: bool,
    pub(crate) last_ack: u64,
    pub(crate) chance: Random,
}

/// One run.
pub(crate) struct Life {
    pub(crate) deed: Deed,
    pub(crate) alive: bool,
    pub(crate) own: Option<usize>,
    pub(crate) witness: Option<usize>,
    pub(crate) acts: Vec<(u64, Act)>,
    pub(crate) exit: Exit,
    pub(crate) next: Next,
    pub(crate) pid: u32,
    pub(crate) stopped: bool,
    pub(crate) hung: bool,
    pub(crate) counter: u64,
    pub(crate) own_heard: u64,
    pub(crate) chance: Random,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) run: Option<u32>,
    pub(crate) next: Next,
    pub(crate) cuts: u32,
    pub(crate) loss: u64,
    pub(crate) late: u64,
    pub(crate) lives: u64,
}

pub(crate) struct World<'a> {
    pub(crate) script: &'a Script,
    pub(crate) now: u64,
    pub(crate) events: BinaryHeap<Reverse<(u64, u32, Event)>>,
    pub(crate) order: u32,
    pub(crate) collector: Collector,
    pub(crate) lives: Vec<Life>,
    pub(crate) voices: Vec<Voice>,
    pub(crate) places: Vec<Place>,
    pub(crate) boots: Vec<u32>,
    pub(crate) off: Vec<bool>,
    pub(crate) links: u64,
    /// Received and not synced: speaker, link, up to, and when.
    pub(crate) unsynced: Vec<(usize, u64, usize, u64)>,
    /// Came while the collector was held.
    pub(crate) inbox: Vec<Event>,
    pub(crate) commit_ms: u64,
    pub(crate) slow_until: u64,
    pub(crate) again: Option<u64>,
    pub(crate) power_cut: bool,
    pub(crate) chance: Random,
}

impl<'a> World<'a> {
    /// Plays a script to its end.
    pub(crate) fn play(script: &'a Script, rules: &Rules, record: bool) -> Told {
        let next = Next { after: None, ready: 300, fails: None };
        let place = Place { run: None, next, cuts: 0, loss: 0, late: 0, lives: 0 };
        let mut world = World {
            script,
            now: crate::script::DAWN,
            events: BinaryHeap::with_capacity(1_024),
            order: 0,
            collector: Collector::new(script, rules, record),
            lives: Vec::new(),
            voices: Vec::new(),
            places: vec![place; script.slots.len()],
            boots: vec![0; script.hosts],
            off: vec![false; script.hosts],
            links: 0,
            unsynced: Vec::new(),
            inbox: Vec::new(),
            commit_ms: 0,
            slow_until: 0,
            again: None,
            power_cut: false,
            chance: Random::of(script.seed, 1),
        };
        for (slot, it) in script.slots.iter().enumerate().filter(|(_, it)| it.begins != u64::MAX) {
            world.at(it.begins, Event::Start(slot));
        }
        for (index, trouble) in script.troubles.iter().enumerate() {
            world.at(trouble.at, Event::Trouble(index));
        }
        world.run();
        world.sum_up()
    }

    fn run(&mut self) {
        while let Some(Reverse((at, ..))) = self.events.peek().copied() {
            let next = at.min(self.script.until);
            // The collector sleeps until the next deadline, and is woken a little late.
            if let Some(due) = self.collector.wakes().map(|due| due + self.script.lag)
                && due <= next
            {
                self.now = self.now.max(due);
                self.collector.judge(self.now);
                self.collector.settle(self.now);
                continue;
            }
            if at > self.script.until {
                break;
            }
            let Some(Reverse((_, _, event))) = self.events.pop() else { break };
            self.now = self.now.max(at);
            self.happen(event);
            self.collector.settle(self.now);
        }
        self.now = self.script.until;
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        self.collector.note(self.now, what);
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Start(slot) => self.start(slot),
            Event::Act(run, index) => self.act(run, index),
            Event::Leave(run, until) => self.leave(run, until),
            Event::Beat(voice) => self.beat(voice),
            Event::Dial(voice) => self.dial(voice),
            Event::Retry(voice) => self.retry(voice),
            Event::Arrive(voice, link, upto) => self.arrive(voice, link, upto),
            Event::Close(voice, link) => self.close(voice, link),
            Event::Commit => self.commit(),
            Event::Trouble(index) => self.trouble(index),
            Event::Up => self.come_back(),
            Event::DownAgain(ms) => self.go_down(ms, "dies in its recovery"),
            Event::Release => self.release(),
            Event::Heal(index) => self.heal(index),
            Event::Calm(index) => self.calm(index),
            Event::Boot(host) => self.boot(host),
            Event::Continue(run) => self.go_on(run),
            Event::Unhang(run, killed) => self.unhang(run, killed),
            Event::Phase(run, turn) => self.phase(run, turn),
            Event::ForkEnds(run, end) => self.end(run, end, Next { after: None, ready: 0, fails: None }),
            Event::Spool(run) => self.spool(run),
            Event::Look(slot) => {
                if self.collector.listens() {
                    self.collector.look(slot, self.now);
                }
            }
            Event::WitnessEnds(run) => self.witness_ends(run),
            Event::PlanEnds(index) => self.plan_ends(index),
        }
    }

    // ---- Processes ----

    pub(crate) fn start(&mut self, slot: usize) {
        let it = &self.script.slots[slot];
        // A host that is off starts nobody; its supervisor does when it is on again.
        if self.off[it.host] {
            self.after(1_000, Event::Start(slot));
            return;
        }
        if self.places[slot].run.is_some() {
            return;
        }
        let next = self.places[slot].next;
        let mode = it.mode;
        let run = self.give_birth(slot, mode, None, None);
        self.places[slot].run = Some(run);
        self.places[slot].next.fails = None;
        if mode == Mode::Unlinked {
            self.lives[run as usize].deed.ready = Some(self.now);
        }
        if let Some(fails) = next.fails {
            let after = if fails == End::Unready { 70_000 } else { next.ready };
            // The next attempt is a good one.
            let then = Next { after: Some(next.ready * 4), ready: next.ready, fails: None };
            self.lives[run as usize].next = then;
            self.after(after, Event::ForkEnds(run, fails));
        } else {
            self.ready_in(run, next.ready);
        }
        for older in 0..run {
            if self.lives[older as usize].deed.slot == slot {
                self.after(1_000, Event::Spool(older));
            }
        }
    }

    /// A process says that it is ready so many ms from now. A program that is not linked was so when it started.
    pub(crate) fn ready_in(&mut self, run: u32, ms: u64) {
        let life = &mut self.lives[run as usize];
        if !life.deed.mode.linked() {
            return;
        }
        life.acts = vec![(0, Act::Own(What::Ready))];
        self.after(ms, Event::Act(run, 0));
    }

    pub(crate) fn give_birth(
        &mut self,
        slot: usize,
        mode: Mode,
        parent: Option<u32>,
        same_as: Option<u32>,
    ) -> u32 {
        let it = &self.script.slots[slot];
        let run = u32::try_from(self.lives.len()).unwrap_or(u32::MAX);
        self.places[slot].lives += 1;
        let chance =
            Random::of(self.script.seed, 1_000 + u64::from(it.number) * 1_000 + self.places[slot].lives);
        let pid = same_as.map_or(run + 100, |older| self.lives[older as usize].pid);
        let pace = it.pace.filter(|_| parent.is_none() && mode.linked());
        let deed = Deed {
            run,
            slot,
            host: it.host,
            mode,
            interval: it.interval,
            started: self.now,
            ready: None,
            ready_heard: None,
            start_heard: None,
            asked_heard: None,
            final_heard: None,
            exit_heard: None,
            last_heard: 0,
            leaving: u64::MAX,
            said_back: None,
            final_at: None,
            deadline: None,
            extended: 0,
            ended: u64::MAX,
            end: End::Alive,
            back: it.back.filter(|_| mode.witnessed()),
            hangups: Vec::new(),
            reload: it.reload,
            orphaned: None,
            orphaned_heard: None,
            closed_heard: None,
            parent,
            same_as,
            hangs: Vec::new(),
            pace,
            suspended: Vec::new(),
            agent_crashed: None,
            gaps: Vec::new(),
            own_gaps: Vec::new(),
            asker: None,
            class: None,
            cause: None,
            cleanup: None,
            changes: 0,
            amended: 0,
        };
        let birth = Birth {
            interval: it.interval,
            host: it.host,
            boot: self.boots[it.host],
            pid,
            parent: parent.map(crate::collector::id),
            goodbye: mode.linked(),
            reload: it.reload,
            back: it.back,
        };
        self.lives.push(Life {
            deed,
            alive: true,
            own: None,
            witness: None,
            acts: Vec::new(),
            exit: Exit::default(),
            next: Next { after: None, ready: 300, fails: None },
            pid,
            stopped: false,
            hung: false,
            counter: 0,
            own_heard: 0,
            chance,
        });
        self.collector.expect(same_as);
        self.note(|| {
            format!("run {run} of w{slot:02} on h{} starts, {mode:?}, T {} ms", it.host, it.interval)
        });
        if mode.witnessed() {
            let voice = self.add_voice(run, Source::Witness);
            self.lives[run as usize].witness = Some(voice);
            self.voices[voice].said.push((self.now, words::witness_start(&birth, !mode.linked())));
        }
        if mode.linked() {
            let voice = self.add_voice(run, Source::Own);
            self.lives[run as usize].own = Some(voice);
            self.voices[voice].said.push((self.now, What::Start(words::start(&birth))));
            if let Some(every) = pace {
                self.voices[voice].said.push((self.now, words::agent_at_work(every)));
            }
        }
        run
    }

    pub(crate) fn add_voice(&mut self, run: u32, source: Source) -> usize {
        let voice = self.voices.len();
        let chance = Random::of(self.lives[run as usize].chance.next(), source as u64);
        self.voices.push(Voice {
            run,
            source,
            said: Vec::new(),
            acked: 0,
            link: 0,
            known_link: 0,
            linked: false,
            dialing: true,
            retrying: false,
            closed: 0,
            alive: true,
            lost: false,
            last_ack: self.now,
            chance,
        });
        self.after(1, Event::Dial(voice));
        self.after(self.interval(voice), Event::Beat(voice));
        voice
    }

    pub(crate) fn interval(&self, voice: usize) -> u64 {
        self.lives[self.voices[voice].run as usize].deed.interval
    }

    pub(crate) fn say(&mut self, voice: usize, what: What) {
        let now = self.now;
        let deed = &mut self.lives[self.voices[voice].run as usize].deed;
        if let What::Final(fin) = &what {
            deed.final_at = Some(now);
            deed.said_back = fin.back_within_ms;
        }
        self.voices[voice].said.push((now, what));
        self.send(voice);
    }

    fn act(&mut self, run: u32, index: usize) {
        let life = &self.lives[run as usize];
        let Some((_, act)) = life.acts.get(index).filter(|_| life.alive) else { return };
        let act = act.clone();
        let next = life.acts.get(index + 1).map(|(wait, _)| *wait);
        let (own, witness) = (life.own, life.witness);
        match act {
            Act::Own(what) => {
                if what == What::Ready {
                    self.lives[run as usize].deed.ready = Some(self.now);
                }
                if let Some(voice) = own {
                    self.say(voice, what);
                }
            }
            Act::Wit(what) => {
                if let Some(voice) = witness {
                    self.say(voice, what);
                }
            }
            Act::Leave => self.leave(run, self.now + 2_000),
            Act::Die => self.die(run),
        }
        if let Some(wait) = next {
            self.after(wait, Event::Act(run, index + 1));
        }
    }

    /// What fate has for a process, if it is ready for it.
    pub(crate) fn end(&mut self, run: u32, end: End, next: Next) {
        let early = matches!(end, End::NeverReady | End::Unready);
        let life = &mut self.lives[run as usize];
        let busy = life.deed.leaving != u64::MAX || life.stopped || life.hung && end != End::Watchdog;
        if !life.alive || busy || (life.deed.ready.is_none() && !early) {
            return;
        }
        let next = if early || life.deed.parent.is_some() { life.next } else { next };
        life.deed.leaving = self.now;
        life.deed.end = end;
        life.next = next;
        life.acts = words::acts(end, life.deed.mode, &mut life.chance);
        life.deed.asker = words::asker(&life.acts);
        life.exit = words::exit_of(end, life.deed.mode, &mut life.chance);
        if end == End::TimedOut {
            life.deed.deadline = Some(self.now + words::STOP);
        }
        let (slot, first) = (life.deed.slot, life.acts.first().map_or(0, |(wait, _)| *wait));
        self.note(|| format!("run {run} of w{slot:02} ends: {end:?}"));
        self.collector.mark(self.now, 11, u64::from(run));
        self.after(first, Event::Act(run, 0));
    }

    pub(crate) fn leave(&mut self, run: u32, until: u64) {
        let life = &self.lives[run as usize];
        if !life.alive {
            return;
        }
        let waits = life.own.is_some_and(|voice| self.voices[voice].acked < self.voices[voice].said.len());
        if waits && self.now < until {
            self.after(20, Event::Leave(run, until));
        } else {
            self.die(run);
        }
    }

    pub(crate) fn die(&mut self, run: u32) {
        let life = &mut self.lives[run as usize];
        life.alive = false;
        life.deed.ended = self.now;
        let (slot, end, next, own) = (life.deed.slot, life.deed.end, life.next, life.own);
        let (exit, parent) = (life.exit.clone(), life.deed.parent);
        self.note(|| format!("run {run} of w{slot:02} is gone"));
        if let Some(voice) = own {
            self.fall_silent(voice, !words::leaves_a_spool(end) && end != End::Reexecuted);
        }
        if parent.is_some() {
            self.after(SPOOL, Event::Spool(run));
            return;
        }
        self.places[slot].run = None;
        if end == End::Reexecuted {
            self.execute_anew(slot, run, next);
            return;
        }
        // The witness of a process that executed itself anew speaks under the first of its runs.
        if let Some(voice) = self.lives[run as usize].witness {
            self.say(voice, What::Exit(exit));
            self.after(3_000, Event::WitnessEnds(self.voices[voice].run));
        }
        self.after(SPOOL, Event::Spool(run));
        // Children do not outlive their parent here: their own end is an end without a word.
        for child in 0..self.lives.len() {
            if self.lives[child].alive && self.lives[child].deed.parent == Some(run) {
                let child = self.lives[child].deed.run;
                self.end(child, End::Killed, Next { after: None, ready: 0, fails: None });
            }
        }
        self.places[slot].next = next;
        if let Some(after) = next.after {
            self.after(after, Event::Start(slot));
        }
    }

    pub(crate) fn execute_anew(&mut self, slot: usize, old: u32, next: Next) {
        let run = self.give_birth(slot, Mode::Linked, None, Some(old));
        self.places[slot].run = Some(run);
        // The witness stays with the process, under the run it began with.
        self.lives[run as usize].witness = self.lives[old as usize].witness;
        if let Some(voice) = self.lives[old as usize].own {
            self.voices[voice].lost = false;
        }
        self.after(SPOOL, Event::Spool(old));
        self.ready_in(run, next.ready);
    }

    pub(crate) fn fall_silent(&mut self, voice: usize, lost: bool) {
        let speaker = &mut self.voices[voice];
        speaker.alive = false;
        speaker.lost = lost;
        if std::mem::take(&mut speaker.linked) {
            let (link, ms) = (speaker.link, speaker.chance.between(20, 90));
            self.after(ms, Event::Close(voice, link));
        }
    }

    pub(crate) fn witness_ends(&mut self, run: u32) {
        if let Some(voice) = self.lives[run as usize].witness.filter(|voice| self.voices[*voice].alive) {
            self.fall_silent(voice, false);
            self.after(0, Event::Spool(run));
        }
    }

    fn sum_up(mut self) -> Told {
        let until = self.script.until;
        // I5: what was acknowledged is in the journal, whatever became of the collector.
        let journal = self.collector.journaled();
        for voice in &self.voices {
            let id = |seq| FactId { run: crate::collector::id(voice.run), source: voice.source, seq };
            if !(1..=voice.acked as u64).all(|seq| journal.contains(&id(seq))) {
                self.collector.told.unsafe_acks.push(voice.run);
            }
        }
        for life in &mut self.lives {
            let deed = &mut life.deed;
            (deed.ended, deed.leaving) = (deed.ended.min(until), deed.leaving.min(until));
            // A late double of a message may come after the end.
            deed.gaps.push((deed.last_heard, deed.ended.max(deed.last_heard)));
            deed.own_gaps.push((life.own_heard, deed.ended.max(life.own_heard)));
            for (_, to) in deed.hangs.iter_mut().chain(&mut deed.suspended) {
                *to = (*to).min(deed.ended);
            }
            self.collector.told.agent_ms += deed.ended - deed.started;
            self.collector.told.deeds.push(deed.clone());
        }
        self.collector.sum_up()
    }
}

/// The full silence timeout: max(6T, 15 s).
pub(crate) const fn silence_of(interval: u64) -> u64 {
    if interval * 6 > 15_000 { interval * 6 } else { 15_000 }
}
