//! The laws, as functions: an error says what does not hold.

use std::collections::{BTreeMap, BTreeSet};

use lastbeat_engine::ending::{AgentEnd, CauseKind, CleanupOutcome, StepOutcome};
use lastbeat_engine::fact::AgentStatus;
use lastbeat_engine::{
    AlertName, Class, Counts, Fact, PromiseState, Roster, Rules, Run, RunId, Source, What, Worker,
    dossier::Dossier,
};

use super::facts::Said;
use crate::stage::{COLLECTOR, Stage};

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
        match (said.source, &said.what) {
            (Source::Operator, what) => {
                stage.operator(what.clone());
            }
            (Source::Observer, What::Away(away)) => {
                stage.away(away.to.since(away.from));
            }
            (Source::Observer, What::MassSilence(silence)) => {
                stage.observed(COLLECTOR, What::MassSilence(silence.clone()));
            }
            // It speaks only of whom it knows.
            (Source::Observer, what) => {
                if stage.roster.snapshot().run(RunId(said.run)).is_some() {
                    stage.observed(RunId(said.run), what.clone());
                }
            }
            (Source::Own | Source::Witness, what) => {
                let run = stage.run_of(said.run, said.worker());
                stage.spoken(run, said.source, said.age_ms, what.clone());
            }
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
        let mut alerts = snapshot.alerts(stage.now);
        // It alone rests on beats, which leave no trace.
        alerts.retain(|alert| alert.name != AlertName::Orphaned);
        let (counts, windows, silences) = (snapshot.counts(), snapshot.windows(), snapshot.silences());
        let notices = snapshot.notices(stage.now);
        format!("{}{amendments:?}{counts:?}{alerts:?}{notices:?}{windows:?}{silences:?}", verdicts(roster))
    };
    same("replay", &told(&stage.roster), &told(&again))
}

/// What somebody counts who looks at every run after every step: its first ending and how long its stop took, its first
/// ask, the steps and streams of its last word, each ending that was taken back or changed, each end of an agent, each
/// promise and how long the restart took.
#[derive(Debug, Default, PartialEq)]
struct Recount {
    endings: BTreeMap<Class, u64>,
    amendments: BTreeMap<(Class, Option<Class>), u64>,
    asks: BTreeMap<CauseKind, u64>,
    agents: BTreeMap<AgentEnd, u64>,
    /// How many, and their sum in ms.
    stops: BTreeMap<CleanupOutcome, (u64, u64)>,
    steps: BTreeMap<StepOutcome, u64>,
    streams: BTreeMap<&'static str, u64>,
    promises: BTreeMap<bool, u64>,
    restarts: (u64, u64),
}

impl Recount {
    /// What the counters say, without the services, of which there is one.
    fn of(counts: &Counts) -> Self {
        let restarts = counts.restart_durations.values().map(|it| (it.count, it.sum_ms));
        Self {
            endings: counts.endings.iter().map(|((_, class), count)| (*class, *count)).collect(),
            amendments: counts.amendments.clone(),
            asks: counts.stop_requests.iter().map(|((_, cause), count)| (*cause, *count)).collect(),
            agents: counts.agent_ends.iter().map(|((_, end), count)| (*end, *count)).collect(),
            stops: counts
                .shutdown_durations
                .iter()
                .map(|((_, outcome), it)| (*outcome, (it.count, it.sum_ms)))
                .collect(),
            steps: counts.shutdown_steps.iter().map(|((_, outcome), count)| (*outcome, *count)).collect(),
            streams: counts.streams.iter().map(|((_, how), count)| (*how, *count)).collect(),
            promises: counts.promises.iter().map(|((_, kept), count)| (*kept, *count)).collect(),
            restarts: restarts.fold((0, 0), |(count, sum), (more, ms)| (count + more, sum + ms)),
        }
    }

    /// Looks at one run of a worker.
    fn look(&mut self, worker: &Worker, run: &Run, seen: &mut Seen, rules: &Rules) {
        let class = run.verdict().class();
        let was = seen.class.insert(run.id(), class).flatten();
        if let Some(was) = was.filter(|was| Some(*was) != class) {
            *self.amendments.entry((was, class)).or_default() += 1;
        }
        if let Some(ask) = run.verdict().ask.as_ref().filter(|_| seen.first("ask", run)) {
            *self.asks.entry(ask.cause.kind).or_default() += 1;
        }
        let told = run.dossier().fin.as_ref().and_then(|fin| fin.value.cleanup.as_ref());
        if let Some(cleanup) = told.filter(|_| seen.first("cleanup", run)) {
            for outcome in cleanup.steps.iter().filter_map(|step| step.outcome) {
                *self.steps.entry(outcome).or_default() += 1;
            }
            *self.streams.entry("farewell").or_default() += cleanup.streams_farewell;
            *self.streams.entry("cut").or_default() += cleanup.streams_cut;
        }
        if let Some(ending) = run.verdict().ending().filter(|_| seen.first("ending", run)) {
            *self.endings.entry(ending.class).or_default() += 1;
            if let Some(ask) = &run.verdict().ask {
                let (count, sum_ms) = self.stops.entry(ending.cleanup_outcome).or_default();
                (*count, *sum_ms) = (*count + 1, *sum_ms + ending.at.since(ask.at));
            }
        }
        let promise = worker.promise(run, rules).filter(|promise| promise.state != PromiseState::Open);
        if let Some(promise) = promise.filter(|_| seen.first("promise", run)) {
            let kept = promise.state == PromiseState::Kept;
            *self.promises.entry(kept).or_default() += 1;
            // Of the runs after it; who was forked by one of them is nobody's successor.
            let is_child = |it: &Run| it.parent_run().is_some_and(|parent| worker.run(parent).is_some());
            let later = worker.runs().take_while(|it| it.id() != run.id()).filter(|it| !is_child(it));
            if let Some(ready) = later.filter_map(Run::ready_at).min().filter(|_| kept) {
                self.restarts = (self.restarts.0 + 1, self.restarts.1 + ready.since(promise.made));
            }
        }
    }
}

/// What was looked at before.
#[derive(Default)]
struct Seen {
    class: BTreeMap<RunId, Option<Class>>,
    once: BTreeSet<(&'static str, RunId)>,
}

impl Seen {
    fn first(&mut self, what: &'static str, run: &Run) -> bool {
        self.once.insert((what, run.id()))
    }

    /// Who was forgotten is somebody else when it speaks again.
    fn forget(&mut self, known: &BTreeSet<RunId>) {
        self.class.retain(|run, _| known.contains(run));
        self.once.retain(|(_, run)| known.contains(run));
    }
}

/// The counters are what an independent count gives.
pub(crate) fn counts_equal_a_recount(life: &[Said], rules: &Rules) -> Result<(), String> {
    let (mut recount, mut seen) = (Recount::default(), Seen::default());
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
        for worker in snapshot.workers() {
            worker.runs().for_each(|run| recount.look(worker, run, &mut seen, rules));
        }
        let known = snapshot.workers().iter().flat_map(|worker| worker.runs()).map(Run::id).collect();
        seen.forget(&known);
    }
    let told = Recount::of(stage.roster.snapshot().counts());
    same("counts", &format!("{told:?}"), &format!("{recount:?}"))
}
