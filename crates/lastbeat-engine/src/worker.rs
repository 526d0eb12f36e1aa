//! One worker: its runs in their order, and the one condition it is in.
//!
//! Invariant: an old run never changes a newer run (M6); only neighbours in time speak to each other, through
//! [`Context`].

use std::sync::Arc;

use crate::dossier::Stamped;
use crate::ending::{Class, Exit, Severity, words};
use crate::fact::{Away, Deadline, Fact, PlanKind, RunId, Source};
use crate::judge::{Context, State, Successor};
use crate::moment::Moment;
use crate::plan::{Window, holding};
use crate::rules::Rules;
use crate::run::{AMENDMENTS_MAX, Amendment, Promise, PromiseState, Run};

/// The most runs of one worker in memory; the journal has them all.
pub const RUNS_MAX: usize = 32;

/// The most announced windows of one worker in memory; those that ended before its oldest run go first.
pub const WINDOWS_MAX: usize = 64;

words! {
    /// The one condition a worker is in: the first of this list that holds.
    Condition {
        /// An operator's window.
        Maintenance = "maintenance",
        /// Five bad endings in a minute.
        CrashLoop = "crash_loop",
        /// A restart promise was broken.
        RestartOverdue = "restart_overdue",
        /// Its newest ended run came to a bad end.
        Failed = "failed",
        /// Beats go on, work does not.
        Hung = "hung",
        /// Its witness sees it stopped.
        Suspended = "suspended",
        /// Not heard from.
        Unreachable = "unreachable",
        /// The collector is just back and has not heard it yet.
        Unknown = "unknown",
        /// An agent failed.
        Degraded = "degraded",
        /// Away as planned, promise open.
        Restarting = "restarting",
        /// A stop was asked.
        Stopping = "stopping",
        /// No new work.
        Draining = "draining",
        /// Holding still.
        Paused = "paused",
        /// Reading its configuration anew.
        Reloading = "reloading",
        /// Not ready yet.
        Starting = "starting",
        /// At work.
        Live = "live",
        /// Stopped as planned, or with a ticket.
        Stopped = "stopped",
        /// Its work is done.
        Completed = "completed",
    }
}

impl Condition {
    /// How loud the condition itself is, whatever the ending.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::CrashLoop | Self::RestartOverdue | Self::Failed | Self::Hung | Self::Degraded => {
                Severity::Page
            }
            Self::Maintenance
            | Self::Suspended
            | Self::Unreachable
            | Self::Unknown
            | Self::Restarting
            | Self::Stopping
            | Self::Draining
            | Self::Paused
            | Self::Reloading
            | Self::Starting
            | Self::Live
            | Self::Stopped
            | Self::Completed => Severity::None,
        }
    }
}

/// The condition a worker is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub condition: Condition,
    /// Since when.
    pub since: Moment,
    /// How loud it is, or its newest ending.
    pub severity: Severity,
    /// When an open promise ends, or the maintenance it is in.
    pub back_by: Option<Moment>,
}

/// A stable slot for one process of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    pub(crate) service: Arc<str>,
    pub(crate) worker: Arc<str>,
    /// By (receipt less age of the start, run).
    pub(crate) runs: Vec<Run>,
    /// Planned work that speaks of it, in the order of its announcement.
    pub(crate) windows: Option<Arc<[Window]>>,
    /// When the observer did not watch, oldest first; the same for all workers.
    pub(crate) absences: Option<Arc<[Away]>>,
}

/// A run's class before and after a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) run: RunId,
    /// What it was, and when that ending was dated.
    pub(crate) from: Option<(Class, Moment)>,
    pub(crate) to: Option<Class>,
}

impl Worker {
    pub(crate) fn new(service: Arc<str>, worker: Arc<str>, windows: Vec<Window>) -> Self {
        let mut new = Self { service, worker, runs: Vec::new(), windows: None, absences: None };
        new.take_windows(windows);
        new
    }

    /// Its service's name.
    #[must_use]
    pub const fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// Its own name.
    #[must_use]
    pub const fn worker(&self) -> &Arc<str> {
        &self.worker
    }

