//! The door out: what the engine judged becomes what the read side answers.

use std::sync::Arc;

use lastbeat_engine::dossier::Dossier;
use lastbeat_engine::ending::{self, Cause, Cleanup, Sender, Step};
use lastbeat_engine::fact::AgentStatus;
use lastbeat_engine::{AlertName, Condition, Run, Severity, State, Worker, words};
use lastbeat_wire::report::{
    AgentReport, AlertReport, Amendment, CleanupReport, EndingReport, Evidence, NoticeReport, RunReport,
    RunState, WorkerReport,
};
use lastbeat_wire::{Name, report, signal};

use crate::ingest::translate;
use crate::snapshot::Published;

/// Translates words that have the same names on both sides; a new word breaks the build here.
macro_rules! same_words {
    ($($vis:vis $name:ident: $engine:path => $wire:path { $($variant:ident)* })*) => {
        $($vis const fn $name(word: $engine) -> $wire {
            use $engine as Engine;
            use $wire as Wire;
            match word { $(Engine::$variant => Wire::$variant,)* }
        })*
    };
}

same_words! {
    pub(super) condition: Condition => report::Condition {
        Maintenance CrashLoop RestartOverdue Failed Hung Suspended Unreachable Unknown Degraded Restarting
        Stopping Draining Paused Reloading Starting Live Stopped Completed
    }
    pub(super) severity: Severity => report::Severity { None Ticket Page }
    class: lastbeat_engine::Class => report::Class {
        Completed Shutdown Superseded ShutdownDegraded ShutdownAborted ExitedSilently ShutdownTimeout Crashed
        Killed OomKilled Watchdog StartFailed Lost HostLost HostRebooted
    }
    flag: lastbeat_engine::Flag => report::Flag { Overdue Hung Suspended Unreachable Orphaned }
    cause_kind: ending::CauseKind => signal::CauseKind {
        Api Keyboard TerminalHangup Signal Supervisor HostShutdown Deploy Itself Dependency Operator Unknown
    }
    step_outcome: ending::StepOutcome => signal::StepOutcome { Ok Failed Partial TimedOut Skipped }
    cleanup_outcome: ending::CleanupOutcome => signal::CleanupOutcome {
        NoneDeclared Complete Partial Failed TimedOut Skipped
    }
    evidence_kind: ending::EvidenceKind => report::EvidenceKind { Own Witness Inferred }
    agent_end: ending::AgentEnd => signal::AgentEnd {
        Completed CancelledExpected CancelledUnexpected Crashed Abandoned
    }
    agent_state: lastbeat_engine::fact::AgentState => signal::AgentState {
        Starting Running Paused Stuck Stopping
    }
}

/// One worker.
pub(super) fn worker(published: &Published, worker: &Worker) -> WorkerReport {
    let (now, rules) = (published.now, published.snapshot.roster.rules());
    let standing = worker.standing(now, rules);
    let current = worker.current();
    let last_ended = worker.last_ended().filter(|ended| current.is_none_or(|run| run.id() != ended.id()));
    WorkerReport {
        service: name(worker.service()),
        worker: name(worker.worker()),
        condition: condition(standing.condition),
        words: words::worker_words(worker, &standing, now, rules, published.offset()),
        severity: severity(standing.severity),
        since: published.at(standing.since),
        back_by: standing.back_by.map(|due| published.at(due)),
        run: current.map(|current| run(published, current)),
        last_ended: last_ended.map(|ended| run(published, ended)),
        amendments: worker.amendments().into_iter().map(|amendment| amended(published, amendment)).collect(),
    }
}

