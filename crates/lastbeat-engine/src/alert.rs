//! Alerts: one pure function of a worker's runs and the moment.
//!
//! Invariant: no state of its own. What was open and when it was resolved follows from the endings, the
//! successors and the amendments, so replay and live agree.

use std::sync::Arc;

use crate::ending::{Class, Severity, words};
use crate::fact::PlanKind;
use crate::moment::Moment;
use crate::rules::Rules;
use crate::run::{Amendment, PromiseState, Run};
use crate::silence::Silence;
use crate::words::{class_words, span};
use crate::worker::Worker;

words! {
    /// The names our rules and `/v1/alerts` share.
    AlertName {
        /// A page-class ending.
        WorkerFailed = "LastbeatWorkerFailed",
        /// A broken promise.
        RestartOverdue = "LastbeatRestartOverdue",
        /// An agent crashed or was cancelled unexpectedly.
        AgentFailed = "LastbeatAgentFailed",
        /// Beats go on, work does not.
        Hung = "LastbeatHung",
        /// In state T for over a minute.
        Suspended = "LastbeatSuspended",
        /// Five bad endings in a minute.
        CrashLoop = "LastbeatCrashLoop",
        /// All runs of a host are silent with their witnesses.
        HostLost = "LastbeatHostLost",
        /// A host booted anew, and its runs had not said goodbye.
        HostRebooted = "LastbeatHostRebooted",
        /// Maintenance is over, and it is still down.
        MaintenanceOver = "LastbeatMaintenanceOver",
        /// Half of the fleet is silent: rather the network or the observer.
        ObserverOrNetwork = "LastbeatObserverOrNetwork",
        /// Its witness left without an exit.
        Orphaned = "LastbeatOrphaned",
        /// A stop that was not clean.
        CleanupNotClean = "LastbeatCleanupNotClean",
        /// Exit 0 without a goodbye.
        ExitedSilently = "LastbeatExitedSilently",
    }
}

impl AlertName {
    /// How loud it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::WorkerFailed
            | Self::RestartOverdue
            | Self::AgentFailed
            | Self::Hung
            | Self::Suspended
            | Self::CrashLoop
            | Self::HostLost
            | Self::HostRebooted
            | Self::MaintenanceOver
            | Self::ObserverOrNetwork => Severity::Page,
            Self::CleanupNotClean | Self::ExitedSilently | Self::Orphaned => Severity::Ticket,
        }
    }

    /// Told once for a host, instead of for each of its workers.
    const fn is_of_a_host(self) -> bool {
        match self {
            Self::HostLost | Self::HostRebooted => true,
            Self::WorkerFailed
            | Self::RestartOverdue
            | Self::AgentFailed
            | Self::Hung
            | Self::Suspended
            | Self::CrashLoop
            | Self::MaintenanceOver
            | Self::ObserverOrNetwork
            | Self::Orphaned
            | Self::CleanupNotClean
            | Self::ExitedSilently => false,
        }
    }

    /// The alert of an ending; none when nobody needs to look.
    #[must_use]
    pub const fn of_class(class: Class) -> Option<Self> {
        match class {
            Class::Completed | Class::Shutdown | Class::Superseded => None,
            Class::ShutdownDegraded | Class::ShutdownAborted => Some(Self::CleanupNotClean),
            Class::ExitedSilently => Some(Self::ExitedSilently),
            Class::ShutdownTimeout
            | Class::Crashed
            | Class::Killed
            | Class::OomKilled
            | Class::Watchdog
            | Class::StartFailed
            | Class::Lost => Some(Self::WorkerFailed),
            Class::HostLost => Some(Self::HostLost),
            Class::HostRebooted => Some(Self::HostRebooted),
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: AlertName,
    /// The service; empty where it speaks of a host or of the fleet.
    pub service: Arc<str>,
    /// The worker; empty where it speaks of a host or of the fleet.
    pub worker: Arc<str>,
    /// The host of the run it speaks of.
    pub host: Option<String>,
    /// Since when.
    pub since: Moment,
    /// When it was resolved; none while open.
    pub resolved: Option<Moment>,
    /// Why it fires, or why it was resolved.
    pub because: String,
}

/// One cause for an alert, before causes of one name are joined.
struct Need {
    name: AlertName,
    since: Moment,
    until: Option<(Moment, String)>,
    /// When what it speaks of was well again, before it had proved steady.
    back: Option<Moment>,
    host: Option<String>,
    because: String,
}

impl Need {
    fn ends_after(&self, other: &Self) -> bool {
        match (&self.until, &other.until) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some((one, _)), Some((other, _))) => one > other,
        }
    }
}

