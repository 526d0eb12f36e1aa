//! `POST /v1/beats`: one envelope, or an array of them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lastbeat_wire::envelope::{BATCH_MAX_BYTES, Batch, Decoded};
use lastbeat_wire::reply::{Receipt, Rejected};
use lastbeat_wire::{Code, Refusal, decode_batch};

use crate::access;
use crate::error::Refused;
use crate::keeper::inbox::{self, Outcome, Via};
use crate::views::AppState;

/// The longest a body may take to arrive: a slow sender holds a connection no longer than this.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/beats", post(beats))
}

async fn beats(State(state): State<AppState>, request: Request) -> Result<Response, Refused> {
    access::own_origin(request.headers())?;
    json_only(&request)?;
    let body = read_body(request.into_body(), BODY_MAX).await?;
    match decode_batch(&body)? {
        Batch::One(read) => {
            let taken = take(&state, vec![*read], body.len()).await?;
            match taken.into_iter().next() {
                Some(Ok(ack)) => Ok(accepted(Receipt { acks: vec![ack], accepted: 1, rejected: Vec::new() })),
                Some(Err(refusal)) => Err(refusal.into()),
                None => Err(Refused::new(Code::Internal, "the envelope was not answered")),
            }
        }
        Batch::Many(read) => {
            let outcomes = take(&state, read, body.len()).await?;
            // Not taken for the collector's own sake: the whole request is to be sent again.
            if let Some(Err(refusal)) = outcomes.iter().find(|outcome| is_temporary(outcome)) {
                return Err(refusal.clone().into());
            }
            let receipt = receipt(outcomes);
            count(&state, &receipt);
            Ok(accepted(receipt))
        }
    }
}

/// Gives the read envelopes of one message to the keeper; answers each in its place.
pub(super) async fn take(
    state: &AppState,
    read: Vec<Result<Decoded, Refusal>>,
    bytes: usize,
) -> Result<Vec<Outcome>, Refusal> {
    let (envelopes, places) = sort_out(state, read);
    let waiting = state.inbox.offer(envelopes, Via::Post, bytes)?;
    let answered = waiting.await.map_err(|_| inbox::stopping())?;
    Ok(put_back(places, answered))
}

/// Parts what can go on from what is refused; the places keep the order.
pub(super) fn sort_out(
    state: &AppState,
    read: Vec<Result<Decoded, Refusal>>,
) -> (Vec<Decoded>, Vec<Option<Refusal>>) {
    let mut envelopes = Vec::with_capacity(read.len());
    let mut places = Vec::with_capacity(read.len());
    for item in read {
        match item {
            Ok(decoded) => {
                state.counters.unknown_fields.add(decoded.unknown_fields);
                envelopes.push(decoded);
                places.push(None);
            }
            Err(refusal) => places.push(Some(refusal)),
        }
    }
    (envelopes, places)
}

/// Puts the keeper's answers where [`sort_out`] took the envelopes from.
pub(super) fn put_back(places: Vec<Option<Refusal>>, answered: Vec<Outcome>) -> Vec<Outcome> {
    let mut answered = answered.into_iter();
    places
        .into_iter()
        .map(|refused| match refused {
            Some(refusal) => Err(refusal),
            None => answered.next().unwrap_or_else(|| Err(inbox::stopping())),
        })
        .collect()
}

/// The answer to a batch.
pub(super) fn receipt(outcomes: Vec<Outcome>) -> Receipt {
    let mut receipt = Receipt::default();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(ack) => receipt.acks.push(ack),
            Err(Refusal { code, message }) => {
                receipt.rejected.push(Rejected { index, code: code.as_str().into(), message });
            }
        }
    }
    receipt.accepted = receipt.acks.len();
    receipt
}

/// Counts the refused items of a receipt by their codes.
pub(super) fn count(state: &AppState, receipt: &Receipt) {
    for rejected in &receipt.rejected {
        if let Some(code) = Code::ALL.iter().find(|code| code.as_str() == rejected.code) {
            state.counters.reject(*code);
        }
    }
}

/// Whether the same envelope may be taken later.
pub(crate) fn is_temporary(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(|refusal| refusal.code.status() == StatusCode::SERVICE_UNAVAILABLE.as_u16())
}

fn accepted(receipt: Receipt) -> Response {
    (StatusCode::ACCEPTED, Json(receipt)).into_response()
}

/// Checks the content type, which no form of a web page can send.
pub(super) fn json_only(request: &Request) -> Result<(), Refusal> {
    let said = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Refusal::new(Code::UnsupportedMediaType, "the content type is not application/json"))
    }
}

/// Reads a body up to its limits.
pub(super) async fn read_body(body: Body, within: Duration) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(within, Limited::new(body, BATCH_MAX_BYTES).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(Code::BodyTooLarge, format!("the body is over {BATCH_MAX_BYTES} bytes")))
        }
        Ok(Err(_)) => Err(Refusal::new(Code::BodyIncomplete, "the body broke off")),
        Err(_) => Err(Refusal::new(
            Code::BodyIncomplete,
            format!("the body did not arrive within {} s", within.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_comes_too_slowly_is_not_waited_for() {
        let slow = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let refusal = read_body(slow, Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(refusal.code, Code::BodyIncomplete);
    }
}
