//! What operators and pipelines order: `POST /v1/plans`, `DELETE /v1/plans/{id}`, and to forget a worker.
//!
//! An order is whole or refused: an unknown field is a misspelt one, and a misspelt `worker` would speak of the
//! whole service.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use lastbeat_engine::fact::{Forget, PlanEnd};
use lastbeat_engine::plan::Window;
use lastbeat_wire::report::{ForgottenReport, PlanReport};
use lastbeat_wire::signal::{Plan, PlanKind};
use lastbeat_wire::{Code, Name, Refusal, RunId};
use serde::Deserialize;
use serde_json::Value;

use super::{door, translate};
use crate::access;
use crate::error::Refused;
use crate::keeper::inbox;
use crate::keeper::orders::Order;
use crate::views::{AppState, plans};

/// The shortest window: below it nobody can have stopped anything.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// The longest window: what is planned for longer is no plan.
const WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The longest reason.
const WHY_MAX_BYTES: usize = 1_024;
/// The longest author, the longest deployment id, and the longest reason of a request.
pub(super) const TEXT_MAX_BYTES: usize = 256;
/// How long a body may take to arrive.
pub(super) const BODY_MAX: Duration = Duration::from_secs(10);

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/plans", post(announce))
        .route("/v1/plans/{id}", delete(end))
        .route("/v1/workers/{service}/{worker}/forget", post(forget))
}

/// What `POST /v1/plans` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announced {
    kind: PlanKind,
    service: String,
    worker: Option<String>,
    for_ms: Option<u64>,
    /// Such as `10m`.
    #[serde(rename = "for")]
    span: Option<String>,
    why: String,
    who: Option<String>,
    deploy: Option<String>,
}

async fn announce(State(state): State<AppState>, request: Request) -> Result<Response, Refused> {
    access::own_origin(request.headers())?;
    door::json_only(&request)?;
    let body = door::read_body(request.into_body(), BODY_MAX).await?;
    let plan = plan(&body)?;
    let window = order(&state, Order::Plan(translate::plan(plan))).await?;
    Ok((StatusCode::CREATED, Json(told(&state, window)?)).into_response())
}

async fn end(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<PlanReport>, Refused> {
    access::own_origin(request.headers())?;
    let unknown = || Refused::new(Code::UnknownPlan, "there is no such plan");
    let Path(id) = path.map_err(|_| unknown())?;
    let id = Name::new(&id).map_err(|_| unknown())?;
    let window = order(&state, Order::EndPlan(PlanEnd { id: id.as_str().into() })).await?;
    Ok(Json(told(&state, window)?))
}

async fn forget(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<ForgottenReport>, Refused> {
    access::own_origin(request.headers())?;
    door::json_only(&request)?;
    let (service, worker) = worker_named(path)?;
    let forget = Forget { service: service.as_str().into(), worker: worker.as_str().into() };
    order(&state, Order::Forget(forget)).await?;
    Ok(Json(ForgottenReport { service, worker }))
}

/// The worker that a path names.
pub(super) fn worker_named(
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(Name, Name), Refusal> {
    let Path((service, worker)) = path.map_err(|_| no_worker())?;
    let name = |text: &str| Name::new(text).map_err(|_| no_worker());
    Ok((name(&service)?, name(&worker)?))
}

pub(super) fn no_worker() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such worker")
}

/// Gives an order to the keeper; answered when it is in the journal and shown.
async fn order(state: &AppState, order: Order) -> Result<Option<Window>, Refusal> {
    state.inbox.order(order)?.await.map_err(|_| inbox::stopping())?
}

fn told(state: &AppState, window: Option<Window>) -> Result<PlanReport, Refused> {
    window
        .map(|window| plans::plan(&state.now(), &window))
        .ok_or_else(|| Refused::new(Code::Internal, "the plan is not shown"))
}

/// Reads what was sent as a plan with an identity of its own.
fn plan(body: &[u8]) -> Result<Plan, Refusal> {
    let sent: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Code::MalformedJson, format!("the body is no JSON: {error}")))?;
    let sent: Announced = serde_json::from_value(sent).map_err(|error| bad(error.to_string()))?;
    let why = text("why", sent.why, WHY_MAX_BYTES).map_err(bad)?;
    let optional = |what, said| optional_text(what, said, TEXT_MAX_BYTES).map_err(bad);
    Ok(Plan {
        id: mint()?,
        kind: sent.kind,
        service: Name::new(&sent.service)?,
        worker: sent.worker.as_deref().map(Name::new).transpose()?,
        for_ms: window_ms(sent.for_ms, sent.span.as_deref())?,
        who: optional("who", sent.who)?,
        why: Some(why),
        deploy: optional("deploy", sent.deploy)?,
    })
}

fn window_ms(for_ms: Option<u64>, span: Option<&str>) -> Result<u64, Refusal> {
    let said = match (for_ms, span) {
        (Some(ms), None) => Duration::from_millis(ms),
        (None, Some(span)) => {
            let said = span.parse::<SignedDuration>().ok().and_then(|said| Duration::try_from(said).ok());
            said.ok_or_else(|| bad("for is a number with its unit, such as 90s, 10m or 2h"))?
        }
        (None, None) | (Some(_), Some(_)) => return Err(bad("either for_ms or for says how long")),
    };
    if (WINDOW_MIN..=WINDOW_MAX).contains(&said) {
        // At most thirty days.
        Ok(u64::try_from(said.as_millis()).unwrap_or(u64::MAX))
    } else {
        Err(bad("a window lasts 1 s to 30 days"))
    }
}

fn text(what: &str, said: String, max_bytes: usize) -> Result<String, String> {
    if said.trim().is_empty() || said.len() > max_bytes {
        return Err(format!("{what} is empty or over {max_bytes} bytes"));
    }
    Ok(said)
}

/// What may be absent, but not empty; the error says what is wrong with it.
pub(super) fn optional_text(
    what: &str,
    said: Option<String>,
    max_bytes: usize,
) -> Result<Option<String>, String> {
    said.map(|said| text(what, said, max_bytes)).transpose()
}

/// A plan's identity: the random end of a fresh run's, for it is typed by people.
fn mint() -> Result<Name, Refusal> {
    Name::new(&format!("{:012x}", RunId::mint().as_u128() & 0xffff_ffff_ffff))
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadPlan, message)
}