/// The alerts of one worker: the open ones, and those resolved within the last hour.
#[must_use]
pub fn alerts(worker: &Worker, now: Moment, rules: &Rules) -> Vec<Alert> {
    let mut joined: Vec<Need> = Vec::new();
    let mut needs: Vec<Need> = worker.runs.iter().flat_map(|run| needs_of(worker, run, now, rules)).collect();
    // An old run that ends after its successor was steady woke nobody.
    needs.retain(|need| need.until.as_ref().is_none_or(|(until, _)| *until > need.since));
    if let Some(since) = worker.crash_loop(now, rules) {
        // One page for the loop: it takes the place of the one that its first turns had, and continues it.
        let because = format!("{} bad endings in {}", rules.loop_endings, span(rules.loop_ms));
        let stands = |need: &&mut Need| need.until.as_ref().is_none_or(|(until, _)| *until >= since);
        for turn in needs.iter_mut().filter(|need| need.name == AlertName::WorkerFailed).filter(stands) {
            (turn.name, turn.because) = (AlertName::CrashLoop, because.clone());
        }
        let (until, back, host) = (None, None, None);
        needs.push(Need { name: AlertName::CrashLoop, since, until, back, host, because });
    }
    let mut needs = outside_maintenance(worker, needs, now, rules);
    needs.retain(|need| need.since <= now);
    needs.sort_by_key(|need| need.since);
    for need in needs {
        let open = joined.iter_mut().rev().find(|held| {
            held.name == need.name && held.until.as_ref().is_none_or(|(until, _)| *until >= need.since)
        });
        match open {
            // What stands longer is not resolved by another cause's end.
            Some(held) if held.ends_after(&need) => {}
            // The next ending continues it: same name and since, new because.
            Some(held) => *held = Need { since: held.since, ..need },
            None => joined.push(need),
        }
    }
    let told = joined
        .into_iter()
        .filter_map(|need| {
            let resolved = need.until.filter(|(until, _)| *until <= now);
            let recent = resolved.as_ref().is_none_or(|(at, _)| now.since(*at) <= rules.resolved_kept_ms);
            recent.then(|| Alert {
                name: need.name,
                service: Arc::clone(&worker.service),
                worker: Arc::clone(&worker.worker),
                host: need.host,
                since: need.since,
                resolved: resolved.as_ref().map(|(at, _)| *at),
                because: resolved.map_or(need.because, |(_, why)| why),
            })
        })
        .collect();
    #[cfg(feature = "planted")]
    let told = crate::planted::aloud(worker, told, now, rules);
    told
}

