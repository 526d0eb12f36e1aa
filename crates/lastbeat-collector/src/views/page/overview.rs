//! The overview: one sentence, the services, the counts, and one table, failed first.

use std::collections::BTreeMap;

use askama::Template;
use lastbeat_wire::report::{AlertReport, Condition, RunReport, Severity, StatusReport, WorkerReport};

use super::alerts;
use super::look::{Group, Shape, is_late, is_passing, worker_shape};
use super::markup::{Html, Icon, Tags, When, clock, count as plural, ms_between, span, took};
use super::screen::{Piece, Rows, Screen, foot, past};
use super::telling::{by, line, verb};

/// Services with more workers than this show counts instead of marks.
const MARKS_MAX: usize = 24;

/// What the overview is asked to show: all, one state, one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `failed` and `look` are groups, everything else is a condition.
    pub(crate) condition: Option<String>,
    /// A service's name.
    pub(crate) service: Option<String>,
}

impl Filter {
    fn admits(&self, worker: &WorkerReport) -> bool {
        self.condition
            .as_deref()
            .is_none_or(|wanted| wanted == slot(worker) || wanted == worker.condition.as_str())
            && self.service.as_deref().is_none_or(|wanted| wanted == worker.service.as_str())
    }
}

/// Under which count a worker is: the red group, the amber group, else its condition. They add up to all.
fn slot(worker: &WorkerReport) -> &'static str {
    match Group::of(worker) {
        Group::Failed => "failed",
        Group::Look => "look",
        Group::Changing | Group::Live | Group::Away => worker.condition.as_str(),
    }
}

/// The conditions with a count of their own, in the order of the page.
const COUNTED: [(Condition, Shape, &str); 10] = [
    (Condition::Restarting, Shape::Restarting, "Restarting"),
    (Condition::Maintenance, Shape::Maintenance, "Maintenance"),
    (Condition::Draining, Shape::Draining, "Draining"),
    (Condition::Stopping, Shape::Stopping, "Stopping"),
    (Condition::Starting, Shape::Starting, "Starting"),
    (Condition::Reloading, Shape::Reloading, "Reloading"),
    (Condition::Paused, Shape::Paused, "Paused"),
    (Condition::Live, Shape::Live, "Live"),
    (Condition::Stopped, Shape::Stopped, "Stopped"),
    (Condition::Completed, Shape::Completed, "Completed"),
];

#[derive(Template)]
#[template(path = "parts/sentence.html")]
struct Sentence<'a> {
    failed: &'a str,
    rest: &'a str,
    lead: &'a str,
}

#[derive(Template)]
#[template(path = "parts/fleet.html")]
struct Fleet {
    services: Vec<Service>,
}

struct Service {
    name: String,
    words: String,
    marks: Vec<Icon>,
}

#[derive(Template)]
#[template(path = "parts/pick.html")]
struct Pick<'a> {
    all: usize,
    counts: Vec<Count>,
    condition: &'a str,
    service: Option<&'a str>,
}

struct Count {
    slot: &'static str,
    name: &'static str,
    icon: Icon,
    number: usize,
}

#[derive(Template)]
#[template(path = "parts/empty.html")]
struct Empty {
    shown: bool,
    filtered: bool,
}

#[derive(Template)]
#[template(path = "parts/group.html")]
struct Head {
    id: &'static str,
    title: &'static str,
    number: usize,
}

#[derive(Template)]
#[template(path = "parts/row.html")]
struct Row<'a> {
    family: &'static str,
    service: &'a str,
    worker: &'a str,
    icon: Icon,
    process: String,
    state: &'a Html,
    beat: &'a Html,
    ending: Html,
}

#[derive(Template)]
#[template(path = "parts/state.html")]
struct State<'a> {
    id: &'a str,
    strong: &'a str,
    words: &'a str,
    was: Option<String>,
    since: When,
    ago: Option<String>,
}

#[derive(Template)]
#[template(path = "parts/beat.html")]
struct Beat<'a> {
    id: &'a str,
    ended: Option<When>,
    by_final: bool,
    was: String,
    age: String,
    interval: String,
    late: bool,
}

#[derive(Template)]
#[template(path = "parts/ending.html")]
struct Ending {
    before: bool,
    run_id: String,
    verb: &'static str,
    at: When,
    line: String,
    /// What it was first judged to be.
    amended: Option<String>,
    tags: Tags,
}

