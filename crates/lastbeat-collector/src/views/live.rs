//! `GET /v1/events`: what changes, as it changes, as server-sent events.
//!
//! Lives here: one stream, when it speaks and how it ends. `live/json.rs` says it as data, `live/html.rs` as pieces of a
//! page.
//!
//! A stream is a body that the connection pulls from: it renders only when the reader takes what was rendered
//! before, and keeps no more than one round of events. A change is told at once; since words hold running times, everything
//! is looked at again each second, and only what differs from what this stream was last sent is sent.

mod html;
mod json;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use lastbeat_wire::reply::{Bye, ByeReason};
use lastbeat_wire::report::CollectorReport;
use lastbeat_wire::{Code, RunId};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::page::Address;
use super::{AppState, api};
use crate::error::Refused;
use crate::keeper::inbox;
use crate::snapshot::Snapshot;

/// The most streams at once; each takes a file descriptor, a socket buffer and a number for each piece of its page.
const STREAMS_MAX: usize = 1024;
/// How often a stream looks at the running times again.
const TICK: Duration = Duration::from_secs(1);
/// Changes that follow each other faster than this are told together.
const GAP: Duration = Duration::from_millis(100);
/// A stream that has nothing to say sends a comment this often, so that a proxy does not take it for dead.
const PING: Duration = Duration::from_secs(15);

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    with_places(STREAMS_MAX)
}

fn with_places(places: usize) -> Router<AppState> {
    Router::new().route("/v1/events", get(events)).layer(Extension(Arc::new(Semaphore::new(places))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(rename = "as")]
    form: Option<String>,
    /// Path and query of the page that is open; only with `as=html`.
    page: Option<String>,
}

async fn events(
    State(state): State<AppState>,
    Extension(places): Extension<Arc<Semaphore>>,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Refused> {
    let bad_query = |message: &str| Refused::new(Code::BadQuery, message);
    let Query(ask) = ask.map_err(|rejection| bad_query(&rejection.body_text()))?;
    let feed = match (ask.form.as_deref(), ask.page.as_deref()) {
        (None | Some("json"), None) => Feed::Json(json::Feed::default()),
        (None | Some("json"), Some(_)) => return Err(bad_query("page goes with as=html")),
        (Some("html"), page) => {
            let address =
                Address::parse(page.unwrap_or("/")).ok_or_else(|| bad_query("there is no such page"))?;
            Feed::Html(html::Feed::new(address))
        }
        (Some(_), _) => return Err(bad_query("as is json or html")),
    };
    if state.bye.borrow().is_some() {
        return Err(inbox::stopping().into());
    }
    let place = places
        .try_acquire_owned()
        .map_err(|_| Refused::new(Code::Overloaded, "too many streams are open"))?;
    let events = stream::unfold(Stream::new(state, feed, place), Stream::next);
    let keep_alive = KeepAlive::new().interval(PING).text("ping");
    // Proxies that buffer would hold back what is news.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response())
}

/// In which form a stream speaks.
enum Feed {
    Json(json::Feed),
    Html(html::Feed),
}

impl Feed {
    /// What differs from what was sent before: all of it at first.
    async fn next(&mut self, state: &AppState) -> Result<Option<(&'static str, String)>, Refused> {
        let published = state.now();
        match self {
            Self::Json(feed) => Ok(feed.next(&published)),
            Self::Html(feed) => feed.next(state, &published).await.map(Some),
        }
    }
}

/// What every event carries.
#[derive(Debug, Serialize)]
struct From {
    /// The collector's identity.
    collector: RunId,
    /// How often it was started on its journal.
    epoch: u64,
    /// Its clock.
    at: jiff::Timestamp,
}

impl From {
    const fn of(report: &CollectorReport) -> Self {
        Self { collector: report.id, epoch: report.epoch, at: report.now }
    }
}

#[derive(Debug, Serialize)]
struct Farewell<'a> {
    #[serde(flatten)]
    from: From,
    reason: ByeReason,
    back_by: Option<&'a str>,
}

/// Why a stream wakes.
enum Reason {
    /// Something changed, or a second has passed.
    Look,
    /// The collector goes.
    Bye(Bye),
    /// Without a keeper nothing changes any more: better no stream than one that only seems to live.
    Over,
}

struct Stream {
    state: AppState,
    feed: Feed,
    published: watch::Receiver<Arc<Snapshot>>,
    bye: watch::Receiver<Option<Bye>>,
    tick: Interval,
    waiting: VecDeque<Event>,
    sent: u64,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn new(state: AppState, feed: Feed, place: OwnedSemaphorePermit) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (published, bye) = (state.published.clone(), state.bye.clone());
        Self {
            state,
            feed,
            published,
            bye,
            tick,
            waiting: VecDeque::new(),
            sent: 0,
            over: false,
            _place: place,
        }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            self.round().await;
        }
    }

    /// Waits for the next reason to speak, then makes what there is to say.
    async fn round(&mut self) {
        match self.reason().await {
            Reason::Look => match self.feed.next(&self.state).await {
                Ok(Some((name, data))) => self.say(name, data),
                Ok(None) => {}
                Err(_) => self.over = true,
            },
            Reason::Bye(bye) => {
                self.farewell(&bye);
                self.over = true;
            }
            Reason::Over => self.over = true,
        }
    }

    async fn reason(&mut self) -> Reason {
        let first = self.sent == 0;
        let (published, tick, bye) = (&mut self.published, &mut self.tick, &mut self.bye);
        let look = async {
            if first {
                return Reason::Look;
            }
            tokio::time::sleep(GAP).await;
            tokio::select! {
                changed = published.changed() => changed.map_or(Reason::Over, |()| Reason::Look),
                _ = tick.tick() => Reason::Look,
            }
        };
        tokio::select! {
            biased;
            said = bye.wait_for(Option::is_some) => {
                said.ok().and_then(|bye| bye.clone()).map_or(Reason::Over, Reason::Bye)
            }
            reason = look => reason,
        }
    }

    fn say(&mut self, name: &'static str, data: String) {
        self.sent += 1;
        let id = format!("{}.{}", self.state.identity.epoch, self.sent);
        self.waiting.push_back(Event::default().event(name).id(id).data(data));
    }

    fn farewell(&mut self, bye: &Bye) {
        let from = From::of(&api::collector(&self.state.now()));
        self.say("bye", to_json(&Farewell { from, reason: bye.reason, back_by: bye.back_by.as_deref() }));
    }
}

/// # Panics
/// Never: the types of this room have text keys and nothing that refuses to be JSON.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a report is JSON")
}
