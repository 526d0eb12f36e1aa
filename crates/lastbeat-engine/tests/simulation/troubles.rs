//! Troubles: what is done to processes, networks, hosts and the collector, as the script has it.

use lastbeat_engine::What;
use lastbeat_engine::fact::{PhaseTo, PlanEnd};

use crate::script::{End, Fate, Kind, Mode, Next, Whom};
use crate::told::{Cut, Window};
use crate::words;
use crate::world::{Event, World};

impl World<'_> {
    // ---- Troubles ----

    pub(crate) fn slots_of(&self, whom: Whom) -> Vec<usize> {
        let hit = |slot: &usize| match whom {
            Whom::Worker(one) => *slot == one,
            Whom::Host(host) => self.script.slots[*slot].host == host,
            Whom::Half => self.script.slots[*slot].host.is_multiple_of(2),
        };
        (0..self.script.slots.len()).filter(hit).collect()
    }

    pub(crate) fn trouble(&mut self, index: usize) {
        let script = self.script;
        let (number, kind) = (script.troubles[index].number, &script.troubles[index].kind);
        self.collector.mark(self.now, 13, u64::from(number));
        if !matches!(kind, Kind::End { .. }) {
            self.note(|| format!("#{number} {kind:?}"));
        }
        match *kind {
            Kind::End { slot, end, next } => {
                self.note(|| format!("#{number} w{slot:02}: {end:?}, {next:?}"));
                if let Some(run) = self.places[slot].run {
                    self.end(run, end, next);
                }
            }
            Kind::Hang { slot, ms, killed } => self.hang(slot, ms, killed),
            Kind::Suspend { slot, ms } => self.suspend(slot, ms),
            Kind::Phases { slot } => {
                if let Some(run) = self.places[slot].run {
                    self.phase(run, 0);
                }
            }
            // Who declared no reload and has a handler of its own takes it for a stop; that is an end, and no trouble.
            Kind::Hangup { slot }
                if !self.script.slots[slot].reload && self.script.slots[slot].mode.linked() => {}
            Kind::Hangup { slot } => {
                if let Some((run, voice)) =
                    self.idle(slot).and_then(|run| Some((run, self.lives[run as usize].witness?)))
                {
                    // The witness of a process that executed itself anew speaks under the first of its runs.
                    let run = self.voices[voice].run.max(run);
                    self.lives[run as usize].deed.hangups.push(self.now);
                    self.say(voice, words::hangup());
                }
            }
            Kind::WitnessKill { slot } => {
                if let Some((run, voice)) =
                    self.idle(slot).and_then(|run| Some((run, self.lives[run as usize].witness?)))
                    && self.voices[voice].run == run
                    && self.voices[voice].alive
                {
                    self.lives[run as usize].deed.orphaned = Some(self.now);
                    self.fall_silent(voice, true);
                }
            }
            Kind::AgentEnds { slot, fate } => {
                if let Some((run, voice)) =
                    self.idle(slot).and_then(|run| Some((run, self.lives[run as usize].own?)))
                {
                    if fate != Fate::CancelledByItsOwner {
                        self.lives[run as usize].deed.agent_crashed.get_or_insert((self.now, None));
                    }
                    self.say(voice, words::agent_ended(fate));
                }
            }
            Kind::Fork { slot, end, ms } => {
                if let Some(parent) = self.idle(slot) {
                    let child = self.give_birth(slot, Mode::Linked, Some(parent), None);
                    self.ready_in(child, 50);
                    self.after(ms, Event::ForkEnds(child, end));
                }
            }
            Kind::Cut { whom, ms } => {
                let slots = self.slots_of(whom);
                for slot in &slots {
                    self.places[*slot].cuts += 1;
                }
                let cut = Cut { slots, from: self.now, to: self.now + ms, half: whom == Whom::Half };
                self.collector.told.cuts.push(cut);
                self.after(ms, Event::Heal(self.collector.told.cuts.len() - 1));
            }
            Kind::Noise { whom, ms, loss, late } => {
                let slots = self.slots_of(whom);
                for slot in &slots {
                    (self.places[*slot].loss, self.places[*slot].late) = (loss, late);
                }
                let noise = Cut { slots, from: self.now, to: self.now + ms, half: false };
                self.collector.told.noises.push(noise);
                self.after(ms, Event::Calm(self.collector.told.noises.len() - 1));
            }
            Kind::PowerLoss { host, ms } => self.lose_power(host, ms),
            Kind::Crash { ms, again } => {
                self.again = again.filter(|_| !self.collector.down);
                self.go_down(ms, "is killed");
            }
            Kind::PowerCut { ms } => {
                self.power_cut = true;
                self.go_down(ms, "loses power");
            }
            Kind::Planned { ms } => {
                self.commit_all();
                self.go_down(ms, "restarts as planned");
            }
            Kind::Hold { ms } => {
                if self.collector.listens() {
                    self.collector.leave(self.now);
                    self.collector.held = true;
                    self.after(ms, Event::Release);
                }
            }
            Kind::SlowDisk { ms, commit } => {
                (self.slow_until, self.commit_ms) = (self.now + ms, commit);
            }
            Kind::Plan { kind, service, slot, ms, ends } => {
                // A command that finds no collector is given again.
                if !self.collector.listens() {
                    self.after(1_000, Event::Trouble(index));
                    return;
                }
                let of = |it: &usize| {
                    self.script.slots[*it].service == service && slot.is_none_or(|slot| slot == *it)
                };
                let slots = (0..self.script.slots.len()).filter(of).collect();
                self.collector.told.windows.push(Window { kind, slots, from: self.now, to: self.now + ms });
                let id = self.collector.told.windows.len() - 1;
                self.collector.announce(words::plan(id, kind, service, slot, ms), self.now);
                self.after(ends.unwrap_or(ms), Event::PlanEnds(id));
            }
        }
    }

    pub(crate) fn commit_all(&mut self) {
        let wait = std::mem::take(&mut self.commit_ms);
        self.commit();
        self.commit_ms = wait;
    }

    pub(crate) fn plan_ends(&mut self, id: usize) {
        let over = self.now >= self.collector.told.windows[id].to;
        if !over && !self.collector.listens() {
            self.after(1_000, Event::PlanEnds(id));
            return;
        }
        if !over {
            self.collector.told.windows[id].to = self.now;
            self.collector.announce(What::PlanEnd(PlanEnd { id: format!("p{id}").into() }), self.now);
        }
        if self.collector.listens() {
            self.collector.look_at_all(self.now);
        } else {
            self.after(1_000, Event::PlanEnds(id));
        }
    }

    /// The run of a slot, when nothing else is going on with it.
    pub(crate) fn idle(&self, slot: usize) -> Option<u32> {
        self.places[slot].run.filter(|run| {
            let life = &self.lives[*run as usize];
            life.alive
                && life.deed.ready.is_some()
                && life.deed.leaving == u64::MAX
                && !life.stopped
                && !life.hung
        })
    }

    pub(crate) fn hang(&mut self, slot: usize, ms: u64, killed: bool) {
        let Some(run) = self.idle(slot).filter(|run| self.lives[*run as usize].deed.pace.is_some()) else {
            return;
        };
        let life = &mut self.lives[run as usize];
        life.hung = true;
        life.deed.hangs.push((self.now, u64::MAX));
        self.after(ms, Event::Unhang(run, killed));
    }

    pub(crate) fn unhang(&mut self, run: u32, killed: bool) {
        let now = self.now;
        let life = &mut self.lives[run as usize];
        if !life.alive {
            return;
        }
        if let Some(hang) = life.deed.hangs.last_mut() {
            hang.1 = now;
        }
        self.note(|| format!("run {run} works again, or is killed"));
        // Who is killed in a hang does nothing more, not even in its last millisecond.
        if killed {
            self.end(run, End::Watchdog, Next { after: Some(2_000), ready: 200, fails: None });
        } else {
            self.lives[run as usize].hung = false;
        }
    }

    pub(crate) fn suspend(&mut self, slot: usize, ms: u64) {
        let Some(run) = self.idle(slot) else { return };
        let life = &mut self.lives[run as usize];
        life.stopped = true;
        life.deed.suspended.push((self.now, u64::MAX));
        let witness = life.witness;
        if let Some(voice) = witness {
            self.say(voice, What::Stopped);
            self.after(60_000 + 100, Event::Look(slot));
            self.after(61_000, Event::Look(slot));
        }
        self.after(ms, Event::Continue(run));
    }

    pub(crate) fn go_on(&mut self, run: u32) {
        let now = self.now;
        let life = &mut self.lives[run as usize];
        if !life.alive {
            return;
        }
        life.stopped = false;
        if let Some(held) = life.deed.suspended.last_mut() {
            held.1 = now;
        }
        let witness = life.witness;
        self.note(|| format!("run {run} goes on"));
        if let Some(voice) = witness {
            self.say(voice, What::Continued);
        }
    }

    pub(crate) fn phase(&mut self, run: u32, turn: u8) {
        let life = &self.lives[run as usize];
        let free = life.alive && life.deed.leaving == u64::MAX && !life.stopped && life.deed.ready.is_some();
        let to =
            [PhaseTo::Paused, PhaseTo::Running, PhaseTo::Draining, PhaseTo::Running].get(usize::from(turn));
        if let (true, Some(to), Some(voice)) = (free, to, life.own) {
            self.say(voice, words::phase(*to));
            self.after(7_000, Event::Phase(run, turn + 1));
        }
    }

    /// All processes of a host are gone at once, with their witnesses, their unsent words, and no socket closes.
    pub(crate) fn lose_power(&mut self, host: usize, ms: u64) {
        if std::mem::replace(&mut self.off[host], true) {
            return;
        }
        for run in 0..self.lives.len() {
            let life = &mut self.lives[run];
            if life.deed.host != host {
                continue;
            }
            let slot = life.deed.slot;
            let witness_speaks = life.witness.is_some_and(|voice| self.voices[voice].alive);
            if life.alive {
                life.alive = false;
                life.deed.leaving = life.deed.leaving.min(self.now);
                life.deed.ended = self.now;
                life.deed.end = End::PowerLost;
                if life.deed.parent.is_none() {
                    self.places[slot].run = None;
                    let ready = life.chance.between(100, 1_000);
                    self.places[slot].next = Next { after: None, ready, fails: None };
                    let after = ms + life.chance.between(1_000, 30_000);
                    self.after(after, Event::Start(slot));
                }
            } else if !witness_speaks {
                continue;
            }
            let life = &self.lives[run];
            for voice in life.own.into_iter().chain(life.witness) {
                let speaker = &mut self.voices[voice];
                speaker.lost |= speaker.alive;
                speaker.alive = false;
                speaker.linked = false;
            }
        }
        self.collector.told.boots.push((host, self.now, self.now + ms));
        self.after(ms, Event::Boot(host));
    }

    pub(crate) fn boot(&mut self, host: usize) {
        self.off[host] = false;
        self.boots[host] += 1;
        self.note(|| format!("h{host} boots"));
    }

    pub(crate) fn heal(&mut self, index: usize) {
        for slot in self.collector.told.cuts[index].slots.clone() {
            self.places[slot].cuts -= 1;
        }
        self.note(|| format!("cut {index} heals"));
    }

    pub(crate) fn calm(&mut self, index: usize) {
        for slot in self.collector.told.noises[index].slots.clone() {
            (self.places[slot].loss, self.places[slot].late) = (0, 0);
        }
    }
}
