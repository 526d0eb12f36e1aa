//! Laws: what must hold for any facts in any order.

mod stage;

use lastbeat_engine::ending::{AgentEnd, StepOutcome};
use lastbeat_engine::fact::{FactId, PhaseTo};
use lastbeat_engine::{Fact, Moment, Roster, Rules, RunId, Source, What, fact};
use proptest::prelude::*;
use stage::*;

/// Any one thing that may be said, by whoever says it.
fn any_what() -> impl Strategy<Value = (Source, What)> {
    let own = prop_oneof![
        Just(start()),
        Just(What::Ready),
        Just(asked(keyboard())),
        Just(asked(by_signal("SIGTERM"))),
        Just(What::Step(step("flush", None))),
        Just(What::Step(step("flush", Some(StepOutcome::Failed)))),
        Just(What::Phase(fact::Phase { to: PhaseTo::Draining, count: Some((1, 2)) })),
        Just(agent_ended("a", AgentEnd::Crashed)),
        Just(panic_of("x")),
        Just(clean_goodbye(keyboard(), Some(5_000))),
        (1..40_000_u64, 0..4_u64).prop_map(|(by_ms, counter)| extend(by_ms, counter)),
        (1_000..9_000_u64).prop_map(|every_ms| agent_at_work("a", every_ms)),
    ];
    let witness = prop_oneof![
        Just(witness_start(Some(9_000))),
        Just(seen(by_signal("SIGTERM"))),
        Just(What::Oom),
        Just(What::Stopped),
        Just(What::Continued),
        Just(exit_code(0)),
        Just(exit_code(101)),
        Just(exit_signal("SIGKILL")),
        Just(exit_signal("SIGTERM")),
    ];
    prop_oneof![own.prop_map(|what| (Source::Own, what)), witness.prop_map(|what| (Source::Witness, what))]
}

/// Facts of up to three runs of one worker, each with its own identity and moment.
fn any_facts() -> impl Strategy<Value = Vec<Fact>> {
    let one = (1..4_u128, any_what(), 0..50_000_u64, 0..3_000_u64);
    prop::collection::vec(one, 1..24).prop_map(|said| {
        let numbered = said.into_iter().zip(1..);
        numbered
            .map(|((run, (source, what), taken, age_ms), seq)| Fact {
                id: FactId { run: RunId(run), source, seq },
                service: "s".into(),
                worker: "w".into(),
                taken: Moment::from_millis(1_000_000 + taken),
                age_ms,
                what,
            })
            .collect()
    })
}

fn judged(facts: &[Fact]) -> Roster {
    let mut roster = Roster::new(Rules::default());
    for fact in facts {
        roster.step(fact);
    }
    roster
}

/// What must not depend on the order of arrival: each run's dossier and verdict.
fn verdicts(roster: &Roster) -> String {
    let snapshot = roster.snapshot();
    let runs = snapshot.workers().iter().flat_map(|worker| worker.runs());
    runs.map(|run| format!("{:?} {:?} {:?}\n", run.id(), run.verdict(), run.dossier())).collect()
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn any_order_and_any_duplication_of_the_same_facts_give_the_same_verdicts(
        (facts, shuffled) in any_facts().prop_flat_map(|facts| {
            let doubled: Vec<Fact> = facts.iter().chain(&facts).cloned().collect();
            (Just(facts), Just(doubled).prop_shuffle())
        })
    ) {
        prop_assert_eq!(verdicts(&judged(&facts)), verdicts(&judged(&shuffled)));
    }

    #[test]
    fn replay_equals_live(facts in any_facts(), pauses in prop::collection::vec(0..40_000_u64, 24)) {
        let mut stage = Stage::new();
        for (fact, pause) in facts.into_iter().zip(pauses) {
            let run = stage.run(fact.id.run.0);
            match fact.id.source {
                Source::Own => stage.own(run, fact.what),
                _ => stage.witness(run, fact.what),
            };
            stage.pass(pause);
        }
        let replayed = stage.replayed();
        prop_assert_eq!(verdicts(&stage.roster), verdicts(&replayed));
        let (live, again) = (stage.roster.snapshot(), replayed.snapshot());
        prop_assert_eq!(live.counts(), again.counts());
        prop_assert_eq!(live.alerts(stage.now), again.alerts(stage.now));
    }
}
