//! The judge: what a dossier means.
//!
//! Invariant: pure, and without a clock. Time enters only as facts ("this deadline passed"), so that a
//! verdict can be computed again at any time and is the same (M1).
//!
//! The precedence of classes is the order of `class_of_an_end` and `absence`; read those two first.

use std::sync::Arc;

use crate::dossier::{Dossier, Stamped};
use crate::ending::{
    Cause, CauseKind, Class, ClassHint, Cleanup, CleanupOutcome, Ending, Evidence, EvidenceKind, Exit,
    Sender, StepOutcome,
};
use crate::fact::{Deadline, Expired, PhaseTo, PlanKind};
use crate::moment::Moment;
use crate::plan::{Window, holding, restart_of};
use crate::rules::Rules;

/// What a run's neighbours contribute to its verdict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    /// A later run of the same worker, which is not its child.
    pub successor: Option<Successor>,
    /// The exit of an older run of the same process: a process that re-executed itself has one exit, and it
    /// belongs to the newest run.
    pub inherited_exit: Option<Stamped<Exit>>,
    /// When a run of the same host first told another boot id, after this one had started.
    pub rebooted: Option<Moment>,
    /// Planned work that speaks of this worker.
    pub windows: Option<Arc<[Window]>>,
}

/// The earliest later run of the same worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// When it started.
    pub at: Moment,
    /// It is the same process: the older run is superseded for good, and the exit is not its own.
    pub same_process: bool,
}

/// A stop that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// By whom: the earliest asker in the chain.
    pub cause: Cause,
    /// When the first ask happened.
    pub at: Moment,
    /// When the stop deadline ends.
    pub deadline: Moment,
    /// A second request came.
    pub again: bool,
}

/// Where a run is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not ready yet.
    Starting,
    /// At work.
    Running,
    /// Holding still.
    Paused,
    /// Reading its configuration anew.
    Reloading,
    /// No new work.
    Draining,
    /// A stop was asked.
    Stopping,
    /// Over.
    Ended(Box<Ending>),
}

impl State {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Reloading => "reloading",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Ended(_) => "ended",
        }
    }
}

/// What the judge says of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Where it is in its life, with its ending inside.
    pub state: State,
    /// The stop that was asked, if one was.
    pub ask: Option<Box<Ask>>,
}

impl Verdict {
    /// The ending, once there is one.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            State::Ended(ending) => Some(ending),
            State::Starting
            | State::Running
            | State::Paused
            | State::Reloading
            | State::Draining
            | State::Stopping => None,
        }
    }

    /// The class of the ending, once there is one.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.ending().map(|ending| ending.class)
    }
}

/// Judges a run by its facts and its neighbours.
#[must_use]
pub fn judge(dossier: &Dossier, context: &Context, rules: &Rules) -> Verdict {
    let exit = match &context.successor {
        Some(Successor { same_process: true, .. }) => None,
        Some(_) | None => dossier.exit.as_ref().or(context.inherited_exit.as_ref()),
    };
    let ask = ask(dossier, exit, context.windows.as_deref().unwrap_or_default(), rules);
    let judge = Judge { dossier, context, rules, exit, ask: ask.as_deref() };
    let state = match judge.ending() {
        Some(ending) => State::Ended(Box::new(ending)),
        None => judge.life(),
    };
    Verdict { state, ask }
}

/// Signals a process makes for itself by a fault.
fn of_its_own_making(signal: &str) -> bool {
    matches!(signal, "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGFPE" | "SIGABRT" | "SIGTRAP" | "SIGSYS")
}

/// The number a shell adds 128 to.
fn signal_number(signal: &str) -> Option<i32> {
    match signal {
        "SIGHUP" => Some(1),
        "SIGINT" => Some(2),
        "SIGQUIT" => Some(3),
        "SIGTERM" => Some(15),
        _ => None,
    }
}

