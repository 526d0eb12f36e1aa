//! The script of a world: who is there, and every trouble that comes to them, drawn from the seed before it plays.
//!
//! Invariant: workers and troubles are numbered once; leaving one out moves no other. That is what makes a failing
//! world small enough to read.
//! Invariant: nothing of the engine is imported here.

use std::collections::BTreeSet;

use crate::random::Random;

/// Every world begins here on the collector's axis.
pub(crate) const DAWN: u64 = 1_000_000;
/// After the last trouble all is in reach again, and everything that waits arrives.
pub(crate) const REST: u64 = 10 * 60_000;
/// One world in so many is a calm fleet of which half falls silent.
const CALM: u64 = 20;

/// How a worker is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A client is linked in, and nobody watches from outside.
    Linked,
    /// A client is linked in, and a witness is its parent.
    Both,
    /// A program that knows nothing of this, under a witness.
    Unlinked,
}

impl Mode {
    pub(crate) const fn linked(self) -> bool {
        matches!(self, Self::Linked | Self::Both)
    }

    pub(crate) const fn witnessed(self) -> bool {
        matches!(self, Self::Both | Self::Unlinked)
    }
}

/// A slot of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) service: usize,
    pub(crate) host: usize,
    pub(crate) mode: Mode,
    /// T, in ms.
    pub(crate) interval: u64,
    /// A hang-up means to it: read the configuration anew.
    pub(crate) reload: bool,
    /// An agent of it promises progress this often.
    pub(crate) pace: Option<u64>,
    /// Its witness promises on the command line that it is back so soon after a planned stop, in ms.
    pub(crate) back: Option<u64>,
    pub(crate) begins: u64,
}

/// How a process comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It lives.
    Alive,
    /// Asked by a signal or by itself; it cleaned up, said so, and left.
    Stopped,
    /// As before, with a promise to be back within so many ms.
    Promised(u64),
    /// Asked, needed longer than the deadline, and asked for more in time.
    Extended,
    /// As before, but without any progress between its requests; it said goodbye after the time it had got.
    Overstayed,
    /// Its work was done.
    Done,
    /// Asked; a step of its cleanup failed, or a child was left behind.
    Unclean,
    /// Asked; it cleaned up and said so, and its exit code is not one of those that it declared.
    WrongCode,
    /// Asked twice: it skipped its cleanup.
    Forced,
    /// Asked, and still there after the deadline, until somebody killed it.
    TimedOut,
    /// A panic nobody caught.
    Panicked,
    /// KILL.
    Killed,
    /// The kernel's out-of-memory killer.
    OutOfMemory,
    /// A fault of its own.
    Segv,
    /// Exit 1 without a word.
    Exited,
    /// Exit 0 without a word.
    Silent,
    /// Exit 3 before it was ready.
    NeverReady,
    /// Alive and not ready for so long that the deadline passed, then killed.
    Unready,
    /// Hung past its limit, then killed.
    Watchdog,
    /// It executed itself anew: another run of the same process.
    Reexecuted,
    /// Its host lost power.
    PowerLost,
}

/// What comes after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// The next process starts so long after; none: never.
    pub(crate) after: Option<u64>,
    /// It is ready so long after its start.
    pub(crate) ready: u64,
    /// It fails before it is ready, this way.
    pub(crate) fails: Option<End>,
}

/// Whom a cut or a noise concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    Worker(usize),
    Host(usize),
    /// Every second host.
    Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanKind {
    Restart,
    Stop,
    Maintenance,
}

/// How an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Crashed,
    /// By somebody else.
    Cancelled,
    CancelledByItsOwner,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    End {
        slot: usize,
        end: End,
        next: Next,
    },
    /// Beats go on, work does not.
    Hang {
        slot: usize,
        ms: u64,
        killed: bool,
    },
    /// SIGSTOP, then SIGCONT.
    Suspend {
        slot: usize,
        ms: u64,
    },
    /// Paused, running, draining, running.
    Phases {
        slot: usize,
    },
    /// A hang-up that is no request to stop.
    Hangup {
        slot: usize,
    },
    /// An agent comes to its end while its run goes on.
    AgentEnds {
        slot: usize,
        fate: Fate,
    },
    /// The witness is killed; its child goes on.
    WitnessKill {
        slot: usize,
    },
    /// A child that says whose child it is, and ends while its parent lives.
    Fork {
        slot: usize,
        end: End,
        ms: u64,
    },
    Cut {
        whom: Whom,
        ms: u64,
    },
    /// One in so many messages is lost, others are late, doubled, out of order.
    Noise {
        whom: Whom,
        ms: u64,
        loss: u64,
        late: u64,
    },
    PowerLoss {
        host: usize,
        ms: u64,
    },
    /// The collector is killed; `again`: once more in the middle of its recovery.
    Crash {
        ms: u64,
        again: Option<u64>,
    },
    /// The machine of the collector loses power: what was not synced is gone.
    PowerCut {
        ms: u64,
    },
    /// The collector is stopped and continued.
    Hold {
        ms: u64,
    },
    /// The collector says goodbye and comes back.
    Planned {
        ms: u64,
    },
    SlowDisk {
        ms: u64,
        commit: u64,
    },
    Plan {
        kind: PlanKind,
        service: usize,
        slot: Option<usize>,
        ms: u64,
        ends: Option<u64>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) number: u32,
    pub(crate) at: u64,
    pub(crate) kind: Kind,
}

