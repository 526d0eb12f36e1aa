//! Serving HTTP with axum, so that a stop is a goodbye and no cut.
//!
//! `axum::serve` with graceful shutdown never ends while a stream of events is open, and ends before open
//! WebSockets have. [`serve`] is an agent of the worker instead: when the run is asked to stop, nobody is let
//! in any more, requests under way come to their end, streams say goodbye, and all of them are waited for until
//! [`Agent::deadline`](crate::Agent::deadline). What is left then is cut, and the final heartbeat says how many.
//!
//! A handler takes a [`Farewell`] and makes its streams with it:
//! - [`Farewell::sse`]: the client of a stream of events gets two more of them, `data: {"type":"error","error":"server
//!   shutdown"}` and `data: {"type":"done"}`, and its end.
//! - [`Farewell::websocket`]: the peer gets close code 1001, or 1012 when the worker promised to be back.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use axum::{Router, response::sse::Event, routing::get};
//! use futures_util::stream::{self, StreamExt as _};
//! use lastbeat::http::{Farewell, Sse, serve};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! // It says one thing, and has no end of its own.
//! async fn tokens(farewell: Farewell) -> Sse {
//!     let hello = stream::iter([Ok::<_, Infallible>(Event::default().data("hello"))]);
//!     farewell.sse(hello.chain(stream::pending()))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), lastbeat::BoxError> {
//!     let worker = lastbeat::Lastbeat::connect("smith", "main");
//! #   let spool = tempfile::tempdir()?;
//! #   let worker = lastbeat::Lastbeat::builder("smith", "main").collector("http://127.0.0.1:9")
//! #       .flush_budget(std::time::Duration::from_millis(50)).spool_dir(spool.path().to_owned()).connect();
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let mut client = TcpStream::connect(listener.local_addr()?).await?;
//!     serve(&worker, listener, Router::new().route("/tokens", get(tokens)));
//!     worker.ready();
//!
//!     client.write_all(b"GET /tokens HTTP/1.1\r\nhost: smith\r\n\r\n").await?;
//!     let mut heard = Vec::new();
//!     while !heard.ends_with(b"data: hello\n\n\r\n") {
//!         client.read_buf(&mut heard).await?;
//!     }
//!     worker.stop("all is said"); // or Ctrl+C, or SIGTERM, or an operator
//!     worker.run_until_stopped(lastbeat::Plan::new()).await;
//!
//!     heard.clear();
//!     client.read_to_end(&mut heard).await?;
//!     let heard = String::from_utf8(heard)?;
//!     let events: Vec<&str> = heard.lines().filter(|line| line.starts_with("data: ")).collect();
//!     assert_eq!(events, [r#"data: {"type":"error","error":"server shutdown"}"#, r#"data: {"type":"done"}"#]);
//!     Ok(())
//! }
//! ```
//!
//! # What is counted
//! In the final heartbeat, and so on the page and in the metrics of the collector:
//! - `streams_farewell`: the goodbye was written out and the connection ended in order before the cut. Written out
//!   means that the kernel took all of it; whether a peer whose host died has read it, nobody can know.
//! - `streams_cut`: this server ended the stream without that: its reader takes nothing, its peer answers no close,
//!   its handler never yields, or somebody insisted on the stop. Streams and WebSockets that were made without a
//!   [`Farewell`] are counted here too, when they are still open at the end.
//! - A client that goes by itself, before or while it is said goodbye to, is neither of both, and no error.
//!
//! # Limits worth knowing
//! HTTP/1.1 without TLS, as behind a proxy. A request that is answered after the cut is cut, and told in the log.
//! A [`Server`] has the limits of a connection, and can be run without a worker.
//!
//! Invariant: nothing that was accepted is open when the agent has ended, unless a handler blocks its thread.

mod connection;
mod farewell;
mod impatient;
mod leave;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod websocket;

use axum::Router;
use tokio::net::TcpListener;

pub use self::farewell::{Farewell, NotServed, Sse};
pub use self::server::Server;
pub use self::websocket::WebSocket;
use crate::{AgentHandle, Lastbeat};

/// Serves `app` on `listener` as the agent `http` of this worker; see [`Server::spawn`].
pub fn serve(worker: &Lastbeat, listener: TcpListener, app: Router) -> AgentHandle {
    Server::new(listener, app).spawn(worker)
}