/// Who asked first, and until when the stop may take; none when nobody asked.
fn ask(
    dossier: &Dossier,
    exit: Option<&Stamped<Exit>>,
    windows: &[Window],
    rules: &Rules,
) -> Option<Box<Ask>> {
    let grace = dossier.told(|start| start.grace_ms);
    let own: Vec<_> = dossier.asks.values().filter(|ask| !ask.value.cause.is_done()).collect();
    // A notice (a hang-up, a QUIT that a process sent) may be a reload or a call for a thread dump. It is the ask
    // of a program that then ends within the grace; a hang-up also that of a client which declared no reload.
    let reloads = dossier.told(|start| start.reload.then_some(())).is_some();
    let notice = dossier.notice.as_deref().filter(|notice| {
        let hangup = notice.value.cause.signal.as_deref() == Some("SIGHUP");
        let within_ms = grace.unwrap_or(rules.stop_ms);
        let ended_by_it = exit.is_some_and(|exit| {
            exit.occurred >= notice.occurred && exit.occurred.since(notice.occurred) <= within_ms
        });
        !(hangup && reloads) && (ended_by_it || hangup && dossier.linked())
    });
    let firm: Vec<_> = dossier.signals.values().collect();
    let seen: Vec<_> = firm.iter().copied().chain(notice).collect();
    let by_own = own.iter().min_by_key(|ask| (ask.occurred, ask.seq));
    let by_witness = seen.iter().min_by_key(|seen| (seen.occurred, seen.seq));

    let own_times = own.iter().map(|ask| ask.occurred);
    let seen_times = seen.iter().map(|seen| seen.occurred);
    let first = own_times.clone().chain(seen_times.clone()).min();
    // M7: one person's impatience within a second is one request. The client applies this rule itself and
    // says `asked` again only for a second request, so only what the witness saw is measured here. A signal
    // after a stop that was asked otherwise is the first signal.
    let again =
        own.iter().filter(|ask| ask.value.cause.is_signal()).count() > 1
            || firm.iter().map(|seen| seen.occurred).min().is_some_and(|first| {
                firm.iter().any(|seen| seen.occurred.since(first) >= rules.one_request_ms)
            });

    // M2: a goodbye that names no cause proves that a library ran, not intent.
    let from_final = || {
        let fin = dossier.fin.as_ref()?;
        let cause = match &fin.value.cause {
            Some(cause) if cause.is_done() => return None,
            Some(cause) => cause.clone(),
            None if fin.value.hint == Some(ClassHint::Shutdown) => Cause::of(CauseKind::Unknown),
            None => return None,
        };
        Some((cause, fin.occurred, fin.taken.plus(grace.unwrap_or(rules.stop_ms))))
    };
    // It died of a stop signal that nobody saw sent.
    let from_death = || {
        let exit = exit?;
        let by_signal = exit
            .value
            .signal
            .clone()
            .filter(|signal| matches!(signal.as_str(), "SIGTERM" | "SIGINT" | "SIGHUP"));
        let by_code = || match exit.value.code {
            Some(143) if !dossier.linked() => Some("SIGTERM".to_owned()),
            Some(130) if !dossier.linked() => Some("SIGINT".to_owned()),
            Some(129) if !dossier.linked() => Some("SIGHUP".to_owned()),
            _ => None,
        };
        let signal = by_signal.or_else(by_code)?;
        let cause = Cause { signal: Some(signal), ..Cause::of(CauseKind::Signal) };
        Some((cause, exit.occurred, exit.taken.plus(grace.unwrap_or(rules.stop_ms))))
    };

    // Nobody was seen to ask, but an operator had announced that it stops. A plan excuses a stop, not a death.
    let from_plan = || {
        let exit = exit.filter(|exit| dossier.ready_at().is_some() && !is_a_death(dossier, &exit.value))?;
        let window = announced(dossier, windows, exit.occurred)?;
        Some((window.cause(), exit.occurred, exit.taken.plus(grace.unwrap_or(rules.stop_ms))))
    };

    let own_deadline = |ask: &Stamped<crate::fact::Asked>| {
        ask.taken.plus(ask.value.deadline_ms.or(grace).unwrap_or(rules.stop_ms))
    };
    let (cause, at, deadline) = match (by_own, by_witness) {
        (Some(own), Some(seen)) => {
            // A child sees only its witness as sender, so what the witness saw tells more; but a program that
            // had asked itself before any signal came is its own author.
            let own_first = !own.value.cause.is_signal() && own.occurred <= seen.occurred;
            let cause = if own_first { &own.value.cause } else { &seen.value.cause };
            (cause.clone(), first.unwrap_or(own.occurred), own_deadline(own))
        }
        (Some(own), None) => (own.value.cause.clone(), own.occurred, own_deadline(own)),
        (None, Some(seen)) => {
            let deadline = seen.taken.plus(grace.unwrap_or(rules.stop_ms));
            (seen.value.cause.clone(), seen.occurred, deadline)
        }
        (None, None) => from_final().or_else(from_death).or_else(from_plan)?,
    };
    // Who announced it asked first; the signal by which it came stays told.
    let cause = match announced(dossier, windows, at) {
        Some(window) => Cause { signal: cause.signal, sender: cause.sender, ..window.cause() },
        None => cause,
    };
    Some(Box::new(Ask { cause, at, deadline: extended(dossier, deadline, rules), again }))
}