/// Maintenance holds everything back: what was open when it began is resolved, what comes inside it is not told, and
/// what still stands at its end is told once, under the name of the maintenance.
fn outside_maintenance(worker: &Worker, needs: Vec<Need>, now: Moment, rules: &Rules) -> Vec<Need> {
    let mut windows: Vec<(Moment, Moment)> = Vec::new();
    for window in worker.windows().iter().filter(|window| window.plan.kind == PlanKind::Maintenance) {
        match windows.last_mut().filter(|(_, until)| window.from <= *until) {
            Some((_, until)) => *until = window.until.max(*until),
            None => windows.push((window.from, window.until)),
        }
    }
    let mut told = needs;
    for (from, until) in windows {
        // An end that the observer slept through is judged when it has heard its workers.
        let is_over = now >= worker.judged_from(until, rules);
        let mut over = Vec::new();
        for need in &mut told {
            let open_inside =
                need.since < until && need.until.as_ref().is_none_or(|(resolved, _)| *resolved > from);
            // A ticket of before woke nobody, and is not forgotten over the work.
            let ticket_of_before = need.name.severity() == Severity::Ticket && need.since < from;
            if !open_inside || ticket_of_before {
                continue;
            }
            let still_down = need.until.as_ref().is_none_or(|(resolved, _)| *resolved > until)
                && need.back.is_none_or(|back| back > until);
            if still_down && need.name.severity() == Severity::Page && is_over {
                let because = format!("still down after maintenance: {}", need.because);
                let (name, host) = (AlertName::MaintenanceOver, need.host.clone());
                let (since, until, back) = (until, need.until.clone(), need.back);
                over.push(Need { name, since, until, back, host, because });
            }
            need.until = Some((from.max(need.since), "maintenance".to_owned()));
        }
        told.retain(|need| need.until.as_ref().is_none_or(|(resolved, _)| *resolved > need.since));
        told.extend(over);
    }
    told
}

fn needs_of(worker: &Worker, run: &Run, now: Moment, rules: &Rules) -> Vec<Need> {
    let mut needs = Vec::new();
    // A child may be heard of before its parent, which lives.
    let may_be_a_child = worker.parent_is_unheard_of(run) && now < run.awaits_its_parent_until(rules);
    if worker.is_child_of_a_live_run(run) || may_be_a_child {
        return needs;
    }
    let mut need = |name, since, until, because: String| {
        let resolved: &Option<(Moment, String)> = &until;
        let back = worker.heirs(run).filter_map(Run::ready_at).min();
        let back = back.or_else(|| resolved.as_ref().map(|(at, _)| *at));
        needs.push(Need { name, since, until, back, host: run.host(), because });
    };
    let steady = steady_successor(worker, run, rules);
    if let Some(ending) = run.verdict.ending()
        && let Some(name) = AlertName::of_class(ending.class)
        && let Some(since) = run.told_from(ending.at, ending.expired.is_some())
        && !worker.is_covered(run, rules)
    {
        let since = open_since(run, name).unwrap_or(since);
        need(name, since, steady.clone(), class_words(run, ending));
    }
    if let Some(promise) = worker.promise(run, rules)
        && promise.state == PromiseState::Broken
        && (promise.was_missed || now >= worker.judged_from(promise.due, rules))
    {
        need(
            AlertName::RestartOverdue,
            promise.due,
            steady.clone(),
            "no successor was ready in time".to_owned(),
        );
    }
    if let Some((name, end, at)) = run.failed_agent() {
        let ended = run.verdict.ending().map(|ending| (ending.at, "its run ended".to_owned()));
        let until = ended.into_iter().chain(steady.clone()).min_by_key(|(at, _)| *at);
        need(AlertName::AgentFailed, at, until, format!("agent {name} {}", end.as_str()));
    }
    if let Some(hung) = run.dossier.hung().filter(|_| !run.ended()) {
        need(AlertName::Hung, hung.due, None, "beats go on, promised progress does not".to_owned());
    }
    let suspended =
        run.suspended_since().filter(|_| !run.ended()).map(|since| since.plus(rules.suspended_ms));
    if let Some(since) = suspended.filter(|since| worker.judged_from(*since, rules) <= now) {
        need(AlertName::Suspended, since, None, "its witness sees it stopped (state T)".to_owned());
    }
    // A witness whose link was dropped dials again: as long as a client's loss is waited for, so is its; and its child
    // must have been heard after that, or they may have gone together.
    let orphaned = run.orphaned_since(now, rules).map(|closed| closed.plus(rules.link_ms));
    if let Some(since) = orphaned.filter(|since| *since <= run.hot.last_seen) {
        need(AlertName::Orphaned, since, None, "its witness left without telling an exit".to_owned());
    }
    // What an amendment took back was open from the old verdict to the amendment.
    let now_named = run.verdict.class().and_then(AlertName::of_class);
    for amendment in &run.amendments {
        let was = AlertName::of_class(amendment.from).filter(|name| Some(*name) != now_named);
        if let Some(name) = was
            && run.told_from(amendment.from_at, amendment.from.is_inferred()) == Some(amendment.from_at)
        {
            let to = amendment.to.map_or("live", Class::as_str);
            let why = format!("amended to {to}: {}", amendment.because);
            need(name, amendment.from_at, Some((amendment.at, why)), amendment.from.as_str().to_owned());
        }
    }
    needs
}

