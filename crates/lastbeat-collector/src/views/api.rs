//! The read side as JSON: `/v1/status`, `/v1/workers`, `/v1/runs`, `/v1/alerts`.
//!
//! Lists are windows; nothing here walks the fleet for one worker's sake.

use std::collections::BTreeMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use lastbeat_engine::words::{self, Tally};
use lastbeat_engine::{Condition, Severity, Worker};
use lastbeat_wire::report::{
    AlertsReport, CollectorReport, CollectorState, FactReport, RunDetail, RunsReport, ServiceReport,
    StatusReport, WorkerReport, WorkersReport,
};
use lastbeat_wire::{Code, RunId, report as wire};
use serde::Deserialize;

use super::{AppState, report};
use crate::assembly::blocking;
use crate::error::Refused;
use crate::ingest::translate;
use crate::journal::StoredFact;
use crate::snapshot::Published;

/// The most workers in one answer, and how many it is without a `limit`.
const LIMIT_MAX: usize = 1_000;

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/workers", get(get_workers))
        .route("/v1/workers/{service}/{worker}", get(get_worker))
        .route("/v1/workers/{service}/{worker}/runs", get(get_runs))
        .route("/v1/runs/{run_id}", get(get_run))
        .route("/v1/alerts", get(get_alerts))
}

/// `GET /v1/status`: the sentence, counts per condition, the collector's own state.
pub(crate) fn status(published: &Published) -> StatusReport {
    let (now, roster) = (published.now, &published.snapshot.roster);
    let mut fleet = Tally::default();
    let mut services: BTreeMap<&str, (Tally, Severity)> = BTreeMap::new();
    for worker in roster.workers() {
        let standing = worker.standing(now, roster.rules());
        fleet.add(&standing);
        let (tally, worst) =
            services.entry(worker.service()).or_insert_with(|| (Tally::default(), Severity::None));
        tally.add(&standing);
        *worst = standing.severity.max(*worst);
    }
    StatusReport {
        sentence: words::fleet_sentence(&fleet, roster.silences().last()),
        lead: lead(published),
        counts: counts(&fleet),
        services: services
            .into_iter()
            .map(|(service, (tally, worst))| ServiceReport {
                service: report::name(service),
                words: words::service_words(&tally),
                severity: report::severity(worst),
                counts: counts(&tally),
            })
            .collect(),
        collector: collector(published),
    }
}

/// Every worker, in the order of the page: failed first, then in doubt, then by condition and name.
pub(crate) fn workers(published: &Published) -> Vec<WorkerReport> {
    in_page_order(published).into_iter().map(|worker| report::worker(published, worker)).collect()
}

/// One worker.
pub(crate) fn worker(published: &Published, service: &str, worker: &str) -> Option<WorkerReport> {
    published.snapshot.roster.worker(service, worker).map(|worker| report::worker(published, worker))
}

/// The runs of one worker, newest first.
pub(crate) fn runs(published: &Published, service: &str, worker: &str) -> Option<RunsReport> {
    let worker = published.snapshot.roster.worker(service, worker)?;
    Some(RunsReport { runs: worker.runs().map(|run| report::run(published, run)).collect() })
}

/// One run and how its verdict changed; its facts are in the journal, not in the snapshot.
pub(crate) fn run(published: &Published, run_id: RunId) -> Option<RunDetail> {
    let (worker, run) = published.snapshot.roster.run(translate::run(run_id))?;
    Some(RunDetail {
        service: report::name(worker.service()),
        worker: report::name(worker.worker()),
        run: report::run(published, run),
        amendments: run.amendments().iter().map(|amendment| report::amended(published, amendment)).collect(),
        facts: Vec::new(),
    })
}

/// One run with its facts out of the journal, in the order of receipt; none when it is not known.
///
/// # Errors
/// [`Code::Internal`] when the journal cannot be read.
pub(crate) async fn run_with_facts(
    state: &AppState,
    published: &Published,
    run_id: RunId,
) -> Result<Option<RunDetail>, Refused> {
    let Some(mut detail) = run(published, run_id) else { return Ok(None) };
    let journal = state.journal.clone();
    let read = blocking(move || journal.facts_of(run_id)).await;
    match read {
        Some(Ok(facts)) => {
            detail.facts = facts.into_iter().map(|stored| fact(published, stored)).collect();
            Ok(Some(detail))
        }
        Some(Err(error)) => {
            tracing::error!(%error, cause = ?std::error::Error::source(&error), "cannot read the facts of a run");
            Err(Refused::new(Code::Internal, "the journal cannot be read"))
        }
        None => Err(Refused::new(Code::Internal, "the journal was not read")),
    }
}

/// `GET /v1/alerts`: open ones first; beside them the notices.
pub(crate) fn alerts(published: &Published) -> AlertsReport {
    AlertsReport {
        alerts: report::alerts(published).map(|alert| report::alert(published, alert)).collect(),
        notices: report::notices(published).collect(),
    }
}

/// The collector, of itself.
pub(crate) fn collector(published: &Published) -> CollectorReport {
    CollectorReport {
        id: published.identity.id,
        epoch: published.identity.epoch,
        state: if published.stopping {
            CollectorState::Stopping
        } else if published.is_recovering() {
            CollectorState::Recovering
        } else {
            CollectorState::Live
        },
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: published.at(published.identity.started),
        now: published.at(published.now),
    }
}