/// The announced stop or restart that a moment falls into.
fn announced<'a>(dossier: &Dossier, windows: &'a [Window], at: Moment) -> Option<&'a Window> {
    let restart = || restart_of(windows, dossier.started_at()?, at);
    holding(windows, PlanKind::Stop, at).or_else(restart)
}

/// Whether a process was killed or came down by itself.
fn is_a_death(dossier: &Dossier, exit: &Exit) -> bool {
    let signal = exit.signal.as_deref();
    let hinted = dossier.fin.as_ref().and_then(|fin| fin.value.hint) == Some(ClassHint::Crashed);
    hinted
        || dossier.panic.is_some()
        || dossier.oom.is_some()
        || signal.is_some_and(|signal| signal == "SIGKILL" || of_its_own_making(signal))
}

/// D3: an extension counts when it came before expiry and a step or counter moved since the one before.
fn extended(dossier: &Dossier, deadline: Moment, rules: &Rules) -> Moment {
    let (mut deadline, mut left_ms, mut before) = (deadline, rules.extend_total_ms, (None, None));
    for extend in dossier.extends.values() {
        let at_work = (extend.value.step.as_ref(), extend.value.counter);
        if extend.occurred <= deadline && at_work != before {
            let by_ms = extend.value.by_ms.min(rules.extend_max_ms).min(left_ms);
            (deadline, left_ms, before) = (deadline.plus(by_ms), left_ms - by_ms, at_work);
        }
    }
    deadline
}

/// Everything the rules look at, gathered once.
struct Judge<'a> {
    dossier: &'a Dossier,
    context: &'a Context,
    rules: &'a Rules,
    exit: Option<&'a Stamped<Exit>>,
    ask: Option<&'a Ask>,
}

