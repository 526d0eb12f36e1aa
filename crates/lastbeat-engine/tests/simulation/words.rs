//! What processes and witnesses say on their way out, by the contract of the client and of the witness.

use lastbeat_engine::ending::{
    AgentEnd, Cause, CauseKind, ClassHint, Cleanup, Exit, Panic, Step, StepOutcome,
};
use lastbeat_engine::fact::{
    Agent, AgentState, AgentStatus, Asked, Extend, Final, LeftBehind, Phase, PhaseTo, Plan, Process,
    SignalSeen, Start, WitnessStart,
};
use lastbeat_engine::{RunId, What};

use crate::random::Random;
use crate::script::{End, Fate, Mode, PlanKind};

/// A stop may take so long, where nothing else is said.
pub(crate) const STOP: u64 = 10_000;

/// The exit code that everybody declares as fine.
const ACCEPTED: i32 = 7;

/// One thing a process or its witness does on the way out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Own(What),
    Wit(What),
    /// Waits for the answer to its last word, for the flush budget at most, then leaves.
    Leave,
    Die,
}

/// The acts of an end, each with the time since the one before it.
pub(crate) fn acts(end: End, mode: Mode, chance: &mut Random) -> Vec<(u64, Act)> {
    let signal = chance.pick(&["SIGTERM", "SIGTERM", "SIGINT"]);
    let cause = match (mode, chance.between(0, 12)) {
        (Mode::Linked | Mode::Both, 0 | 1) => Cause::of(CauseKind::Api),
        (Mode::Linked | Mode::Both, 2) => {
            Cause { name: Some("exchange".into()), ..Cause::of(CauseKind::Dependency) }
        }
        (Mode::Linked | Mode::Both, 3) => by_operator(None),
        (Mode::Unlinked, 3) => by_operator(Some("SIGTERM")),
        (_, 4) => Cause { signal: Some("SIGTERM".into()), ..Cause::of(CauseKind::Supervisor) },
        (_, 5) => Cause { signal: Some("SIGHUP".into()), ..Cause::of(CauseKind::TerminalHangup) },
        _ => by_signal(signal),
    };
    let seen = |acts: &mut Vec<(u64, Act)>| {
        if mode.witnessed() && (cause.is_signal() || cause.signal.is_some()) {
            acts.push((0, Act::Wit(What::SignalSeen(SignalSeen { cause: cause.clone(), forwarded: true }))));
        }
    };
    let asked = |acts: &mut Vec<(u64, Act)>| {
        seen(acts);
        if mode.linked() {
            let what = What::Asked(Asked { cause: cause.clone(), deadline_ms: Some(STOP) });
            acts.push((1, Act::Own(what)));
        }
    };
    let fin = |hint, cause: Option<Cause>, steps: Vec<Step>, forced, back_within_ms| {
        let cleanup = (!steps.is_empty()).then(|| Cleanup { steps, forced, ..Cleanup::default() });
        Act::Own(What::Final(Final { hint: Some(hint), cause, cleanup, back_within_ms }))
    };
    let goodbye = |outcome, forced, back| {
        fin(ClassHint::Shutdown, Some(cause.clone()), vec![flush(Some(outcome))], forced, back)
    };
    let mut acts = Vec::new();
    let linked = mode.linked();
    match end {
        End::Alive | End::PowerLost => {}
        End::Stopped | End::Unclean | End::WrongCode | End::Promised(_) => {
            asked(&mut acts);
            let back = if let End::Promised(within) = end { Some(within) } else { None };
            // All of it is over before the deadline.
            let takes = chance.between(20, 4_600);
            // Ctrl+C is mashed, or a group's signal comes beside its parent's: within a second it is one request (M7).
            if mode.witnessed() && cause.is_signal() && chance.one_in(4) {
                for _ in 0..2 {
                    let again = SignalSeen { cause: cause.clone(), forwarded: true };
                    acts.push((chance.between(1, 340), Act::Wit(What::SignalSeen(again))));
                }
            }
            if linked {
                acts.push((5, Act::Own(What::Step(flush(None)))));
                let outcome = if end == End::Unclean { StepOutcome::Failed } else { StepOutcome::Ok };
                acts.push((takes, goodbye(outcome, false, back)));
                acts.push((0, Act::Leave));
            } else {
                if end == End::Unclean {
                    let children = vec![(77, "helper".to_owned())];
                    acts.push((
                        takes,
                        Act::Wit(What::LeftBehind(LeftBehind { children, ..LeftBehind::default() })),
                    ));
                }
                acts.push((takes, Act::Die));
            }
        }
        End::Extended => {
            asked(&mut acts);
            for counter in 1..=2 {
                let more = Extend { by_ms: 12_000, step: Some("drain".into()), counter: Some(counter) };
                acts.push((6_000, Act::Own(What::Extend(more))));
            }
            acts.push((chance.between(6_000, 14_000), goodbye(StepOutcome::Ok, false, None)));
            acts.push((0, Act::Leave));
        }
        End::Overstayed => {
            asked(&mut acts);
            // The same step and the same count again is no progress: the second request gets nothing (D3).
            for _ in 0..2 {
                let more = Extend { by_ms: 12_000, step: Some("drain".into()), counter: Some(1) };
                acts.push((6_000, Act::Own(What::Extend(more))));
            }
            acts.push((chance.between(13_000, 18_000), goodbye(StepOutcome::Ok, false, None)));
            acts.push((0, Act::Leave));
        }
        End::Forced => {
            asked(&mut acts);
            // A second request, clearly another one (M7): a signal, or an operator who forces it.
            let forced = chance.one_in(4);
            let again = match (forced, linked) {
                (true, true) => by_operator(None),
                (true, false) => by_operator(Some("SIGKILL")),
                (false, _) => by_signal("SIGINT"),
            };
            let twice = !forced && !cause.is_signal();
            let seen_too = mode.witnessed() && again.signal.is_some();
            for turn in 0..=u32::from(twice) {
                let wait = if forced {
                    400
                } else if turn == 0 {
                    2_500
                } else {
                    3_000
                };
                if seen_too {
                    let what = What::SignalSeen(SignalSeen { cause: again.clone(), forwarded: true });
                    acts.push((wait, Act::Wit(what)));
                }
                if linked {
                    let wait = if seen_too { 1 } else { wait };
                    acts.push((
                        wait,
                        Act::Own(What::Asked(Asked { cause: again.clone(), deadline_ms: Some(STOP) })),
                    ));
                }
            }
            if linked {
                acts.push((100, goodbye(StepOutcome::Skipped, true, None)));
                acts.push((0, Act::Leave));
            } else {
                acts.push((200, Act::Die));
            }
        }
        End::TimedOut => {
            asked(&mut acts);
            // Its witness kills it at the end of the grace, a supervisor somewhat later.
            let late = if mode.witnessed() { 200 } else { chance.between(6_000, 20_000) };
            acts.push((STOP + late, Act::Die));
        }
        End::Done if linked => {
            acts.push((0, fin(ClassHint::Completed, None, Vec::new(), false, None)));
            acts.push((0, Act::Leave));
        }
        End::Panicked if linked => {
            acts.push((0, Act::Own(What::Panic(Panic { message: "x".into(), location: None }))));
            acts.push((1, fin(ClassHint::Crashed, None, Vec::new(), false, None)));
            acts.push((0, Act::Leave));
        }
        End::OutOfMemory if mode.witnessed() => {
            acts.push((0, Act::Wit(What::Oom)));
            acts.push((1, Act::Die));
        }
        End::Reexecuted => acts.push((0, Act::Die)),
        End::Done
        | End::Panicked
        | End::Killed
        | End::OutOfMemory
        | End::Segv
        | End::Exited
        | End::Silent
        | End::NeverReady
        | End::Unready
        | End::Watchdog => acts.push((0, Act::Die)),
    }
    acts
}