/// One run.
pub(super) fn run(published: &Published, run: &Run) -> RunReport {
    let (now, rules) = (published.now, published.snapshot.roster.rules());
    let dossier = run.dossier();
    let ask = run.verdict().ask.as_ref();
    let state = state(&run.verdict().state);
    let stopping = state == RunState::Stopping;
    RunReport {
        run_id: translate::run_out(run.id()),
        state,
        flags: run.flags(now, rules).into_iter().map(flag).collect(),
        pid: run.pid(),
        host: run.host(),
        version: run.version(),
        environment: run.environment(),
        linked: dossier.linked(),
        witnessed: dossier.witnessed(),
        interval_ms: run.interval_ms(rules),
        started_at: published.at(run.started_at()),
        ready_at: run.ready_at().map(|ready| published.at(ready)),
        last_beat_at: published.at(run.last_seen()),
        stop_deadline_at: ask.filter(|_| stopping).map(|ask| published.at(ask.deadline)),
        step: run.step_at_work().filter(|_| stopping).map(|step| name(step)),
        drain: dossier
            .phase
            .as_ref()
            .filter(|_| state == RunState::Draining)
            .and_then(|phase| phase.value.count),
        cause: ask.map(|ask| cause(&ask.cause)),
        ending: run.verdict().ending().map(|ended| ending(published, run, ended)),
        agents: dossier
            .agents
            .values()
            .map(|agent| {
                let (state, end) = match agent.value.status {
                    // Tracked, and alive when its run ended.
                    AgentStatus::Alive(_) if run.ended() => (None, Some(signal::AgentEnd::Abandoned)),
                    AgentStatus::Alive(state) => (Some(agent_state(state)), None),
                    AgentStatus::Ended(end) => (None, Some(agent_end(end))),
                };
                let mut report =
                    AgentReport::new(name(&agent.value.name), state, end, agent.value.error.clone());
                if end == Some(signal::AgentEnd::Abandoned) && !was_alive(dossier, &agent.value.name) {
                    report.end = None;
                }
                report
            })
            .collect(),
    }
}

/// Whether an agent that told no end of its own was alive at the end of its run. A final with an account of the
/// cleanup names all of those; the end of another was only not heard, as when more agents end at once than the
/// client has room for.
fn was_alive(dossier: &Dossier, agent: &Arc<str>) -> bool {
    let told = dossier.fin.as_ref().and_then(|fin| fin.value.cleanup.as_ref());
    told.is_none_or(|cleanup| cleanup.abandoned.contains(agent))
}

/// One amendment.
pub(super) fn amended(published: &Published, amendment: &lastbeat_engine::Amendment) -> Amendment {
    Amendment {
        run_id: translate::run_out(amendment.run),
        at: published.at(amendment.at),
        from: amendment.from.as_str().into(),
        to: amendment.to.map_or("live", lastbeat_engine::Class::as_str).into(),
        because: amendment.because.clone(),
    }
}

/// Every alert that was open at some time: open ones first.
pub(super) fn alerts(published: &Published) -> impl Iterator<Item = lastbeat_engine::Alert> {
    published.snapshot.roster.alerts(published.now).into_iter().filter(was_open)
}

/// What was resolved before it began woke nobody, and is not shown either.
fn was_open(alert: &lastbeat_engine::Alert) -> bool {
    alert.resolved.is_none_or(|resolved| resolved >= alert.since)
}

/// One alert.
pub(super) fn alert(published: &Published, alert: lastbeat_engine::Alert) -> AlertReport {
    AlertReport {
        name: AlertName::as_str(alert.name).into(),
        severity: severity(alert.name.severity()),
        // Of a host or the whole fleet, both are empty.
        service: Name::new(&alert.service).ok(),
        worker: Name::new(&alert.worker).ok(),
        host: alert.host,
        since: published.at(alert.since),
        resolved_at: alert.resolved.map(|at| published.at(at)),
        because: alert.because,
    }
}

/// Stops that somebody may want to know of, the newest first.
pub(super) fn notices(published: &Published) -> impl Iterator<Item = NoticeReport> {
    let all = published.snapshot.roster.notices(published.now).into_iter();
    all.map(|notice| NoticeReport {
        name: notice.name.as_str().into(),
        service: name(&notice.service),
        worker: name(&notice.worker),
        at: published.at(notice.at),
        because: notice.because,
    })
}

/// A name the engine keeps.
pub(super) fn name(text: &str) -> Name {
    // Every name came through the door or the replay, and both check it.
    Name::new(text).unwrap_or_else(|_| unreachable!("the engine holds the name {text:?}"))
}