/// How large a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Minutes of a few workers, full of trouble: for every test run.
    Small,
    /// Hours of a fleet: for campaigns.
    Full,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) slots: Vec<Slot>,
    pub(crate) hosts: usize,
    pub(crate) troubles: Vec<Trouble>,
    /// When it ends, rest included.
    pub(crate) until: u64,
    /// What a wake-up of the collector may take.
    pub(crate) lag: u64,
    /// One in so many beats is lost even on a good day; 0: none.
    pub(crate) drizzle: u64,
}

impl Script {
    /// The script of a seed, without the numbered parts that are left out.
    pub(crate) fn of(seed: u64, size: Size, without: &BTreeSet<u32>) -> Self {
        let mut script = Draw::new(seed, size).script();
        // A slot that is left out keeps its place, and nobody starts there.
        for slot in &mut script.slots {
            if without.contains(&slot.number) {
                slot.begins = u64::MAX;
            }
        }
        script.troubles.retain(|trouble| !without.contains(&trouble.number));
        script
    }

    /// All numbers there are.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let slots = self.slots.iter().filter(|slot| slot.begins != u64::MAX).map(|slot| slot.number);
        self.troubles.iter().map(|trouble| trouble.number).rev().chain(slots).collect()
    }
}

struct Draw {
    chance: Random,
    seed: u64,
    size: Size,
    played: u64,
    slots: Vec<Slot>,
    hosts: usize,
    services: usize,
    troubles: Vec<Trouble>,
    number: u32,
}

impl Draw {
    fn new(seed: u64, size: Size) -> Self {
        let mut chance = Random::new(seed);
        let played = match size {
            Size::Small => 20 * 60_000,
            Size::Full => chance.between(120, 241) * 60_000,
        };
        let hosts = chance.pick(&[1, 2, 3, 4]);
        let services = chance.pick(&[1, 2, 3]);
        Self {
            chance,
            seed,
            size,
            played,
            slots: Vec::new(),
            hosts,
            services,
            troubles: Vec::new(),
            number: 0,
        }
    }

