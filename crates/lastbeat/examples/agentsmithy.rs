//! A chat server whose answers are streams, and whose stop is a goodbye.
//!
//! `cargo run -p lastbeat --features axum --example agentsmithy`, then `curl -N localhost:3000/chat -d prompt=hello`
//! and Ctrl+C in the first terminal: the client hears that the server goes, and that it was all.
//!
//! `--listen 127.0.0.1:0` takes any free port, `--back-within 30` promises to be back within so many seconds.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use axum::{Form, Router};
use futures_util::stream::{self, Stream};
use lastbeat::http::{Farewell, Sse, serve};
use lastbeat::{BoxError, Lastbeat, Plan};
use tokio::net::TcpListener;

/// How fast the smith talks.
const PACE: Duration = Duration::from_millis(50);

#[derive(serde::Deserialize)]
struct Ask {
    prompt: String,
}

/// `GET /chat?prompt=…`, or the same posted as a form.
async fn chat(farewell: Farewell, Form(ask): Form<Ask>) -> Sse {
    farewell.sse(answer(&ask.prompt)).keep_alive(KeepAlive::default())
}

/// The words of the prompt, again and again: a model that never comes to an end.
fn answer(prompt: &str) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let words: Vec<String> = prompt.split_whitespace().map(str::to_owned).collect();
    stream::unfold(words.into_iter().cycle(), |mut words| async {
        tokio::time::sleep(PACE).await;
        let token = serde_json::json!({ "type": "token", "token": words.next()? });
        Some((Ok(Event::default().data(token.to_string())), words))
    })
}

/// `GET /talk`: a conversation. `recv` ends when the server goes.
async fn talk(farewell: Farewell, upgrade: WebSocketUpgrade) -> Response {
    farewell.websocket(upgrade, |mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && socket.send(Message::Text(format!("You said {text}").into())).await.is_err()
            {
                return;
            }
        }
    })
}

fn flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let worker = Lastbeat::connect("agentsmithy", "api");
    if let Some(seconds) = flag("--back-within") {
        worker.promise_back_within(Duration::from_secs(seconds.parse()?));
    }
    let listener = TcpListener::bind(flag("--listen").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "http://{address}/chat answers, by process {}", std::process::id())?;

    let app = Router::new().route("/chat", get(chat).post(chat)).route("/talk", get(talk));
    serve(&worker, listener, app);
    worker.ready();
    let plan = Plan::new().step("save-sessions", Duration::from_secs(2), |_| async { Ok(()) });
    Ok(worker.run_until_stopped(plan).await)
}
