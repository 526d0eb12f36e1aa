//! One run: its dossier, its cached verdict, and what moves too often to be a fact.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dossier::Dossier;
use crate::ending::{AgentEnd, CauseKind, Class, Ending};
use crate::fact::{AgentState, AgentStatus, Away, Deadline, PlanKind, RunId, Source};
use crate::judge::{Context, State, Verdict, judge};
use crate::moment::Moment;
use crate::plan::{Window, holding, restart_of};
use crate::rules::Rules;

/// The most amendments that are kept of one run; a verdict that flaps more often than this says so by its age.
pub const AMENDMENTS_MAX: usize = 16;

/// What is doubtful about a run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Its beat is late.
    Overdue,
    /// Promised progress is missing.
    Hung,
    /// Its witness sees it stopped.
    Suspended,
    /// Not heard from.
    Unreachable,
    /// Its witness left without an exit.
    Orphaned,
}

impl Flag {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Hung => "hung",
            Self::Suspended => "suspended",
            Self::Unreachable => "unreachable",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A verdict that later evidence changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Whose verdict.
    pub run: RunId,
    /// When.
    pub at: Moment,
    /// What it was.
    pub from: Class,
    /// When that ending was dated.
    pub from_at: Moment,
    /// What it is; none: the run lives.
    pub to: Option<Class>,
    /// Which evidence did it.
    pub because: String,
}

/// A restart promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// When the promising run ended.
    pub made: Moment,
    /// Until when a successor must be ready.
    pub due: Moment,
    /// How it stands.
    pub state: PromiseState,
    /// Its deadline passed unanswered; else it was only answered too late.
    pub was_missed: bool,
}

/// How a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromiseState {
    /// There is time left.
    Open,
    /// A successor was ready in time.
    Kept,
    /// Its deadline passed.
    Broken,
}

/// The link of one voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Link {
    number: u64,
    open: bool,
}

/// What moves with every beat and every socket; never journaled, never part of a verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hot {
    pub(crate) last_seen: Moment,
    own_seen: Option<Moment>,
    witness_seen: Option<Moment>,
    /// The newest counter of each agent that promised progress, and when it moved.
    progress: BTreeMap<Arc<str>, (u64, Moment)>,
    own_link: Link,
    witness_link: Link,
    /// All links of the run are closed, and nothing was heard since.
    pub(crate) closed: Option<Moment>,
    /// The observer's last absence, when this run was open then.
    pub(crate) away: Option<Away>,
    /// When it was last heard again after it had been out of reach.
    reached: Option<Moment>,
    /// The sign of life after which it was looked at whether many are silent.
    looked: Option<Moment>,
}

/// One process life.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub(crate) id: RunId,
    pub(crate) dossier: Dossier,
    pub(crate) verdict: Verdict,
    pub(crate) hot: Hot,
    pub(crate) observer_seq: u64,
    pub(crate) first_heard: Moment,
    /// The newest moment that it or its witness told of; a spooled word is no presence, but it is news.
    pub(crate) last_said: Moment,
    pub(crate) amendments: Vec<Amendment>,
    /// When its host first told another boot id, after this run had started.
    pub(crate) rebooted: Option<Moment>,
    /// The mass silence it was part of.
    pub(crate) folded: Option<Folded>,
    /// What has been counted of it; counters never move back (see `counts`).
    pub(crate) counted: Counted,
}

/// A member's place in a mass silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// When the silence was noticed.
    pub since: Moment,
    /// When the hosts were heard again; none: not yet.
    pub until: Option<Moment>,
}

/// Which of a run's once-only events are in the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) ending: bool,
    pub(crate) ask: bool,
    pub(crate) cleanup: bool,
    pub(crate) promise: bool,
}

