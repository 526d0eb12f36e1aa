//! Who asked a run to stop, when, and until when the stop may take.
//!
//! Invariant: pure, and without a clock, like the judge; an ask is found in the facts or not at all.

use std::sync::Arc;

use crate::dossier::{Dossier, Stamped};
use crate::ending::{Cause, CauseKind, ClassHint, Exit};
use crate::fact::{Asked, PlanKind, SignalSeen};
use crate::moment::Moment;
use crate::plan::{Window, holding, restart_of};
use crate::rules::Rules;

/// A stop that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// By whom: the earliest asker in the chain.
    pub cause: Cause,
    /// When the first ask happened.
    pub at: Moment,
    /// When the stop deadline ends.
    pub deadline: Moment,
    /// The plan that announced it.
    pub plan: Option<Arc<str>>,
    /// A second request came.
    pub again: bool,
    /// Every signal that asked: to end by any of them is to end as asked.
    pub signals: Vec<String>,
}

/// Signals a process makes for itself by a fault.
pub(crate) fn of_its_own_making(signal: &str) -> bool {
    matches!(signal, "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGFPE" | "SIGABRT" | "SIGTRAP" | "SIGSYS")
}

/// Whether it panicked and nobody caught it.
pub(crate) fn is_uncaught(dossier: &Dossier, exit: Option<&Exit>) -> bool {
    let hinted = dossier.fin.as_ref().and_then(|fin| fin.value.hint) == Some(ClassHint::Crashed);
    let by_panic =
        exit.is_some_and(|exit| exit.code == Some(101) || exit.signal.as_deref() == Some("SIGABRT"));
    hinted || dossier.panic.is_some() && by_panic
}

/// Who asked first, and until when the stop may take; none when nobody asked.
pub(crate) fn ask(
    dossier: &Dossier,
    exit: Option<&Stamped<Exit>>,
    windows: &[Window],
    rules: &Rules,
) -> Option<Box<Ask>> {
    let asked =
        Asking { dossier, exit, grace_ms: dossier.told(|start| start.grace_ms).unwrap_or(rules.stop_ms) };
    let own: Vec<_> = dossier.asks.values().filter(|ask| !ask.value.cause.is_done()).collect();
    let seen = asked.seen();
    let by_own = own.iter().min_by_key(|ask| (ask.occurred, ask.seq));
    let by_witness = seen.iter().min_by_key(|seen| (seen.occurred, seen.seq));
    let own_deadline = |ask: &Stamped<Asked>| ask.taken.plus(ask.value.deadline_ms.unwrap_or(asked.grace_ms));
    let (cause, at, deadline) = match (by_own, by_witness) {
        (Some(own), Some(seen)) => {
            // A child sees only its witness as sender, so what the witness saw tells more; but a program that
            // had asked itself before any signal came is its own author.
            let own_first = !own.value.cause.is_signal() && own.occurred <= seen.occurred;
            let cause = if own_first { &own.value.cause } else { &seen.value.cause };
            (cause.clone(), own.occurred.min(seen.occurred), own_deadline(own))
        }
        (Some(own), None) => (own.value.cause.clone(), own.occurred, own_deadline(own)),
        (None, Some(seen)) => (seen.value.cause.clone(), seen.occurred, seen.taken.plus(asked.grace_ms)),
        (None, None) => asked.by_final().or_else(|| asked.by_death()).or_else(|| asked.by_plan(windows))?,
    };
    // Who announced it asked first; the signal by which it came stays told. A signal that it died of asked as well,
    // seen or not: a hook that asks by the program's own door is followed by a TERM.
    let signals = own.iter().map(|ask| &ask.value.cause).chain(seen.iter().map(|seen| &seen.value.cause));
    let signals = signals.chain([&cause]).filter_map(|cause| cause.signal.clone());
    let signals = signals.chain(asked.stop_it_died_of()).collect();
    let announced = announced(dossier, windows, at);
    let cause = match announced {
        Some(window) => Cause { signal: cause.signal, sender: cause.sender, ..window.cause() },
        None => cause,
    };
    let deadline = extended(dossier, deadline, rules);
    let plan = announced.map(|window| Arc::clone(&window.plan.id));
    Some(Box::new(Ask { cause, at, deadline, plan, again: asked.again(&own, rules), signals }))
}

/// What an ask is looked for in.
struct Asking<'a> {
    dossier: &'a Dossier,
    exit: Option<&'a Stamped<Exit>>,
    grace_ms: u64,
}

