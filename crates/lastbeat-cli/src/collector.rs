//! Talking to a collector over HTTP: one agent with time limits, its refusals shown as they were said.

use std::time::Duration;

use lastbeat_wire::error::{Code, ErrorBody};
use serde_json::Value;
use ureq::Agent;

use crate::args::DEFAULT_COLLECTOR;
use crate::failure::Failure;

/// How long one answer may take in all.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may take to stand.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The largest answer that is read: about 20,000 workers at 3 KB each.
const ANSWER_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A collector, as seen from the command line.
pub(crate) struct Collector {
    base: String,
    agent: Agent,
}

impl Collector {
    /// Takes its address; nothing is opened yet.
    pub(crate) fn at(url: &str) -> Result<Self, Failure> {
        // An empty variable is an unset one, as for the client.
        let url = if url.is_empty() { DEFAULT_COLLECTOR } else { url };
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") || base.len() <= "http://".len() {
            return Err(Failure::usage(
                format!("the collector's address is {url:?}"),
                "it has to begin with http:// and name a host",
            )
            .hint("export LASTBEAT_COLLECTOR=http://127.0.0.1:5278"));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_LIMIT))
            .timeout_connect(Some(CONNECT_LIMIT))
            .http_status_as_error(false)
            // The links of workers know no proxy either: both must see the same collector.
            .proxy(None)
            .user_agent(concat!("lastbeat/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { base, agent: config.into() })
    }

    /// Asks for one path and takes the answer apart.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        self.answer(&format!("cannot read {url}"), self.agent.get(&url).call())
    }

    /// Orders something.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        self.answer(&format!("cannot post to {url}"), self.agent.post(&url).send_json(body))
    }

    /// Takes an order back.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        self.answer(&format!("cannot delete {url}"), self.agent.delete(&url).call())
    }

    fn answer(
        &self,
        what: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::failed(what, format!("the answer is not one of a lastbeat collector: {error}"))
            });
        }
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => {
                // What is known is listed by a verb as well; all other hints are the collector's own.
                let code = Code::ALL.iter().find(|code| code.as_str() == error.code);
                let hint = match code {
                    Some(Code::NotFound | Code::NotRunning) => "lastbeat status".into(),
                    Some(Code::UnknownPlan) => "lastbeat plan list".into(),
                    _ => error.hint,
                };
                Failure::failed(what, format!("{} ({})", error.message, error.code)).hint(hint)
            }
            Err(_) => Failure::failed(what, format!("the answer is HTTP {status}"))
                .hint(format!("is there another program at {}?", self.base)),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Io(error) => plain_io(error),
            ureq::Error::Timeout(_) => "no answer in time".into(),
            other => other.to_string(),
        };
        Failure::unreachable(format!("no collector answers at {}", self.base), why)
            .hint("lastbeat serve   # or set LASTBEAT_COLLECTOR to where one runs")
    }
}

/// The text of an I/O error without the number of the system call's error.
fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((said, _)) => said.to_lowercase(),
        None => text,
    }
}
