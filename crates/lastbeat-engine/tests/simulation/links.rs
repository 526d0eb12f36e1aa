//! Links, spools, and the collector's comings and goings.

use lastbeat_engine::ending::AgentEnd;
use lastbeat_engine::fact::AgentStatus;
use lastbeat_engine::{Source, What};

use crate::collector::Word;
use crate::script::Mode;
use crate::words;
use crate::world::{Event, LINK, Life, NEAR, Place, World, silence_of};

impl World<'_> {
    // ---- Links ----

    pub(crate) fn is_cut(&self, voice: usize) -> bool {
        self.places[self.lives[self.voices[voice].run as usize].deed.slot].cuts > 0
    }

    /// Each interval: a beat, and what waits.
    pub(crate) fn beat(&mut self, voice: usize) {
        let interval = self.interval(voice);
        let life = &mut self.lives[self.voices[voice].run as usize];
        let speaker = &mut self.voices[voice];
        if !speaker.alive {
            return;
        }
        let jitter = speaker.chance.between(0, 30);
        let stopped = life.stopped && speaker.source == Source::Own;
        if speaker.source == Source::Own && !life.hung && !stopped {
            life.counter += 1;
        }
        self.after(interval + jitter, Event::Beat(voice));
        if stopped {
            return;
        }
        let speaker = &self.voices[voice];
        if speaker.linked && self.now.saturating_sub(speaker.last_ack) > interval.max(2_000) * 2 {
            // No answer for too long: the client drops the socket and dials again.
            let link = speaker.link;
            self.voices[voice].linked = false;
            self.after(30, Event::Close(voice, link));
            self.redial(voice);
        }
        if self.voices[voice].linked {
            self.send(voice);
        }
    }

    pub(crate) fn redial(&mut self, voice: usize) {
        let speaker = &mut self.voices[voice];
        if !std::mem::replace(&mut speaker.dialing, true) {
            let ms = speaker.chance.between(300, 3_000);
            self.after(ms, Event::Dial(voice));
        }
    }

    pub(crate) fn dial(&mut self, voice: usize) {
        let life = &self.lives[self.voices[voice].run as usize];
        let Place { cuts, late, .. } = self.places[life.deed.slot];
        let speaker = &mut self.voices[voice];
        let stopped = life.stopped && speaker.source == Source::Own;
        speaker.dialing = false;
        if !speaker.alive || speaker.linked {
            return;
        }
        // Nobody answers: a stopped collector's kernel does, a dead one's and a cut network do not.
        if cuts > 0 || stopped || self.collector.down {
            self.redial(voice);
            return;
        }
        self.links += 1;
        speaker.link = self.links;
        speaker.linked = true;
        speaker.last_ack = self.now;
        // The greeting on a new link is offered until it is answered: it is late at worst.
        let (link, upto) = (speaker.link, speaker.said.len());
        let ms = speaker.chance.between(1, late.max(20));
        self.after(ms, Event::Arrive(voice, link, upto));
        self.send(voice);
    }

    /// One message on the voice's link, with all that is not acknowledged. A cut network loses it.
    pub(crate) fn send(&mut self, voice: usize) {
        let slot = self.lives[self.voices[voice].run as usize].deed.slot;
        let place = self.places[slot];
        let speaker = &mut self.voices[voice];
        if !speaker.linked {
            return;
        }
        let (link, upto) = (speaker.link, speaker.said.len());
        if upto > speaker.acked && !std::mem::replace(&mut speaker.retrying, true) {
            self.after(1_000, Event::Retry(voice));
        }
        if place.cuts > 0 {
            return;
        }
        let speaker = &mut self.voices[voice];
        if place.loss > 0 {
            if speaker.chance.one_in(place.loss) {
                return;
            }
            let ms = speaker.chance.between(1, place.late);
            let twice = speaker.chance.one_in(5).then(|| speaker.chance.between(1, place.late));
            self.after(ms, Event::Arrive(voice, link, upto));
            if let Some(ms) = twice {
                self.after(ms, Event::Arrive(voice, link, upto));
            }
            return;
        }
        if self.script.drizzle > 0 && speaker.chance.one_in(self.script.drizzle) {
            return;
        }
        if upto == speaker.acked {
            // A plain beat on a good day: its few milliseconds on the way change nothing.
            self.arrive(voice, link, upto);
        } else {
            let ms = speaker.chance.between(1, 20);
            self.after(ms, Event::Arrive(voice, link, upto));
        }
    }

    /// Facts are offered every second until they are acknowledged; beats are not.
    pub(crate) fn retry(&mut self, voice: usize) {
        let speaker = &mut self.voices[voice];
        speaker.retrying = false;
        if speaker.acked < speaker.said.len() && speaker.alive && !self.is_stopped(voice) {
            self.send(voice);
        }
    }

    fn is_stopped(&self, voice: usize) -> bool {
        let speaker = &self.voices[voice];
        self.lives[speaker.run as usize].stopped && speaker.source == Source::Own
    }

    pub(crate) fn arrive(&mut self, voice: usize, link: u64, upto: usize) {
        // A dead collector answers nobody, and a link that it dropped carries nothing.
        if self.collector.down || self.is_cut(voice) {
            return;
        }
        if self.collector.held {
            self.inbox.push(Event::Arrive(voice, link, upto));
            return;
        }
        let speaker = &self.voices[voice];
        if speaker.link != link && speaker.alive || speaker.closed >= link {
            return;
        }
        if speaker.acked < upto {
            if self.now < self.slow_until {
                self.unsynced.push((voice, link, upto, self.now));
                self.after(self.commit_ms, Event::Commit);
                return;
            }
            self.accept(voice, upto, self.now);
        }
        self.hear(voice, link, self.now);
    }

    /// A live word came: who was silent is not any more.
    pub(crate) fn hear(&mut self, voice: usize, link: u64, at: u64) {
        let speaker = &mut self.voices[voice];
        let (run, source) = (speaker.run, speaker.source);
        if speaker.known_link != link {
            speaker.known_link = link;
            self.collector.link(run, source, link);
        }
        // One answer in fifty is lost on the way.
        let speaker = &mut self.voices[voice];
        if speaker.acked == speaker.said.len() || !speaker.chance.one_in(50) {
            speaker.last_ack = self.now;
        }
        let life = &mut self.lives[run as usize];
        let silence = silence_of(life.deed.interval);
        let last = std::mem::replace(&mut life.deed.last_heard, self.now);
        let closed =
            life.deed.closed_heard.filter(|closed| *closed >= last && self.now - closed + 500 >= LINK);
        if last > 0 && (self.now - last + 1_000 > silence || closed.is_some()) {
            life.deed.gaps.push((last, self.now));
        }
        if source == Source::Own {
            let last = std::mem::replace(&mut life.own_heard, self.now);
            if last > 0 && self.now - last + 1_000 > silence {
                life.deed.own_gaps.push((last, self.now));
            }
        }
        let paced = life.deed.pace.is_some() && source == Source::Own;
        let counter = life.counter;
        self.collector.hear(run, source, at);
        if paced {
            self.collector.count(run, counter, at);
        }
    }

    /// The collector takes what one voice said, and says that it is safe.
    pub(crate) fn accept(&mut self, voice: usize, upto: usize, at: u64) {
        let run = self.voices[voice].run;
        let exits = self.voices[voice].said[..upto].iter().any(|(_, what)| matches!(what, What::Exit(_)));
        // D4: a witness delivers what its child left in the spool, before the exit.
        if exits && let Some(own) = self.child_of(voice) {
            self.deliver(own);
        }
        self.take(voice, upto, at, true);
        let lossy = self.places[self.lives[run as usize].deed.slot].loss > 0;
        let speaker = &mut self.voices[voice];
        // An answer may be lost; then all of it comes again.
        if !(lossy && speaker.chance.one_in(5)) {
            speaker.acked = speaker.acked.max(upto);
        }
    }

    /// The voice of a dead child whose spool this witness reads.
    pub(crate) fn child_of(&self, witness: usize) -> Option<usize> {
        let of = |life: &Life| (life.witness == Some(witness) && !life.alive).then_some(life.own).flatten();
        self.lives.iter().rev().find_map(of).filter(|own| !self.voices[*own].lost)
    }

    pub(crate) fn take(&mut self, voice: usize, upto: usize, at: u64, live: bool) {
        let speaker = &mut self.voices[voice];
        let (run, source, from) = (speaker.run, speaker.source, speaker.acked);
        let said: Vec<(usize, (u64, What))> =
            (from..upto).map(|index| (index, speaker.said[index].clone())).collect();
        let deed = &self.lives[run as usize].deed;
        let (slot, noisy) = (deed.slot, self.places[deed.slot].loss > 0);
        let order: Vec<usize> = if noisy && live && self.voices[voice].chance.one_in(2) {
            // Out of order, but a new link begins with the start.
            let start = said.iter().take_while(|(index, _)| *index == 0).count();
            (0..start).chain((start..said.len()).rev()).collect()
        } else {
            (0..said.len()).collect()
        };
        for place in order {
            let (index, (spoken, what)) = &said[place];
            // The age that a sender tells is its own affair, and may be somewhat wrong; receipt counts.
            let lie = if index % 3 == 2 { u64::from(run % 4) * 100 } else { 0 };
            let age_ms = at - spoken + lie;
            let word = Word { run, slot, source, seq: *index as u64 + 1, age_ms, what, live };
            if self.collector.take(&word, at) {
                self.heard_of(run, what);
            }
        }
    }

    /// Writes down what the collector has received now.
    pub(crate) fn heard_of(&mut self, run: u32, what: &What) {
        let now = self.now;
        let deed = &mut self.lives[run as usize].deed;
        let heard = match what {
            What::Start(_) | What::WitnessStart(_) => &mut deed.start_heard,
            What::Ready => &mut deed.ready_heard,
            What::SignalSeen(_) if *what == words::hangup() => return,
            What::Asked(_) | What::SignalSeen(_) => &mut deed.asked_heard,
            What::Final(_) => &mut deed.final_heard,
            What::Exit(_) => &mut deed.exit_heard,
            What::Extend(extend) => {
                deed.extended += extend.by_ms;
                return;
            }
            What::Agent(agent)
                if matches!(
                    agent.status,
                    AgentStatus::Ended(AgentEnd::Crashed | AgentEnd::CancelledUnexpected)
                ) =>
            {
                if let Some((_, heard)) = &mut deed.agent_crashed {
                    *heard = Some(now);
                }
                return;
            }
            _ => return,
        };
        heard.get_or_insert(now);
        if matches!(what, What::WitnessStart(_)) && deed.mode == Mode::Unlinked {
            deed.ready_heard.get_or_insert(now);
        }
        // Alerts that stand until somebody was steady for a minute, or begin after one.
        if matches!(what, What::Ready | What::WitnessStart(_)) {
            let slot = deed.slot;
            self.after(60_001, Event::Look(slot));
        }
    }

    pub(crate) fn close(&mut self, voice: usize, link: u64) {
        // A cut network hides the close until it heals; a collector that was away has no such socket any more.
        if self.collector.down {
            return;
        }
        if self.is_cut(voice) {
            self.after(1_000, Event::Close(voice, link));
            return;
        }
        if self.collector.held {
            self.inbox.push(Event::Close(voice, link));
            return;
        }
        let speaker = &mut self.voices[voice];
        speaker.closed = speaker.closed.max(link);
        let (run, source) = (speaker.run, speaker.source);
        let deed = &mut self.lives[run as usize].deed;
        if speaker.known_link == link {
            deed.closed_heard = Some(self.now);
        }
        if source == Source::Witness && deed.orphaned.is_some() {
            deed.orphaned_heard.get_or_insert(self.now);
            let (slot, interval) = (deed.slot, deed.interval);
            for beats in 1..=6 {
                self.after(LINK + interval * beats + 500, Event::Look(slot));
            }
        }
        self.collector.unlink(run, source, link, self.now);
    }

    // ---- Spools ----

    /// Somebody tries to deliver what a dead process left: the collector on its own host, the next run there, and
    /// in the end `lastbeat flush`.
    pub(crate) fn spool(&mut self, run: u32) {
        let life = &self.lives[run as usize];
        let (slot, host) = (life.deed.slot, life.deed.host);
        let mut voices: Vec<usize> = life.own.into_iter().chain(life.witness).collect();
        voices.retain(|voice| {
            let it = &self.voices[*voice];
            it.run == run && !it.alive && !it.lost && it.acked < it.said.len()
        });
        if voices.is_empty() {
            return;
        }
        let flushed = self.now + crate::script::REST > self.script.until;
        let someone = host == NEAR || flushed || self.places[slot].run.is_some();
        let reachable =
            self.collector.listens() && !self.off[host] && (host == NEAR || self.places[slot].cuts == 0);
        if someone && reachable {
            for voice in voices {
                self.deliver(voice);
            }
        } else if host == NEAR || flushed || someone {
            self.after(1_000, Event::Spool(run));
        } else {
            // Nobody is there who would read it before the flush at the end.
            self.at(self.script.until - crate::script::REST + 1_000, Event::Spool(run));
        }
    }

    /// Spooled words are news, and no presence.
    pub(crate) fn deliver(&mut self, voice: usize) {
        if self.voices[voice].lost || self.voices[voice].alive {
            return;
        }
        // Of one process, its own words come before its exit.
        if let Some(own) = self.child_of(voice) {
            self.deliver(own);
        }
        let upto = self.voices[voice].said.len();
        if self.voices[voice].acked < upto {
            self.take(voice, upto, self.now, false);
            self.voices[voice].acked = upto;
        }
    }

    // ---- The collector ----

    pub(crate) fn commit(&mut self) {
        if !self.collector.listens() {
            return;
        }
        let due: Vec<_> = std::mem::take(&mut self.unsynced);
        let (now, wait) = (self.now, self.commit_ms);
        let (ripe, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|(.., at)| at + wait <= now);
        self.unsynced = later;
        for (voice, link, upto, _) in ripe {
            self.accept(voice, upto, now);
            self.hear(voice, link, now);
        }
    }

    pub(crate) fn go_down(&mut self, ms: u64, how: &str) {
        if !self.collector.down {
            if !self.collector.held {
                self.collector.leave(self.now);
            }
            self.note(|| format!("the collector {how}, for {ms} ms"));
            self.collector.down = true;
            self.collector.held = false;
            self.inbox.clear();
            for voice in 0..self.voices.len() {
                if std::mem::take(&mut self.voices[voice].linked) && self.voices[voice].alive {
                    self.redial(voice);
                }
            }
            self.after(ms, Event::Up);
        }
    }

    /// Replay, then what had been written and not been shown, then the absence is told.
    pub(crate) fn come_back(&mut self) {
        self.note(|| "the collector is back".into());
        self.collector.replay(self.now);
        self.collector.down = false;
        let unsynced = std::mem::take(&mut self.unsynced);
        // A killed collector's writes are in the kernel's hands; those of a machine without power are gone.
        for (voice, _, upto, at) in unsynced {
            if !self.power_cut && self.chance.one_in(2) {
                self.take(voice, upto, at.max(self.now), true);
            }
        }
        self.power_cut = false;
        self.collector.back(self.now);
        self.look_after_the_hold();
        if let Some(ms) = self.again.take() {
            self.happen(Event::DownAgain(ms));
        }
    }

    /// What was held until it had heard its workers, it says now.
    fn look_after_the_hold(&mut self) {
        for slot in 0..self.places.len() {
            let hold = silence_of(self.script.slots[slot].interval);
            self.after(hold, Event::Look(slot));
        }
    }

    /// All that waited is drained before time advances (D6).
    pub(crate) fn release(&mut self) {
        if !self.collector.held {
            return;
        }
        self.note(|| "the collector goes on".into());
        self.collector.held = false;
        self.collector.back(self.now);
        self.look_after_the_hold();
        for event in std::mem::take(&mut self.inbox) {
            self.happen(event);
        }
        self.commit();
    }
}