impl Asking<'_> {
    /// The witness speaks in order, so what it saw after the exit asked nobody.
    fn in_life<T>(&self, seen: &Stamped<T>) -> bool {
        self.dossier.exit.as_ref().is_none_or(|exit| seen.seq < exit.seq)
    }

    /// What the witness saw before the end: signals that ask, or else a notice that turned out to.
    fn seen(&self) -> Vec<&Stamped<SignalSeen>> {
        let firm: Vec<_> = self.dossier.signals.values().filter(|seen| self.in_life(seen)).collect();
        if firm.is_empty() { self.notices() } else { firm }
    }

    /// Notices that turned out to ask: the newest of each kind.
    fn notices(&self) -> Vec<&Stamped<SignalSeen>> {
        let hangup = self.dossier.hangup.as_deref().filter(|seen| self.in_life(seen) && !self.reloads());
        let hangup = hangup.filter(|hangup| self.dossier.linked() || self.ended_by(hangup));
        let quit = self.dossier.quit.as_deref().filter(|seen| self.in_life(seen) && self.ended_by(seen));
        hangup.into_iter().chain(quit).collect()
    }

    /// M7: one person's impatience within a second is one request; a later signal, of whatever kind, is a second. The
    /// client applies this rule itself and says `asked` again only for a second request, so only what the witness saw
    /// is measured here. A signal after a stop that was asked otherwise is the first signal; beside signals only
    /// `stop --force` forces.
    fn again(&self, own: &[&Stamped<Asked>], rules: &Rules) -> bool {
        let by_operator = |cause: &Cause| cause.kind == CauseKind::Operator;
        let own_signals = own.iter().filter(|ask| ask.value.cause.is_signal()).count();
        let told_by_client = own_signals > 1 || own.iter().skip(1).any(|ask| by_operator(&ask.value.cause));
        let seen = self.seen();
        let killed = |cause: &Cause| cause.signal.as_deref() == Some("SIGKILL");
        let told_by_witness = seen
            .iter()
            .zip(0..)
            .any(|(it, place)| by_operator(&it.value.cause) && (place > 0 || killed(&it.value.cause)));
        // Who follows an operator's stop with a signal sends the first.
        let sent: Vec<_> = seen.into_iter().filter(|seen| !by_operator(&seen.value.cause)).collect();
        let first = sent.iter().map(|seen| seen.occurred).min();
        let newest = self.dossier.newest_signal.as_ref().filter(|seen| self.in_life(seen));
        let later = sent.into_iter().chain(self.notices()).map(|seen| seen.occurred);
        let last = later.chain(newest.map(|seen| seen.occurred)).max();
        let apart = first.zip(last).is_some_and(|(first, last)| last.since(first) >= rules.one_request_ms);
        told_by_client || told_by_witness || apart
    }

    /// A notice (a hang-up, a QUIT that a process sent) may be a reload or a call for a thread dump. It is the ask of a
    /// program that then ends within the grace; a hang-up also that of a client which declared no reload.
    fn ended_by(&self, notice: &Stamped<SignalSeen>) -> bool {
        self.exit.is_some_and(|exit| {
            exit.occurred >= notice.occurred && exit.occurred.since(notice.occurred) <= self.grace_ms
        })
    }

    /// It declared that it reloads, or was seen to.
    fn reloads(&self) -> bool {
        self.dossier.told(|start| start.reload.then_some(())).is_some() || self.dossier.reloaded.is_some()
    }

    /// M2: a goodbye that names no cause proves that a library ran, not intent; but who says "shutdown" is believed
    /// when no exit says otherwise.
    fn by_final(&self) -> Option<(Cause, Moment, Moment)> {
        let fin = self.dossier.fin.as_ref()?;
        let well = self.exit.is_none_or(|exit| exit.value.code == Some(0));
        let cause = match &fin.value.cause {
            Some(cause) if cause.is_done() => return None,
            Some(cause) => cause.clone(),
            None if fin.value.hint == Some(ClassHint::Shutdown) && well => Cause::of(CauseKind::Unknown),
            None => return None,
        };
        Some((cause, fin.occurred, fin.taken.plus(self.grace_ms)))
    }

    /// The signal to stop that ended it.
    fn stop_it_died_of(&self) -> Option<String> {
        let signal = self.exit?.value.signal.clone();
        signal.filter(|signal| matches!(signal.as_str(), "SIGTERM" | "SIGINT" | "SIGHUP"))
    }

    /// It died of a stop signal that nobody saw sent.
    fn by_death(&self) -> Option<(Cause, Moment, Moment)> {
        let exit = self.exit?;
        let by_code = || match exit.value.code {
            Some(143) if !self.dossier.linked() => Some("SIGTERM".to_owned()),
            Some(130) if !self.dossier.linked() => Some("SIGINT".to_owned()),
            Some(129) if !self.dossier.linked() => Some("SIGHUP".to_owned()),
            _ => None,
        };
        let signal = self.stop_it_died_of().or_else(by_code)?;
        let cause = Cause { signal: Some(signal), ..Cause::of(CauseKind::Signal) };
        Some((cause, exit.occurred, exit.taken.plus(self.grace_ms)))
    }

    /// Nobody was seen to ask, but an operator had announced that it stops. A plan excuses a stop, not a death.
    fn by_plan(&self, windows: &[Window]) -> Option<(Cause, Moment, Moment)> {
        let exit =
            self.exit.filter(|exit| self.dossier.ready_at().is_some() && !self.is_a_death(&exit.value))?;
        let window = announced(self.dossier, windows, exit.occurred)?;
        Some((window.cause(), exit.occurred, exit.taken.plus(self.grace_ms)))
    }

    /// Whether a process was killed or came down by itself.
    fn is_a_death(&self, exit: &Exit) -> bool {
        let fatal = |signal: &str| signal == "SIGKILL" || of_its_own_making(signal);
        is_uncaught(self.dossier, Some(exit)) || exit.signal.as_deref().is_some_and(fatal)
    }
}

/// The announced stop or restart that a moment falls into.
fn announced<'a>(dossier: &Dossier, windows: &'a [Window], at: Moment) -> Option<&'a Window> {
    let restart = || restart_of(windows, dossier.started_at()?, at);
    holding(windows, PlanKind::Stop, at).or_else(restart)
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