    /// Planned work that speaks of it, in the order of its announcement.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        self.windows.as_deref().unwrap_or_default()
    }

    /// The maintenance it is in now; of several, the one that ends last.
    #[must_use]
    pub fn maintenance(&self, now: Moment) -> Option<&Window> {
        holding(self.windows(), PlanKind::Maintenance, now)
    }

    /// Whether what was so at a moment was still so when a maintenance was over.
    pub(crate) fn outlasted_maintenance(&self, at: Moment, now: Moment, rules: &Rules) -> bool {
        let mut maintenances = self.windows().iter().filter(|it| it.plan.kind == PlanKind::Maintenance);
        maintenances.any(|window| at < window.until && self.judged_from(window.until, rules) <= now)
    }

    /// From when something that was due is judged: at once, or when the observer, which was away then or just back, has
    /// given its runs one full silence timeout to speak. A later absence takes nothing back.
    pub(crate) fn judged_from(&self, due: Moment, rules: &Rules) -> Moment {
        let of_then = self.runs.iter().filter(|run| run.started_at() <= due);
        let silence_ms =
            of_then.map(|run| rules.silence_ms(run.interval_ms(rules))).max().unwrap_or_default();
        let absences = self.absences.as_deref().unwrap_or_default();
        absences.iter().fold(due, |due, away| {
            let hold = away.to.plus(silence_ms);
            if away.from < due && due < hold { hold } else { due }
        })
    }

    /// Whether one of its runs is on a host.
    pub(crate) fn has_run_on(&self, host: &str) -> bool {
        self.runs.iter().any(|run| run.host_name() == Some(host))
    }

    /// Takes one window that was announced, or that was shortened.
    pub(crate) fn take_window(&mut self, window: Window) {
        let mut windows = self.windows().to_vec();
        windows.retain(|known| known.plan.id != window.plan.id);
        windows.push(window);
        windows.sort_by_key(|window| (window.from, Arc::clone(&window.plan.id)));
        self.take_windows(windows);
    }

    /// Takes what was announced; those that excuse nothing any more are forgotten first.
    pub(crate) fn take_windows(&mut self, mut windows: Vec<Window>) {
        let oldest = self.runs.first().map(Run::started_at).unwrap_or_default();
        while windows.len() > WINDOWS_MAX {
            let before = |window: &Window| window.until < oldest;
            let excuses_nobody = |window: &Window| {
                let mut ends = self.runs.iter().filter_map(|run| run.verdict.ending());
                !ends.any(|ending| window.holds(ending.at))
            };
            let out = windows.iter().position(before).or_else(|| windows.iter().position(excuses_nobody));
            windows.remove(out.unwrap_or(0));
        }
        self.windows = (!windows.is_empty()).then(|| windows.into());
    }

    /// Its runs, newest first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().rev()
    }

    /// One of its runs.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    pub(crate) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == id)
    }

    /// The run it shows: the newest that is not the child of a live run.
    #[must_use]
    pub fn current(&self) -> Option<&Run> {
        self.runs().find(|run| !self.is_child_of_a_live_run(run)).or_else(|| self.runs.last())
    }

    /// The newest run that lives, and is not the child of another that does: whom a request to the worker is for.
    #[must_use]
    pub fn live_run(&self) -> Option<&Run> {
        self.runs().find(|run| !run.ended() && !self.is_child_of_a_live_run(run))
    }

    /// The newest run that has ended; the end of a live run's child is not the worker's.
    #[must_use]
    pub fn last_ended(&self) -> Option<&Run> {
        self.runs().find(|run| run.ended() && !self.is_child_of_a_live_run(run))
    }

    /// It was forked by a run of this worker that has not ended, or had not when the child did: what became of a
    /// child is its parent's to tell, for good.
    #[must_use]
    pub fn is_child_of_a_live_run(&self, run: &Run) -> bool {
        let Some(parent) = run.parent_run().and_then(|parent| self.run(parent)) else { return false };
        let ended = run.verdict.ending().map(|ending| ending.at);
        parent.verdict.ending().is_none_or(|parent| ended.is_some_and(|ended| ended <= parent.at))
    }

    /// It was forked by a run that nobody has heard of yet.
    pub(crate) fn parent_is_unheard_of(&self, run: &Run) -> bool {
        run.parent_run().is_some_and(|parent| self.run(parent).is_none())
    }

    /// It was forked by a run of this worker.
    fn is_child(&self, run: &Run) -> bool {
        run.parent_run().is_some_and(|parent| self.run(parent).is_some())
    }

    /// Who answers for a run that is gone, and for its promise: its successors, and a child to which it had handed over before it ended.
    pub(crate) fn heirs(&self, run: &Run) -> impl Iterator<Item = &Run> {
        let (parent, over) = (run.id, run.told_its_end());
        let children = self.runs.iter().filter(move |child| over && child.parent_run() == Some(parent));
        self.successors(run).chain(children.filter(|child| !child.ended()))
    }

    /// All amendments of its runs, oldest first.
    #[must_use]
    pub fn amendments(&self) -> Vec<&Amendment> {
        let mut all: Vec<&Amendment> = self.runs.iter().flat_map(|run| &run.amendments).collect();
        all.sort_by_key(|amendment| amendment.at);
        all
    }

    /// Runs after this one that came in its place. Who was forked by a run of this worker is a child and nobody's
    /// successor; nor is its parent, which may stand behind it when both began within a millisecond.
    pub(crate) fn successors(&self, run: &Run) -> impl Iterator<Item = &Run> {
        let (own, parent) = (run.id, run.parent_run());
        self.runs
            .iter()
            .skip_while(move |other| other.id != own)
            .skip(1)
            .filter(move |other| !self.is_child(other) && Some(other.id) != parent)
    }

    /// Takes a fact of one of its runs; [`Worker::rejudge`] says what follows.
    pub(crate) fn admit(&mut self, fact: &Fact) {
        if self.run(fact.id.run).is_none() {
            self.runs.push(Run::new(fact.id.run, fact.taken));
        }
        if let Some(run) = self.run_mut(fact.id.run) {
            run.dossier.admit(fact);
            if [Source::Own, Source::Witness].contains(&fact.id.source) {
                run.last_said = run.last_said.max(fact.occurred());
            }
            // A spooled fact may be first to arrive; the run was heard of at the earliest receipt.
            run.first_heard = run.first_heard.min(fact.taken);
        }
        // A run of which no start is known (its facts came out of order, or it was forgotten and speaks again)
        // stands before all others: it must not pass for anybody's successor.
        self.runs.sort_by_key(|run| (run.dossier.started_at(), run.id));
    }

    /// Judges every run from its dossier and its neighbours; says whose class moved, and writes down what this fact
    /// has amended.
    pub(crate) fn rejudge(&mut self, fact: &Fact, rules: &Rules) -> Vec<Shift> {
        let contexts: Vec<Context> = self.runs.iter().map(|run| self.context(run)).collect();
        #[cfg(feature = "planted")]
        let contexts = crate::planted::neighbours(self, contexts, rules);
        let mut shifts = Vec::new();
        for (run, context) in self.runs.iter_mut().zip(&contexts) {
            let from = run.verdict.ending().map(|ending| (ending.class, ending.at));
            run.rejudge(context, rules);
            let to = run.verdict.class();
            if from.map(|(class, _)| class) != to {
                shifts.push(Shift { run: run.id, from, to });
            }
        }
        for shift in &shifts {
            self.record(shift, fact);
        }
        shifts
    }

    fn context(&self, run: &Run) -> Context {
        let process = |run: &Run| run.dossier.told(|start| start.process.clone());
        let own = process(run);
        let same = |other: &Run| own.is_some() && process(other) == own;
        let successor = self
            .successors(run)
            .next()
            .map(|next| Successor { at: next.started_at(), same_process: same(next) });
        let inherited: Option<Stamped<Exit>> = self
            .runs
            .iter()
            .take_while(|older| older.id != run.id)
            .filter(|older| same(older))
            .find_map(|older| older.dossier.exit.clone());
        let windows = self.windows.clone();
        Context { successor, inherited_exit: inherited, rebooted: run.rebooted, windows }
    }

    fn record(&mut self, shift: &Shift, fact: &Fact) {
        let because = because(fact, shift.run);
        let Some((from, from_at)) = shift.from else {
            // What lay in one spool is read word by word, at one moment: it is one amendment, to what it comes to.
            let last = self.run_mut(shift.run).and_then(|run| run.amendments.last_mut());
            if let Some(last) = last.filter(|last| last.to.is_none() && last.at == fact.taken) {
                (last.to, last.because) = (shift.to, because);
            }
            return;
        };
        if let Some(run) = self.run_mut(shift.run) {
            if run.amendments.len() == AMENDMENTS_MAX {
                run.amendments.remove(0);
            }
            let (at, to) = (fact.taken, shift.to);
            run.amendments.push(Amendment { run: shift.run, at, from, from_at, to, because });
        }
    }

    /// Runs that never began, or are over for good, go first: of a provisional ending more may be heard. Never
    /// the one that has just spoken.
    pub(crate) fn forget_oldest(&mut self, speaking: RunId) -> Vec<Run> {
        let never_began = |run: &Run| run.dossier.started_at().is_none();
        let over = |run: &Run| run.verdict.ending().is_some_and(|ending| !ending.provisional);
        let any = |_: &Run| true;
        let mut forgotten = Vec::new();
        while self.runs.len() > RUNS_MAX {
            let of = |rule: &dyn Fn(&Run) -> bool| {
                self.runs.iter().position(|run| run.id != speaking && rule(run))
            };
            let Some(oldest) = of(&never_began).or(of(&over)).or(of(&Run::ended)).or(of(&any)) else { break };
            forgotten.push(self.runs.remove(oldest));
        }
        forgotten
    }

    /// How the promise of one of its runs stands (M8).
    #[must_use]
    pub fn promise(&self, run: &Run, rules: &Rules) -> Option<Promise> {
        // Who is a child promises nothing for the worker.
        let (made, due) =
            run.promised(self.windows(), rules).filter(|_| !self.is_child_of_a_live_run(run))?;
        let answered = self.heirs(run).filter_map(Run::ready_at).min();
        let in_time = answered.is_some_and(|ready| ready <= due);
        // A late fact may have moved the ending, and with it the deadline beyond the one that passed.
        let passed = run.dossier.expired.get(&Deadline::Promise);
        let was_missed = passed.is_some_and(|passed| passed.value.due >= due);
        let broken = answered.is_some() || was_missed;
        let state = match (in_time, broken) {
            (true, _) => PromiseState::Kept,
            (false, true) => PromiseState::Broken,
            (false, false) => PromiseState::Open,
        };
        #[cfg(feature = "planted")]
        let state = crate::planted::promise(self, run, due, state, rules);
        Some(Promise { made, due, state, was_missed })
    }

    /// The newest promise that no successor has answered, kept or late.
    fn unanswered_promise(&self, rules: &Rules) -> Option<(&Run, Promise)> {
        self.runs().find_map(|run| {
            let promise = self.promise(run, rules)?;
            self.heirs(run).all(|next| next.ready_at().is_none()).then_some((run, promise))
        })
    }

    /// The bad end of its newest ended run, when no successor was ready since and no promise covers it.
    #[must_use]
    pub fn failure(&self, rules: &Rules) -> Option<&Run> {
        let ended = self.last_ended()?;
        let bad = ended.verdict.class().is_some_and(|class| class.severity() == Severity::Page);
        let replaced = self.heirs(ended).any(|next| next.ready_at().is_some());
        (bad && !replaced && !self.is_covered(ended, rules)).then_some(ended)
    }

    /// A successor's end before ready, inside the promise of an earlier run that nobody had answered.
    pub(crate) fn is_covered(&self, run: &Run, rules: &Rules) -> bool {
        let Some(ending) = run.verdict.ending() else { return false };
        let earlier = self.runs.iter().rev().skip_while(|other| other.id != run.id);
        earlier
            .filter(|earlier| !self.is_child(earlier))
            .take_while(|tried| tried.ready_at().is_none())
            .chain(self.last_ready_before(run))
            .filter(|earlier| earlier.id != run.id)
            .filter_map(|earlier| self.promise(earlier, rules))
            .any(|promise| ending.at >= promise.made && ending.at <= promise.due)
            && run.ready_at().is_none()
    }

    /// The newest earlier run that was ready: only its promise can still be open when a later one ends.
    fn last_ready_before(&self, run: &Run) -> Option<&Run> {
        self.runs
            .iter()
            .rev()
            .skip_while(|other| other.id != run.id)
            .find(|earlier| earlier.ready_at().is_some() && !self.is_child(earlier))
    }

    /// When a run had shown that all is well again: ready for a steady minute, or done with its work before.
    pub(crate) fn steady_at(run: &Run, rules: &Rules) -> Option<Moment> {
        let steady = run.ready_at()?.plus(rules.steady_ms);
        match run.verdict.ending() {
            Some(ending) if ending.class == Class::Completed => Some(steady.min(ending.at)),
            Some(ending) => (ending.at >= steady).then_some(steady),
            None => Some(steady),
        }
    }

    /// Since when it is in a crash loop: five endings that are page-class, silent, or superseded without a word,
    /// within a minute, and no run was ready for a minute since.
    #[must_use]
    pub fn crash_loop(&self, now: Moment, rules: &Rules) -> Option<Moment> {
        let steady =
            self.runs.iter().filter_map(|run| Self::steady_at(run, rules)).filter(|at| *at <= now).max();
        let bad = |run: &Run| {
            let ending = run.verdict.ending().filter(|_| !self.is_child_of_a_live_run(run))?;
            let wordless = ending.class == Class::Superseded && run.dossier.fin.is_none();
            let silent = ending.class == Class::ExitedSilently;
            let counts = wordless || silent || ending.class.severity() == Severity::Page;
            (counts && steady.is_none_or(|steady| ending.at > steady)).then_some(ending.at)
        };
        let mut times: Vec<Moment> = self.runs.iter().filter_map(bad).collect();
        times.sort_unstable();
        let fifth = |window: &[Moment]| {
            let (first, last) = (window.first()?, window.last()?);
            (last.since(*first) <= rules.loop_ms).then_some(*last)
        };
        times.windows(rules.loop_endings).find_map(fifth)
    }

    /// The condition it is in now.
    #[must_use]
    pub fn standing(&self, now: Moment, rules: &Rules) -> Standing {
        let promise = self.unanswered_promise(rules).map(|(_, promise)| promise);
        let open = promise.filter(|promise| promise.state == PromiseState::Open);
        let maintenance = self.maintenance(now);
        let (condition, since) = match maintenance {
            Some(window) => (Condition::Maintenance, window.from),
            None => self.condition(now, promise, rules),
        };
        #[cfg(feature = "planted")]
        let (condition, since) = crate::planted::stood((condition, since), rules);
        let ended =
            self.last_ended().and_then(|run| run.verdict.class()).map_or(Severity::None, Class::severity);
        let severity = match condition {
            Condition::Stopped | Condition::Restarting => ended.min(Severity::Ticket),
            Condition::Suspended if now >= self.judged_from(since.plus(rules.suspended_ms), rules) => {
                Severity::Page
            }
            Condition::Maintenance
            | Condition::CrashLoop
            | Condition::RestartOverdue
            | Condition::Failed
            | Condition::Hung
            | Condition::Suspended
            | Condition::Unreachable
            | Condition::Unknown
            | Condition::Degraded
            | Condition::Stopping
            | Condition::Draining
            | Condition::Paused
            | Condition::Reloading
            | Condition::Starting
            | Condition::Live
            | Condition::Completed => condition.severity(),
        };
        let back_by = maintenance.map(|window| window.until).or(open.map(|promise| promise.due));
        Standing { condition, since, severity, back_by }
    }

    fn condition(&self, now: Moment, promise: Option<Promise>, rules: &Rules) -> (Condition, Moment) {
        if let Some(since) = self.crash_loop(now, rules) {
            return (Condition::CrashLoop, since);
        }
        let overdue = promise.filter(|promise| promise.state == PromiseState::Broken);
        if let Some(promise) = overdue {
            return (Condition::RestartOverdue, promise.due);
        }
        if let Some(ending) = self.failure(rules).and_then(|run| run.verdict.ending()) {
            return (Condition::Failed, ending.at);
        }
        let open = promise.filter(|promise| promise.state == PromiseState::Open);
        let Some(run) = self.current() else { return (Condition::Starting, now) };
        if !run.ended() {
            if let Some(hung) = run.dossier.hung() {
                return (Condition::Hung, hung.due);
            }
            if let Some(since) = run.suspended_since() {
                return (Condition::Suspended, since);
            }
            if let Some(since) = run.unreachable_since(now, rules) {
                return (Condition::Unreachable, since);
            }
            if run.is_unknown(now, rules) {
                return (Condition::Unknown, run.hot.away.map_or(now, |away| away.to));
            }
            if let Some((_, _, at)) = run.failed_agent() {
                return (Condition::Degraded, at);
            }
        }
        if let Some(promise) = open {
            return (Condition::Restarting, promise.made);
        }
        let phase_at = || run.dossier.phase.as_ref().map_or_else(|| run.started_at(), |phase| phase.occurred);
        match &run.verdict.state {
            State::Stopping => {
                let asked = run.verdict.ask.as_ref().map(|ask| ask.at);
                let said = run.dossier.fin.as_ref().map(|fin| fin.occurred);
                (Condition::Stopping, asked.or(said).unwrap_or(now))
            }
            State::Draining => (Condition::Draining, phase_at()),
            State::Paused => (Condition::Paused, phase_at()),
            State::Reloading => (Condition::Reloading, phase_at()),
            State::Starting => (Condition::Starting, run.started_at()),
            State::Running => (Condition::Live, run.ready_at().unwrap_or_else(|| run.started_at())),
            State::Ended(ending) if ending.class == Class::Completed => (Condition::Completed, ending.at),
            State::Ended(ending) => (Condition::Stopped, ending.at),
        }
    }

    /// When it should be looked at whether it is one of many that are silent.
    pub(crate) fn next_look(&self, rules: &Rules) -> Option<Moment> {
        self.runs.iter().filter_map(|run| run.next_look(rules)).min()
    }

    /// It was looked at; who beats again is looked at again.
    pub(crate) fn looked(&mut self) {
        self.runs.iter_mut().for_each(Run::looked);
    }

    /// Whether a run told its end, or another is ready in its place.
    pub(crate) fn is_missed_no_more(&self, run: RunId) -> bool {
        self.run(run).is_none_or(|run| {
            run.verdict.ending().is_some_and(|ending| ending.expired.is_none())
                || self.successors(run).any(|next| next.ready_at().is_some())
        })
    }

    /// When it leaves the list: a day after a planned end, a week after a failure; never while a run is open.
    pub(crate) fn leaves_at(&self, rules: &Rules) -> Option<Moment> {
        let ends = self.runs.iter().map(|run| run.verdict.ending().map(|ending| (ending.at, run)));
        let (at, _) = ends.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|(at, _)| *at)?;
        let failed = self.failure(rules).is_some()
            || self.unanswered_promise(rules).is_some_and(|(_, it)| it.state == PromiseState::Broken);
        Some(at.plus(if failed { rules.failed_kept_ms } else { rules.stopped_kept_ms }))
    }

    /// The next inferred deadline of any of its runs.
    pub(crate) fn next_deadline(&self, rules: &Rules) -> Option<(Moment, RunId, Deadline)> {
        let waiting = self.unanswered_promise(rules);
        let open = waiting.filter(|(_, promise)| promise.state == PromiseState::Open);
        self.runs
            .iter()
            .filter_map(|run| {
                let due =
                    open.filter(|(promising, _)| promising.id == run.id).map(|(_, promise)| promise.due);
                let (due, which) = run.next_deadline(due, rules)?;
                #[cfg(feature = "planted")]
                let (due, which) = crate::planted::due(self, run, (due, which), rules)?;
                Some((due, run.id, which))
            })
            .min()
    }
}

