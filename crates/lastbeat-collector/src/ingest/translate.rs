//! The door in: what travels becomes what the engine judges.
//!
//! Wire and engine change for different reasons, so they do not know each other; every field passes
//! here by name. The way out, from verdicts to reports, is `views::api`.

use std::sync::Arc;
use std::time::Duration;

use lastbeat_engine::{ending, fact, moment::Moment};
use lastbeat_wire::{FactId, Name, RunId, Signal, Source, signal};

/// The least beat interval that deadlines are counted by, whatever a client says: 0 would make every moment
/// one too late.
const INTERVAL_MIN_MS: u64 = 50;
/// The largest beat interval that deadlines are counted by, times the scale: a death must not wait for ever.
const INTERVAL_MAX_MS: u64 = 60_000;

/// Translates words that have the same names on both sides; a new word breaks the build here.
macro_rules! same_words {
    ($($name:ident: $wire:path => $engine:path { $($variant:ident)* })*) => {
        $(fn $name(word: $wire) -> $engine {
            use $engine as Engine;
            use $wire as Wire;
            match word { $(Wire::$variant => Engine::$variant,)* }
        })*
    };
}

same_words! {
    phase_to: signal::PhaseTo => fact::PhaseTo { Running Paused Reloading Draining }
    agent_state: signal::AgentState => fact::AgentState { Starting Running Paused Stuck Stopping }
    agent_end: signal::AgentEnd => ending::AgentEnd {
        Completed CancelledExpected CancelledUnexpected Crashed Abandoned
    }
    cause_kind: signal::CauseKind => ending::CauseKind {
        Api Keyboard TerminalHangup Signal Supervisor HostShutdown Deploy Itself Dependency Operator Unknown
    }
    step_outcome: signal::StepOutcome => ending::StepOutcome { Ok Failed Partial TimedOut Skipped }
    class_hint: signal::ClassHint => ending::ClassHint { Completed Shutdown Crashed }
    deadline: signal::Deadline => fact::Deadline { Silence Link Stop Start Promise Goodbye Progress Host }
    plan_kind: signal::PlanKind => fact::PlanKind { Restart Stop Maintenance }
    voice: Source => fact::Source { Own Witness Operator Observer }
}

/// A run's identity as the engine knows it.
pub(crate) const fn run(id: RunId) -> fact::RunId {
    fact::RunId(id.as_u128())
}

/// A run's identity as it travels.
pub(crate) const fn run_out(id: fact::RunId) -> RunId {
    RunId::from_u128(id.0)
}

/// A speaker as the engine knows it.
pub(crate) fn source(source: Source) -> fact::Source {
    voice(source)
}

/// A fact's identity as the engine knows it.
pub(crate) fn fact_id(id: FactId) -> fact::FactId {
    fact::FactId { run: run(id.run_id), source: source(id.source), seq: id.seq }
}

/// The largest beat interval of a collector whose deadlines are scaled; a small scale makes it no smaller, for a
/// client that knows nothing of it may be slow all the same.
fn interval_max_ms(scale: f64) -> u64 {
    u64::try_from(Duration::from_millis(INTERVAL_MAX_MS).mul_f64(scale.max(1.0)).as_millis())
        .unwrap_or(u64::MAX)
}

