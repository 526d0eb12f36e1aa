//! An interview server: conversations over WebSockets, questions that take 10 to 15 s to generate, and a Ctrl+C that
//! ends in a moment, whatever is going on.
//!
//! `cargo run -p lastbeat --features axum --example interview_server`, then connect to `ws://127.0.0.1:3000/interview`.
//! What a candidate says is noted; `next` asks for the next question.
//!
//! Who stops what: a session calls off the generation that it asked for, a generation has its keep-alive as an agent of
//! its own, which ends with it, and the agent `http` says goodbye to every session. The stop needs to know none of them.
//!
//! - `--listen 127.0.0.1:0` takes any free port, `--notes FILE` is where notes go.
//! - `--deaf` starts an agent that does not listen to its cancellation, and `--slow-step` puts a step into the plan that
//!   takes 4 s: see what the stop says of them, and what a second Ctrl+C does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use lastbeat::http::{Farewell, WebSocket, serve};
use lastbeat::{Agent, AgentHandle, BoxError, Lastbeat, Plan};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

/// Interviews at once. Agents are named by the seat, so that names are few and come again.
const SEATS: usize = 50;
/// How often a line is kept alive that would else be silent.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// How often notes are brought to the disk.
const CLEANUP: Duration = Duration::from_secs(300);
/// How fast a question is generated.
const WORD: Duration = Duration::from_millis(250);
/// Lines of a generation that its candidate has not been sent yet.
const LINES_MAX: usize = 8;
/// How long a slow step takes: longer than a person waits before another Ctrl+C.
const SLOW: Duration = Duration::from_secs(4);
/// How long a stop waits for agents and for candidates that do not answer its goodbye.
const AGENTS_FIRST: Duration = Duration::from_secs(1);

/// What all sessions share.
struct House {
    worker: Lastbeat,
    free: Mutex<BTreeSet<usize>>,
    notes: Mutex<Vec<String>>,
    /// Interviews that the stop has ended.
    broken_off: AtomicU64,
    notes_file: PathBuf,
}

impl House {
    fn take_seat(self: &Arc<Self>) -> Option<Seat> {
        let number = lock(&self.free).pop_first()?;
        Some(Seat { house: Arc::clone(self), number })
    }

    /// Gives how many notes were written. They are kept when they could not be.
    fn save_notes(&self) -> io::Result<u64> {
        let mut notes = lock(&self.notes);
        let mut file = File::options().create(true).append(true).open(&self.notes_file)?;
        let text: String = notes.iter().map(|note| format!("{note}\n")).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(notes.drain(..).len() as u64)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody's seat, until it is dropped.
struct Seat {
    house: Arc<House>,
    number: usize,
}

impl Seat {
    fn note(&self, what: &str) {
        lock(&self.house.notes).push(format!("seat {}: {what}", self.number));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.house.free).insert(self.number);
    }
}

/// `GET /interview`, upgraded.
async fn interview(
    State(house): State<Arc<House>>,
    farewell: Farewell,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(seat) = house.take_seat() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "all seats are taken").into_response();
    };
    farewell.websocket(upgrade, |socket| converse(Arc::new(seat), socket))
}

/// One session. `recv` ends when the candidate leaves, and when the server goes.
async fn converse(seat: Arc<Seat>, mut socket: WebSocket) {
    let mut keep_alive = interval(KEEP_ALIVE);
    let mut question: Option<Question> = None;
    loop {
        let say = tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) if text.as_str() == "next" => {
                    // One at a time: who asks again meanwhile gets the one that is coming.
                    question.get_or_insert_with(|| Question::ask(&seat));
                    continue;
                }
                Some(Ok(Message::Text(text))) => {
                    seat.note(&text);
                    Message::Text("noted".into())
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            line = next_line(&mut question) => match line {
                Some(line) => Message::Text(line.into()),
                // It is done, or called off by the stop: then `recv` ends, too.
                None => {
                    question = None;
                    continue;
                }
            },
            _ = keep_alive.tick() => Message::Ping(Default::default()),
        };
        if socket.send(say).await.is_err() {
            return;
        }
    }
    if socket.is_leaving() {
        seat.note("the interview is broken off");
        seat.house.broken_off.fetch_add(1, Relaxed);
    }
}

