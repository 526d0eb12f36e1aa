//! What the outbox keeps, lets go and tells again.

use lastbeat_wire::envelope::ENVELOPE_MAX_BYTES;
use lastbeat_wire::signal::{
    AgentEnd, AgentState, Asked, Cause, CauseKind, Cleanup, Exit, Final, Panic, Phase, PhaseTo, Start, Step,
    StepOutcome,
};
use lastbeat_wire::{RunId, Source};

use super::*;

fn outbox() -> Outbox {
    Outbox::new(Identity {
        run_id: RunId::from_u128(7),
        source: Source::Own,
        service: Name::new("trader").expect("a name"),
        worker: Name::new("main").expect("a name"),
    })
}

fn agent_of(number: usize, state: Option<AgentState>, end: Option<AgentEnd>) -> Signal {
    let name = Name::new(&format!("agent-{number}")).expect("a name");
    Signal::Agent(Agent { name, state, end, progress_every_ms: None, error: None })
}

/// A word of an agent that lives: state.
fn agent(number: usize) -> Signal {
    agent_of(number, Some(AgentState::Running), None)
}

/// The end of an agent: state until it is safe.
fn ended(number: usize) -> Signal {
    agent_of(number, None, Some(AgentEnd::Completed))
}

/// A fact that is no state.
fn begun(step: usize) -> Signal {
    Signal::Step(Step::begun(Name::new(&format!("step-{step}")).expect("a name")))
}

fn panicked(message: &str) -> Signal {
    Signal::Panic(Panic { message: message.into(), location: None })
}

fn asked(kind: CauseKind) -> Signal {
    Signal::Asked(Asked { cause: Cause::of(kind), deadline_ms: None })
}

fn sent(outbox: &mut Outbox) -> Vec<u64> {
    outbox.take_unsent(0, usize::MAX).iter().map(|(id, _)| id.seq).collect()
}

fn own(seq: u64) -> FactId {
    FactId { run_id: RunId::from_u128(7), source: Source::Own, seq }
}

fn seqs(outbox: &Outbox) -> Vec<u64> {
    outbox.to_spool(0).iter().map(|envelope| envelope.seq).collect()
}

#[test]
fn a_full_ring_drops_the_oldest_that_tells_of_no_ending_and_counts_it() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 0);
    outbox.say(panicked("caught"), 0);
    for number in 0..=FACTS_MAX {
        outbox.say(begun(number), 0);
    }
    outbox.say(Signal::Final(Final::default()), 0);
    let kept = seqs(&outbox);
    assert_eq!(kept.len(), FACTS_MAX + 2, "the ring, and the start and the final beside it");
    assert_eq!(kept[..3], [1, 2, 5], "start and panic stay; 3 and 4 gave way");
    assert_eq!(kept.last(), Some(&68), "the final is there");
    assert_eq!(outbox.dropped(), 2);
}

#[test]
fn a_ring_full_of_panics_still_has_room_for_the_final() {
    let mut outbox = outbox();
    for _ in 0..200 {
        outbox.say(panicked("again"), 0);
    }
    outbox.say(Signal::Final(Final::default()), 0);
    assert_eq!(outbox.waiting(), FACTS_MAX + 1);
    assert_eq!(seqs(&outbox).last(), Some(&201));
}

#[test]
fn nothing_is_said_after_the_final() {
    let mut outbox = outbox();
    outbox.say(Signal::Final(Final::default()), 0);
    outbox.say(Signal::Ready, 0);
    assert_eq!(seqs(&outbox), [1]);
    assert!(outbox.beat(Signal::Ready).is_none());
}