/// Who asks for a stop in these acts: the first who does.
pub(crate) fn asker(acts: &[(u64, Act)]) -> Option<&'static str> {
    acts.iter().find_map(|(_, act)| match act {
        Act::Own(What::Asked(asked)) => Some(asked.cause.kind.as_str()),
        Act::Wit(What::SignalSeen(seen)) => Some(seen.cause.kind.as_str()),
        _ => None,
    })
}

/// What wait tells of it.
pub(crate) fn exit_of(end: End, mode: Mode, chance: &mut Random) -> Exit {
    let code = |code| Exit { code: Some(code), ..Exit::default() };
    let signal = |signal: &str| Exit { signal: Some(signal.into()), ..Exit::default() };
    match end {
        End::Stopped | End::Promised(_) if mode == Mode::Both && chance.one_in(4) => code(ACCEPTED),
        End::Stopped | End::Promised(_) | End::Unclean if !mode.linked() => match chance.between(0, 3) {
            0 => code(1),
            1 => signal("SIGTERM"),
            _ => code(0),
        },
        End::Alive
        | End::Stopped
        | End::Promised(_)
        | End::Extended
        | End::Overstayed
        | End::Done
        | End::Unclean
        | End::Silent
        | End::Reexecuted => code(0),
        End::WrongCode => code(1),
        End::Forced => code(130),
        End::Panicked => code(101),
        End::Exited => code(1),
        End::NeverReady => code(3),
        End::Segv => Exit { core_dumped: true, ..signal("SIGSEGV") },
        End::TimedOut => Exit { killed_by_witness: mode.witnessed(), ..signal("SIGKILL") },
        End::Killed | End::OutOfMemory | End::Unready | End::Watchdog | End::PowerLost => signal("SIGKILL"),
    }
}

