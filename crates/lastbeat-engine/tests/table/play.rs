//! Plays a row on the stage, and holds what is said against what the row expects.

use std::collections::{BTreeMap, HashMap, HashSet};

use lastbeat_engine::ending::Ending;
use lastbeat_engine::words::Tally;
use lastbeat_engine::{Alert, Fact, FactId, Moment, Roster, Rules, RunId, Source, WallOffset, What, words};

use crate::rows::{Cast, Due, End, Expect, Look, Row, ms, names};
use crate::script::{Act, Does, RunIds, acts};
use crate::stage::{COLLECTOR, Stage};

/// Every row begins at 12:00:00.
const NOON_MS: u64 = 12 * 3_600_000;
/// How often a row is looked at between its moments: no alert may come and go unseen.
const LOOK_MS: usize = 250;
/// How long a row may last.
const LASTS_MAX_MS: u64 = 3_600_000;

struct Player<'a> {
    expect: &'a Expect,
    cast: &'a Cast,
    stage: Stage,
    began: Moment,
    ids: RunIds,
    workers: HashMap<String, String>,
    links: HashMap<(RunId, Source), u64>,
    link_count: u64,
    /// Who has ever had a link.
    dialled: HashSet<(RunId, Source)>,
    announced: HashMap<Source, u64>,
    /// What was otherwise than expected; empty when the row is right.
    wrong: Vec<String>,
    told: HashSet<String>,
}

/// Plays a row from its first moment to its last; says what was otherwise than expected.
pub(crate) fn play(row: &Row, cast: &Cast) -> Vec<String> {
    let expect = row.expect.as_ref().unwrap_or_else(|| panic!("row {} expects nothing", row.label()));
    let (acts, ids) = acts(row, cast);
    let mut times: BTreeMap<u64, Vec<Act>> = BTreeMap::new();
    for at_ms in moments(row, expect) {
        times.entry(at_ms).or_default();
    }
    for act in acts {
        times.entry(act.at_ms).or_default().push(act);
    }
    let last_ms = *times.last_key_value().expect("a row has a moment").0;
    assert!(last_ms <= LASTS_MAX_MS, "row {} lasts too long", row.label());
    for at_ms in (0..last_ms).step_by(LOOK_MS) {
        times.entry(at_ms).or_default();
    }
    let stage = Stage::new();
    let mut player = Player {
        expect,
        cast,
        began: stage.now,
        stage,
        ids,
        workers: HashMap::new(),
        links: HashMap::new(),
        link_count: 0,
        dialled: HashSet::new(),
        announced: HashMap::new(),
        wrong: Vec::new(),
        told: HashSet::new(),
    };
    for (at_ms, acts) in times {
        player.moment(at_ms, acts, at_ms == last_ms);
    }
    player.history();
    player.wrong
}

/// Every moment the expectations name.
fn moments(row: &Row, expect: &Expect) -> Vec<u64> {
    let looks = expect.page.iter().map(|look| &look.at);
    let ends = expect.ends.iter().filter_map(|end| end.at.as_ref());
    let alerts = expect.alerts.iter().flat_map(|due| [Some(&due.from), Some(&due.by), due.until.as_ref()]);
    looks.chain(ends).chain(alerts.flatten()).chain(row.lasts.as_ref()).map(|at| ms(at)).collect()
}

