//! The page of one worker: its state, the account of its newest ending, its runs.

use std::time::Duration;

use askama::Template;
use jiff::Timestamp;
use lastbeat_wire::report::{CollectorReport, Condition, RunReport, WorkerReport};

use super::account;
use super::look::{is_passing, run_shape, worker_shape};
use super::markup::{Html, Icon, Tags, When, ms_between, span, took};
use super::overview::process;
use super::screen::{Crumb, Headline, Piece, Screen, foot, missing, past};
use super::telling::{by, cleanup_words, line, verb};

/// A list of runs shows this many of the newest; all are in the JSON.
const RUNS_MAX: usize = 100;

#[derive(Template)]
#[template(path = "parts/lead.html")]
struct Lead {
    since: When,
    ago: String,
    process: String,
    promise: Option<When>,
    broken: Option<Broken>,
    run_id: Option<String>,
}

/// A promise to be back that nobody kept.
struct Broken {
    within: String,
    due: When,
    what: &'static str,
}

#[derive(Template)]
#[template(path = "parts/runs.html")]
struct Runs {
    service: String,
    worker: String,
    runs: Vec<RunRow>,
    more: usize,
}

struct RunRow {
    run_id: String,
    family: &'static str,
    icon: Icon,
    started: When,
    process: String,
    words: String,
    was: Option<String>,
    ended: Option<When>,
    asked: String,
    lived: Option<String>,
    ready: String,
    note: String,
    tags: Tags,
}

/// Makes the page.
pub(crate) fn screen(collector: CollectorReport, worker: &WorkerReport, runs: &[RunReport]) -> Screen {
    let now = collector.now;
    let (service, name) = (worker.service.as_str(), worker.worker.as_str());
    let run = worker.run.as_ref();
    let broken = broken(worker, now);
    let head = Html::of(&Headline {
        service,
        worker: name,
        more: String::new(),
        icon: Some(Icon(worker_shape(worker))),
        words: worker.words.clone(),
        was: is_passing(worker.condition).then(|| past(&worker.words)),
        lead: Html::of(&Lead {
            since: When::new(worker.since, now),
            ago: span(ms_between(worker.since, now)),
            process: run.map(process).unwrap_or_default(),
            promise: worker.back_by.filter(|_| broken.is_none()).map(|at| When::new(at, now)),
            broken,
            run_id: run.map(|run| run.run_id.to_string()),
        }),
    });
    let told = run.filter(|run| run.ending.is_some()).or(worker.last_ended.as_ref());
    let title = match (told, run) {
        (Some(told), Some(run)) if told.run_id != run.run_id => "The ending before this run",
        (Some(_), _) => "What happened",
        (None, _) => "",
    };
    let mut pieces = vec![Piece::new("head", head)];
    pieces.extend(account::pieces(told.or(run), &worker.amendments, title, now));
    pieces.push(account::amendments(&worker.amendments, now));
    pieces.push(list(service, name, runs, now));
    Screen {
        title: format!("{}: {service}/{name}", worker.words),
        crumbs: vec![
            Crumb { text: service.to_owned(), href: Some(format!("/?service={service}")) },
            Crumb { text: name.to_owned(), href: None },
        ],
        json: format!("/v1/workers/{service}/{name}"),
        foot: foot(&collector),
        collector,
        pieces,
        groups: Vec::new(),
        found: true,
    }
}

fn broken(worker: &WorkerReport, now: Timestamp) -> Option<Broken> {
    if worker.condition != Condition::RestartOverdue {
        return None;
    }
    let current = worker.run.as_ref();
    let over = current.filter(|run| run.ending.is_some());
    let promised = over.or(worker.last_ended.as_ref())?.ending.as_ref()?;
    let within = Duration::from_millis(promised.back_within_ms?);
    Some(Broken {
        within: took(promised.back_within_ms?),
        due: When::new(worker.back_by.or_else(|| promised.at.checked_add(within).ok())?, now),
        what: if over.is_some() { "nobody came" } else { "no successor was ready" },
    })
}

/// The page of a worker that never reported.
pub(crate) fn unknown(collector: CollectorReport, service: &str, worker: &str) -> Screen {
    let names_are_valid = [service, worker].iter().all(|name| lastbeat_wire::Name::new(name).is_ok());
    let code = names_are_valid.then(|| format!("lastbeat run --worker {service}/{worker} -- COMMAND"));
    let mut below = account::pieces(None, &[], "", collector.now);
    below.push(account::amendments(&[], collector.now));
    below.push(list(service, worker, &[], collector.now));
    missing(
        collector,
        "No such worker has reported",
        "Names are SERVICE/WORKER, as `lastbeat status` lists them. To start one by this name:",
        code,
        below,
    )
}

fn list(service: &str, worker: &str, runs: &[RunReport], now: Timestamp) -> Piece {
    let shown = Runs {
        service: service.to_owned(),
        worker: worker.to_owned(),
        runs: runs.iter().take(RUNS_MAX).map(|run| run_row(run, now)).collect(),
        more: runs.len().saturating_sub(RUNS_MAX),
    };
    Piece::new("runs", Html::of(&shown))
}

fn run_row(run: &RunReport, now: Timestamp) -> RunRow {
    let ending = run.ending.as_ref();
    let shape = run_shape(run);
    let words = ending.map_or_else(|| state_words(run), |ending| ending.words.clone());
    let asked = match ending {
        Some(ending) => ending
            .cause
            .as_ref()
            .map_or_else(|| "nobody asked".to_owned(), |cause| format!("by {}", by(cause))),
        None => run.cause.as_ref().map(|cause| format!("asked to stop by {}", by(cause))).unwrap_or_default(),
    };
    RunRow {
        run_id: run.run_id.to_string(),
        family: shape.family(),
        icon: Icon(shape),
        started: When::new(run.started_at, now),
        process: process(run),
        was: ending.is_none().then(|| past(&words)),
        words,
        ended: ending.map(|ending| When::new(ending.at, now)),
        asked,
        lived: ending.map(|ending| took(ms_between(run.started_at, ending.at))),
        ready: run.ready_at.map_or_else(
            || "never ready".to_owned(),
            |at| format!("ready in {}", took(ms_between(run.started_at, at))),
        ),
        note: ending.map(note).unwrap_or_default(),
        tags: ending.map(|ending| Tags::of(&ending.evidence)).unwrap_or_else(|| Tags::of(&[])),
    }
}

/// A run that has not ended, in a word; what is in doubt about it comes first.
pub(crate) fn state_words(run: &RunReport) -> String {
    let word = run.flags.first().map_or_else(|| run.state.as_str(), |flag| flag.as_str());
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}", first.to_uppercase(), letters.as_str().replace('_', " "))
    })
}

fn note(ending: &lastbeat_wire::report::EndingReport) -> String {
    let mut parts = vec![verb(ending.class).to_owned()];
    parts.extend(ending.exit.as_ref().map(super::telling::exit_words));
    parts.extend(cleanup_words(&ending.cleanup));
    if ending.provisional {
        parts.push("provisional".to_owned());
    }
    parts.join("; ")
}

/// The sentence about one run, below its headline.
pub(crate) fn ended_line(run: &RunReport) -> String {
    run.ending
        .as_ref()
        .map(|ending| format!("{}{}", verb(ending.class), line(run, ending)))
        .unwrap_or_default()
}