/// A question that is being generated. Who drops it calls the generation off.
struct Question {
    lines: mpsc::Receiver<String>,
    generation: AgentHandle,
}

impl Question {
    fn ask(seat: &Arc<Seat>) -> Self {
        let (say, lines) = mpsc::channel(LINES_MAX);
        let (name, worker) = (format!("generation-{}", seat.number), &seat.house.worker);
        // It holds the seat: nobody else's generation has its name before it has ended.
        let seat = Arc::clone(seat);
        let generation = worker.spawn(&name, |agent| async move {
            let whole = agent.token().run_until_cancelled(generate(&agent, seat.number, say)).await;
            // Called off it sees its token, or that nobody listens any more, whichever comes first.
            if whole != Some(true) {
                seat.note("a question is called off");
            }
            Ok(())
        });
        Self { lines, generation }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.generation.cancel();
    }
}

/// The next line of the question; none when all who could say one have ended.
async fn next_line(question: &mut Option<Question>) -> Option<String> {
    match question {
        Some(question) => question.lines.recv().await,
        None => std::future::pending().await,
    }
}

/// 10 to 15 s of work, as a language model would do it. Says whether all of it was heard.
async fn generate(agent: &Agent, seat: usize, say: mpsc::Sender<String>) -> bool {
    let thinking = say.clone();
    agent.spawn(&format!("keepalive-{seat}"), |agent| async move {
        agent.token().run_until_cancelled(keep_alive(thinking)).await;
        Ok(())
    });
    for number in 1..=40 + seat % 21 {
        sleep(WORD).await;
        if say.send(format!("word {number}")).await.is_err() {
            return false;
        }
        agent.progress();
    }
    say.send("over to you".to_owned()).await.is_ok()
}

async fn keep_alive(say: mpsc::Sender<String>) {
    let mut tick = interval(KEEP_ALIVE);
    loop {
        tick.tick().await;
        if say.send("thinking".to_owned()).await.is_err() {
            return;
        }
    }
}

/// The loop that runs every five minutes, on a thread of its own: it waits for the disk.
fn cleanup(agent: &Agent, house: &House) -> Result<(), BoxError> {
    while !agent.cancelled_within(CLEANUP) {
        house.save_notes()?;
    }
    Ok(())
}

fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

fn value(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let notes_file =
        value("--notes").map_or_else(|| std::env::temp_dir().join("interviews.txt"), PathBuf::from);
    let house = Arc::new(House {
        worker: Lastbeat::connect("interview-server", "main"),
        free: Mutex::new((1..=SEATS).collect()),
        notes: Mutex::default(),
        broken_off: AtomicU64::new(0),
        notes_file,
    });
    let worker = &house.worker;
    let listener = TcpListener::bind(value("--listen").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    let (address, pid) = (listener.local_addr()?, std::process::id());

    let theirs = Arc::clone(&house);
    worker.spawn_thread("cleanup", move |agent| cleanup(&agent, &theirs));
    if flag("--deaf") {
        worker.spawn("deaf", |_| std::future::pending());
    }
    let app = Router::new().route("/interview", get(interview)).with_state(Arc::clone(&house));
    serve(worker, listener, app);
    worker.ready();
    writeln!(io::stdout(), "ws://{address}/interview answers, by process {pid}")?;

    let mut plan = Plan::new().agents_first(AGENTS_FIRST);
    if flag("--slow-step") {
        plan = plan.step("slow", 2 * SLOW, |_| async {
            sleep(SLOW).await;
            Ok(())
        });
    }
    let theirs = Arc::clone(&house);
    plan = plan.step_blocking("close-sessions", Duration::from_secs(1), move |step| {
        let (broken_off, taken) = (theirs.broken_off.load(Relaxed), SEATS - lock(&theirs.free).len());
        step.total(broken_off + taken as u64);
        step.done(broken_off);
        Ok(())
    });
    let theirs = Arc::clone(&house);
    plan = plan.step_blocking("save-notes", Duration::from_secs(5), move |step| {
        step.flushed(theirs.save_notes()?);
        Ok(())
    });
    Ok(worker.run_until_stopped(plan).await)
}
