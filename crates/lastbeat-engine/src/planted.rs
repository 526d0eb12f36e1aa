//! Wrong rules, planted on purpose: the mistakes people really make when they judge processes.
//!
//! Here only with the feature `planted`, which nobody but `tests/planted.rs` turns on. It shows of each of them that
//! the simulator or a law catches it; one that nothing caught would be a hole in those, not in the rules.
//!
//! Invariant: nothing here is part of what ships. The rules know this file by a few seams of one line, and without
//! a bug each seam gives back what it was given.

use std::borrow::Cow;

use crate::alert::{Alert, AlertName, alerts};
use crate::dossier::Dossier;
use crate::ending::{
    Cause, CauseKind, Class, Cleanup, CleanupOutcome, Ending, Evidence, EvidenceKind, Severity, words,
};
use crate::fact::{Deadline, Fact, Notify, PlanKind, What};
use crate::judge::{Context, State, Successor};
use crate::moment::Moment;
use crate::plan::holding;
use crate::rules::Rules;
use crate::run::{PromiseState, Run};
use crate::worker::{Condition, Worker};

/// Each wrong rule with its name; what is wrong with it is its documentation and can be asked for.
macro_rules! bugs {
    ($(#[doc = $wrong:literal] $bug:ident = $name:literal,)*) => {
        words! {
            /// A wrong rule.
            Bug { $(#[doc = $wrong] $bug = $name,)* }
        }

        impl Bug {
            /// What is wrong.
            #[must_use]
            pub const fn wrong(self) -> &'static str {
                match self { $(Self::$bug => $wrong.trim_ascii(),)* }
            }
        }
    };
}

bugs! {
    /// Everybody lives, whatever is told.
    AlwaysLive = "always_live",
    /// Everybody is lost, whatever is told.
    AlwaysLost = "always_lost",
    /// Every worker is said to be live, whatever became of its runs.
    StandsAlwaysLive = "stands_always_live",
    /// A silent run is lost after three beats.
    LostTooEarly = "lost_too_early",
    /// A run is lost the moment its link closes.
    LinkCloseIsLoss = "link_close_is_loss",
    /// A second signal 200 ms after the first is a second request.
    ImpatienceForces = "impatience_forces",
    /// Half a fleet that falls silent is so many deaths.
    MassSilenceIsNotSeen = "mass_silence_is_not_seen",
    /// A run that is heard again stays lost.
    SeenIsIgnored = "seen_is_ignored",
    /// A final beat that comes after the loss is too late.
    LateFinalIsIgnored = "late_final_is_ignored",
    /// An exit that is told after the loss is too late.
    LateExitIsIgnored = "late_exit_is_ignored",
    /// What arrives last is the newest, whatever its count says.
    ArrivalDecides = "arrival_decides",
    /// The same ask delivered again is a second ask.
    RepeatCounts = "repeat_counts",
    /// A fact happened when it was received, however old it was.
    AgeIsForgotten = "age_is_forgotten",
    /// A promise runs from its receipt, not from the ending.
    PromiseRunsFromReceipt = "promise_runs_from_receipt",
    /// A stop that needs longer gets no longer.
    ExtensionIsIgnored = "extension_is_ignored",
    /// A stop gets longer without any progress.
    ExtensionNeedsNoProgress = "extension_needs_no_progress",
    /// An expiry is dated when somebody woke up, not when it was due.
    ExpiryIsDatedAtTheWakeUp = "expiry_is_dated_at_the_wake_up",
    /// Exit 0 is always a completed job.
    ExitZeroIsCompleted = "exit_zero_is_completed",
    /// A stop that ends by its own signal, or not with exit 0, is a crash.
    StatusAloneDecides = "status_alone_decides",
    /// A KILL after the stop's deadline is a stranger's.
    KillAfterAskIsKilled = "kill_after_ask_is_killed",
    /// The out-of-memory killer is just a killer.
    OomIsKilled = "oom_is_killed",
    /// The watchdog is just a killer.
    WatchdogIsKilled = "watchdog_is_killed",
    /// A stop is clean although a step failed or a child was left.
    UncleanIsClean = "unclean_is_clean",
    /// A forced stop is an unclean one.
    ForcedIsUnclean = "forced_is_unclean",
    /// An end before ready is a crash.
    StartFailedIsCrashed = "start_failed_is_crashed",
    /// A plan excuses a KILL.
    PlanExcusesKill = "plan_excuses_kill",
    /// A plan excuses nothing.
    PlanExcusesNothing = "plan_excuses_nothing",
    /// A death is undone when somebody starts the next process.
    SuccessorUndoesADeath = "successor_undoes_a_death",
    /// A run that was replaced is missed all the same.
    NothingSupersedes = "nothing_supersedes",
    /// A fork is its parent's successor.
    ForkSupersedes = "fork_supersedes",
    /// A process that executed itself anew is another process.
    ReexecutionIsADeath = "reexecution_is_a_death",
    /// The exit of any older run is the newest run's.
    OldExitEndsTheNewRun = "old_exit_ends_the_new_run",
    /// A new boot of a host says nothing of what ran there.
    NewBootIsMissed = "new_boot_is_missed",
    /// A loss is dated when the run was last heard, which only memory knows.
    LossIsDatedByMemory = "loss_is_dated_by_memory",
    /// A signal that only the witness saw has no author.
    WitnessNamesNobody = "witness_names_nobody",
    /// What was said before is forgotten when it is amended.
    AmendmentsAreForgotten = "amendments_are_forgotten",
    /// While the collector was away, everybody was silent.
    AbsenceIsSilence = "absence_is_silence",
    /// Promises run out while the collector hears nobody.
    AbsenceBreaksPromises = "absence_breaks_promises",
    /// Who closes no link is alive.
    OpenLinkIsLife = "open_link_is_life",
    /// A stop may take for ever.
    StopNeverEnds = "stop_never_ends",
    /// A start may take for ever.
    StartNeverEnds = "start_never_ends",
    /// Who beats is at work.
    BeatIsProgress = "beat_is_progress",
    /// Deadlines are looked at once a minute.
    DeadlinesAreLate = "deadlines_are_late",
    /// A successor that started keeps the promise, ready or not.
    StartKeepsAPromise = "start_keeps_a_promise",
    /// A successor that comes too late keeps the promise after all.
    LateComerKeepsAPromise = "late_comer_keeps_a_promise",
    /// A promise is never broken.
    PromiseIsNeverBroken = "promise_is_never_broken",
    /// The first failed attempt breaks the promise.
    FailedAttemptBreaksAPromise = "failed_attempt_breaks_a_promise",
    /// A superseded run pages.
    SupersededPages = "superseded_pages",
    /// A failed attempt pages inside an open promise.
    FailedAttemptPages = "failed_attempt_pages",
    /// Each turn of a crash loop pages beside the loop.
    LoopPagesEachTurn = "loop_pages_each_turn",
    /// An alert is resolved when a successor has started.
    StartResolves = "start_resolves",
    /// An alert outlives the amendment that took its reason back.
    AmendmentResolvesNothing = "amendment_resolves_nothing",
    /// What is still down after maintenance is nobody's business.
    MaintenanceSwallows = "maintenance_swallows",
    /// Maintenance holds nothing back.
    MaintenanceIsDeaf = "maintenance_is_deaf",
    /// A mass silence pages for each of its members.
    MassSilencePagesEach = "mass_silence_pages_each",
    /// A host that boots anew pages for each of its workers.
    RebootPagesEach = "reboot_pages_each",
    /// The death of a child pages for its parent.
    ChildPages = "child_pages",
    /// An ending is counted anew whenever it is amended.
    AmendedIsCountedAgain = "amended_is_counted_again",
}

impl Rules {
    /// The default rules, one of them wrong.
    #[must_use]
    pub fn wrong(bug: Bug) -> Self {
        let mut rules = Self { planted: Some(bug), ..Self::default() };
        if bug == Bug::LostTooEarly {
            rules.lost_intervals = 3;
        }
        if bug == Bug::LinkCloseIsLoss {
            rules.link_ms = 0;
        }
        if bug == Bug::ImpatienceForces {
            rules.one_request_ms = 200;
        }
        if bug == Bug::MassSilenceIsNotSeen {
            rules.mass_runs = usize::MAX;
        }
        rules
    }
}

/// Seam: a fact on its way into the dossier of a run.
pub(crate) fn told<'a>(worker: &Worker, fact: &'a Fact, rules: &Rules) -> Cow<'a, Fact> {
    let Some(bug) = rules.planted else { return Cow::Borrowed(fact) };
    let nothing = Dossier::default();
    let held = worker.run(fact.id.run).map_or(&nothing, |run| &run.dossier);
    let gone = held.gone.as_ref().is_some_and(|gone| gone.value.is_some());
    let says_nothing = || What::Notify(Notify::default());
    let seq = fact.id.seq;
    let before = |first: Option<u64>| first.map_or(seq, |first| seq.min(first.saturating_sub(1)));
    let after = |last: Option<u64>| last.map_or(seq, |last| seq.max(last.saturating_add(1)));
    let mut wrong = fact.clone();
    match (bug, &mut wrong.what) {
        (Bug::SeenIsIgnored, What::Seen) | (Bug::ExtensionIsIgnored, What::Extend(_)) => {
            wrong.what = says_nothing();
        }
        (Bug::LateFinalIsIgnored, What::Final(_)) | (Bug::LateExitIsIgnored, What::Exit(_)) if gone => {
            wrong.what = says_nothing();
        }
        (Bug::ArrivalDecides, What::Exit(_)) => wrong.id.seq = before(held.exit.as_ref().map(|it| it.seq)),
        (Bug::ArrivalDecides, What::Final(_)) => wrong.id.seq = before(held.fin.as_ref().map(|it| it.seq)),
        (Bug::ArrivalDecides, What::Stopped | What::Continued) => {
            wrong.id.seq = after(held.held.as_ref().map(|it| it.seq));
        }
        (Bug::RepeatCounts, What::Asked(_)) if held.asks.contains_key(&(fact.id.source, seq)) => {
            wrong.id.seq += 1 << 32
        }
        (Bug::RepeatCounts, What::SignalSeen(_)) if held.signals.contains_key(&seq) => {
            wrong.id.seq += 1 << 32;
        }
        (Bug::PromiseRunsFromReceipt, What::Final(fin)) => {
            fin.back_within_ms = fin.back_within_ms.map(|within_ms| within_ms + fact.age_ms);
        }
        (Bug::ExtensionNeedsNoProgress, What::Extend(extend)) => extend.counter = Some(seq),
        (Bug::ExpiryIsDatedAtTheWakeUp, What::Expired(expired)) => expired.due = fact.taken,
        (Bug::AgeIsForgotten, _) => wrong.age_ms = 0,
        (_, _) => {}
    }
    Cow::Owned(wrong)
}