fn in_page_order(published: &Published) -> Vec<&Worker> {
    let roster = &published.snapshot.roster;
    let mut workers: Vec<_> = roster
        .workers()
        .iter()
        .map(|worker| {
            let standing = worker.standing(published.now, roster.rules());
            let family = match (standing.condition, standing.severity) {
                (condition, _) if words::FAILED.contains(&condition) => 0,
                (condition, _) if words::IN_DOUBT.contains(&condition) => 1,
                (_, Severity::Page | Severity::Ticket) => 1,
                (Condition::Stopped | Condition::Completed | Condition::Maintenance, Severity::None) => 3,
                (_, Severity::None) => 2,
            };
            ((family, standing.condition), &**worker)
        })
        .collect();
    // Stable: within a condition the order of the names stays.
    workers.sort_by_key(|(place, _)| *place);
    workers.into_iter().map(|(_, worker)| worker).collect()
}

/// The sentence below the first one: the newest of what needs a look, else the newest ending.
fn lead(published: &Published) -> String {
    let (now, roster) = (published.now, &published.snapshot.roster);
    if roster.workers().is_empty() {
        return "Start one with: lastbeat run --worker SERVICE/WORKER -- COMMAND. It appears here by itself."
            .into();
    }
    let newest = roster
        .workers()
        .iter()
        .filter_map(|worker| {
            let standing = worker.standing(now, roster.rules());
            let loud = standing.severity != Severity::None || words::IN_DOUBT.contains(&standing.condition);
            let over = worker.current().is_some_and(|run| run.verdict().ending().is_some());
            (loud || over).then_some((loud, standing.since, worker, standing))
        })
        .max_by_key(|(loud, since, _, _)| (*loud, *since));
    let Some((_, _, worker, standing)) = newest else {
        return "Nothing needs a look.".into();
    };
    let words = words::worker_words(worker, &standing, now, roster.rules(), published.offset());
    format!("Newest: {}/{}. {words}", worker.service(), worker.worker())
}

fn counts(tally: &Tally) -> BTreeMap<String, u64> {
    tally.by_condition.iter().map(|(condition, count)| (condition.as_str().to_owned(), *count)).collect()
}

fn fact(published: &Published, stored: StoredFact) -> FactReport {
    FactReport {
        source: stored.id.source,
        seq: stored.id.seq,
        at: published.at(stored.taken),
        age_ms: stored.age_ms,
        // The journal stores what was parsed before; a damaged row is shown as no signal at all.
        signal: serde_json::from_str(&stored.signal_json).unwrap_or_default(),
    }
}

async fn get_status(State(state): State<AppState>) -> Json<StatusReport> {
    Json(status(&state.now()))
}

async fn get_alerts(State(state): State<AppState>) -> Json<AlertsReport> {
    Json(alerts(&state.now()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    /// At most this many, from 1.
    limit: Option<usize>,
    /// Begin behind this worker, `SERVICE/WORKER`: the last of the window before.
    after: Option<String>,
    condition: Option<wire::Condition>,
    service: Option<String>,
}

async fn get_workers(
    State(state): State<AppState>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<WorkersReport>, Refused> {
    let Query(window) = window.map_err(|rejection| bad_query(rejection.body_text()))?;
    let limit = window.limit.unwrap_or(LIMIT_MAX);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(bad_query(format!("limit is 1 to {LIMIT_MAX}")));
    }
    let published = state.now();
    let all = in_page_order(&published);
    let start = match &window.after {
        None => 0,
        Some(after) => {
            let is_it =
                |worker: &&Worker| after.split_once('/') == Some((&**worker.service(), &**worker.worker()));
            let place = all.iter().position(is_it);
            place.ok_or_else(|| bad_query("after names no worker that is known"))? + 1
        }
    };
    let rules = published.snapshot.roster.rules();
    let wanted = |worker: &&&Worker| {
        let in_service = window.service.as_ref().is_none_or(|service| **service == **worker.service());
        let in_condition = window.condition.is_none_or(|wanted| {
            report::condition(worker.standing(published.now, rules).condition) == wanted
        });
        in_service && in_condition
    };
    let chosen = all[start..].iter().filter(wanted).take(limit);
    Ok(Json(WorkersReport { workers: chosen.map(|worker| report::worker(&published, worker)).collect() }))
}

async fn get_worker(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<WorkerReport>, Refused> {
    let Path((service, name)) = path.map_err(|_| no_worker())?;
    worker(&state.now(), &service, &name).map(Json).ok_or_else(no_worker)
}

async fn get_runs(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<RunsReport>, Refused> {
    let Path((service, name)) = path.map_err(|_| no_worker())?;
    runs(&state.now(), &service, &name).map(Json).ok_or_else(no_worker)
}

async fn get_run(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RunDetail>, Refused> {
    let no_run = || Refused::new(Code::NotFound, "there is no such run");
    let Path(id) = path.map_err(|_| no_run())?;
    let run_id = id.parse::<RunId>().map_err(|_| no_run())?;
    run_with_facts(&state, &state.now(), run_id).await?.map(Json).ok_or_else(no_run)
}

fn no_worker() -> Refused {
    Refused::new(Code::NotFound, "there is no such worker")
}

fn bad_query(message: impl Into<String>) -> Refused {
    Refused::new(Code::BadQuery, message)
}