/// What a signal says to the engine of a collector with this scale; none for a plain beat, which is no fact.
pub(crate) fn what(signal: Signal, scale: f64) -> Option<fact::What> {
    use fact::What;
    Some(match signal {
        Signal::Beat(_) | Signal::WitnessBeat => return None,
        Signal::Start(said) => What::Start(start(said, scale)),
        Signal::Ready => What::Ready,
        Signal::Phase(said) => {
            What::Phase(fact::Phase { to: phase_to(said.to), count: said.done.zip(said.total) })
        }
        Signal::Agent(said) => What::Agent(fact::Agent {
            name: name(&said.name),
            status: match (said.end, said.state) {
                (Some(end), _) => fact::AgentStatus::Ended(agent_end(end)),
                (None, state) => {
                    fact::AgentStatus::Alive(state.map_or(fact::AgentState::Running, agent_state))
                }
            },
            progress_every_ms: said.progress_every_ms,
            error: said.error,
        }),
        Signal::Asked(said) => {
            What::Asked(fact::Asked { cause: cause(said.cause), deadline_ms: said.deadline_ms })
        }
        Signal::Extend(said) => What::Extend(fact::Extend {
            by_ms: said.by_ms,
            step: said.step.as_ref().map(name),
            counter: said.counter,
        }),
        Signal::Step(said) => What::Step(step(said)),
        Signal::Panic(said) => What::Panic(ending::Panic { message: said.message, location: said.location }),
        Signal::Final(said) => What::Final(fact::Final {
            hint: said.class_hint.map(class_hint),
            cause: said.cause.map(cause),
            cleanup: said.cleanup.map(cleanup),
            back_within_ms: said.back_within_ms,
        }),
        Signal::WitnessStart(said) => What::WitnessStart(fact::WitnessStart {
            start: start(said.start, scale),
            ready: said.ready,
            back_within_ms: said.back_within_ms,
        }),
        Signal::SignalSeen(said) => What::SignalSeen(fact::SignalSeen {
            cause: ending::Cause {
                signal: Some(said.signal),
                sender: said.sender.map(sender),
                ..ending::Cause::of(said.kind.map_or(ending::CauseKind::Signal, cause_kind))
            },
            forwarded: said.forwarded,
        }),
        Signal::Notify(said) => What::Notify(fact::Notify {
            ready: said.ready,
            reloading: said.reloading,
            stopping: said.stopping,
        }),
        Signal::Stopped => What::Stopped,
        Signal::Continued => What::Continued,
        Signal::Oom(_) => What::Oom,
        Signal::OutputTail(said) => What::OutputTail(said.lines),
        Signal::LeftBehind(said) => What::LeftBehind(fact::LeftBehind {
            threads: said.threads,
            children: said.children.into_iter().map(child).collect(),
            sockets: said.sockets,
        }),
        Signal::Exit(said) => What::Exit(ending::Exit {
            code: said.code,
            signal: said.signal,
            core_dumped: said.core_dumped,
            killed_by_witness: said.killed_by_witness,
        }),
        Signal::LinkClosed(said) => What::LinkClosed(source(said.voice)),
        Signal::Expired(said) => What::Expired(fact::Expired {
            which: deadline(said.which),
            due: Moment::from_millis(said.due_ms),
            last_seen: said.last_seen_ms.map(Moment::from_millis),
        }),
        Signal::Seen => What::Seen,
        Signal::Away(said) => What::Away(fact::Away {
            from: Moment::from_millis(said.from_ms),
            to: Moment::from_millis(said.to_ms),
        }),
        Signal::MassSilence(said) => What::MassSilence(fact::MassSilence {
            members: said.members.into_iter().map(run).collect(),
            of: said.of,
        }),
        Signal::Plan(said) => What::Plan(plan(said)),
        Signal::PlanEnd(said) => What::PlanEnd(fact::PlanEnd { id: name(&said.id) }),
        Signal::Forget(said) => {
            What::Forget(fact::Forget { service: name(&said.service), worker: name(&said.worker) })
        }
    })
}

/// How a fact of the collector's own is journaled, observed or ordered. Only what it may say itself has a form here.
pub(crate) fn own(what: &fact::What) -> Option<Signal> {
    use fact::What;
    Some(match what {
        What::LinkClosed(voice) => Signal::LinkClosed(signal::LinkClosed { voice: source_out(*voice) }),
        What::Expired(said) => Signal::Expired(signal::Expired {
            which: deadline_out(said.which),
            due_ms: said.due.as_millis(),
            last_seen_ms: said.last_seen.map(Moment::as_millis),
        }),
        What::Seen => Signal::Seen,
        What::Away(said) => {
            Signal::Away(signal::Away { from_ms: said.from.as_millis(), to_ms: said.to.as_millis() })
        }
        What::MassSilence(said) => Signal::MassSilence(signal::MassSilence {
            members: said.members.iter().copied().map(run_out).collect(),
            of: said.of,
        }),
        What::Plan(said) => Signal::Plan(signal::Plan {
            id: name_out(&said.id)?,
            kind: plan_kind_out(said.kind),
            service: name_out(&said.service)?,
            worker: match &said.worker {
                Some(worker) => Some(name_out(worker)?),
                None => None,
            },
            for_ms: said.for_ms,
            who: said.who.clone(),
            why: said.why.clone(),
            deploy: said.deploy.clone(),
        }),
        What::PlanEnd(said) => Signal::PlanEnd(signal::PlanEnd { id: name_out(&said.id)? }),
        What::Forget(said) => Signal::Forget(signal::Forget {
            service: name_out(&said.service)?,
            worker: name_out(&said.worker)?,
        }),
        What::Start(_)
        | What::Ready
        | What::Phase(_)
        | What::Agent(_)
        | What::Asked(_)
        | What::Extend(_)
        | What::Step(_)
        | What::Panic(_)
        | What::Final(_)
        | What::WitnessStart(_)
        | What::SignalSeen(_)
        | What::Notify(_)
        | What::Stopped
        | What::Continued
        | What::Oom
        | What::OutputTail(_)
        | What::LeftBehind(_)
        | What::Exit(_) => return None,
    })
}

/// A speaker as it travels.
pub(crate) const fn source_out(source: fact::Source) -> Source {
    match source {
        fact::Source::Own => Source::Own,
        fact::Source::Witness => Source::Witness,
        fact::Source::Operator => Source::Operator,
        fact::Source::Observer => Source::Observer,
    }
}