/// Seam: what a run's neighbours contribute to its verdict.
pub(crate) fn neighbours(worker: &Worker, mut contexts: Vec<Context>, rules: &Rules) -> Vec<Context> {
    let Some(bug) = rules.planted else { return contexts };
    for (place, context) in contexts.iter_mut().enumerate() {
        let (older, newer) = (&worker.runs[..place], &worker.runs[place + 1..]);
        if bug == Bug::PlanExcusesNothing {
            context.windows = None;
        }
        if bug == Bug::NothingSupersedes {
            context.successor = context.successor.take().filter(|it| it.same_process);
        }
        if bug == Bug::ForkSupersedes
            && let Some(next) = newer.first().filter(|_| context.successor.is_none())
        {
            context.successor = Some(Successor { at: next.started_at(), same_process: false });
        }
        if bug == Bug::ReexecutionIsADeath {
            context.inherited_exit = None;
            context.successor = context.successor.take().map(|it| Successor { same_process: false, ..it });
        }
        if bug == Bug::OldExitEndsTheNewRun {
            context.inherited_exit = older.iter().rev().find_map(|run| run.dossier.exit.clone());
        }
        if bug == Bug::NewBootIsMissed {
            context.rebooted = None;
        }
    }
    contexts
}

/// Seam: a verdict that was just made.
pub(crate) fn judged(run: &mut Run, context: &Context, rules: &Rules) {
    let Some(bug) = rules.planted else { return };
    if bug == Bug::AmendmentsAreForgotten {
        run.amendments.clear();
    }
    if bug == Bug::AlwaysLive {
        run.verdict.state = State::Running;
    }
    if bug == Bug::AlwaysLost {
        let at = run.started_at();
        let evidence = vec![Evidence { kind: EvidenceKind::Inferred, facts: vec!["none".to_owned()] }];
        run.verdict.state = State::Ended(Box::new(Ending {
            class: Class::Lost,
            at,
            during_shutdown: false,
            provisional: true,
            cause: None,
            cleanup: Cleanup::default(),
            cleanup_outcome: CleanupOutcome::NoneDeclared,
            exit: None,
            panic: None,
            expired: Some(Deadline::Silence),
            evidence,
        }));
    }
    let (asked, linked, last_seen) = (run.verdict.ask.is_some(), run.dossier.linked(), run.hot.last_seen);
    let State::Ended(ending) = &mut run.verdict.state else { return };
    let code = ending.exit.as_ref().and_then(|exit| exit.code);
    let announced = [PlanKind::Stop, PlanKind::Restart]
        .into_iter()
        .any(|kind| holding(context.windows.as_deref().unwrap_or_default(), kind, ending.at).is_some());
    if bug == Bug::LossIsDatedByMemory && ending.class == Class::Lost {
        ending.at = last_seen;
    }
    ending.class = match (bug, ending.class) {
        (Bug::ExitZeroIsCompleted, _) if code == Some(0) => Class::Completed,
        (Bug::SuccessorUndoesADeath, _) if ending.expired.is_some() && context.successor.is_some() => {
            Class::Superseded
        }
        (Bug::StatusAloneDecides, Class::Shutdown) if ending.exit.is_some() && code != Some(0) => {
            Class::Crashed
        }
        (Bug::KillAfterAskIsKilled, Class::ShutdownTimeout) if asked && ending.exit.is_some() => {
            Class::Killed
        }
        (Bug::OomIsKilled, Class::OomKilled) | (Bug::WatchdogIsKilled, Class::Watchdog) => Class::Killed,
        (Bug::UncleanIsClean, Class::ShutdownDegraded) => Class::Shutdown,
        (Bug::ForcedIsUnclean, Class::ShutdownAborted) => Class::ShutdownDegraded,
        (Bug::StartFailedIsCrashed, Class::StartFailed) => Class::Crashed,
        (Bug::PlanExcusesKill, Class::Killed) if announced => Class::Shutdown,
        (_, right) => right,
    };
    if bug == Bug::WitnessNamesNobody && !linked && asked {
        ending.cause = Some(Cause::of(CauseKind::Unknown));
    }
}