/// Makes the overview.
///
/// `alerts` may hold resolved ones: only what is open is shown. A worker that does well now may still have one open.
pub(crate) fn screen(
    status: &StatusReport,
    workers: &[WorkerReport],
    alerts: &[AlertReport],
    filter: &Filter,
) -> Screen {
    let open = alerts::open(alerts);
    let now = status.collector.now;
    let shown: Vec<&WorkerReport> = workers.iter().filter(|worker| filter.admits(worker)).collect();
    let (failed, rest) = told_apart(&status.sentence, workers);
    let empty = Empty { shown: shown.is_empty(), filtered: !workers.is_empty() };
    let pieces = vec![
        Piece::new("head", Html::of(&Sentence { failed, rest, lead: &status.lead })),
        alerts::list(&open, now),
        Piece::new("fleet", fleet(status, workers)),
        Piece::new("pick", pick(workers, filter)),
        Piece::new("empty", Html::of(&empty)),
    ];
    let groups = Group::ALL
        .into_iter()
        .map(|group| {
            let rows: Vec<Piece> = shown
                .iter()
                .filter(|worker| Group::of(worker) == group)
                .map(|worker| row(worker, now))
                .collect();
            let head = Head { id: group.id(), title: group.title(), number: rows.len() };
            let head = Piece::new(format!("h:{}", group.id()), Html::of(&head));
            Rows { id: format!("g:{}", group.id()), head, rows }
        })
        .collect();
    Screen {
        title: title(workers, &open),
        crumbs: Vec::new(),
        json: "/v1/status".to_owned(),
        foot: foot(&status.collector),
        collector: status.collector.clone(),
        pieces,
        groups,
        found: true,
    }
}

/// The part of the sentence that speaks of failures, and the rest of it.
fn told_apart<'a>(sentence: &'a str, workers: &[WorkerReport]) -> (&'a str, &'a str) {
    let end = sentence.find(", ").map_or(sentence.len(), |comma| comma + 1);
    let (first, rest) = sentence.split_at(end);
    if first.contains("failed") && workers.iter().any(|worker| Group::of(worker) == Group::Failed) {
        (first, rest)
    } else {
        ("", sentence)
    }
}

fn title(workers: &[WorkerReport], alerts: &[&AlertReport]) -> String {
    let count = |group| workers.iter().filter(|worker| Group::of(worker) == group).count() as u64;
    let alerting = |severity| alerts.iter().filter(|alert| alert.severity == severity).count() as u64;
    let (failed, look, changing) = (count(Group::Failed), count(Group::Look), count(Group::Changing));
    let (pages, tickets) = (alerting(Severity::Page), alerting(Severity::Ticket));
    let mut words = Vec::new();
    // A failed worker is what its page is about: only the pages that no row explains are told by themselves.
    match (failed, pages) {
        (0, 0) => {}
        (0, pages) => words.push(format!("{} open", plural(pages, "page", "pages"))),
        (failed, _) => words.push(format!("{failed} failed")),
    }
    if look > 0 {
        words.push(format!("{look} to look at"));
    }
    if words.is_empty() {
        words.push(match (changing, tickets) {
            _ if workers.is_empty() => "No worker yet".to_owned(),
            (0, 0) => "All well".to_owned(),
            (_, 1..) => format!("{} open", plural(tickets, "ticket", "tickets")),
            (_, 0) => format!("{changing} changing"),
        });
    }
    format!("{}: lastbeat", words.join(", "))
}

fn fleet(status: &StatusReport, workers: &[WorkerReport]) -> Html {
    let mut marks: BTreeMap<&str, Vec<(Group, Icon)>> = BTreeMap::new();
    for worker in workers {
        marks
            .entry(worker.service.as_str())
            .or_default()
            .push((Group::of(worker), Icon(worker_shape(worker))));
    }
    let services = status
        .services
        .iter()
        .map(|service| {
            let mut marks = marks.remove(service.service.as_str()).unwrap_or_default();
            marks.sort_by_key(|(group, _)| *group);
            if marks.len() > MARKS_MAX {
                marks.clear();
            }
            Service {
                name: service.service.to_string(),
                words: service.words.clone(),
                marks: marks.into_iter().map(|(_, icon)| icon).collect(),
            }
        })
        .collect();
    Html::of(&Fleet { services })
}

