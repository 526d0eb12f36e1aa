//! The way in: every fact is read, checked and translated here before the keeper sees it.
//!
//! `door` takes `POST /v1/beats`, `link` the WebSocket of clients and witnesses, `operator` what people and
//! pipelines order, `ask` what is to be asked of a worker (by the `switchboard` it gets onto the right link);
//! `translate` turns what travels into what the engine judges.
//!
//! Invariant: what is refused here is a code and a counter, never an engine input.

pub(crate) mod ask;
pub(crate) mod door;
pub(crate) mod link;
pub(crate) mod operator;
pub(crate) mod switchboard;
#[cfg(test)]
mod tests;
pub(crate) mod translate;
