//! The page of one run: its account, and its facts in the order of receipt.

use askama::Template;
use lastbeat_wire::report::{CollectorReport, EndingReport, FactReport, RunDetail, Severity};

use super::account;
use super::look::run_shape;
use super::markup::{Html, Icon, When, took};
use super::screen::{Crumb, Headline, Piece, Screen, foot, missing, past};
use super::worker::{ended_line, state_words};

/// A run shows this many of its newest facts; all are in the JSON.
const FACTS_MAX: usize = 300;

/// What one fact said is cut here, in characters; all of it is in the JSON.
const SAID_MAX: usize = 400;

#[derive(Template)]
#[template(path = "parts/received.html")]
struct Received {
    facts: Vec<FactRow>,
    more: usize,
}

struct FactRow {
    source: &'static str,
    name: String,
    said: String,
    at: When,
    age: Option<String>,
}

#[derive(Template)]
#[template(path = "parts/run_lead.html")]
struct Lead {
    line: String,
    severity: &'static str,
    service: String,
    worker: String,
}

/// Makes the page.
pub(crate) fn screen(collector: CollectorReport, detail: &RunDetail) -> Screen {
    let now = collector.now;
    let (service, worker, run) = (detail.service.as_str(), detail.worker.as_str(), &detail.run);
    let id = run.run_id.to_string();
    let words = run.ending.as_ref().map_or_else(|| state_words(run), |ending| ending.words.clone());
    let head = Html::of(&Headline {
        service,
        worker,
        more: format!(", run {id}"),
        icon: Some(Icon(run_shape(run))),
        was: run.ending.is_none().then(|| past(&words)),
        words: words.clone(),
        lead: Html::of(&Lead {
            line: ended_line(run),
            severity: run.ending.as_ref().map_or("", alerting),
            service: service.to_owned(),
            worker: worker.to_owned(),
        }),
    });
    let mut pieces = vec![Piece::new("head", head)];
    let title = if run.ending.is_some() { "What happened" } else { "" };
    pieces.extend(account::pieces(Some(run), &detail.amendments, title, now));
    pieces.push(account::amendments(&detail.amendments, now));
    pieces.push(received(&detail.facts, now));
    Screen {
        title: format!("{words}: {service}/{worker}, one run"),
        crumbs: vec![
            Crumb { text: service.to_owned(), href: Some(format!("/?service={service}")) },
            Crumb { text: worker.to_owned(), href: Some(format!("/workers/{service}/{worker}")) },
            Crumb { text: "run".to_owned(), href: None },
        ],
        json: format!("/v1/runs/{id}"),
        foot: foot(&collector),
        collector,
        pieces,
        groups: Vec::new(),
        found: true,
    }
}

const fn alerting(ending: &EndingReport) -> &'static str {
    match ending.severity {
        Severity::Page => "It pages.",
        Severity::Ticket => "A ticket, not a page.",
        // The ending itself is none; a promise it made can still be broken, and that pages.
        Severity::None if ending.back_within_ms.is_some() => "",
        Severity::None => "No alert.",
    }
}

/// The page of a run that is not known.
pub(crate) fn unknown(collector: CollectorReport) -> Screen {
    let mut below = account::pieces(None, &[], "", collector.now);
    below.push(account::amendments(&[], collector.now));
    below.push(received(&[], collector.now));
    missing(
        collector,
        "No such run is known",
        "A run is named by its UUID; the page of its worker lists the runs that are kept.",
        None,
        below,
    )
}

fn received(facts: &[FactReport], now: jiff::Timestamp) -> Piece {
    let more = facts.len().saturating_sub(FACTS_MAX);
    let facts = facts.iter().skip(more).map(|fact| row(fact, now)).collect();
    Piece::new("received", Html::of(&Received { facts, more }))
}

fn row(fact: &FactReport, now: jiff::Timestamp) -> FactRow {
    let mut signal = fact.signal.clone();
    let kind = signal
        .as_object_mut()
        .and_then(|object| object.remove("type"))
        .and_then(|kind| kind.as_str().map(str::to_owned))
        .unwrap_or_else(|| "fact".to_owned());
    let text = match &signal {
        serde_json::Value::Object(object) if object.is_empty() => String::new(),
        other => other.to_string(),
    };
    let mut said: String = text.chars().take(SAID_MAX).collect();
    if said.len() < text.len() {
        said.push('\u{2026}');
    }
    FactRow {
        source: fact.source.as_str(),
        name: format!("{kind} #{}", fact.seq),
        said,
        at: When::new(fact.at, now),
        age: (fact.age_ms >= 1000).then(|| took(fact.age_ms)),
    }
}
