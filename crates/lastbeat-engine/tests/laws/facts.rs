//! Any facts: of several runs of several workers on two hosts, with planned work.

use lastbeat_engine::ending::{AgentEnd, Cause, CauseKind, ClassHint, StepOutcome};
use lastbeat_engine::fact::{
    Away, Deadline, Expired, FactId, Final, Forget, LeftBehind, MassSilence, Notify, PhaseTo, Plan, PlanEnd,
    PlanKind, Process, Start,
};
use lastbeat_engine::{Fact, Moment, RunId, Source, What, fact};
use proptest::prelude::*;

use crate::stage::*;

const WORKERS: [&str; 2] = ["w", "v"];

/// A start on one of two hosts, each of which boots at most once; sometimes of the same process, or of a child.
fn any_start() -> impl Strategy<Value = Start> {
    (0..2_u8, 0..2_u8, any::<bool>(), 0..6_u128).prop_map(|(host, boot, known, parent)| {
        let boot_id = format!("b{boot}");
        let process = Process { boot_id: boot_id.clone(), pid_ns: 1, pid: 7, start_ticks: 9 };
        Start {
            goodbye: true,
            host: Some(format!("h{host}")),
            boot_id: Some(boot_id),
            process: known.then_some(process),
            parent_run: (parent == 1).then_some(RunId(1)),
            ..Start::default()
        }
    })
}

/// Any one thing that may be said of a run, by whoever says it.
fn any_what() -> impl Strategy<Value = (Source, What)> {
    let own = prop_oneof![
        any_start().prop_map(What::Start),
        Just(start()),
        Just(What::Ready),
        Just(What::Ready),
        Just(asked(keyboard())),
        Just(asked(by_signal("SIGTERM"))),
        Just(What::Step(step("flush", None))),
        Just(What::Step(step("flush", Some(StepOutcome::Failed)))),
        Just(What::Phase(fact::Phase { to: PhaseTo::Draining, count: Some((1, 2)) })),
        Just(agent_ended("a", AgentEnd::Crashed)),
        Just(panic_of("x")),
        Just(clean_goodbye(keyboard(), Some(5_000))),
        any_final(),
        (1..40_000_u64, 0..4_u64).prop_map(|(by_ms, counter)| extend(by_ms, counter)),
        (1_000..9_000_u64).prop_map(|every_ms| agent_at_work("a", every_ms)),
    ];
    let witness = prop_oneof![
        Just(witness_start(Some(9_000))),
        Just(seen(by_signal("SIGTERM"))),
        Just(seen(by_signal("SIGHUP"))),
        Just(What::Oom),
        Just(What::Stopped),
        Just(What::Continued),
        Just(exit_code(0)),
        Just(exit_code(101)),
        Just(exit_signal("SIGKILL")),
        Just(exit_signal("SIGTERM")),
        (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(ready, reloading, stopping)| { What::Notify(Notify { ready, reloading, stopping }) }),
        Just(What::OutputTail(vec!["last words".into()])),
        Just(What::LeftBehind(LeftBehind { children: vec![(7, "sh".into())], ..LeftBehind::default() })),
        Just(seen(Cause { signal: Some("SIGHUP".into()), ..Cause::of(CauseKind::TerminalHangup) })),
    ];
    let observer = prop_oneof![
        Just(What::LinkClosed(Source::Own)),
        Just(What::LinkClosed(Source::Witness)),
        Just(What::Seen),
        any_expired(),
    ];
    prop_oneof![
        6 => own.prop_map(|what| (Source::Own, what)),
        4 => witness.prop_map(|what| (Source::Witness, what)),
        1 => observer.prop_map(|what| (Source::Observer, what)),
    ]
}

/// Last words of every kind: bare, of work that is done, of a crash.
fn any_final() -> impl Strategy<Value = What> {
    let done = Cause { reason: Some("done".into()), ..Cause::of(CauseKind::Itself) };
    prop_oneof![
        Just(Final::default()),
        Just(Final { hint: Some(ClassHint::Shutdown), ..Final::default() }),
        Just(Final { hint: Some(ClassHint::Crashed), back_within_ms: Some(9_000), ..Final::default() }),
        Just(Final { hint: Some(ClassHint::Completed), cause: Some(done), ..Final::default() }),
    ]
    .prop_map(What::Final)
}

