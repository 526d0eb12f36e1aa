//! `GET /v1/plans`: planned work that is open, or was over within the last day.

use std::cmp::Reverse;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use lastbeat_engine::plan::Window;
use lastbeat_wire::report::{PlanReport, PlanState, PlansReport};

use super::{AppState, report};
use crate::ingest::translate;
use crate::snapshot::Published;

/// A plan that was over before is not listed any more.
const SHOWN_MS: u64 = 24 * 3_600 * 1_000;

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/plans", get(get_plans))
}

async fn get_plans(State(state): State<AppState>) -> Json<PlansReport> {
    Json(plans(&state.now()))
}

/// Open ones first, the newest first among their like.
pub(crate) fn plans(published: &Published) -> PlansReport {
    let all = published.snapshot.roster.windows().iter();
    let mut shown: Vec<&Window> =
        all.filter(|window| published.now.since(window.until) <= SHOWN_MS).collect();
    shown.sort_by_key(|window| (!window.holds(published.now), Reverse(window.from)));
    PlansReport { plans: shown.into_iter().map(|window| plan(published, window)).collect() }
}

/// One plan.
pub(crate) fn plan(published: &Published, window: &Window) -> PlanReport {
    let plan = &window.plan;
    PlanReport {
        id: report::name(&plan.id),
        kind: translate::plan_kind_out(plan.kind),
        service: report::name(&plan.service),
        worker: plan.worker.as_deref().map(report::name),
        from: published.at(window.from),
        until: published.at(window.until),
        state: if window.until <= published.now { PlanState::Over } else { PlanState::Open },
        who: plan.who.clone(),
        why: plan.why.clone(),
        deploy: plan.deploy.clone(),
    }
}
