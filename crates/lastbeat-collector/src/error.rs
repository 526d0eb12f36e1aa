//! What goes wrong: for the one who runs the collector, and for the one who asks it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lastbeat_wire::error::ErrorBody;
use lastbeat_wire::{Code, Refusal};

pub use crate::journal::JournalError;

/// Why a collector did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be used.
    #[error("the journal cannot be used")]
    Journal {
        /// What went wrong.
        source: JournalError,
    },
    /// The listening socket cannot be used.
    #[error("the listening socket cannot be used")]
    Listener {
        /// What the system said.
        source: std::io::Error,
    },
    /// The keeper's thread cannot be started.
    #[error("the keeper's thread cannot be started")]
    StartKeeper {
        /// What the system said.
        source: std::io::Error,
    },
    /// The keeper ended before it was asked to: a fault of the collector's own.
    #[error("the keeper ended by itself")]
    KeeperGone,
}

/// A refused request: its status, its JSON body, and its code for the counter.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl Refused {
    /// Refuses with a code and a short public text.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Refusal::new(code, message))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody::from(&self.0))).into_response();
        response.extensions_mut().insert(self.0.code);
        response
    }
}