#[test]
fn a_new_link_hears_the_state_again_with_its_age_and_what_is_not_safe_in_order() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 100);
    outbox.say(ended(1), 200);
    outbox.say(Signal::Ready, 300);
    outbox.say(ended(2), 300);
    assert_eq!(sent(&mut outbox), [1, 2, 3, 4]);
    assert!(sent(&mut outbox).is_empty(), "each is sent once a link");
    for seq in 1..=3 {
        outbox.acked(own(seq), true);
    }
    outbox.acked(own(4), false);
    assert_eq!(outbox.waiting(), 1, "what is not durable stays");

    outbox.link_opened();
    let again = outbox.take_unsent(1_100, usize::MAX);
    assert_eq!(again.iter().map(|(id, _)| id.seq).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(again[0].1.contains(r#""age_ms":1000"#), "{}", again[0].1);
    assert!(again[1].1.contains(r#""ready""#), "{}", again[1].1);
    assert_eq!(outbox.waiting(), 1, "a repeat of what is safe is not waited for");
}

#[test]
fn the_state_is_the_newest_phase_the_first_request_the_newest_word_of_each_living_agent_and_the_ending() {
    let mut outbox = outbox();
    let phase = |to| Signal::Phase(Phase { to, done: None, total: None });
    let signals = [
        Signal::Start(Start::default()),
        Signal::Ready,
        phase(PhaseTo::Paused),
        agent(1),
        agent(2),
        phase(PhaseTo::Running),
        agent_of(1, Some(AgentState::Stopping), None),
        ended(2),
        asked(CauseKind::Keyboard),
        asked(CauseKind::Signal),
        Signal::Final(Final::default()),
    ];
    for signal in signals {
        outbox.say(signal, 0);
    }
    assert_eq!(sent(&mut outbox).len(), 11, "while it is not safe, all of the story is told");
    for seq in 1..=11 {
        outbox.acked(own(seq), true);
    }
    assert_eq!(outbox.waiting(), 0);
    outbox.link_opened();
    assert_eq!(sent(&mut outbox), [1, 2, 6, 7, 9, 11]);
}

#[test]
fn more_facts_than_the_ring_holds_never_push_out_the_state() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 0);
    outbox.say(Signal::Ready, 0);
    outbox.say(agent(0), 0);
    for number in 1..=1_000 {
        outbox.say(ended(number), 0);
    }
    outbox.say(asked(CauseKind::Api), 0);
    for number in 1_001..=2_000 {
        outbox.say(ended(number), 0);
    }
    let kept = seqs(&outbox);
    assert_eq!(kept[..4], [1, 2, 3, 1_004], "start, ready, the agent, who asked");
    assert_eq!(kept.len(), FACTS_MAX + STATE_AGENTS_MAX + 3, "and the newest ends");
    assert_eq!(*kept.last().expect("not empty"), 2_004);
}

#[test]
fn a_hundred_agents_begin_and_end_at_once_and_no_end_is_given_up() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 0);
    (0..102).for_each(|number| outbox.say(agent(number), 0));
    outbox.say(asked(CauseKind::Keyboard), 0);
    (0..102).for_each(|number| outbox.say(ended(number), 0));
    (0..2).for_each(|step| outbox.say(begun(step), 0));
    outbox.say(Signal::Final(Final::default()), 0);

    let ends = outbox.facts.values().filter(|fact| fact.is_end_of_an_agent()).count();
    assert_eq!(ends, 102, "although the collector has taken nothing yet");
    assert!(seqs(&outbox).contains(&104), "who asked");
    let sent = sent(&mut outbox);
    sent.iter().for_each(|seq| outbox.acked(own(*seq), true));
    outbox.link_opened();
    assert_eq!(self::sent(&mut outbox), [1, 104, 209], "an end that is safe is not told again");
}

#[test]
fn a_living_agent_takes_the_place_of_one_that_has_ended() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 0);
    (0..STATE_AGENTS_MAX).for_each(|number| outbox.say(ended(number), 0));
    outbox.say(agent(500), 0);
    for caught in 0..FACTS_MAX {
        outbox.say(panicked(&caught.to_string()), 0);
    }
    assert!(seqs(&outbox).contains(&58), "the living one: {:?}", seqs(&outbox));
    assert!(!seqs(&outbox).contains(&2), "the end that made room went through the ring");
}

#[test]
fn whatever_is_said_fits_into_one_spool_file() {
    let mut outbox = outbox();
    outbox.say(Signal::Start(Start::default()), 0);
    outbox.say(Signal::Ready, 0);
    outbox.say(asked(CauseKind::Api), 0);
    outbox.say(Signal::Phase(Phase { to: PhaseTo::Draining, done: None, total: None }), 0);
    for round in 0..3 {
        for number in 0..500 {
            outbox.say(agent(number), 0);
            outbox.say(panicked(&format!("{round}")), 0);
        }
    }
    outbox.say(Signal::Final(Final::default()), 0);
    assert!(seqs(&outbox).len() <= lastbeat_wire::spool::FACTS_MAX, "{}", seqs(&outbox).len());
    assert_eq!(seqs(&outbox)[..4], [1, 2, 3, 4]);
}