/// The evidence of an amendment, in a few words.
fn because(fact: &Fact, run: RunId) -> String {
    use crate::fact::What;
    let name = fact.what.type_name();
    let seq = fact.id.seq;
    if fact.id.run != run {
        // A plan is about no single run.
        let planned = ["plan", "plan_end"].contains(&name);
        return if planned {
            format!("planned work ({name} #{seq})")
        } else {
            format!("{name} of another run")
        };
    }
    match &fact.what {
        What::Final(_) => format!("final beat delivered late (final #{seq})"),
        What::Exit(_) => format!("its witness reported the exit (exit #{seq})"),
        What::Seen => format!("heard again (seen #{seq})"),
        What::Ready => format!("ready after all (ready #{seq})"),
        What::Expired(expired) => format!("the {} deadline passed (expired #{seq})", expired.which.as_str()),
        What::Start(_)
        | What::Phase(_)
        | What::Agent(_)
        | What::Asked(_)
        | What::Extend(_)
        | What::Step(_)
        | What::Panic(_)
        | What::WitnessStart(_)
        | What::SignalSeen(_)
        | What::Notify(_)
        | What::Stopped
        | What::Continued
        | What::Oom
        | What::OutputTail(_)
        | What::LeftBehind(_)
        | What::LinkClosed(_)
        | What::Away(_)
        | What::MassSilence(_)
        | What::Plan(_)
        | What::PlanEnd(_)
        | What::Forget(_) => format!("{name} #{seq}"),
    }
}