/// Since when an alert of this name stands for a run whose verdict was amended, but not to another name.
fn open_since(run: &Run, name: AlertName) -> Option<Moment> {
    let named = |class: Class| AlertName::of_class(class) == Some(name);
    let stands = |amendment: &&Amendment| named(amendment.from) && amendment.to.is_some_and(named);
    let same = run.amendments.iter().rev().take_while(stands);
    let first = same.last()?;
    run.told_from(first.from_at, first.from.is_inferred())
}

/// One alert for each host, instead of one for each of its workers. What came after all was well again is another.
pub(crate) fn by_host(alerts: Vec<Alert>) -> Vec<Alert> {
    let (mut of_hosts, mut told): (Vec<Alert>, Vec<Alert>) =
        alerts.into_iter().partition(|alert| alert.name.is_of_a_host());
    of_hosts
        .sort_by(|one, other| (one.name, &one.host, one.since).cmp(&(other.name, &other.host, other.since)));
    let together = |one: &[Alert], next: &Alert| {
        let same = one.iter().all(|alert| (alert.name, &alert.host) == (next.name, &next.host));
        same && one.iter().any(|alert| alert.resolved.is_none_or(|resolved| resolved >= next.since))
    };
    let mut groups: Vec<Vec<Alert>> = Vec::new();
    for alert in of_hosts {
        match groups.last_mut().filter(|group| together(group, &alert)) {
            Some(group) => group.push(alert),
            None => groups.push(vec![alert]),
        }
    }
    for group in groups {
        let open = group.iter().any(|alert| alert.resolved.is_none());
        let spoken = group.iter().find(|alert| !open || alert.resolved.is_none()).unwrap_or(&group[0]);
        let workers = if group.len() == 1 { "worker" } else { "workers" };
        told.push(Alert {
            service: Arc::from(""),
            worker: Arc::from(""),
            since: group[0].since,
            resolved: group.iter().filter_map(|alert| alert.resolved).max().filter(|_| !open),
            because: format!("{}, {} {workers}", spoken.because, group.len()),
            ..spoken.clone()
        });
    }
    told
}

/// The one alert of a mass silence.
pub(crate) fn of_silence(silence: &Silence) -> Alert {
    let because = match silence.until {
        None => format!("{} of {} silent", silence.members, silence.of),
        Some(_) => "heard again".to_owned(),
    };
    Alert {
        name: AlertName::ObserverOrNetwork,
        service: Arc::from(""),
        worker: Arc::from(""),
        host: None,
        since: silence.since,
        resolved: silence.until,
        because,
    }
}

/// When the first later run had been ready for a steady minute.
fn steady_successor(worker: &Worker, run: &Run, rules: &Rules) -> Option<(Moment, String)> {
    // A child that takes over was ready before; what counts is how long it has stood since its parent's end was told.
    let alone = run.told_its_end_at().map(|told| told.plus(rules.steady_ms)).unwrap_or_default();
    let steady = |next: &Run| {
        let at = Worker::steady_at(next, rules)?;
        Some(if next.parent_run() == Some(run.id) { at.max(alone) } else { at })
    };
    worker.heirs(run).filter_map(steady).min().map(|at| (at, "a successor is ready and steady".to_owned()))
}