impl Run {
    pub(crate) fn new(id: RunId, heard: Moment) -> Self {
        Self {
            id,
            dossier: Dossier::default(),
            verdict: Verdict { state: State::Starting, ask: None },
            hot: Hot {
                last_seen: heard,
                own_seen: None,
                witness_seen: None,
                progress: BTreeMap::new(),
                own_link: Link::default(),
                witness_link: Link::default(),
                closed: None,
                away: None,
                looked: None,
                reached: None,
            },
            observer_seq: 0,
            first_heard: heard,
            last_said: Moment::default(),
            amendments: Vec::new(),
            rebooted: None,
            folded: None,
            counted: Counted::default(),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// All its facts, folded.
    #[must_use]
    pub const fn dossier(&self) -> &Dossier {
        &self.dossier
    }

    /// What is said of it.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// How its verdict changed, oldest first.
    #[must_use]
    pub fn amendments(&self) -> &[Amendment] {
        &self.amendments
    }

    /// It is over, as far as is known.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.verdict.ending().is_some()
    }

    /// When it started, or was first heard of.
    #[must_use]
    pub fn started_at(&self) -> Moment {
        self.dossier.started_at().unwrap_or(self.first_heard)
    }

    /// When it was ready.
    #[must_use]
    pub fn ready_at(&self) -> Option<Moment> {
        self.dossier.ready_at()
    }

    /// The newest sign of it, by its own word or its witness's.
    #[must_use]
    pub fn last_seen(&self) -> Moment {
        // Of a run that was never heard live, the receipt of what it left behind says nothing.
        let heard = self.first_heard < self.hot.last_seen || self.last_said == Moment::default();
        if heard { self.hot.last_seen.max(self.last_said) } else { self.last_said }
    }

    /// Its beat interval in ms.
    #[must_use]
    pub fn interval_ms(&self, rules: &Rules) -> u64 {
        self.dossier.told(|start| start.interval_ms).unwrap_or(rules.interval_ms).max(1)
    }

    /// The run that forked it.
    #[must_use]
    pub fn parent_run(&self) -> Option<RunId> {
        self.dossier.told(|start| start.parent_run)
    }

    /// It told its end itself, or its witness did: a child may take its place.
    pub(crate) fn told_its_end(&self) -> bool {
        self.told_its_end_at().is_some()
    }

    /// When the last word on that was received.
    pub(crate) fn told_its_end_at(&self) -> Option<Moment> {
        let exit = self.dossier.exit.as_ref().map(|exit| exit.taken);
        exit.max(self.dossier.fin.as_ref().map(|fin| fin.taken))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.dossier.told(|start| start.pid)
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        self.host_name().map(str::to_owned)
    }

    pub(crate) fn host_name(&self) -> Option<&str> {
        let own = self.dossier.start.as_ref().and_then(|start| start.value.host.as_deref());
        let witness = self.dossier.witness_start.as_ref();
        own.or_else(|| witness.and_then(|start| start.value.start.host.as_deref()))
    }

    /// The boot id of its host.
    #[must_use]
    pub fn boot_id(&self) -> Option<String> {
        self.dossier.told(|start| start.boot_id.clone())
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.dossier.told(|start| start.version.clone())
    }

    /// Its environment.
    #[must_use]
    pub fn environment(&self) -> Option<String> {
        self.dossier.told(|start| start.environment.clone())
    }

    /// The step that has begun and not ended.
    #[must_use]
    pub fn step_at_work(&self) -> Option<&Arc<str>> {
        let begun = self.dossier.steps.values().filter(|step| step.value.outcome.is_none());
        begun.max_by_key(|step| step.seq).map(|step| &step.value.name)
    }

    /// The first agent that failed while nobody had asked for a stop.
    #[must_use]
    pub fn failed_agent(&self) -> Option<(&Arc<str>, AgentEnd, Moment)> {
        let before_the_ask = |at: Moment| self.verdict.ask.as_ref().is_none_or(|ask| at < ask.at);
        self.dossier
            .agents
            .values()
            .filter_map(|agent| match agent.value.status {
                AgentStatus::Ended(end @ (AgentEnd::Crashed | AgentEnd::CancelledUnexpected)) => {
                    before_the_ask(agent.occurred).then_some((&agent.value.name, end, agent.occurred))
                }
                AgentStatus::Ended(
                    AgentEnd::Completed | AgentEnd::CancelledExpected | AgentEnd::Abandoned,
                )
                | AgentStatus::Alive(_) => None,
            })
            .min_by_key(|(name, _, at)| (*at, Arc::clone(name)))
    }

    /// What is doubtful about it now.
    #[must_use]
    pub fn flags(&self, now: Moment, rules: &Rules) -> Vec<Flag> {
        if self.ended() {
            return Vec::new();
        }
        let interval_ms = self.interval_ms(rules);
        let suspended = self.suspended_since().is_some();
        let late = self.silent_ms(now) >= interval_ms.saturating_mul(rules.overdue_intervals);
        let mut flags = Vec::new();
        if self.dossier.hung().is_some() {
            flags.push(Flag::Hung);
        }
        if suspended {
            flags.push(Flag::Suspended);
        }
        if self.unreachable_since(now, rules).is_some() {
            flags.push(Flag::Unreachable);
        } else if late && !self.is_unknown(now, rules) {
            flags.push(Flag::Overdue);
        }
        if self.orphaned_since(now, rules).is_some() {
            flags.push(Flag::Orphaned);
        }
        flags
    }

    /// Since when its witness sees it stopped.
    #[must_use]
    pub fn suspended_since(&self) -> Option<Moment> {
        self.dossier.held.as_ref().filter(|held| held.value).map(|held| held.occurred)
    }

    /// Since when its witness is gone without having told an exit, while the client itself goes on.
    #[must_use]
    pub fn orphaned_since(&self, now: Moment, rules: &Rules) -> Option<Moment> {
        let closed = self.dossier.witness_closed.as_ref()?.taken;
        // The observer is just back: a witness needs a moment to redial.
        if self.hot.away.is_some_and(|away| away.to >= closed) && now < self.hold_until(rules) {
            return None;
        }
        let witness_is_back =
            self.hot.witness_link.open || self.hot.witness_seen.is_some_and(|seen| seen > closed);
        // Who has said goodbye does not go on.
        let goes_on = self.hot.last_seen > closed && self.dossier.fin.is_none();
        (!self.ended() && !witness_is_back && goes_on).then_some(closed)
    }

    /// Since when it cannot be reached: its links are closed, three beats are missing, or it fell silent with half
    /// of the fleet.
    #[must_use]
    pub fn unreachable_since(&self, now: Moment, rules: &Rules) -> Option<Moment> {
        if self.is_unknown(now, rules) {
            return None;
        }
        if self.dossier.fin.is_some() {
            return None;
        }
        if let Some(folded) = self.folded.filter(|folded| self.is_unheard_since(folded)) {
            return Some(folded.since);
        }
        let allowed_ms = self.interval_ms(rules).saturating_mul(rules.unreachable_intervals);
        let silent_at = self.watched_from().plus(allowed_ms);
        self.hot.closed.or((now >= silent_at).then_some(silent_at))
    }

    /// The collector is just back and has not heard it yet. An absence shorter than one beat hid nothing.
    #[must_use]
    pub fn is_unknown(&self, now: Moment, rules: &Rules) -> bool {
        self.hot.away.is_some_and(|away| {
            self.hot.last_seen < away.to
                && away.to.since(away.from) > self.interval_ms(rules)
                && now < self.hold_until(rules)
        })
    }

    /// For how long nothing was heard of it while somebody listened, in ms.
    #[must_use]
    pub fn silent_ms(&self, now: Moment) -> u64 {
        now.since(self.watched_from())
    }

    /// Silence counts from when it was last heard, or from the observer's return, whichever is later.
    fn watched_from(&self) -> Moment {
        self.hot.away.map_or(self.hot.last_seen, |away| away.to.max(self.hot.last_seen))
    }

    /// D6: after an absence of the observer, no inferred deadline fires before its return and one full silence
    /// timeout.
    pub(crate) fn hold_until(&self, rules: &Rules) -> Moment {
        let silence_ms = rules.silence_ms(self.interval_ms(rules));
        self.hot.away.map_or(Moment::default(), |away| away.to.plus(silence_ms))
    }

    /// When everything that was under way with its first word has come: one full silence timeout later, or later still
    /// when the observer was away.
    pub(crate) fn awaits_its_parent_until(&self, rules: &Rules) -> Moment {
        let silence_ms = rules.silence_ms(self.interval_ms(rules));
        self.first_heard.plus(silence_ms).max(self.hold_until(rules))
    }

    /// Whether its part in a mass silence still stands, as far as it was not heard since.
    pub(crate) const fn is_unheard_since(&self, folded: &Folded) -> bool {
        folded.until.is_none() && self.hot.last_seen.as_millis() < folded.since.as_millis()
    }

    /// No death is inferred before this while half of the fleet is silent, nor within one full silence timeout
    /// after its hosts were heard again.
    fn folded_until(&self, rules: &Rules) -> Moment {
        match self.folded.filter(|_| !self.ended()) {
            Some(folded) if self.is_unheard_since(&folded) => folded.since.plus(rules.mass_ms),
            Some(Folded { until: Some(until), .. }) if self.hot.last_seen < until => {
                until.plus(rules.silence_ms(self.interval_ms(rules)))
            }
            Some(_) | None => Moment::default(),
        }
    }

    /// From when an ending of this moment is told by an alert of its own: what is inferred while half of the fleet
    /// is silent belongs to that alert, as long as it stands.
    pub(crate) fn told_from(&self, at: Moment, inferred: bool) -> Option<Moment> {
        // A member that was heard again and then fell silent did so alone.
        let gone = self.dossier.gone.as_ref().and_then(|gone| gone.value).and_then(|gone| gone.last_seen);
        let folded = self.folded.filter(|folded| gone.is_none_or(|seen| seen < folded.since));
        match folded.filter(|folded| inferred && folded.since <= at) {
            None => Some(at),
            Some(Folded { until: None, .. }) => None,
            Some(Folded { until: Some(until), .. }) => Some(at.max(until)),
        }
    }

    /// Whether it counts as watched for a mass silence, and whether it is silent: two beats are missing, or its
    /// link closed. Who said goodbye or has ended leaves the count.
    pub(crate) fn silence_of(&self, now: Moment, rules: &Rules) -> Option<bool> {
        if self.ended() || self.dossier.fin.is_some() || self.is_unknown(now, rules) {
            return None;
        }
        // Its hosts were just heard again: it has its time to follow.
        if self.folded.is_some_and(|folded| folded.until.is_some()) && now < self.folded_until(rules) {
            return None;
        }
        let allowed_ms = self.interval_ms(rules).saturating_mul(rules.overdue_intervals);
        Some(self.hot.closed.is_some() || self.silent_ms(now) >= allowed_ms)
    }

    /// When three beats are missing and nobody has looked yet whether many others are silent too.
    pub(crate) fn next_look(&self, rules: &Rules) -> Option<Moment> {
        let since = self.watched_from();
        let reach_ms = self.interval_ms(rules).saturating_mul(rules.unreachable_intervals);
        let folded = self.folded.is_some_and(|folded| self.is_unheard_since(&folded));
        let open = !self.ended() && self.dossier.fin.is_none() && !folded;
        (open && self.hot.looked != Some(since)).then(|| since.plus(reach_ms).max(self.hold_until(rules)))
    }

    pub(crate) fn looked(&mut self) {
        self.hot.looked = Some(self.watched_from());
    }

    /// Whether it was lost with its host in the silence that is being looked at.
    pub(crate) fn is_just_lost_with_its_host(&self, now: Moment, rules: &Rules) -> bool {
        let gone = self.dossier.gone.as_ref().and_then(|gone| gone.value);
        let just = gone.is_some_and(|gone| now.since(gone.due) <= rules.mass_ms);
        just && self.verdict.class() == Some(Class::HostLost)
    }

    /// Whether nothing at all is heard of it, and it did not even close a link: who is silent like this may have
    /// lost its host.
    pub(crate) fn is_plainly_silent(&self, now: Moment, rules: &Rules) -> bool {
        let allowed_ms = self.interval_ms(rules).saturating_mul(rules.unreachable_intervals);
        self.hot.closed.is_none() && self.silent_ms(now) >= allowed_ms
    }

    /// The observer did not watch: what it had seen of links before says nothing any more.
    pub(crate) fn excuse(&mut self, away: Away) {
        if self.hot.away.is_none_or(|known| away.to > known.to) {
            self.hot.away = Some(away);
        }
        self.hot.closed = self.hot.closed.filter(|closed| *closed > away.to);
    }

    pub(crate) fn rejudge(&mut self, context: &Context, rules: &Rules) {
        self.verdict = judge(&self.dossier, context, rules);
        #[cfg(feature = "planted")]
        crate::planted::judged(self, context, rules);
    }

    pub(crate) fn hear(&mut self, source: Source, at: Moment, rules: &Rules) {
        let late_ms = self.interval_ms(rules).saturating_mul(rules.overdue_intervals);
        if at.since(self.hot.last_seen) > late_ms {
            self.hot.reached = Some(at);
        }
        self.hot.last_seen = self.hot.last_seen.max(at);
        self.hot.closed = None;
        match source {
            Source::Own => self.hot.own_seen = self.hot.own_seen.max(Some(at)),
            Source::Witness => self.hot.witness_seen = self.hot.witness_seen.max(Some(at)),
            Source::Operator | Source::Observer => {}
        }
    }

    /// Takes the counter of an agent that promised progress. Only a counter that moved is progress.
    pub(crate) fn count(&mut self, agent: &str, counter: u64, at: Moment) {
        let Some((name, _)) = self.dossier.paces.get_key_value(agent) else { return };
        match self.hot.progress.get_mut(agent) {
            Some(known) if known.0 == counter => {}
            Some(known) => *known = (counter, at),
            None => {
                // The first that is seen of a counter, after a restart of the observer, shows no movement.
                let moved = self.dossier.hung().and_then(|hung| hung.last_seen).unwrap_or(at);
                self.hot.progress.insert(Arc::clone(name), (counter, moved));
            }
        }
    }

    /// Since when work that promised progress shows none, and when that is too long; the earliest of its agents.
    /// A client that is silent while its witness sees it alive is no better (D2). Nothing counts before `watched`.
    fn stall(&self, watched: Moment, rules: &Rules) -> Option<(Moment, Moment)> {
        let at_work = self.verdict.ask.is_none() && self.dossier.fin.is_none();
        if self.ended() || !at_work || self.suspended_since().is_some() {
            return None;
        }
        let agents = self.dossier.agents.values().filter_map(|agent| {
            let AgentStatus::Alive(AgentState::Starting | AgentState::Running | AgentState::Stuck) =
                agent.value.status
            else {
                return None;
            };
            let pace = self.dossier.paces.get(&agent.value.name)?;
            let moved = self.hot.progress.get(&agent.value.name).map_or(pace.taken, |(_, at)| *at);
            let since = moved.max(agent.taken).max(watched);
            Some((since, since.plus(pace.value.saturating_mul(rules.stuck_intervals))))
        });
        let silent = self.hot.own_seen.filter(|_| self.dossier.linked() && self.dossier.witnessed());
        let silent = silent.map(|seen| {
            let since = seen.max(watched);
            (since, since.plus(rules.silence_ms(self.interval_ms(rules))))
        });
        agents.chain(silent).min_by_key(|(_, due)| *due)
    }

    /// The same, but who was out of reach may first show what was done meanwhile: two beats of work, and a client under
    /// its witness the time that any silence has.
    fn told_stall(&self, rules: &Rules) -> Option<(Moment, Moment)> {
        // Who was away or in state T could see or show nothing.
        let resumed = self.dossier.held.as_ref().filter(|held| !held.value).map(|held| held.taken);
        let watched = resumed.max(self.hot.away.map(|away| away.to)).unwrap_or_default();
        let (since, due) = self.stall(watched, rules)?;
        let Some(reached) = self.hot.reached else { return Some((since, due)) };
        let interval_ms = self.interval_ms(rules);
        let silent = self.hot.own_seen.is_none_or(|seen| seen < reached);
        let wait_ms = if silent { rules.silence_ms(interval_ms) } else { 2 * interval_ms };
        Some((since, due.max(reached.plus(wait_ms))))
    }

    /// Whether it was hung, and what it lacked is there again; that nobody watched for a while is no progress.
    pub(crate) fn has_recovered(&self, now: Moment, rules: &Rules) -> bool {
        let stall = || self.stall(Moment::default(), rules);
        self.dossier.hung().is_some() && stall().is_none_or(|(_, due)| due > now)
    }

    /// When it was last heard, or last seen to progress: what an expiry rests on.
    pub(crate) fn last_sign(&self, which: Deadline, rules: &Rules) -> Moment {
        let stall = self.told_stall(rules).filter(|_| which == Deadline::Progress);
        stall.map_or(self.hot.last_seen, |(since, _)| since)
    }

    pub(crate) fn link(&mut self, source: Source, number: u64) {
        let link = match source {
            Source::Own => &mut self.hot.own_link,
            Source::Witness => &mut self.hot.witness_link,
            Source::Operator | Source::Observer => return,
        };
        // A message that was under way on an older link does not make that link the newest again.
        if number > link.number {
            *link = Link { number, open: true };
            self.hot.closed = None;
        }
    }

    /// Closes a link; says whether it was the newest of its voice.
    pub(crate) fn unlink(&mut self, source: Source, number: u64) -> bool {
        let link = match source {
            Source::Own => &mut self.hot.own_link,
            Source::Witness => &mut self.hot.witness_link,
            Source::Operator | Source::Observer => return false,
        };
        let newest = link.open && link.number == number;
        if newest {
            link.open = false;
        }
        newest
    }

    /// A journaled `link_closed`: the run is out of reach when no other voice of it has a link.
    pub(crate) const fn closed(&mut self, at: Moment) {
        if !self.hot.own_link.open && !self.hot.witness_link.open {
            self.hot.closed = Some(at);
        }
    }

    /// Whether a live word of it would change what is said of it: it is thought gone.
    pub(crate) fn is_thought_gone(&self) -> bool {
        let gone = self.dossier.gone.as_ref().is_some_and(|gone| gone.value.is_some());
        gone && self.dossier.exit.is_none() && self.dossier.fin.is_none()
    }

    /// Within which time it, or who started it, promised a successor; whatever plans and limits make of that.
    #[must_use]
    pub fn back_within_ms(&self) -> Option<u64> {
        let by_command_line = || self.promised_by_command_line(self.verdict.ending()?);
        self.promised_by_itself().or_else(by_command_line)
    }

    fn promised_by_itself(&self) -> Option<u64> {
        self.dossier.fin.as_ref().and_then(|fin| fin.value.back_within_ms)
    }

    /// The command line's promise is for planned stops from outside, not for the person at the keyboard.
    fn promised_by_command_line(&self, ending: &Ending) -> Option<u64> {
        let cause = ending.cause.as_ref().filter(|_| ending.class.keeps_its_promise())?;
        let at_the_terminal = matches!(cause.kind, CauseKind::Keyboard | CauseKind::TerminalHangup);
        let start = self.dossier.witness_start.as_ref().filter(|_| !at_the_terminal)?;
        start.value.back_within_ms
    }

    /// The promise it made by ending, without regard to successors.
    pub(crate) fn promised(&self, windows: &[Window], rules: &Rules) -> Option<(Moment, Moment)> {
        let ending = self.verdict.ending().filter(|ending| ending.class.keeps_its_promise())?;
        let stop = holding(windows, PlanKind::Stop, ending.at);
        let restart = restart_of(windows, self.started_at(), ending.at)
            .filter(|_| self.verdict.ask.is_some())
            .map(|window| window.until.since(ending.at));
        // Not for a stop that an operator announced as one.
        let by_command_line = || self.promised_by_command_line(ending).filter(|_| stop.is_none());
        let own = self.promised_by_itself();
        let within_ms = own.or_else(by_command_line).max(restart)?.min(rules.promise_max_ms);
        Some((ending.at, ending.at.plus(within_ms)))
    }

    /// The next inferred deadline of this run, before the hold after an absence is applied. `promise_due`: of an open promise.
    fn candidate(&self, promise_due: Option<Moment>, rules: &Rules) -> Option<(Moment, Deadline)> {
        if let Some(due) = promise_due {
            return Some((due, Deadline::Promise));
        }
        if self.ended() {
            return None;
        }
        let silence = self.silence(rules);
        if let Some(fin) = &self.dossier.fin {
            // Its witness is there and has seen no exit: it lives on, or the witness is gone as well. An open link is
            // no sign of a witness that was late itself when the last word came.
            let due = fin.taken.plus(rules.goodbye_ms);
            let late_ms = self.interval_ms(rules).saturating_mul(rules.overdue_intervals);
            let on_time = |seen: Moment| self.hot.witness_link.open && seen.plus(late_ms) >= fin.taken;
            let there = |seen: Moment| seen >= due || on_time(seen);
            if self.hot.witness_seen.is_some_and(there) {
                return Some((due, Deadline::Goodbye));
            }
            // Nobody will tell of its exit whose link closed and was not opened again, or who was silent by then and has
            // no link, as a witness that died while nobody watched: its last word is all there is.
            let closed = self.dossier.witness_closed.as_ref().map(|closed| closed.taken);
            let was_silent = self.hot.witness_seen.is_none_or(|seen| seen.plus(late_ms) < fin.taken);
            let left = closed.or(was_silent.then_some(fin.taken)).filter(|_| !self.hot.witness_link.open);
            let left = left.map(|left| (left.max(fin.taken).plus(rules.link_ms), Deadline::Link));
            return left.into_iter().chain(silence).min_by_key(|(due, _)| *due);
        }
        if let Some(ask) = &self.verdict.ask {
            return Some((ask.deadline, Deadline::Stop));
        }
        let start =
            self.ready_at().is_none().then(|| (self.first_heard.plus(rules.start_ms), Deadline::Start));
        // Hung is who beats without progress; who is silent as well is on the way to be lost.
        let reach_ms = self.interval_ms(rules).saturating_mul(rules.unreachable_intervals);
        let stall = self
            .told_stall(rules)
            .filter(|(_, due)| self.dossier.hung().is_none() && self.hot.last_seen.plus(reach_ms) > *due);
        let stall = stall.map(|(_, due)| (due, Deadline::Progress));
        silence.into_iter().chain(start).chain(stall).min_by_key(|(due, _)| *due)
    }

    /// When it is missed because its host is back without it: at once, or when two beats are missing, for a host may
    /// have a namesake that lives.
    fn missed_after_reboot(&self, rules: &Rules) -> Option<Moment> {
        let rebooted = self.rebooted.filter(|rebooted| self.hot.last_seen < *rebooted)?;
        if self.ended() || self.dossier.gone.as_ref().is_some_and(|gone| gone.value.is_some()) {
            return None;
        }
        let allowed_ms = self.interval_ms(rules).saturating_mul(rules.overdue_intervals);
        let missed = self.hot.closed.unwrap_or_else(|| self.watched_from().plus(allowed_ms));
        Some(missed.max(rebooted))
    }

    /// D1: a closed link is a loss ten seconds later, pure silence only at max(6T, 15 s).
    fn silence(&self, rules: &Rules) -> Option<(Moment, Deadline)> {
        let silence_ms = rules.silence_ms(self.interval_ms(rules));
        let silent = (self.watched_from().plus(silence_ms), Deadline::Silence);
        let closed = self.hot.closed.map(|closed| (closed.plus(rules.link_ms), Deadline::Link));
        let open = self.hot.own_link.open || self.hot.witness_link.open;
        // A link that is open and silent is judged by the silence; the close of one, earlier.
        let closed = closed.filter(|_| !open);
        closed.into_iter().chain([silent]).min_by_key(|(due, _)| *due)
    }

    /// The next inferred deadline of this run.
    pub(crate) fn next_deadline(
        &self,
        promise_due: Option<Moment>,
        rules: &Rules,
    ) -> Option<(Moment, Deadline)> {
        let rebooted = self.missed_after_reboot(rules).map(|due| (due, Deadline::Silence));
        let candidates = self.candidate(promise_due, rules).into_iter().chain(rebooted);
        let (due, which) = candidates.min_by_key(|(due, _)| *due)?;
        Some((due.max(self.hold_until(rules)).max(self.folded_until(rules)), which))
    }
}
