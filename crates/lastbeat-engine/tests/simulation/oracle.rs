//! What must hold, said by somebody who knows what was done and nothing of how it is judged.
//!
//! Invariant: nothing of the engine is imported here.

/// How a process really ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It lives.
    Alive,
    /// A signal asked it, it cleaned up, said so, and left.
    Stopped,
    /// As before, with a promise to be back within so many ms.
    Promised(u64),
    /// Its work was done.
    Done,
    /// A panic nobody caught.
    Panicked,
    /// KILL.
    Killed,
    /// Exit 1 without a word.
    Exited,
}

/// A process and what was done to it.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) run: u128,
    pub(crate) worker: String,
    pub(crate) witnessed: bool,
    pub(crate) started: u64,
    /// When its end began: what it says from here on is its goodbye.
    pub(crate) leaving: u64,
    pub(crate) ended: u64,
    pub(crate) end: End,
    /// Its network was cut for long enough to be taken for dead, or it died in a cut.
    pub(crate) cut: bool,
}

/// The verdict on a run changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saying {
    pub(crate) run: u128,
    pub(crate) at: u64,
    pub(crate) class: Option<String>,
}

/// An alert of a worker opened, or was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) worker: String,
    pub(crate) name: String,
    pub(crate) at: u64,
    pub(crate) open: bool,
}

/// All that was done, and all that was said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) said: Vec<Saying>,
    pub(crate) alerts: Vec<Ring>,
    /// When the collector did not watch, from and to.
    pub(crate) absences: Vec<(u64, u64)>,
    pub(crate) until: u64,
    pub(crate) agent_hours: f64,
    pub(crate) timeline: Vec<String>,
    /// Replay gave something else than was shown.
    pub(crate) replay_differs: Vec<u64>,
}

/// Beat interval of every worker, in ms.
pub(crate) const T: u64 = 5_000;
/// The full silence timeout: max(6T, 15 s).
pub(crate) const SILENCE: u64 = 30_000;
/// The longest a client waits before it dials again.
const REDIAL: u64 = 3_500;
/// From a closed link to a loss.
const LINK: u64 = 10_000;
/// What a verdict may take beyond its deadline.
const SLACK: u64 = 2_000;

/// Everything that must not have been said, and all that should have been.
pub(crate) fn complaints(told: &Told) -> Vec<String> {
    let mut all: Vec<String> =
        told.replay_differs.iter().map(|at| format!("replay at {at} shows other verdicts")).collect();
    for deed in &told.deeds {
        all.extend(about(told, deed));
    }
    for worker in told.deeds.iter().map(|deed| &deed.worker).collect::<std::collections::BTreeSet<_>>() {
        all.extend(false_alarms(told, worker));
    }
    all
}

fn about(told: &Told, deed: &Deed) -> Vec<String> {
    let mut all = Vec::new();
    let said: Vec<&Saying> = told.said.iter().filter(|saying| saying.run == deed.run).collect();
    let last = said.last().and_then(|saying| saying.class.as_deref());
    let replaced = told.deeds.iter().any(|other| other.worker == deed.worker && other.started > deed.started);
    // I7, I8: whatever the order and the losses, in the end the truth is told.
    let right: &[Option<&str>] = match deed.end {
        End::Alive => &[None],
        End::Stopped | End::Promised(_) => &[Some("shutdown")],
        End::Done => &[Some("completed")],
        End::Panicked => &[Some("crashed")],
        End::Killed if deed.witnessed => &[Some("killed")],
        End::Killed if replaced => &[Some("lost"), Some("superseded")],
        End::Killed => &[Some("lost")],
        End::Exited if deed.witnessed => &[Some("crashed")],
        End::Exited if replaced => &[Some("lost"), Some("superseded")],
        End::Exited => &[Some("lost")],
    };
    // Whoever came and went unseen, while nobody listened, left nothing to judge.
    let unheard = !deed.witnessed
        && matches!(deed.end, End::Killed | End::Exited)
        && (deed.cut
            || told.absences.iter().any(|(from, to)| *from <= deed.started && deed.ended <= *to + REDIAL));
    if !(right.contains(&last) || unheard && last.is_none()) {
        all.push(format!("{deed:?} is called {last:?} in the end, not one of {right:?}"));
    }
    // I4: whoever was in reach all the time is never taken for dead while it lives.
    for saying in said.iter().filter(|saying| saying.class.is_some() && saying.at < deed.leaving && !deed.cut)
    {
        all.push(format!("{deed:?} is called {:?} at {} while it lives", saying.class, saying.at));
    }
    // I3: a death is noticed in time, by somebody who watches.
    let bad = matches!(deed.end, End::Killed | End::Exited | End::Panicked);
    let (reported, within) = match deed.end {
        End::Panicked => (true, 1_000),
        _ if deed.witnessed => (true, 1_000),
        _ => (false, LINK + SLACK),
    };
    let by = deed.ended + within;
    let watched = !told.absences.iter().any(|(from, to)| *from < by && to + SILENCE > deed.ended);
    let alone = !told.deeds.iter().any(|other| {
        other.worker == deed.worker
            && other.run != deed.run
            && other.started <= by
            && other.ended >= deed.started
    });
    if bad && watched && alone && !deed.cut && by < told.until {
        let noticed = said.iter().any(|saying| saying.class.is_some() && saying.at <= by);
        if !noticed {
            let how = if reported { "reported" } else { "unreported" };
            all.push(format!("{deed:?}: this {how} death was not noticed by {by}"));
        }
        let rang = told.alerts.iter().any(|ring| ring.worker == deed.worker && ring.open && ring.at <= by);
        if !rang {
            all.push(format!("{deed:?}: nobody was paged by {by}"));
        }
    }
    all
}

/// I1: a worker of which every process lived, stopped as planned, finished or came back in time wakes nobody.
fn false_alarms(told: &Told, worker: &str) -> Vec<String> {
    let deeds: Vec<&Deed> = told.deeds.iter().filter(|deed| deed.worker == worker).collect();
    let blameless = deeds.iter().enumerate().all(|(place, deed)| {
        let kept = |within: u64| {
            // A second for start and ready.
            deeds.get(place + 1).is_some_and(|next| next.started + 1_000 <= deed.ended + within)
        };
        !deed.cut
            && match deed.end {
                End::Alive | End::Stopped | End::Done => true,
                End::Promised(within) => kept(within),
                End::Panicked | End::Killed | End::Exited => false,
            }
    });
    if !blameless {
        return Vec::new();
    }
    let rings = told.alerts.iter().filter(|ring| ring.worker == worker && ring.open);
    rings.map(|ring| format!("false alarm: {ring:?} for {deeds:?}")).collect()
}
