//! The laws, as functions: an error says what does not hold.

use std::collections::{BTreeMap, BTreeSet};

use lastbeat_engine::ending::{AgentEnd, CauseKind};
use lastbeat_engine::fact::AgentStatus;
use lastbeat_engine::{Class, Fact, Roster, Rules, RunId, What, dossier::Dossier};

use super::facts::Said;
use crate::stage::Stage;

fn judged(facts: &[Fact], rules: &Rules) -> Roster {
    let mut roster = Roster::new(rules.clone());
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

fn same(what: &str, one: &str, other: &str) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}:\n{one}\nis not\n{other}")) }
}

/// All facts, each once or twice, in another order.
fn shuffled(facts: &[Fact], seed: u64) -> Vec<Fact> {
    let mut keyed: Vec<(u64, Fact)> = facts
        .iter()
        .chain(facts)
        .zip(1..)
        .map(|(fact, place): (_, u64)| {
            (
                (seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9),
                fact.clone(),
            )
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    let kept = facts.len() + usize::try_from(seed % 7).unwrap_or(0).min(facts.len());
    let (mut some, rest): (Vec<Fact>, Vec<Fact>) = {
        let (some, rest) = keyed.split_at(kept);
        (
            some.iter().map(|(_, fact)| fact.clone()).collect(),
            rest.iter().map(|(_, fact)| fact.clone()).collect(),
        )
    };
    let had: BTreeSet<_> = some.iter().map(|fact| fact.id).collect();
    some.extend(rest.into_iter().filter(|fact| !had.contains(&fact.id)));
    some
}

/// Commutative, associative, idempotent: whatever order, however often.
pub(crate) fn admit_is_a_join(facts: &[Fact], seed: u64) -> Result<(), String> {
    let folded = |facts: &[Fact]| {
        let mut dossiers: BTreeMap<RunId, Dossier> = BTreeMap::new();
        for fact in facts {
            dossiers.entry(fact.id.run).or_default().admit(fact);
        }
        format!("{dossiers:?}")
    };
    same("dossiers", &folded(facts), &folded(&shuffled(facts, seed)))
}

/// M5, I7: any order and any duplication give the same verdicts.
pub(crate) fn order_is_nothing(facts: &[Fact], seed: u64, rules: &Rules) -> Result<(), String> {
    let (one, other) = (judged(facts, rules), judged(&shuffled(facts, seed), rules));
    same("verdicts", &verdicts(&one), &verdicts(&other))
}

/// The verdict that is kept with a run is what its facts give when they are folded afresh, at every moment.
pub(crate) fn cached_equals_rebuilt(facts: &[Fact], rules: &Rules) -> Result<(), String> {
    let mut roster = Roster::new(rules.clone());
    for (place, fact) in facts.iter().enumerate() {
        roster.step(fact);
        let mut known = facts[..=place].to_vec();
        known.sort_by_key(|fact| fact.id);
        same(&format!("after fact {place}"), &verdicts(&roster), &verdicts(&judged(&known, rules)))?;
    }
    Ok(())
}

/// Plays a life, letting time pass and what is due expire; looks after every step.
fn play(life: &[Said], rules: &Rules, mut look: impl FnMut(&Stage)) -> Stage {
    let mut stage = Stage::with(rules.clone());
    for said in life {
        stage.pass(said.pause_ms);
        look(&stage);
        if let What::Plan(_) | What::PlanEnd(_) = said.what {
            stage.operator(said.what.clone());
        } else {
            let run = stage.run_of(said.run, said.worker());
            stage.spoken(run, said.source, said.age_ms, said.what.clone());
        }
        look(&stage);
    }
    stage.pass(90_000);
    look(&stage);
    stage
}

/// M1: what the journal gives is what was shown, byte for byte.
pub(crate) fn replay_equals_live(life: &[Said], rules: &Rules) -> Result<(), String> {
    let stage = play(life, rules, |_| {});
    let again = judged(&stage.facts, rules);
    let told = |roster: &Roster| {
        let snapshot = roster.snapshot();
        let runs = snapshot.workers().iter().flat_map(|worker| worker.runs());
        let amendments: Vec<_> = runs.map(|run| run.amendments().to_vec()).collect();
        let alerts = snapshot.alerts(stage.now);
        format!("{}{amendments:?}{:?}{alerts:?}{:?}", verdicts(roster), snapshot.counts(), snapshot.windows())
    };
    same("replay", &told(&stage.roster), &told(&again))
}

/// What somebody counts who looks at every run after every step: its first ending, its first ask, each ending that
/// was taken back or changed, each end of an agent.
#[derive(Debug, Default, PartialEq)]
struct Recount {
    endings: BTreeMap<Class, u64>,
    amendments: BTreeMap<(Class, Option<Class>), u64>,
    asks: BTreeMap<CauseKind, u64>,
    agents: BTreeMap<AgentEnd, u64>,
}

/// The counters are what an independent count gives.
pub(crate) fn counts_equal_a_recount(life: &[Said], rules: &Rules) -> Result<(), String> {
    let mut recount = Recount::default();
    let mut before: BTreeMap<RunId, Option<Class>> = BTreeMap::new();
    let (mut ended, mut asked) = (BTreeSet::new(), BTreeSet::new());
    // Between two looks several facts may be stepped (a deadline uncovers the next), so each prefix is looked at.
    let stage = play(life, rules, |_| {});
    let mut roster = Roster::new(rules.clone());
    for fact in &stage.facts {
        if let What::Agent(agent) = &fact.what
            && let AgentStatus::Ended(end) = agent.status
        {
            *recount.agents.entry(end).or_default() += 1;
        }
        roster.step(fact);
        let snapshot = roster.snapshot();
        for run in snapshot.workers().iter().flat_map(|worker| worker.runs()) {
            let class = run.verdict().class();
            let was = before.insert(run.id(), class).flatten();
            if let Some(was) = was.filter(|was| Some(*was) != class) {
                *recount.amendments.entry((was, class)).or_default() += 1;
            }
            if let Some(class) = class.filter(|_| ended.insert(run.id())) {
                *recount.endings.entry(class).or_default() += 1;
            }
            if let Some(ask) = run.verdict().ask.as_ref().filter(|_| asked.insert(run.id())) {
                *recount.asks.entry(ask.cause.kind).or_default() += 1;
            }
        }
    }
    let snapshot = stage.roster.snapshot();
    let counts = snapshot.counts();
    let told = Recount {
        endings: counts.endings.iter().map(|((_, class), count)| (*class, *count)).collect(),
        amendments: counts.amendments.clone(),
        asks: counts.stop_requests.iter().map(|((_, cause), count)| (*cause, *count)).collect(),
        agents: counts.agent_ends.iter().map(|((_, end), count)| (*end, *count)).collect(),
    };
    same("counts", &format!("{told:?}"), &format!("{recount:?}"))
}
