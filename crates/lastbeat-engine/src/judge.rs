//! The judge: what a dossier means.
//!
//! Invariant: pure, and without a clock. Time enters only as facts ("this deadline passed"), so that a
//! verdict can be computed again at any time and is the same (M1).
//!
//! The precedence of classes is the order of `class_of_an_end` and `absence`; read those two first.

use std::sync::Arc;

use crate::ask::{Ask, ask, is_uncaught, of_its_own_making};
use crate::dossier::{Dossier, Stamped};
use crate::ending::{
    Cause, CauseKind, Class, ClassHint, Cleanup, CleanupOutcome, Ending, Evidence, EvidenceKind, Exit, Panic,
    StepOutcome,
};
use crate::fact::{Deadline, Expired, PhaseTo};
use crate::moment::Moment;
use crate::plan::Window;
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

/// Everything the rules look at, gathered once.
struct Judge<'a> {
    dossier: &'a Dossier,
    context: &'a Context,
    rules: &'a Rules,
    exit: Option<&'a Stamped<Exit>>,
    ask: Option<&'a Ask>,
}

impl Judge<'_> {
    /// A witnessed run ends by its exit; one without a witness by its final; both by absence. A crash that it told
    /// itself needs no witness, and is dated when it was told.
    fn ending(&self) -> Option<Ending> {
        let crash = self.dossier.fin.as_ref().filter(|fin| fin.value.hint == Some(ClassHint::Crashed));
        if let Some(exit) = self.exit {
            let class = self.class_of_an_end(exit.occurred);
            let told = crash.filter(|_| class == Class::Crashed).map(|crash| crash.occurred);
            return Some(self.put_down(class, told.unwrap_or(exit.occurred).min(exit.occurred), false, None));
        }
        if let Some(crash) = crash {
            return Some(self.put_down(Class::Crashed, crash.occurred, false, None));
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
        // Of a run whose start nobody told, it is not known whether it was ready.
        let known = self.dossier.started_at().is_some();
        if asked.is_none() && known && self.dossier.ready_at().is_none() {
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
        let mut asking = ask.signals.iter().map(String::as_str);
        match (exit.code, exit.signal.as_deref()) {
            (Some(0), _) => true,
            (Some(code), _) => asking.filter_map(signal_number).any(|number| code == 128 + number),
            (None, Some(signal)) => asking.any(|asked| asked == signal),
            (None, None) => true,
        }
    }

    /// A fatal signal of its own making, or a panic that nobody caught.
    fn came_down_by_itself(&self, signal: Option<&str>) -> bool {
        let asked_by =
            |signal: &str| self.ask.is_some_and(|ask| ask.signals.iter().any(|asked| asked == signal));
        let fatal = signal.is_some_and(|signal| of_its_own_making(signal) && !asked_by(signal));
        fatal || is_uncaught(self.dossier, self.exit.map(|exit| &exit.value))
    }

    /// A second request that skipped something; of an unlinked program any second request.
    fn forced(&self) -> bool {
        let Some(ask) = self.ask else { return false };
        if !self.dossier.linked() && self.dossier.fin.is_none() {
            return ask.again;
        }
        let cleanup = self.dossier.cleanup();
        let mut skipped = cleanup.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Skipped));
        // A step may be skipped by its own gate, whoever asked however often.
        skipped.any(|step| cleanup.forced || ask.again && step.why_skipped.is_none())
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
            panic: self.panic_it_died_of(),
            expired,
            evidence: self.evidence(class, expired),
        }
    }

    /// A panic that was caught is not what it died of, days later.
    fn panic_it_died_of(&self) -> Option<Panic> {
        let uncaught = is_uncaught(self.dossier, self.exit.map(|exit| &exit.value));
        self.dossier.panic.as_ref().filter(|_| uncaught).map(|panic| panic.value.clone())
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
        let seen = dossier.signals.values().next().or(dossier
            .hangup
            .as_deref()
            .or(dossier.quit.as_deref())
            .filter(|_| self.ask.is_some()));
        if let Some(seen) = seen {
            witness.push(format!("signal_seen #{}", seen.seq));
        }
        if let Some(oom) = &dossier.oom {
            witness.push(format!("oom #{}", oom.seq));
        }
        if let Some(left) = dossier.left_behind.as_ref().filter(|left| !left.value.children.is_empty()) {
            witness.push(format!("left_behind #{}", left.seq));
        }
        if let Some(exit) = self.exit {
            witness.push(format!("exit #{}", exit.seq));
        }
        if let Some(stuck) = dossier.stuck.as_ref().filter(|_| class == Class::Watchdog) {
            inferred.push(format!("expired #{}", stuck.seq));
        }
        if let Some(plan) = self.ask.and_then(|ask| ask.plan.as_ref()) {
            inferred.push(format!("plan {plan}"));
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
        let reloads = self.dossier.reloading.as_ref().is_some_and(|reloading| reloading.value);
        match self.dossier.phase.as_ref().map(|phase| phase.value.to) {
            None if reloads => State::Reloading,
            None | Some(PhaseTo::Running) => State::Running,
            Some(PhaseTo::Paused) => State::Paused,
            Some(PhaseTo::Reloading) => State::Reloading,
            Some(PhaseTo::Draining) => State::Draining,
        }
    }
}