/// A deadline that passed, as a journal may tell of it: the rules that proposed it may have been others.
fn any_expired() -> impl Strategy<Value = What> {
    let which = prop_oneof![
        Just(Deadline::Silence),
        Just(Deadline::Link),
        Just(Deadline::Stop),
        Just(Deadline::Start),
        Just(Deadline::Promise),
        Just(Deadline::Goodbye),
        Just(Deadline::Progress),
        Just(Deadline::Host),
    ];
    (which, 1_000_000..1_200_000_u64, prop::option::of(1_000_000..1_200_000_u64)).prop_map(
        |(which, due, last_seen)| {
            let (due, last_seen) = (Moment::from_millis(due), last_seen.map(Moment::from_millis));
            What::Expired(Expired { which, due, last_seen })
        },
    )
}

/// What the observer says of no single run: it was away, or half of the fleet is silent, or is heard again.
fn any_observed() -> impl Strategy<Value = What> {
    let members = prop::collection::vec((1..5_u128).prop_map(RunId), 0..4);
    prop_oneof![
        (0..90_000_u64).prop_map(|ms| {
            let from = Moment::from_millis(1_000_000);
            What::Away(Away { from, to: from.plus(ms) })
        }),
        members.prop_map(|members| What::MassSilence(MassSilence { members, of: 8 })),
    ]
}

/// Planned work, or its end, of one of two plans.
fn any_plan() -> impl Strategy<Value = What> {
    let kind = prop_oneof![Just(PlanKind::Restart), Just(PlanKind::Stop), Just(PlanKind::Maintenance)];
    (0..2_usize, kind, any::<bool>(), 1..90_000_u64, any::<bool>()).prop_map(
        |(place, kind, one, for_ms, end)| {
            let id = ["p", "q"][place].into();
            if end {
                return What::PlanEnd(PlanEnd { id });
            }
            What::Plan(Plan {
                id,
                // A plan has one content: what differs here is another plan.
                kind: [kind, PlanKind::Restart][place],
                service: "s".into(),
                worker: one.then(|| WORKERS[place].into()),
                for_ms,
                who: None,
                why: None,
                deploy: None,
            })
        },
    )
}

/// One thing said: of which run, by whom, what, when after the one before, and how old.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) run: u128,
    pub(crate) source: Source,
    pub(crate) what: What,
    pub(crate) pause_ms: u64,
    pub(crate) age_ms: u64,
}

impl Said {
    /// The worker of a run; a run belongs to one for good.
    pub(crate) fn worker(&self) -> &'static str {
        WORKERS[usize::from(self.run == 4)]
    }
}

/// What is said in the lives of up to four runs of two workers, in the order of receipt.
pub(crate) fn any_life() -> impl Strategy<Value = Vec<Said>> {
    let of_run = (1..5_u128, any_what()).prop_map(|(run, (source, what))| (run, source, what));
    let forget = (0..2_usize)
        .prop_map(|place| What::Forget(Forget { service: "s".into(), worker: WORKERS[place].into() }));
    let ordered = prop_oneof![4 => any_plan(), 1 => forget];
    let of_none = prop_oneof![
        2 => ordered.prop_map(|what| (COLLECTOR.0, Source::Operator, what)),
        1 => any_observed().prop_map(|what| (COLLECTOR.0, Source::Observer, what)),
    ];
    let pause = prop_oneof![0..3_000_u64, 0..40_000_u64];
    let one = (prop_oneof![18 => of_run, 3 => of_none], pause, 0..3_000_u64);
    prop::collection::vec(one, 1..24).prop_map(|said| {
        let mut plans = std::collections::BTreeMap::new();
        said.into_iter()
            .map(|((run, source, what), pause_ms, age_ms)| {
                // A plan is told once; told again it is the same plan.
                let what = match what {
                    What::Plan(plan) => What::Plan(plans.entry(plan.id.clone()).or_insert(plan).clone()),
                    what => what,
                };
                let age_ms = if [Source::Operator, Source::Observer].contains(&source) { 0 } else { age_ms };
                Said { run, source, what, pause_ms, age_ms }
            })
            .collect()
    })
}

/// The same as facts, each with its own identity and moment. But nobody is forgotten: who is loses what was known, and
/// that is no matter of order.
pub(crate) fn any_facts() -> impl Strategy<Value = Vec<Fact>> {
    any_life().prop_map(|life| {
        let mut at = 1_000_000;
        let mut told = std::collections::BTreeSet::new();
        let mut facts = Vec::new();
        for (said, seq) in life.iter().zip(1..) {
            at += said.pause_ms;
            if let What::Forget(_) = said.what {
                continue;
            }
            if let What::Plan(plan) = &said.what
                && !told.insert(plan.id.clone())
            {
                continue;
            }
            facts.push(Fact {
                id: FactId { run: RunId(said.run), source: said.source, seq },
                service: "s".into(),
                worker: said.worker().into(),
                taken: Moment::from_millis(at),
                age_ms: said.age_ms,
                what: said.what.clone(),
            });
        }
        facts
    })
}
