//! `GET /v1/link`: the WebSocket of clients and witnesses.
//!
//! Each message holds what a request's body would hold, and is answered by one receipt. The socket itself
//! is evidence: when the newest link of a voice closes without a final, its run is unreachable at once. Between
//! receipts the collector may ask: what it wants of a run waits in the link's mailbox (`switchboard`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lastbeat_wire::envelope::{BATCH_MAX_BYTES, Batch, Decoded};
use lastbeat_wire::reply::{Bye, ByeReason, Frame, Receipt};
use lastbeat_wire::{Code, FactId, Signal, Source, decode_batch};
use tokio::sync::watch;

use super::door;
use super::switchboard::{Extension, Voice};
use crate::access;
use crate::error::Refused;
use crate::keeper::inbox::{self, Outcome, Via};
use crate::views::AppState;

/// With axum's default of 128 KiB a thousand links would take 137 MB.
const READ_BUFFER_BYTES: usize = 1024;
/// A link that says nothing for this long is closed, times the scale; the longest beat interval is 60 s of it.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// A peer that takes no answer for this long is cut, so that it holds no receipts.
const SEND_MAX: Duration = Duration::from_secs(10);
/// The most voices one link speaks for: a client, or a witness with its children.
pub(super) const VOICES_MAX: usize = 64;

/// The most links at once; each takes a file descriptor and about 3 KB.
pub(crate) const LINKS_MAX: usize = 262_144;

/// Numbers links in the order they came; the newest of a voice is the one that counts.
static LINKS: AtomicU64 = AtomicU64::new(1);

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/link", get(link))
}

async fn link(State(state): State<AppState>, request: Request) -> Result<Response, Refused> {
    access::own_origin(request.headers())?;
    if state.bye.borrow().is_some() {
        return Err(inbox::stopping().into());
    }
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &state).await else {
        return Err(Refused::new(Code::BadQuery, "a link begins with a WebSocket upgrade"));
    };
    let place = Arc::clone(&state.links)
        .try_acquire_owned()
        .map_err(|_| Refused::new(Code::Overloaded, "too many links are open"))?;
    let number = LINKS.fetch_add(1, Ordering::Relaxed);
    let tracker = state.tracker.clone();
    let upgraded = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(BATCH_MAX_BYTES)
        .max_frame_size(BATCH_MAX_BYTES)
        .on_upgrade(move |socket| {
            tracker.track_future(async move {
                serve(state, socket, number).await;
                drop(place);
            })
        });
    Ok(upgraded.into_response())
}

/// Why a link is over.
enum Over {
    /// The peer left, fell silent or broke the protocol.
    Closed,
    /// The collector goes.
    Bye(Bye),
    /// The collector's time for goodbyes is over.
    Cut,
}

async fn serve(state: AppState, mut socket: WebSocket, number: u64) {
    let mut voices = BTreeSet::new();
    let mut extension = Extension::new(Arc::clone(&state.switchboard), number);
    let over = tokio::select! {
        over = talk(&state, &mut socket, number, &mut voices, &mut extension) => over,
        () = state.stop.cancelled() => Over::Cut,
    };
    // Nobody is to be asked by a link that is over.
    drop(extension);
    let last_words = async {
        match over {
            Over::Closed => {
                let voices = voices.into_iter().collect();
                // Only a keeper that is gone refuses; then nobody judges any more.
                let _ = state.inbox.send(inbox::Message::Unlinked { link: number, voices }, 0).await;
            }
            // Our own going says nothing of the runs.
            Over::Bye(bye) => farewell(&mut socket, bye).await,
            Over::Cut => {}
        }
    };
    tokio::select! {
        () = last_words => {}
        // A peer that takes no goodbye, or a keeper that takes nothing, must not keep the collector.
        () = state.stop.cancelled() => {}
    }
}

async fn talk(
    state: &AppState,
    socket: &mut WebSocket,
    number: u64,
    voices: &mut BTreeSet<Voice>,
    extension: &mut Extension,
) -> Over {
    let mut bye = state.bye.clone();
    let idle_max = IDLE_MAX.mul_f64(state.scale.max(1.0));
    loop {
        // In no order: who asks a lot must not keep a link from being read.
        let received = tokio::select! {
            bye = said(&mut bye) => return Over::Bye(bye),
            frame = extension.heard() => {
                if !send(socket, &frame).await {
                    return Over::Closed;
                }
                continue;
            }
            received = tokio::time::timeout(idle_max, socket.recv()) => received,
        };
        let receipt = match received {
            Ok(Some(Ok(Message::Text(text)))) => {
                take(state, text.as_bytes(), number, voices, extension).await
            }
            Ok(Some(Ok(Message::Binary(bytes)))) => take(state, &bytes, number, voices, extension).await,
            // The WebSocket layer answers pings by itself.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return Over::Closed,
        };
        if !send(socket, &Frame::Receipt(receipt)).await {
            return Over::Closed;
        }
    }
}