    fn next_number(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    fn add(&mut self, at: u64, kind: Kind) {
        let number = self.next_number();
        self.troubles.push(Trouble { number, at: DAWN + at, kind });
    }

    fn script(mut self) -> Script {
        if self.seed % CALM == CALM / 2 {
            self.calm_fleet();
        } else {
            self.troubled_fleet();
        }
        let mut troubles = self.troubles;
        troubles.sort_by_key(|trouble| (trouble.at, trouble.number));
        Script {
            seed: self.seed,
            slots: self.slots,
            hosts: self.hosts,
            troubles,
            until: DAWN + self.played + REST,
            lag: self.chance.pick(&[0, 20, 200]),
            drizzle: self.chance.pick(&[0, 0, 200, 100]),
        }
    }

    /// Three hosts that beat as one, nothing around, and two of them fall silent at once (D7).
    fn calm_fleet(&mut self) {
        self.hosts = 3;
        let uniform = Some(self.chance.pick(&[1_000, 5_000, 5_000, 15_000]));
        for place in 0..self.chance.between(4, 9) as usize * 3 {
            let slot = self.slot(uniform);
            self.slots.push(Slot { host: place % 3, ..slot });
        }
        let mut at = self.chance.between(90_000, 300_000);
        for ms in [60_000, 400_000] {
            self.add(at, Kind::Cut { whom: Whom::Half, ms });
            at += ms + self.chance.between(310_000, 360_000);
        }
    }

    fn troubled_fleet(&mut self) {
        let many = match self.size {
            Size::Small => self.chance.between(2, 9),
            Size::Full => self.chance.between(30, 61),
        };
        // A fleet that beats as one is what mass silence is about (D7).
        let uniform = self.chance.one_in(2).then(|| self.chance.pick(&[1_000, 5_000, 5_000, 15_000]));
        for _ in 0..many {
            let slot = self.slot(uniform);
            self.slots.push(slot);
        }
        for slot in 0..self.slots.len() {
            self.life(slot);
        }
        self.weather();
        self.collector();
        self.plans();
    }

    fn slot(&mut self, uniform: Option<u64>) -> Slot {
        let mode = self.chance.pick(&[Mode::Linked, Mode::Linked, Mode::Both, Mode::Both, Mode::Unlinked]);
        let of = [1_000, 5_000, 5_000, 5_000, 5_000, 15_000, 15_000, 60_000];
        let interval = uniform.unwrap_or_else(|| self.chance.pick(&of));
        let paced = mode.linked() && self.chance.one_in(3);
        Slot {
            number: self.next_number(),
            service: self.chance.place(self.services),
            host: self.chance.place(self.hosts),
            mode,
            interval,
            back: self.chance.one_in(4).then(|| self.chance.between(10_000, 90_000)),
            reload: self.chance.one_in(2),
            pace: paced.then(|| (interval * self.chance.between(2, 5)).max(5_000)),
            begins: DAWN + self.chance.between(0, 20_000),
        }
    }

    /// The troubles of one worker, one after the other with time between them.
    fn life(&mut self, slot: usize) {
        let (low, high) = match self.size {
            Size::Small => (5_000, 400_000),
            Size::Full => (60_000, 5_400_000),
        };
        let mut at = self.chance.between(low, high);
        // The longest silence of a slow beater must end before the world does.
        while at + 120_000 < self.played {
            at += self.trouble(slot, at);
            at += self.chance.between(low, high);
        }
    }

    /// One trouble; says how long it takes at least.
    fn trouble(&mut self, slot: usize, at: u64) -> u64 {
        let mode = self.slots[slot].mode;
        match self.chance.between(0, 40) {
            0 | 10 if mode.linked() => {
                let ms = self.chance.between(20_000, 300_000);
                let killed = self.chance.one_in(2) && self.slots[slot].pace.is_some();
                self.add(at, Kind::Hang { slot, ms, killed });
                ms + 60_000
            }
            1 | 2 => {
                let ms = self.chance.pick(&[3_000, 40_000, 200_000]);
                self.add(at, Kind::Suspend { slot, ms });
                ms
            }
            3 if mode.linked() => {
                self.add(at, Kind::Phases { slot });
                30_000
            }
            9 if mode.witnessed() => {
                self.add(at, Kind::Hangup { slot });
                20_000
            }
            4 if mode.linked() => {
                let fate = self.chance.pick(&[Fate::Crashed, Fate::Cancelled, Fate::CancelledByItsOwner]);
                self.add(at, Kind::AgentEnds { slot, fate });
                1_000
            }
            11 if mode == Mode::Both => {
                self.add(at, Kind::WitnessKill { slot });
                60_000
            }
            5 | 6 if mode.linked() => {
                let end = self.chance.pick(&[End::Done, End::Killed, End::Panicked, End::Stopped]);
                let ms = self.chance.between(2_000, 60_000);
                self.add(at, Kind::Fork { slot, end, ms });
                ms + 60_000
            }
            7 if mode.linked() => {
                let ready = self.chance.between(100, 1_500);
                let next = Next { after: Some(0), ready, fails: None };
                self.add(at, Kind::End { slot, end: End::Reexecuted, next });
                5_000
            }
            8 => self.crash_loop(slot, at),
            _ => {
                let end = self.end(mode);
                let next = self.next(end);
                self.add(at, Kind::End { slot, end, next });
                next.after.unwrap_or_default()
            }
        }
    }

    fn end(&mut self, mode: Mode) -> End {
        let within = self.chance.between(10_000, 90_000);
        match self.chance.between(0, 24) {
            0..5 => End::Stopped,
            5..9 => End::Promised(within),
            9 if mode.linked() => self.chance.pick(&[End::Extended, End::Overstayed]),
            10 | 11 => End::Done,
            12 if mode == Mode::Both && self.chance.one_in(2) => End::WrongCode,
            12 => End::Unclean,
            13 => End::Forced,
            14 => End::TimedOut,
            15 | 16 => End::Panicked,
            17 | 18 => End::Killed,
            19 => End::OutOfMemory,
            20 => End::Segv,
            21 => End::Silent,
            _ => End::Exited,
        }
    }

    fn next(&mut self, end: End) -> Next {
        let ready = self.chance.between(50, 1_500);
        let after = match end {
            End::Promised(within) if self.chance.one_in(3) => within + self.chance.between(5_000, 30_000),
            End::Promised(within) => self.chance.between(500, within - 6_000),
            _ if self.chance.one_in(2) => self.chance.between(200, 9_000),
            _ => self.chance.between(200, 200_000),
        };
        let gone_for_good = matches!(end, End::Done | End::Stopped) && self.chance.one_in(12);
        let fails = self.chance.one_in(12).then(|| self.chance.pick(&[End::NeverReady, End::Unready]));
        Next { after: (!gone_for_good).then_some(after), ready, fails }
    }

    /// Six deaths in less than a minute.
    fn crash_loop(&mut self, slot: usize, at: u64) -> u64 {
        for turn in 0..6 {
            let after = self.chance.between(500, 2_000);
            let next = Next { after: Some(after), ready: 100, fails: None };
            self.add(at + turn * 6_000, Kind::End { slot, end: End::Exited, next });
        }
        120_000
    }

    /// Networks that are cut or bad, hosts that lose power.
    fn weather(&mut self) {
        let spells = self.per_world(2, 8);
        for _ in 0..spells {
            let at = self.chance.between(30_000, self.played - 60_000);
            let whom = match self.chance.between(0, 8) {
                0..5 => Whom::Worker(self.chance.place(self.slots.len())),
                5 | 6 => Whom::Host(self.chance.place(self.hosts)),
                _ => Whom::Half,
            };
            let longest = self.chance.pick(&[9_000, 60_000, 400_000]);
            let ms = self.chance.between(500, longest);
            if self.chance.one_in(3) {
                let (loss, late) = (self.chance.pick(&[3, 10, 50]), self.chance.pick(&[50, 900, 4_000]));
                self.add(at, Kind::Noise { whom, ms, loss, late });
            } else {
                self.add(at, Kind::Cut { whom, ms });
            }
        }
        for _ in 0..self.per_world(1, 3) {
            if self.chance.one_in(3) {
                let host = self.chance.place(self.hosts);
                let at = self.chance.between(60_000, self.played - 60_000);
                let ms = self.chance.pick(&[4_000, 45_000, 240_000]);
                self.add(at, Kind::PowerLoss { host, ms });
            }
        }
    }

    fn collector(&mut self) {
        for _ in 0..self.per_world(2, 6) {
            let at = self.chance.between(10_000, self.played - 60_000);
            let longest = self.chance.pick(&[1_500, 9_000, 60_000, 300_000]);
            let ms = self.chance.between(100, longest);
            let kind = match self.chance.between(0, 8) {
                0..2 => Kind::Crash { ms, again: None },
                2 => Kind::Crash { ms, again: Some(self.chance.between(100, 20_000)) },
                3 => Kind::PowerCut { ms },
                4 | 5 => Kind::Hold { ms },
                6 => Kind::Planned { ms: ms.min(9_000) },
                _ => Kind::SlowDisk { ms, commit: self.chance.pick(&[50, 300, 700]) },
            };
            self.add(at, kind);
        }
    }

    fn plans(&mut self) {
        for _ in 0..self.per_world(1, 3) {
            if !self.chance.one_in(2) {
                continue;
            }
            let kind = self.chance.pick(&[PlanKind::Restart, PlanKind::Stop, PlanKind::Maintenance]);
            let service = self.chance.place(self.services);
            let of: Vec<usize> =
                (0..self.slots.len()).filter(|slot| self.slots[*slot].service == service).collect();
            let one = (!of.is_empty() && self.chance.one_in(3)).then(|| self.chance.pick(&of));
            let ms = self.chance.between(60_000, 600_000);
            let at = self.chance.between(30_000, self.played - 120_000);
            let ends = self.chance.one_in(3).then(|| self.chance.between(30_000, ms));
            self.add(at, Kind::Plan { kind, service, slot: one, ms, ends });
            // What a plan is for: its workers are stopped one after the other, or die in the window.
            let touched: Vec<usize> = one.map_or(of, |one| vec![one]);
            for (turn, slot) in touched.into_iter().take(6).enumerate() {
                let (end, longest) = match kind {
                    PlanKind::Restart => {
                        (self.chance.pick(&[End::Stopped, End::Stopped, End::Killed]), 20_000)
                    }
                    PlanKind::Stop => (self.chance.pick(&[End::Stopped, End::Stopped, End::Exited]), 400_000),
                    PlanKind::Maintenance => {
                        (self.chance.pick(&[End::Killed, End::Stopped, End::Exited, End::Panicked]), 700_000)
                    }
                };
                let mut after = self.chance.between(500, longest);
                // Some who were to be back when the window ends are not.
                if kind == PlanKind::Restart && self.chance.one_in(4) {
                    after = ms + self.chance.between(5_000, 60_000);
                }
                let next = Next { after: Some(after), ready: self.chance.between(50, 900), fails: None };
                let begins = at + 5_000 + turn as u64 * self.chance.between(500, 4_000);
                self.add(begins, Kind::End { slot, end, next });
            }
        }
    }

    fn per_world(&mut self, small: u64, full: u64) -> u64 {
        match self.size {
            Size::Small => self.chance.between(0, small + 2),
            Size::Full => self.chance.between(1, full + 2),
        }
    }
}
