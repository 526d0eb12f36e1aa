//! A collector without a port, for tests: a real keeper, a real journal in a temporary directory, the real routes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use lastbeat_wire::{Code, RunId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::assembly::{self, Parts};
use crate::config::Config;
use crate::snapshot::Snapshot;

/// Where the trial says it listens.
pub(crate) const LISTEN: &str = "127.0.0.1:5278";

/// A collector under test.
pub(crate) struct Trial {
    pub(crate) parts: Parts,
    pub(crate) config: Config,
    pub(crate) dir: TempDir,
}

impl Trial {
    /// A fresh one that watches.
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self::in_dir(dir).await
    }

    /// One on the directory of an earlier one.
    pub(crate) async fn in_dir(dir: TempDir) -> Self {
        let trial = Self::not_open(dir);
        assembly::open(&trial.config, &trial.parts.state).await.unwrap();
        trial.parts.ready.send_replace(true);
        trial
    }

    /// One that replays, and goes no further.
    pub(crate) fn not_open(dir: TempDir) -> Self {
        Self::scaled(dir, 1.0)
    }

    /// One that replays, goes no further, and will judge by scaled deadlines.
    pub(crate) fn scaled(dir: TempDir, scale: f64) -> Self {
        let config = Config { scale, ..Config::new(dir.path().join("data"), dir.path().join("spool")) };
        let parts = assembly::start(&config, LISTEN.parse().unwrap()).unwrap();
        Self { parts, config, dir }
    }

    /// Stops the keeper; the directory is left for a successor.
    pub(crate) async fn stop(mut self) -> TempDir {
        assembly::end_keeper(&mut self.parts).await.unwrap();
        self.dir
    }

    /// Waits for a snapshot of which something holds.
    pub(crate) async fn until(&self, holds: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
        let mut published = self.parts.state.published.clone();
        published.wait_for(holds).await.unwrap().clone()
    }

    /// Sends any request.
    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = assembly::app(self.parts.state.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Reads a path.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    /// Posts facts, as a program does.
    pub(crate) async fn post(&self, body: impl ToString) -> (StatusCode, Value) {
        let request = request(Method::POST, "/v1/beats")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (status, body) = self.send(request).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Sends an order, as an operator's program does; an answer without JSON is null.
    pub(crate) async fn order(&self, method: Method, path: &str, body: impl ToString) -> (StatusCode, Value) {
        let request = request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (status, body) = self.send(request).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// How often a code was given.
    pub(crate) fn rejected(&self, code: Code) -> u64 {
        self.parts.state.counters.rejected(code)
    }
}

/// A request with the host it was meant for.
pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, LISTEN)
}

/// The same run for the same number.
pub(crate) fn run(number: u128) -> RunId {
    RunId::from_u128(0x0190_d1f0_0000_7000_8000_0000_0000_0000 + number)
}

/// An envelope of `trader/main`.
pub(crate) fn envelope(run: RunId, source: &str, seq: u64, signal: Value) -> Value {
    json!({
        "v": 1, "run_id": run, "source": source, "seq": seq,
        "service": "trader", "worker": "main", "signal": signal,
    })
}

/// What a linked client says first.
pub(crate) fn start() -> Value {
    json!({ "type": "start", "capabilities": ["goodbye"], "host": "h1", "version": "1.2" })
}