/// Takes one message; whatever is wrong with it, the link lives on.
async fn take(
    state: &AppState,
    bytes: &[u8],
    number: u64,
    voices: &mut BTreeSet<Voice>,
    extension: &mut Extension,
) -> Receipt {
    let read = match decode_batch(bytes) {
        Ok(Batch::One(read)) => vec![*read],
        Ok(Batch::Many(read)) => read,
        Err(refusal) => vec![Err(refusal)],
    };
    let (envelopes, places) = door::sort_out(state, read);
    let delivered = delivered(&envelopes, voices);
    let (mut spoken, mut carried, mut order) = (Vec::new(), Vec::new(), Vec::with_capacity(envelopes.len()));
    for decoded in envelopes {
        let id = decoded.envelope.id();
        let is_carried = delivered.contains(&(id.run_id, id.source));
        order.push(is_carried);
        if is_carried {
            carried.push(decoded);
        } else {
            if voices.len() < VOICES_MAX {
                voices.insert((id.run_id, id.source));
            }
            spoken.push(decoded);
        }
    }
    let opting_in: BTreeSet<FactId> = spoken.iter().filter_map(opts_in).collect();
    // What was said earlier is known first.
    let mut carried = submit(state, carried, Via::Spool, bytes.len()).await.into_iter();
    let mut spoken = submit(state, spoken, Via::Link(number), bytes.len()).await.into_iter();
    let answered =
        order.into_iter().map_while(|is_carried| if is_carried { carried.next() } else { spoken.next() });
    let receipt = door::receipt(door::put_back(places, answered.collect()));
    door::count(state, &receipt);
    for ack in receipt.acks.iter().filter(|ack| opting_in.contains(&ack.id())) {
        if !extension.speak_for((ack.run_id, ack.source)) {
            state.counters.mailboxes_refused.bump();
        }
    }
    receipt
}

/// The identity of a start of a run that may be asked something. A new link begins with a start, so nothing else needs
/// to be looked at.
fn opts_in(decoded: &Decoded) -> Option<FactId> {
    let said = &decoded.envelope;
    let Signal::Start(start) = &said.signal else { return None };
    let asks = |capability: &String| matches!(capability.as_str(), "stop" | "pause");
    (said.source == Source::Own && start.capabilities.iter().any(asks)).then(|| said.id())
}

/// The voices that do not speak on this link but are brought by it: they were not heard on it before, and come with
/// their ending. That is how a run delivers what an earlier one left in the spool, which is no presence (D4).
fn delivered(envelopes: &[Decoded], voices: &BTreeSet<Voice>) -> BTreeSet<Voice> {
    envelopes
        .iter()
        .map(|decoded| &decoded.envelope)
        .filter(|envelope| matches!(envelope.signal, Signal::Final(_) | Signal::Exit(_)))
        .map(|envelope| (envelope.run_id, envelope.source))
        .filter(|voice| !voices.contains(voice))
        .collect()
}

async fn submit(state: &AppState, envelopes: Vec<Decoded>, via: Via, bytes: usize) -> Vec<Outcome> {
    if envelopes.is_empty() {
        return Vec::new();
    }
    // Only a keeper that is gone gives no answer: each of them is refused as `stopping` then.
    state.inbox.submit(envelopes, via, bytes).await.unwrap_or_default()
}

/// Waits for the collector's own goodbye.
async fn said(bye: &mut watch::Receiver<Option<Bye>>) -> Bye {
    match bye.wait_for(Option::is_some).await.map(|said| said.clone()) {
        Ok(Some(bye)) => bye,
        // The collector went without a word: it was stopped.
        Ok(None) | Err(_) => Bye { reason: ByeReason::Stopped, back_by: None },
    }
}

async fn farewell(socket: &mut WebSocket, bye: Bye) {
    let code = match bye.reason {
        ByeReason::Restarting => close_code::RESTART,
        ByeReason::Stopped => close_code::AWAY,
    };
    if send(socket, &Frame::Bye(bye)).await {
        let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        let _ = tokio::time::timeout(SEND_MAX, socket.send(close)).await;
    }
}

async fn send(socket: &mut WebSocket, frame: &Frame) -> bool {
    let Ok(text) = serde_json::to_string(frame) else { return false };
    matches!(tokio::time::timeout(SEND_MAX, socket.send(Message::Text(text.into()))).await, Ok(Ok(())))
}