/// A process that is taken from outside, or leaves without a word, puts nothing into its spool.
pub(crate) const fn leaves_a_spool(end: End) -> bool {
    match end {
        End::Stopped
        | End::Promised(_)
        | End::Extended
        | End::Overstayed
        | End::Done
        | End::Unclean
        | End::WrongCode
        | End::Forced
        | End::Panicked => true,
        End::Alive
        | End::TimedOut
        | End::Killed
        | End::OutOfMemory
        | End::Segv
        | End::Exited
        | End::Silent
        | End::NeverReady
        | End::Unready
        | End::Watchdog
        | End::Reexecuted
        | End::PowerLost => false,
    }
}

pub(crate) fn by_signal(signal: &str) -> Cause {
    // Ctrl+C, or somebody's kill.
    let kind = if signal == "SIGINT" { CauseKind::Keyboard } else { CauseKind::Signal };
    Cause { signal: Some(signal.into()), ..Cause::of(kind) }
}

/// An operator asks; what a witness tells of has a signal.
fn by_operator(signal: Option<&str>) -> Cause {
    Cause { signal: signal.map(Into::into), who: Some("op".into()), ..Cause::of(CauseKind::Operator) }
}

/// A hang-up that somebody sends, for the configuration to be read anew.
pub(crate) fn hangup() -> What {
    What::SignalSeen(SignalSeen { cause: by_signal("SIGHUP"), forwarded: true })
}

fn flush(outcome: Option<StepOutcome>) -> Step {
    Step {
        name: "flush".into(),
        outcome,
        done: None,
        total: None,
        skipped: None,
        attempts: None,
        duration_ms: None,
        timeout_ms: None,
        error: None,
        why_skipped: None,
        failed_items: Vec::new(),
    }
}

/// Where a process is, and since when.
pub(crate) struct Birth {
    pub(crate) interval: u64,
    pub(crate) host: usize,
    pub(crate) boot: u32,
    pub(crate) pid: u32,
    pub(crate) parent: Option<RunId>,
    pub(crate) goodbye: bool,
    pub(crate) reload: bool,
    /// The promise on the command line.
    pub(crate) back: Option<u64>,
}

pub(crate) fn start(birth: &Birth) -> Start {
    let boot_id = format!("h{}-{}", birth.host, birth.boot);
    Start {
        interval_ms: Some(birth.interval),
        grace_ms: Some(STOP),
        goodbye: birth.goodbye,
        reload: birth.reload,
        accept_exit: vec![ACCEPTED],
        process: Some(Process { boot_id: boot_id.clone(), pid_ns: 1, pid: birth.pid, start_ticks: 7 }),
        pid: Some(birth.pid),
        host: Some(format!("h{}", birth.host)),
        boot_id: Some(boot_id),
        parent_run: birth.parent,
        ..Start::default()
    }
}

pub(crate) fn witness_start(birth: &Birth, ready: bool) -> What {
    let start = start(&Birth { goodbye: false, ..*birth });
    What::WitnessStart(WitnessStart { start, ready, back_within_ms: birth.back })
}

pub(crate) fn agent_at_work(every: u64) -> What {
    let status = AgentStatus::Alive(AgentState::Running);
    What::Agent(Agent { name: "work".into(), status, progress_every_ms: Some(every), error: None })
}

pub(crate) fn agent_ended(fate: Fate) -> What {
    let end = match fate {
        Fate::Crashed => AgentEnd::Crashed,
        Fate::Cancelled => AgentEnd::CancelledUnexpected,
        Fate::CancelledByItsOwner => AgentEnd::CancelledExpected,
    };
    let error = (fate == Fate::Crashed).then(|| "gone".into());
    // Each ends once: what one of them came to does not hide another.
    let name = format!("feed-{fate:?}").to_lowercase().into();
    What::Agent(Agent { name, status: AgentStatus::Ended(end), progress_every_ms: None, error })
}

pub(crate) fn phase(to: PhaseTo) -> What {
    What::Phase(Phase { to, count: None })
}

pub(crate) fn plan(id: usize, kind: PlanKind, service: usize, slot: Option<usize>, ms: u64) -> What {
    use lastbeat_engine::fact::PlanKind as Kind;
    let kind = match kind {
        PlanKind::Restart => Kind::Restart,
        PlanKind::Stop => Kind::Stop,
        PlanKind::Maintenance => Kind::Maintenance,
    };
    What::Plan(Plan {
        id: format!("p{id}").into(),
        kind,
        service: format!("s{service}").into(),
        worker: slot.map(|slot| format!("w{slot:02}").into()),
        for_ms: ms,
        who: Some("op".into()),
        why: None,
        deploy: None,
    })
}
