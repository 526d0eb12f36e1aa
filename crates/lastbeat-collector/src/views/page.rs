//! The status page: HTML out of the reports of the read side.
//!
//! Lives here: the routes, and which page an address means. `screen` is a page as a list of pieces; `overview`,
//! `worker` and `run` make one each; `account`, `alerts`, `telling` and `look` are what they are made with;
//! `markup` holds the few types that may be HTML. `live` sends the same pieces again when they change.
//!
//! Invariant: a page knows the reports of `lastbeat_wire::report` and nothing of the engine.
//! Invariant: no `style` attribute, no inline script, no foreign host; a page is whole without its script.

mod account;
mod alerts;
mod assets;
mod look;
mod markup;
mod overview;
mod run;
#[cfg(test)]
mod samples;
mod screen;
mod telling;
#[cfg(test)]
mod tests;
mod worker;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::http::uri::PathAndQuery;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use lastbeat_wire::report::{FactReport, RunReport};
use lastbeat_wire::{Code, RunId};

use self::overview::Filter;
pub(crate) use self::screen::{Piece, Screen};
use super::{AppState, api};
use crate::error::Refused;
use crate::snapshot::Published;

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(show))
        .route("/workers/{service}/{worker}", get(show))
        .route("/runs/{run_id}", get(show))
        .route("/style.css", get(assets::style))
        .route("/lastbeat.js", get(assets::module))
        .route("/favicon.svg", get(assets::favicon))
}

/// Which page is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// All workers, or some of them.
    Overview(Filter),
    /// One worker.
    Worker {
        /// Its service.
        service: String,
        /// Its name.
        worker: String,
    },
    /// One run; none when what was asked for is no identity of a run.
    Run(Option<RunId>),
}

impl Address {
    /// Reads path and query of a page; none when there is no such page.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let address: PathAndQuery = text.parse().ok()?;
        let path: Vec<&str> = address.path().strip_prefix('/')?.split('/').collect();
        match path.as_slice() {
            [""] => {
                let mut filter = Filter::default();
                for pair in address.query().unwrap_or_default().split('&') {
                    match pair.split_once('=') {
                        Some(("condition", value)) if !value.is_empty() => {
                            filter.condition = Some(unescaped(value)?);
                        }
                        Some(("service", value)) if !value.is_empty() => {
                            filter.service = Some(unescaped(value)?);
                        }
                        Some(_) | None => {}
                    }
                }
                Some(Self::Overview(filter))
            }
            ["workers", service, worker] => {
                Some(Self::Worker { service: unescaped(service)?, worker: unescaped(worker)? })
            }
            ["runs", run_id] => Some(Self::Run(run_id.parse().ok())),
            _ => None,
        }
    }
}

/// Text of an address without its percent escapes: `:` and `@` of a name may come as one. None when it is no text.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The facts of a run as they were read last: the journal is only asked again when the run has changed.
#[derive(Debug, Default)]
pub(crate) struct Facts(Option<Box<(RunReport, Vec<FactReport>)>>);

impl Facts {
    fn still_of(&self, run: &RunReport) -> Option<&Vec<FactReport>> {
        let (known, facts) = self.0.as_deref()?;
        // A beat is no fact of the journal.
        let same = RunReport { last_beat_at: run.last_beat_at, ..known.clone() } == *run;
        same.then_some(facts)
    }
}

/// Makes the page that an address means.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) async fn screen(
    state: &AppState,
    published: &Published,
    address: &Address,
    facts: &mut Facts,
) -> Result<Screen, Refused> {
    let collector = api::collector(published);
    Ok(match address {
        Address::Overview(filter) => {
            let alerts = api::alerts(published).alerts;
            overview::screen(&api::status(published), &api::workers(published), &alerts, filter)
        }
        Address::Worker { service, worker } => match api::worker(published, service, worker) {
            Some(report) => {
                let runs =
                    api::runs(published, service, worker).map(|report| report.runs).unwrap_or_default();
                worker::screen(collector, &report, &runs)
            }
            None => worker::unknown(collector, service, worker),
        },
        Address::Run(None) => run::unknown(collector),
        Address::Run(Some(run_id)) => {
            let Some(mut detail) = api::run(published, *run_id) else { return Ok(run::unknown(collector)) };
            if let Some(known) = facts.still_of(&detail.run) {
                detail.facts.clone_from(known);
            } else if let Some(read) = api::run_with_facts(state, published, *run_id).await? {
                facts.0 = Some(Box::new((read.run.clone(), read.facts.clone())));
                detail = read;
            }
            run::screen(collector, &detail)
        }
    })
}

async fn show(State(state): State<AppState>, OriginalUri(uri): OriginalUri) -> Result<Response, Refused> {
    let address = uri
        .path_and_query()
        .and_then(|text| Address::parse(text.as_str()))
        .ok_or_else(|| Refused::new(Code::NotFound, "there is no such page"))?;
    let published = state.now();
    let screen = screen(&state, &published, &address, &mut Facts::default()).await?;
    let status = if screen.found { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok((status, Html(screen.document().into_string())).into_response())
}