impl Player<'_> {
    fn moment(&mut self, at_ms: u64, acts: Vec<Act>, last: bool) {
        let at = self.began.plus(at_ms);
        if at < self.stage.now {
            // The observer was away: nobody looked.
            assert!(acts.is_empty(), "something is done at {at_ms} ms, while the observer is away");
            return;
        }
        self.stage.pass(at.since(self.stage.now));
        for act in acts {
            self.act(act);
        }
        // The keeper drains what waits, and then judges.
        self.stage.pass(0);
        self.look(at_ms, last);
    }

    fn act(&mut self, act: Act) {
        if let Does::Announce { source, what } = act.does {
            return self.announce(source, *what);
        }
        if let Does::Away { for_ms } = act.does {
            // The sockets went with it.
            self.links.clear();
            self.stage.away(for_ms);
            return;
        }
        let worker = self
            .workers
            .entry(act.run.clone())
            .or_insert_with(|| act.worker.clone().unwrap_or_else(|| "w".to_owned()));
        let id = self.ids.of(&act.run);
        let run = self.stage.run_of(id.0, worker);
        match act.does {
            Does::Say { source, age_ms, lie_ms, what } => {
                // A plain ping comes without a link.
                let begins = match &*what {
                    What::Start(start) => start.goodbye,
                    what => matches!(what, What::WitnessStart(_)),
                };
                let over = matches!(*what, What::Exit(_));
                match age_ms {
                    0 => self.stage.say(run, source, lie_ms, true, *what),
                    age_ms => self.stage.spooled(run, source, age_ms, *what),
                };
                if begins && age_ms == 0 {
                    self.link(run, source, true);
                }
                if over && age_ms == 0 {
                    // A process that is gone has no sockets.
                    self.link(run, Source::Own, false);
                }
            }
            Does::Repeat(source) => self.repeat(run, source),
            Does::Beat { source, counters } => {
                // Whoever speaks again after the observer's absence has dialled anew.
                if self.dialled.contains(&(run, source)) && !self.links.contains_key(&(run, source)) {
                    self.link(run, source, true);
                }
                self.stage.beat(run, source);
                for (agent, counter) in counters {
                    self.stage.beat_with(run, &agent, counter);
                }
            }
            Does::Link { voice, open } => self.link(run, voice, open),
            Does::Away { .. } | Does::Announce { .. } => unreachable!("handled above"),
        }
    }

    fn link(&mut self, run: RunId, voice: Source, open: bool) {
        if open {
            self.link_count += 1;
            self.dialled.insert((run, voice));
            self.links.insert((run, voice), self.link_count);
            self.stage.link(run, voice, self.link_count);
        } else if let Some(number) = self.links.remove(&(run, voice)) {
            self.stage.unlink(run, voice, number);
        }
    }

    fn announce(&mut self, source: Source, what: What) {
        let seq = self.announced.entry(source).or_default();
        *seq += 1;
        let id = FactId { run: COLLECTOR, source, seq: *seq };
        let (service, worker) = ("lastbeat".into(), "collector".into());
        self.stage.take(Fact { id, service, worker, taken: self.stage.now, age_ms: 0, what });
    }

    fn repeat(&mut self, run: RunId, source: Source) {
        let said = self.stage.facts.iter().rev().find(|fact| fact.id.run == run && fact.id.source == source);
        let again = Fact { taken: self.stage.now, ..said.expect("something was said before").clone() };
        self.stage.roster.step(&again);
    }

    /// Notes what is otherwise than expected, the first time.
    fn wrong(&mut self, at_ms: u64, what: &str) {
        if self.told.insert(what.to_owned()) {
            let seconds = at_ms / 1_000;
            self.wrong.push(format!("at {seconds}.{:03} s: {what}", at_ms % 1_000));
        }
    }

    /// Holds one moment against the row.
    fn look(&mut self, at_ms: u64, last: bool) {
        let expect = self.expect;
        self.alerts(at_ms);
        self.notices(at_ms, last);
        for look in expect.page.iter().filter(|look| ms(&look.at) == at_ms) {
            self.page(at_ms, look);
        }
        for end in &expect.ends {
            if end.at.as_ref().map_or(last, |at| ms(at) == at_ms) {
                for run in names(&end.run) {
                    self.end(at_ms, &run, end);
                }
            }
        }
    }

    fn page(&mut self, at_ms: u64, look: &Look) {
        let (now, snapshot) = (self.stage.now, self.stage.roster.snapshot());
        let rules = snapshot.rules();
        let offset = WallOffset(
            i64::try_from(NOON_MS).expect("noon") - i64::try_from(self.began.as_millis()).expect("small"),
        );
        for name in names(look.worker.as_deref().unwrap_or("w")) {
            if look.condition.is_none() && look.words.is_none() {
                continue;
            }
            let Some(worker) = snapshot.worker("s", &name) else {
                self.wrong(at_ms, &format!("nobody heard of {name}"));
                continue;
            };
            let standing = worker.standing(now, rules);
            let told = words::worker_words(worker, &standing, now, rules, offset);
            let condition = standing.condition.as_str();
            if look.condition.as_ref().is_some_and(|wanted| wanted != condition) {
                let wanted = look.condition.as_deref().unwrap_or_default();
                self.wrong(at_ms, &format!("{name} should be {wanted}, is {condition} ({told:?})"));
            }
            if look.words.as_ref().is_some_and(|wanted| *wanted != told) {
                let wanted = look.words.as_deref().unwrap_or_default();
                self.wrong(at_ms, &format!("{name} should read {wanted:?}, reads {told:?}"));
            }
        }
        let mut tally = Tally::default();
        for worker in snapshot.workers() {
            tally.add(&worker.standing(now, rules));
        }
        let lines = [
            ("the service", &look.service, words::service_words(&tally)),
            ("the fleet", &look.fleet, words::fleet_sentence(&tally, snapshot.silences().last())),
        ];
        for (who, wanted, told) in lines {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != told) {
                self.wrong(at_ms, &format!("{who} should read {wanted:?}, reads {told:?}"));
            }
        }
    }

    fn end(&mut self, at_ms: u64, name: &str, wanted: &End) {
        let snapshot = self.stage.roster.snapshot();
        let run = snapshot.run(self.ids.of(name)).map(|(_, run)| run);
        let ending: Option<&Ending> = run.and_then(|run| run.verdict().ending());
        let class = ending.map_or("none", |ending| ending.class.as_str());
        if wanted.class != class {
            self.wrong(at_ms, &format!("run {name} should be {}, is {class}", wanted.class));
        }
        let Some(ending) = ending else { return };
        let cause = ending.cause.as_ref();
        let by = wanted.by.as_ref().map(|by| Some(self.cast.get(by).expect("one of the cast")));
        let mut hold = |what: &str, wanted: Option<String>, told: String| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != told) {
                self.wrong(at_ms, &format!("{what} of run {name} should be {wanted}, is {told}"));
            }
        };
        hold("the cause", wanted.cause.clone(), cause.map_or("none", |cause| cause.kind.as_str()).to_owned());
        hold("all of the cause", by.map(|by| format!("{by:?}")), format!("{cause:?}"));
        hold("the cleanup", wanted.cleanup.clone(), ending.cleanup_outcome.as_str().to_owned());
        let tries = ending.cleanup.steps.iter().filter_map(|step| step.attempts).max().unwrap_or(0);
        hold("the tries", wanted.attempts.map(|tries| tries.to_string()), tries.to_string());
        let place = ending.panic.as_ref().and_then(|panic| panic.location.clone());
        hold("the place", wanted.place.clone(), place.unwrap_or_default());
        hold(
            "\"during the shutdown\"",
            wanted.during_shutdown.map(|during| during.to_string()),
            ending.during_shutdown.to_string(),
        );
    }

    /// No alert but the expected, each closed before its time, open within its limit, and dated right.
    fn alerts(&mut self, at_ms: u64) {
        let expect = self.expect;
        let open: Vec<Alert> =
            self.stage.alerts().into_iter().filter(|alert| alert.resolved.is_none()).collect();
        for alert in &open {
            let name = alert.name.as_str();
            let allowed = expect.alerts.iter().find(|due| {
                let until = due.until.as_ref().is_none_or(|until| at_ms < ms(until));
                is_of(due, alert) && ms(&due.from) <= at_ms && until
            });
            match allowed {
                None => {
                    self.wrong(at_ms, &format!("false alarm: {name} of {} ({})", alert.worker, alert.because))
                }
                Some(due) => {
                    let severity = alert.name.severity().as_str();
                    if due.severity != severity {
                        self.wrong(at_ms, &format!("{name} should be a {}, is a {severity}", due.severity));
                    }
                    let since_ms = alert.since.since(self.began);
                    let dated = due.dated.as_ref().map(|at| ms(at)..=ms(at));
                    if !dated.unwrap_or(ms(&due.from)..=ms(&due.by)).contains(&since_ms) {
                        self.wrong(at_ms, &format!("{name} is dated at {since_ms} ms"));
                    }
                }
            }
        }
        for due in &expect.alerts {
            let wanted = ms(&due.by) <= at_ms && due.until.as_ref().is_none_or(|until| at_ms < ms(until));
            let workers = names(due.worker.as_deref().unwrap_or(""));
            for worker in workers {
                let of = |alert: &&Alert| {
                    alert.name.as_str() == due.name && (worker.is_empty() || *alert.worker == *worker)
                };
                let count = open.iter().filter(of).count();
                if wanted && count != 1 {
                    self.wrong(
                        at_ms,
                        &format!("{} {worker} should be open once, is open {count} times", due.name),
                    );
                }
            }
        }
    }

    /// No notice but the expected, never of what has not ended, and each of them in the end.
    fn notices(&mut self, at_ms: u64, last: bool) {
        let expect = self.expect;
        let wanted: Vec<(&str, &str, u64, &str)> = expect
            .notices
            .iter()
            .map(|told| (&*told.name, &*told.worker, ms(&told.at), &*told.because))
            .collect();
        let told = self.stage.roster.snapshot().notices(self.stage.now);
        let told: Vec<(&str, &str, u64, &str)> = told
            .iter()
            .map(|it| (it.name.as_str(), &*it.worker, it.at.since(self.began), &*it.because))
            .collect();
        for notice in &told {
            if !wanted.contains(notice) {
                self.wrong(at_ms, &format!("nobody wants the notice {notice:?}"));
            }
        }
        for notice in wanted.iter().filter(|notice| last && !told.contains(notice)) {
            self.wrong(at_ms, &format!("there should be the notice {notice:?}"));
        }
    }

    /// What was amended, and what holds of every history: replay says the same, and so does any order (M1, M5).
    fn history(&mut self) {
        let expect = self.expect;
        let wanted: Vec<(RunId, &str, &str)> = expect
            .amended
            .iter()
            .flat_map(|each| names(&each.run).into_iter().map(move |run| (run, each)))
            .map(|(run, each)| (self.ids.of(&run), each.from.as_str(), each.to.as_str()))
            .collect();
        let snapshot = self.stage.roster.snapshot();
        let mut told: Vec<(Moment, RunId, &str, &str)> = Vec::new();
        for amendment in snapshot.workers().iter().flat_map(|worker| worker.amendments()) {
            let to = amendment.to.map_or("live", |class| class.as_str());
            told.push((amendment.at, amendment.run, amendment.from.as_str(), to));
        }
        told.sort();
        let told: Vec<(RunId, &str, &str)> =
            told.into_iter().map(|(_, run, from, to)| (run, from, to)).collect();
        if wanted != told {
            self.wrong.push(format!("amendments should be {wanted:?}, are {told:?}"));
        }
        let live = verdicts(&self.stage.roster);
        if verdicts(&self.stage.replayed()) != live {
            self.wrong.push("replay says otherwise (M1)".to_owned());
        }
        let mut backwards = Roster::new(Rules::default());
        for fact in self.stage.facts.iter().rev().chain(&self.stage.facts) {
            backwards.step(fact);
        }
        if verdicts(&backwards) != live {
            self.wrong.push("the same facts backwards and doubled say otherwise (M5)".to_owned());
        }
    }
}

fn is_of(due: &Due, alert: &Alert) -> bool {
    let of =
        due.worker.as_ref().is_none_or(|worker| names(worker).iter().any(|name| **name == *alert.worker));
    due.name == alert.name.as_str() && of
}

/// Class, cause and cleanup of every run.
fn verdicts(roster: &Roster) -> Vec<String> {
    let snapshot = roster.snapshot();
    let runs = snapshot.workers().iter().flat_map(|worker| worker.runs());
    let mut all: Vec<String> = runs
        .map(|run| {
            let ending = run.verdict().ending();
            let told = ending.map(|ending| (ending.class, &ending.cause, ending.cleanup_outcome));
            format!("{:?} {} {told:?}", run.id(), run.verdict().state.as_str())
        })
        .collect();
    all.sort();
    all
}
