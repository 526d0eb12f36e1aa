//! What a worker is asked on an operator's behalf: `POST /v1/workers/{service}/{worker}/{stop|pause|resume}`.
//!
//! A request goes down the link of the worker's newest live run, if the run said that it takes such requests. What
//! it does then it says itself (`asked`, `phase`): a request is no fact, and the journal knows nothing of it.
//!
//! Invariant: a request that is refused was not put into any mailbox.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use lastbeat_engine::Run;
use lastbeat_wire::reply::{self, Frame};
use lastbeat_wire::report::AskedReport;
use lastbeat_wire::{Code, Refusal, Source};
use serde::Deserialize;
use serde_json::Value;
use tracing::info;

use super::{door, operator, translate};
use crate::access;
use crate::error::Refused;
use crate::keeper::inbox;
use crate::snapshot::Published;
use crate::views::AppState;

/// How long the keeper may take to show what it knows.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    let to = |wish: Wish| post(move |state, path, request| ask(wish, state, path, request));
    Router::new()
        .route("/v1/workers/{service}/{worker}/stop", to(Wish::Stop))
        .route("/v1/workers/{service}/{worker}/pause", to(Wish::Pause))
        .route("/v1/workers/{service}/{worker}/resume", to(Wish::Resume))
}

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Pause,
    Resume,
}

impl Wish {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// Whether a run said, itself, that it may be asked this.
    fn is_taken_by(self, run: &Run) -> bool {
        run.dossier().start.as_ref().is_some_and(|start| match self {
            Self::Stop => start.value.stop,
            Self::Pause | Self::Resume => start.value.pause,
        })
    }

    const fn frame(self, request: reply::Request) -> Frame {
        match self {
            Self::Stop => Frame::Stop(request),
            Self::Pause => Frame::Pause(request),
            Self::Resume => Frame::Resume(request),
        }
    }
}

/// What the body says; each field may be absent, and so may the body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    who: Option<String>,
    why: Option<String>,
    #[serde(default)]
    force: bool,
}

async fn ask(
    wish: Wish,
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Refused> {
    access::own_origin(request.headers())?;
    door::json_only(&request)?;
    let (service, worker) = operator::worker_named(path)?;
    let body = door::read_body(request.into_body(), operator::BODY_MAX).await?;
    let Asked { who, why, force } = asked(wish, &body)?;
    if state.bye.borrow().is_some() {
        return Err(inbox::stopping().into());
    }

    let published = newest(&state).await;
    let known = published.snapshot.roster.worker(service.as_str(), worker.as_str());
    let run = known.ok_or_else(operator::no_worker)?.live_run();
    let run =
        run.ok_or_else(|| Refusal::new(Code::NotRunning, format!("no run of {service}/{worker} lives")))?;
    let run_id = translate::run_out(run.id());
    if !wish.is_taken_by(run) {
        return Err(not_opted_in(wish, run).into());
    }
    let request = reply::Request { run_id, who: who.clone(), why: why.clone(), force };
    state.switchboard.say((run_id, Source::Own), wish.frame(request))?;
    // With `?`, so that no text of an operator's can break a line of the log.
    info!(%service, %worker, run = %run_id, ?who, ?why, force, "a run is asked to {}", wish.as_str());
    let asked = AskedReport { run_id, at: published.at(published.now) };
    Ok((StatusCode::ACCEPTED, Json(asked)).into_response())
}

/// What is known now: a run that was acknowledged a moment ago can be asked. A keeper that hangs in a commit must not
/// keep anybody from stopping a worker, so what was shown last has to do then.
async fn newest(state: &AppState) -> Published {
    if let Ok(seen) = state.inbox.show() {
        // Either way it is as new as it can be had.
        let _ = tokio::time::timeout(SHOWN_WITHIN, seen).await;
    }
    state.now()
}

fn asked(wish: Wish, body: &[u8]) -> Result<Asked, Refusal> {
    if body.is_empty() {
        return Ok(Asked::default());
    }
    let sent: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Code::MalformedJson, format!("the body is no JSON: {error}")))?;
    let bad = |message: String| Refusal::new(Code::BadOrder, message);
    let Asked { who, why, force } = serde_json::from_value(sent).map_err(|error| bad(error.to_string()))?;
    if force && wish != Wish::Stop {
        return Err(bad(format!("only a stop can be forced, no {}", wish.as_str())));
    }
    // A client cuts a cause's texts there; what is longer is refused rather than half told.
    let text = |what, said| operator::optional_text(what, said, operator::TEXT_MAX_BYTES).map_err(bad);
    let (who, why) = (text("who", who)?, text("why", why)?);
    Ok(Asked { who, why, force })
}

fn not_opted_in(wish: Wish, run: &Run) -> Refusal {
    let at = |host: String| format!(" on {host}");
    let place = run.pid().map(|pid| format!(" (pid {pid}{})", run.host().map(at).unwrap_or_default()));
    let run_id = translate::run_out(run.id());
    let message = format!(
        "run {run_id}{} did not say that it may be asked to {}",
        place.unwrap_or_default(),
        wish.as_str()
    );
    Refusal::new(Code::NotOptedIn, message)
}