/// Seam: where a worker stands.
pub(crate) fn stood(right: (Condition, Moment), rules: &Rules) -> (Condition, Moment) {
    let (_, since) = right;
    if rules.planted == Some(Bug::StandsAlwaysLive) { (Condition::Live, since) } else { right }
}

/// Seam: the next deadline of a run.
pub(crate) fn due(
    worker: &Worker,
    run: &Run,
    right: (Moment, Deadline),
    rules: &Rules,
) -> Option<(Moment, Deadline)> {
    let Some(bug) = rules.planted else { return Some(right) };
    let (due, which) = right;
    if bug == Bug::AlwaysLive {
        return None;
    }
    let promise = || worker.promise(run, rules).filter(|_| which == Deadline::Promise).map(|it| it.due);
    match (bug, which) {
        (Bug::AbsenceIsSilence, _) => {
            let mut watched = run.clone();
            watched.hot.away = None;
            watched.next_deadline(promise(), rules)
        }
        (Bug::AbsenceBreaksPromises, Deadline::Promise) => Some((promise().unwrap_or(due), which)),
        (Bug::OpenLinkIsLife, Deadline::Silence) if run.hot.closed.is_none() => None,
        (Bug::PromiseIsNeverBroken, Deadline::Promise)
        | (Bug::StopNeverEnds, Deadline::Stop)
        | (Bug::StartNeverEnds, Deadline::Start)
        | (Bug::BeatIsProgress, Deadline::Progress) => None,
        (Bug::DeadlinesAreLate, _) => {
            Some((Moment::from_millis(due.as_millis().next_multiple_of(60_000)), which))
        }
        (_, _) => Some(right),
    }
}

