//! `/healthz`: the process answers. `/readyz`: it takes facts; false first when it goes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::AppState;

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn readyz(State(state): State<AppState>) -> Response {
    let why = if !*state.ready.borrow() {
        "starting or stopping"
    } else if state.now().snapshot.journal_broken {
        "the journal cannot be written"
    } else {
        return Json(json!({ "ready": true })).into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "why": why }))).into_response()
}