fn pick(workers: &[WorkerReport], filter: &Filter) -> Html {
    let number = |wanted: &str| workers.iter().filter(|worker| slot(worker) == wanted).count();
    let mut counts = vec![
        Count { slot: "failed", name: "Failed", icon: Icon(Shape::Failed), number: number("failed") },
        Count { slot: "look", name: "Needs a look", icon: Icon(Shape::Ticket), number: number("look") },
    ];
    counts.extend(COUNTED.map(|(condition, shape, name)| Count {
        slot: condition.as_str(),
        name,
        icon: Icon(shape),
        number: number(condition.as_str()),
    }));
    counts.retain(|count| count.number > 0);
    let condition = filter.condition.as_deref().unwrap_or_default();
    Html::of(&Pick { all: workers.len(), counts, condition, service: filter.service.as_deref() })
}

fn row(worker: &WorkerReport, now: jiff::Timestamp) -> Piece {
    let key = format!("{}/{}", worker.service, worker.worker);
    let shape = worker_shape(worker);
    let state = state_cell(&format!("st:{key}"), worker, shape, now);
    let beat = beat_cell(&format!("lb:{key}"), worker, now);
    let html = Html::of(&Row {
        family: shape.family(),
        service: worker.service.as_str(),
        worker: worker.worker.as_str(),
        icon: Icon(shape),
        process: worker.run.as_ref().map(process).unwrap_or_default(),
        state: &state.html,
        beat: &beat.html,
        ending: last_ending(worker, now),
    });
    Piece { id: format!("w:{key}"), html, cells: vec![state, beat] }
}

/// Where a run is: `pid 812, h1`.
pub(crate) fn process(run: &RunReport) -> String {
    let parts = [run.pid.map(|pid| format!("pid {pid}")), run.host.clone(), run.version.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn state_cell(id: &str, worker: &WorkerReport, shape: Shape, now: jiff::Timestamp) -> Piece {
    let (strong, words) = match worker.words.split_once(": ") {
        Some((strong, words)) if shape == Shape::Failed => (strong, words),
        _ => ("", worker.words.as_str()),
    };
    let calm = worker.condition == Condition::Live && !is_late(worker);
    let html = Html::of(&State {
        id,
        strong,
        words,
        was: is_passing(worker.condition).then(|| past(&worker.words)),
        since: When::new(worker.since, now),
        ago: (!calm).then(|| span(ms_between(worker.since, now))),
    });
    Piece::new(id, html)
}

fn beat_cell(id: &str, worker: &WorkerReport, now: jiff::Timestamp) -> Piece {
    let Some(run) = &worker.run else {
        return Piece::new(
            id,
            Html::of(&Beat {
                id,
                ended: None,
                by_final: false,
                was: String::new(),
                age: String::new(),
                interval: String::new(),
                late: false,
            }),
        );
    };
    let age_ms = ms_between(run.last_beat_at, now);
    // Whole seconds are enough for a person, except where the interval itself is shorter.
    let age = if run.interval_ms < 1000 { took(age_ms / 100 * 100) } else { span(age_ms) };
    let html = Html::of(&Beat {
        id,
        ended: run.ending.as_ref().map(|_| When::new(run.last_beat_at, now)),
        by_final: run.ending.as_ref().is_some_and(|ending| {
            ending.evidence.iter().flat_map(|each| &each.facts).any(|fact| fact.starts_with("final "))
        }),
        was: clock(run.last_beat_at),
        age,
        interval: took(run.interval_ms),
        late: is_late(worker),
    });
    Piece::new(id, html)
}

fn last_ending(worker: &WorkerReport, now: jiff::Timestamp) -> Html {
    #[derive(Template)]
    #[template(source = "{{ text }}", ext = "html")]
    struct Words {
        text: String,
    }
    let current = worker.run.as_ref();
    let before = worker.last_ended.as_ref();
    if let Some(run) = current.filter(|run| run.ending.is_some()).or(before)
        && let Some(ending) = &run.ending
    {
        return Html::of(&Ending {
            before: current.is_some_and(|current| current.run_id != run.run_id),
            run_id: run.run_id.to_string(),
            verb: verb(ending.class),
            at: When::new(ending.at, now),
            line: line(run, ending),
            amended: worker
                .amendments
                .iter()
                .find(|each| each.run_id == run.run_id)
                .map(|each| each.from.clone()),
            tags: Tags::of(&ending.evidence),
        });
    }
    let text = match current.and_then(|run| run.cause.as_ref()) {
        Some(cause) => format!("Asked to stop by {}.", by(cause)),
        None => "No ending seen yet.".to_owned(),
    };
    Html::of(&Words { text })
}