const fn state(state: &State) -> RunState {
    match state {
        State::Starting => RunState::Starting,
        State::Running => RunState::Running,
        State::Paused => RunState::Paused,
        State::Reloading => RunState::Reloading,
        State::Draining => RunState::Draining,
        State::Stopping => RunState::Stopping,
        State::Ended(_) => RunState::Ended,
    }
}

fn ending(published: &Published, run: &Run, ended: &ending::Ending) -> EndingReport {
    let rules = published.snapshot.roster.rules();
    EndingReport {
        class: class(ended.class),
        severity: severity(ended.class.severity()),
        words: words::ending_words(run, ended, published.now, rules, published.offset()),
        at: published.at(ended.at),
        during: ended.during_shutdown.then(|| "shutdown".to_owned()),
        provisional: ended.provisional,
        cause: ended.cause.as_ref().map(cause),
        cleanup: cleanup(&ended.cleanup, ended.cleanup_outcome),
        exit: ended.exit.as_ref().map(|exit| signal::Exit {
            code: exit.code,
            signal: exit.signal.clone(),
            core_dumped: exit.core_dumped,
            killed_by_witness: exit.killed_by_witness,
        }),
        panic: ended
            .panic
            .as_ref()
            .map(|panic| signal::Panic { message: panic.message.clone(), location: panic.location.clone() }),
        back_within_ms: run.back_within_ms(),
        evidence: ended
            .evidence
            .iter()
            .map(|evidence| Evidence { kind: evidence_kind(evidence.kind), facts: evidence.facts.clone() })
            .collect(),
        output_tail: run.dossier().tail.as_ref().map(|tail| tail.value.clone()).unwrap_or_default(),
    }
}

fn cause(cause: &Cause) -> signal::Cause {
    signal::Cause {
        kind: cause_kind(cause.kind),
        signal: cause.signal.clone(),
        sender: cause.sender.as_ref().map(sender),
        reason: cause.reason.clone(),
        name: cause.name.clone(),
        id: cause.id.clone(),
        who: cause.who.clone(),
        why: cause.why.clone(),
    }
}

fn sender(sender: &Sender) -> signal::Sender {
    signal::Sender {
        pid: sender.pid,
        uid: sender.uid,
        ppid: sender.ppid,
        comm: sender.comm.clone(),
        cmdline: sender.cmdline.clone(),
        tty: sender.tty.clone(),
        gone: sender.gone,
        outside_namespace: sender.outside_namespace,
    }
}

fn cleanup(cleanup: &Cleanup, outcome: ending::CleanupOutcome) -> CleanupReport {
    CleanupReport {
        outcome: cleanup_outcome(outcome),
        duration_ms: cleanup.duration_ms,
        steps: cleanup.steps.iter().map(step).collect(),
        abandoned: cleanup.abandoned.iter().map(|agent| name(agent)).collect(),
        untracked: cleanup.untracked,
        children_left: cleanup
            .children_left
            .iter()
            .map(|(pid, comm)| signal::Child { pid: *pid, comm: comm.clone() })
            .collect(),
        streams_farewell: cleanup.streams_farewell,
        streams_cut: cleanup.streams_cut,
        items_flushed: cleanup.items_flushed,
        items_dropped: cleanup.items_dropped,
    }
}

fn step(step: &Step) -> signal::Step {
    signal::Step {
        name: name(&step.name),
        outcome: step.outcome.map(step_outcome),
        done: step.done,
        total: step.total,
        skipped: step.skipped,
        attempts: step.attempts,
        duration_ms: step.duration_ms,
        timeout_ms: step.timeout_ms,
        error: step.error.clone(),
        why_skipped: step.why_skipped.clone(),
        failed_items: step.failed_items.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_that_was_resolved_before_it_began_is_not_shown() {
        let alert = |resolved: Option<u64>| lastbeat_engine::Alert {
            name: AlertName::WorkerFailed,
            service: "trader".into(),
            worker: "main".into(),
            host: None,
            since: lastbeat_engine::Moment::from_millis(50),
            resolved: resolved.map(lastbeat_engine::Moment::from_millis),
            because: String::new(),
        };
        let shown = [None, Some(49), Some(50), Some(51)].map(|resolved| was_open(&alert(resolved)));
        assert_eq!(shown, [true, false, true, true]);
    }
}