#[test]
fn a_refused_ending_waits_for_the_next_link_and_for_the_spool() {
    for ending in [Signal::Final(Final::default()), Signal::Exit(Exit::default()), panicked("boom")] {
        let mut outbox = outbox();
        outbox.say(Signal::Start(Start::default()), 0);
        outbox.say(ending, 0);
        assert_eq!(sent(&mut outbox), [1, 2]);
        outbox.acked(own(1), true);
        assert!(!outbox.only_refused_wait());
        outbox.refused(own(2));
        assert_eq!((outbox.waiting(), outbox.dropped()), (1, 0));
        assert!(outbox.only_refused_wait());
        assert!(sent(&mut outbox).is_empty(), "this link would refuse it again");
        assert_eq!(seqs(&outbox), [1, 2]);

        outbox.link_opened();
        assert!(!outbox.only_refused_wait());
        assert_eq!(sent(&mut outbox), [1, 2]);
        outbox.acked(own(2), true);
        assert_eq!(outbox.waiting(), 0);
    }
}

#[test]
fn a_refused_fact_that_tells_of_no_ending_is_given_up_and_counted_once() {
    let mut outbox = outbox();
    outbox.say(Signal::Ready, 0);
    outbox.say(ended(1), 0);
    outbox.refused(own(1));
    outbox.refused(own(2));
    assert_eq!((outbox.waiting(), outbox.dropped()), (0, 2));
    outbox.link_opened();
    outbox.refused(own(1));
    assert_eq!(outbox.dropped(), 2);
}

#[test]
fn an_ack_for_another_voice_changes_nothing() {
    let mut outbox = outbox();
    outbox.say(Signal::Ready, 0);
    outbox.acked(FactId { run_id: RunId::from_u128(7), source: Source::Witness, seq: 1 }, true);
    outbox.acked(FactId { run_id: RunId::from_u128(8), source: Source::Own, seq: 1 }, true);
    assert_eq!(outbox.waiting(), 1);
}

#[test]
fn a_batch_stops_at_its_byte_limit_and_never_before_the_first_fact() {
    let mut outbox = outbox();
    for number in 0..10 {
        outbox.say(agent(number), 0);
    }
    assert_eq!(outbox.take_unsent(0, 1).len(), 1);
    let rest = outbox.take_unsent(0, 700);
    assert!((2..9).contains(&rest.len()), "{}", rest.len());
}

#[test]
fn a_final_too_long_for_an_envelope_is_shortened_and_keeps_what_decides_its_class() {
    let name = |number: usize| Name::new(&format!("{number:0>128}")).expect("a name");
    let row = |number, outcome| Step {
        outcome: Some(outcome),
        error: Some("\u{1}".repeat(500)),
        ..Step::begun(name(number))
    };
    let mut steps: Vec<Step> = (0..200).map(|number| row(number, StepOutcome::Ok)).collect();
    steps.push(row(200, StepOutcome::TimedOut));
    let cleanup = Cleanup { steps, abandoned: (0..500).map(name).collect(), ..Cleanup::default() };
    let mut outbox = outbox();
    outbox.say(Signal::Final(Final { cleanup: Some(cleanup), ..Final::default() }), 0);
    let sent = outbox.take_unsent(0, usize::MAX);
    assert!(sent[0].1.len() <= ENVELOPE_MAX_BYTES);
    let read = lastbeat_wire::decode_one(sent[0].1.as_bytes()).expect("the door takes it");
    let Signal::Final(Final { cleanup: Some(cleanup), .. }) = read.envelope.signal else {
        panic!("a final with its cleanup");
    };
    assert_eq!(cleanup.steps[0].outcome, Some(StepOutcome::TimedOut));
    assert_eq!((cleanup.abandoned.len(), cleanup.untracked), (16, 484));
}