/// Seam: how a promise stands that is due at a moment.
pub(crate) fn promise(
    worker: &Worker,
    run: &Run,
    due: Moment,
    right: PromiseState,
    rules: &Rules,
) -> PromiseState {
    let Some(bug) = rules.planted else { return right };
    let any = |what: &dyn Fn(&Run) -> bool| worker.successors(run).any(what);
    match (bug, right) {
        (Bug::StartKeepsAPromise, _) if any(&|next| next.started_at() <= due) => PromiseState::Kept,
        (Bug::LateComerKeepsAPromise, _) if any(&|next| next.ready_at().is_some()) => PromiseState::Kept,
        (Bug::PromiseIsNeverBroken, PromiseState::Broken) => PromiseState::Open,
        (Bug::FailedAttemptBreaksAPromise, PromiseState::Open) if any(&Run::ended) => PromiseState::Broken,
        (_, right) => right,
    }
}

/// Seam: all alerts of a worker.
pub(crate) fn aloud(worker: &Worker, mut told: Vec<Alert>, now: Moment, rules: &Rules) -> Vec<Alert> {
    let Some(bug) = rules.planted else { return told };
    let right = Rules { planted: None, ..rules.clone() };
    if bug == Bug::MaintenanceIsDeaf {
        told = alerts(&Worker { windows: None, ..worker.clone() }, now, &right);
    }
    if bug == Bug::MassSilencePagesEach {
        let mut apart = worker.clone();
        apart.runs.iter_mut().for_each(|run| run.folded = None);
        told = alerts(&apart, now, &right);
    }
    if bug == Bug::LoopPagesEachTurn {
        let no_loop = Rules { loop_endings: usize::MAX, ..right };
        told.retain(|alert| alert.name == AlertName::CrashLoop);
        told.extend(alerts(worker, now, &no_loop));
    }
    let ended = worker.runs.iter().filter_map(|run| Some((run, run.verdict.ending()?)));
    let paged = ended.filter(|(run, ending)| match (bug, ending.class) {
        (Bug::SupersededPages, Class::Superseded) => true,
        (Bug::FailedAttemptPages, _) => worker.is_covered(run, rules),
        (Bug::ChildPages, class) => worker.is_child_of_a_live_run(run) && class.severity() == Severity::Page,
        (_, _) => false,
    });
    told.extend(paged.map(|(run, ending)| Alert {
        name: AlertName::WorkerFailed,
        service: worker.service.clone(),
        worker: worker.worker.clone(),
        host: run.host(),
        since: ending.at,
        resolved: None,
        because: bug.as_str().to_owned(),
    }));
    told.retain(|alert| bug != Bug::MaintenanceSwallows || alert.name != AlertName::MaintenanceOver);
    for alert in &mut told {
        if bug == Bug::StartResolves && alert.resolved.is_none() {
            alert.resolved = worker.runs.iter().map(Run::started_at).find(|at| *at > alert.since);
        }
        if bug == Bug::AmendmentResolvesNothing && alert.because.starts_with("amended") {
            alert.resolved = None;
        }
        if bug == Bug::RebootPagesEach && alert.name == AlertName::HostRebooted {
            alert.name = AlertName::WorkerFailed;
        }
    }
    told
}

/// Seam: a worker before its news are counted.
pub(crate) fn counted(worker: &mut Worker, rules: &Rules) {
    if rules.planted == Some(Bug::AmendedIsCountedAgain) {
        for run in worker.runs.iter_mut().filter(|run| !run.amendments.is_empty()) {
            run.counted.ending = false;
        }
    }
}