impl Judge<'_> {
    /// A witnessed run ends by its exit; one without a witness by its final; both by absence.
    fn ending(&self) -> Option<Ending> {
        if let Some(exit) = self.exit {
            let class = self.class_of_an_end(exit.occurred);
            return Some(self.put_down(class, exit.occurred, false, None));
        }
        if let Some(expired) = self.expired(Deadline::Goodbye).filter(|_| self.dossier.fin.is_some()) {
            return Some(self.put_down(Class::ShutdownTimeout, expired.due, false, Some(expired.which)));
        }
        if let Some(fin) = &self.dossier.fin {
            // While a witness is there its exit follows; a witness that is silent itself will not tell.
            let witness_will_tell = self.dossier.witnessed() && self.gone().is_none() && !self.replaced();
            if !witness_will_tell {
                let class = self.class_of_an_end(fin.occurred);
                return Some(self.put_down(class, fin.occurred, false, None));
            }
            return None;
        }
        self.absence()
    }

    /// The first that holds, for a run of which an exit or a final is known.
    fn class_of_an_end(&self, at: Moment) -> Class {
        let exit = self.exit.map(|exit| &exit.value);
        let signal = exit.and_then(|exit| exit.signal.as_deref());
        let killed = signal == Some("SIGKILL");
        let asked = self.ask;
        if self.dossier.oom.is_some() && killed {
            return Class::OomKilled;
        }
        if self.came_down_by_itself(signal) {
            return Class::Crashed;
        }
        if asked.is_none() && self.dossier.ready_at().is_none() {
            return Class::StartFailed;
        }
        if self.forced() {
            return Class::ShutdownAborted;
        }
        if let Some(ask) = asked
            && (at > ask.deadline || self.a_step_was_cut() || killed)
        {
            return Class::ShutdownTimeout;
        }
        if self.outlived_its_goodbye(at) {
            return Class::ShutdownTimeout;
        }
        if killed {
            return if self.dossier.hung().is_some() { Class::Watchdog } else { Class::Killed };
        }
        match asked {
            Some(ask) => self.class_of_an_asked_end(ask, exit),
            None => self.class_of_an_unasked_end(exit),
        }
    }

    fn class_of_an_asked_end(&self, ask: &Ask, exit: Option<&Exit>) -> Class {
        let clean = self.cleanup_is_clean();
        if !self.dossier.linked() && self.dossier.fin.is_none() {
            // M4: ended inside the grace, whatever the code; but what it left behind is not clean.
            return if clean { Class::Shutdown } else { Class::ShutdownDegraded };
        }
        let fine = exit.is_none_or(|exit| self.is_fine_when_asked(ask, exit));
        match (&self.dossier.fin, fine) {
            (Some(_), true) if clean => Class::Shutdown,
            (Some(_), _) => Class::ShutdownDegraded,
            // No final. The accepted ways out are a stop without its cleanup, others a crash in it.
            (None, _) => match exit {
                Some(exit) if self.is_fine_when_asked_by_any(ask, exit) => Class::ShutdownDegraded,
                Some(_) | None => Class::Crashed,
            },
        }
    }

    fn class_of_an_unasked_end(&self, exit: Option<&Exit>) -> Class {
        match exit {
            Some(Exit { code: Some(code), .. }) if *code != 0 && !self.dossier.accepts(*code) => {
                Class::Crashed
            }
            Some(Exit { signal: Some(_), .. }) => Class::Crashed,
            Some(_) if self.dossier.fin.is_none() && self.dossier.linked() => Class::ExitedSilently,
            Some(_) | None => Class::Completed,
        }
    }

    /// M3: exit 0, the asking signal, 128+n and declared codes are accepted.
    fn is_fine_when_asked(&self, ask: &Ask, exit: &Exit) -> bool {
        self.is_fine_when_asked_by_any(ask, exit) || exit.code.is_some_and(|code| self.dossier.accepts(code))
    }

    fn is_fine_when_asked_by_any(&self, ask: &Ask, exit: &Exit) -> bool {
        let asking = ask.cause.signal.as_deref();
        match (exit.code, exit.signal.as_deref()) {
            (Some(0), _) => true,
            (Some(code), _) => asking.and_then(signal_number).is_some_and(|number| code == 128 + number),
            (None, Some(signal)) => asking == Some(signal),
            (None, None) => true,
        }
    }

    /// A fatal signal of its own making, or a panic that nobody caught.
    fn came_down_by_itself(&self, signal: Option<&str>) -> bool {
        let asking = self.ask.and_then(|ask| ask.cause.signal.as_deref());
        let fatal = signal.is_some_and(|signal| of_its_own_making(signal) && asking != Some(signal));
        let hinted = self.dossier.fin.as_ref().and_then(|fin| fin.value.hint) == Some(ClassHint::Crashed);
        let code = self.exit.and_then(|exit| exit.value.code);
        let uncaught = self.dossier.panic.is_some() && (code == Some(101) || signal == Some("SIGABRT"));
        fatal || hinted || uncaught
    }

    /// A second request that skipped something; of an unlinked program any second request.
    fn forced(&self) -> bool {
        let Some(ask) = self.ask else { return false };
        if !self.dossier.linked() && self.dossier.fin.is_none() {
            return ask.again;
        }
        let cleanup = self.dossier.cleanup();
        let skipped = cleanup.steps.iter().any(|step| step.outcome == Some(StepOutcome::Skipped));
        (ask.again || cleanup.forced) && skipped
    }

    /// D5: its witness saw it alive ten seconds after its final.
    fn outlived_its_goodbye(&self, at: Moment) -> bool {
        let said = self.dossier.fin.as_ref().map(|fin| fin.occurred);
        self.exit.is_some() && said.is_some_and(|said| at.since(said) > self.rules.goodbye_ms)
    }

    fn a_step_was_cut(&self) -> bool {
        let told = self.dossier.fin.as_ref().and_then(|fin| fin.value.cleanup.as_ref());
        told.is_some_and(|cleanup| {
            cleanup.steps.iter().any(|step| step.outcome == Some(StepOutcome::TimedOut))
        })
    }

    fn cleanup_is_clean(&self) -> bool {
        match self.dossier.cleanup().outcome() {
            CleanupOutcome::Complete | CleanupOutcome::NoneDeclared => true,
            CleanupOutcome::Partial
            | CleanupOutcome::Failed
            | CleanupOutcome::TimedOut
            | CleanupOutcome::Skipped => false,
        }
    }

    /// Without exit or final: the first that holds. A successor supersedes only a run that had not come to any
    /// ending before; the death of one that had is not undone by its replacement.
    fn absence(&self) -> Option<Ending> {
        let inferred = self.inferred();
        if let Some(at) = self.rebooted_away(inferred) {
            return Some(self.put_down(Class::HostRebooted, at, false, None));
        }
        if inferred.is_none() && self.came_back_with_its_host() {
            // Whether it is missed will be known at once, or within two beats.
            return None;
        }
        if let Some(successor) = &self.context.successor
            && (successor.same_process || inferred.is_none_or(|(_, expired)| successor.at < expired.due))
        {
            let provisional = !successor.same_process;
            return Some(self.put_down(Class::Superseded, successor.at, provisional, None));
        }
        let (class, expired) = inferred?;
        Some(self.put_down(class, expired.due, true, Some(expired.which)))
    }

    /// What a deadline that passed makes of a run: the first that holds.
    fn inferred(&self) -> Option<(Class, Expired)> {
        if let Some(ask) = self.ask {
            // A later fact may have moved the deadline beyond the one that passed.
            let expired = self.expired(Deadline::Stop).filter(|expired| expired.due >= ask.deadline);
            return expired.map(|expired| (Class::ShutdownTimeout, expired));
        }
        let unready = self.expired(Deadline::Start).filter(|_| self.dossier.ready_at().is_none());
        unready.map(|expired| (Class::StartFailed, expired)).or_else(|| {
            let gone = self.gone()?;
            Some((if gone.which == Deadline::Host { Class::HostLost } else { Class::Lost }, gone))
        })
    }

    /// Its successor came after its host had booted anew.
    fn came_back_with_its_host(&self) -> bool {
        let Some(rebooted) = self.context.rebooted else { return false };
        self.context.successor.as_ref().is_some_and(|next| !next.same_process && next.at >= rebooted)
    }

    /// When its host booted anew, if it was missed and nothing was heard of it since. Two hosts of one name may
    /// speak in turns, so another boot id alone ends nobody; and who was replaced before is missed by nobody.
    fn rebooted_away(&self, inferred: Option<(Class, Expired)>) -> Option<Moment> {
        let rebooted = self.context.rebooted?;
        if self.context.successor.as_ref().is_some_and(|next| next.at < rebooted) {
            return None;
        }
        let missed = inferred.map(|(_, expired)| expired).or_else(|| self.gone())?;
        missed.last_seen.is_none_or(|seen| seen < rebooted).then_some(rebooted)
    }

    fn replaced(&self) -> bool {
        self.context.successor.is_some()
    }

    fn gone(&self) -> Option<Expired> {
        self.dossier.gone.as_ref().and_then(|gone| gone.value)
    }

    fn expired(&self, which: Deadline) -> Option<Expired> {
        self.dossier.expired.get(&which).map(|expired| expired.value)
    }

    fn put_down(&self, class: Class, at: Moment, provisional: bool, expired: Option<Deadline>) -> Ending {
        let cleanup = self.dossier.cleanup();
        let cleanup_outcome = self.cleanup_outcome(class, &cleanup);
        let cause = self.ask.map(|ask| ask.cause.clone()).or_else(|| self.killer(class));
        let final_before =
            self.dossier.fin.as_ref().is_some_and(|fin| fin.value.hint != Some(ClassHint::Crashed));
        Ending {
            class,
            at,
            during_shutdown: class == Class::Crashed && (self.ask.is_some() || final_before),
            provisional,
            cause,
            cleanup,
            cleanup_outcome,
            exit: self.exit.map(|exit| exit.value.clone()),
            panic: self.dossier.panic.as_ref().map(|panic| panic.value.clone()),
            expired,
            evidence: self.evidence(class, expired),
        }
    }

    /// A KILL that nobody announced had an author, whom nobody saw. The kernel's own is no such, and the witness's
    /// is known.
    fn killer(&self, class: Class) -> Option<Cause> {
        let exit = self.exit.filter(|exit| exit.value.signal.as_deref() == Some("SIGKILL"))?;
        let unseen = class != Class::OomKilled && !exit.value.killed_by_witness;
        unseen.then(|| Cause { signal: Some("SIGKILL".to_owned()), ..Cause::of(CauseKind::Unknown) })
    }

    /// The worst of the cleanup, and what the class adds to it: a linked client that was asked and never told,
    /// and any forced end, skipped it.
    fn cleanup_outcome(&self, class: Class, cleanup: &Cleanup) -> CleanupOutcome {
        let told = self.dossier.fin.is_some();
        let asked = self.ask.is_some();
        if class == Class::ShutdownAborted || (asked && self.dossier.linked() && !told && self.exit.is_some())
        {
            return CleanupOutcome::Skipped;
        }
        cleanup.outcome()
    }

    /// The facts a verdict rests on, by who told them.
    fn evidence(&self, class: Class, expired: Option<Deadline>) -> Vec<Evidence> {
        let mut own = Vec::new();
        let mut witness = Vec::new();
        let mut inferred = Vec::new();
        let dossier = self.dossier;
        if let Some(ask) = dossier.asks.values().next() {
            own.push(format!("asked #{}", ask.seq));
        }
        if let Some(panic) = &dossier.panic {
            own.push(format!("panic #{}", panic.seq));
        }
        if let Some(fin) = &dossier.fin {
            own.push(format!("final #{}", fin.seq));
        }
        let seen =
            dossier.signals.values().next().or(dossier.notice.as_deref().filter(|_| self.ask.is_some()));
        if let Some(seen) = seen {
            witness.push(format!("signal_seen #{}", seen.seq));
        }
        if let Some(oom) = &dossier.oom {
            witness.push(format!("oom #{}", oom.seq));
        }
        if let Some(exit) = self.exit {
            witness.push(format!("exit #{}", exit.seq));
        }
        if let Some(which) = expired {
            let seq = match which {
                Deadline::Silence | Deadline::Link | Deadline::Host => {
                    dossier.gone.as_ref().map(|gone| gone.seq)
                }
                Deadline::Stop
                | Deadline::Start
                | Deadline::Promise
                | Deadline::Goodbye
                | Deadline::Progress => dossier.expired.get(&which).map(|expired| expired.seq),
            };
            if which == Deadline::Link
                && let Some(closed) = &dossier.closed
            {
                inferred.push(format!("link_closed #{}", closed.seq));
            }
            inferred.extend(seq.map(|seq| format!("expired #{seq}")));
        }
        if class == Class::HostRebooted {
            inferred.push("a later start on the same host with another boot id".to_owned());
        }
        if class == Class::Superseded {
            inferred.push("a later start of the same worker".to_owned());
        }
        [(EvidenceKind::Own, own), (EvidenceKind::Witness, witness), (EvidenceKind::Inferred, inferred)]
            .into_iter()
            .filter(|(_, facts)| !facts.is_empty())
            .map(|(kind, facts)| Evidence { kind, facts })
            .collect()
    }

    /// Where a run is that has not ended.
    fn life(&self) -> State {
        if self.ask.is_some() || self.dossier.fin.is_some() {
            return State::Stopping;
        }
        if self.dossier.ready_at().is_none() {
            return State::Starting;
        }
        match self.dossier.phase.as_ref().map(|phase| phase.value.to) {
            None | Some(PhaseTo::Running) => State::Running,
            Some(PhaseTo::Paused) => State::Paused,
            Some(PhaseTo::Reloading) => State::Reloading,
            Some(PhaseTo::Draining) => State::Draining,
        }
    }
}

impl Sender {
    /// Whether nobody can say who this was.
    #[must_use]
    pub const fn is_nameless(&self) -> bool {
        self.gone || self.outside_namespace || self.comm.is_none()
    }
}