const fn deadline_out(which: fact::Deadline) -> signal::Deadline {
    match which {
        fact::Deadline::Silence => signal::Deadline::Silence,
        fact::Deadline::Link => signal::Deadline::Link,
        fact::Deadline::Stop => signal::Deadline::Stop,
        fact::Deadline::Start => signal::Deadline::Start,
        fact::Deadline::Promise => signal::Deadline::Promise,
        fact::Deadline::Goodbye => signal::Deadline::Goodbye,
        fact::Deadline::Progress => signal::Deadline::Progress,
        fact::Deadline::Host => signal::Deadline::Host,
    }
}

/// A kind of plan as it travels.
pub(crate) const fn plan_kind_out(kind: fact::PlanKind) -> signal::PlanKind {
    match kind {
        fact::PlanKind::Restart => signal::PlanKind::Restart,
        fact::PlanKind::Stop => signal::PlanKind::Stop,
        fact::PlanKind::Maintenance => signal::PlanKind::Maintenance,
    }
}

/// A plan as the engine knows it.
pub(crate) fn plan(said: signal::Plan) -> fact::Plan {
    fact::Plan {
        id: name(&said.id),
        kind: plan_kind(said.kind),
        service: name(&said.service),
        worker: said.worker.as_ref().map(name),
        for_ms: said.for_ms,
        who: said.who,
        why: said.why,
        deploy: said.deploy,
    }
}

fn name(name: &Name) -> Arc<str> {
    name.as_str().into()
}

fn name_out(name: &str) -> Option<Name> {
    Name::new(name).ok()
}

fn start(said: signal::Start, scale: f64) -> fact::Start {
    let can = |word: &str| said.capabilities.iter().any(|capability| capability == word);
    let (goodbye, reload, stop, pause) = (can("goodbye"), can("reload"), can("stop"), can("pause"));
    let boot_id = said.boot_id.clone();
    // A pid alone says nothing: it is used again after each boot and in each namespace.
    let process = match (said.boot_id, said.pid_ns, said.pid, said.start_ticks) {
        (Some(boot_id), Some(pid_ns), Some(pid), Some(start_ticks)) => {
            Some(fact::Process { boot_id, pid_ns, pid, start_ticks })
        }
        _ => None,
    };
    fact::Start {
        interval_ms: said.interval_ms.map(|told| told.clamp(INTERVAL_MIN_MS, interval_max_ms(scale))),
        grace_ms: said.grace_ms,
        accept_exit: said.accept_exit,
        goodbye,
        reload,
        stop,
        pause,
        boot_id,
        process,
        pid: said.pid,
        host: said.host,
        version: said.version,
        environment: said.environment,
        parent_run: said.parent_run.map(run),
    }
}

fn cause(said: signal::Cause) -> ending::Cause {
    ending::Cause {
        kind: cause_kind(said.kind),
        signal: said.signal,
        sender: said.sender.map(sender),
        reason: said.reason,
        name: said.name,
        id: said.id,
        who: said.who,
        why: said.why,
    }
}

fn sender(said: signal::Sender) -> ending::Sender {
    ending::Sender {
        pid: said.pid,
        uid: said.uid,
        ppid: said.ppid,
        comm: said.comm,
        cmdline: said.cmdline,
        tty: said.tty,
        gone: said.gone,
        outside_namespace: said.outside_namespace,
    }
}

fn step(said: signal::Step) -> ending::Step {
    ending::Step {
        name: name(&said.name),
        outcome: said.outcome.map(step_outcome),
        done: said.done,
        total: said.total,
        skipped: said.skipped,
        attempts: said.attempts,
        duration_ms: said.duration_ms,
        timeout_ms: said.timeout_ms,
        error: said.error,
        why_skipped: said.why_skipped,
        failed_items: said.failed_items,
    }
}

fn cleanup(said: signal::Cleanup) -> ending::Cleanup {
    ending::Cleanup {
        duration_ms: said.duration_ms,
        steps: said.steps.into_iter().map(step).collect(),
        abandoned: said.abandoned.iter().map(name).collect(),
        untracked: said.untracked,
        children_left: said.children_left.into_iter().map(child).collect(),
        streams_farewell: said.streams_farewell,
        streams_cut: said.streams_cut,
        items_flushed: said.items_flushed,
        items_dropped: said.items_dropped,
        forced: said.forced,
    }
}

fn child(said: signal::Child) -> (u32, String) {
    (said.pid, said.comm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_counted_by_a_sane_interval_whatever_was_sent() {
        let largest = u64::MAX;
        for (scale, sent, counted) in [
            (1.0, None, None),
            (1.0, Some(0), Some(50)),
            (1.0, Some(500), Some(500)),
            (1.0, Some(largest), Some(60_000)),
            (0.1, Some(largest), Some(60_000)),
            // The longest interval of a client is 60 s, scaled as everything is.
            (3.0, Some(180_000), Some(180_000)),
            (3.0, Some(largest), Some(180_000)),
        ] {
            let signal = Signal::Start(signal::Start { interval_ms: sent, ..signal::Start::default() });
            let Some(fact::What::Start(start)) = what(signal, scale) else { panic!() };
            assert_eq!(start.interval_ms, counted, "{sent:?} at {scale}");
        }
    }
}
