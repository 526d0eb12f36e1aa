//! A trading loop without an async runtime. It places orders at an exchange; asked to stop, it finishes the cycle it
//! is in, takes its orders back, closes its session, saves its book, and says which of that it could not do.
//!
//! `LASTBEAT_ENVIRONMENT` is its mode: `dry_run` (the default; nothing leaves the process), `paper` or `live`.
//! Arguments: `--exchange=ADDRESS`, `--state=FILE`, `--orders=N` to have open at a time, `--pace-ms=N` between cycles.
//! `docs/systems/trading-loop.md` has an exchange to try it with.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lastbeat::{BoxError, Lastbeat, Plan, Step, StepHandle};
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

const DRY_RUN: &str = "dry_run";
/// How long the exchange may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    // The client's spans are for traces. Without them its events are a log that people read: who asked, what became of
    // each order by its label, the summary.
    let told = filter_fn(|what| what.is_event() && *what.level() <= Level::INFO);
    let log = layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(log.with_filter(told)).init();
    let (mode, trader, pace) = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let run = Lastbeat::builder("trader", "loop").environment(&mode).stoppable().pausable().connect();

    let trading = Arc::clone(&trader);
    run.spawn_thread("trading-loop", move |agent| {
        agent.progress_every(Duration::from_secs(10));
        // There is no turn while the run is paused, and none any more once it is to stop.
        while agent.turn_blocking() {
            if let Err(error) = trading.cycle() {
                tracing::warn!(%error, "this cycle placed no order");
            }
            agent.progress();
            let _ = agent.cancelled_within(pace);
        }
        Ok(())
    });
    let saving = Arc::clone(&trader);
    run.flush_at_stop("save-state", Duration::from_secs(2), move |step| saving.save(&step));

    let (cancelling, closing) = (Arc::clone(&trader), trader);
    let cancel = Step::new("cancel-orders", Duration::from_secs(5))
        .attempts(3)
        .backoff(Duration::from_millis(100), Duration::from_secs(1))
        .skip_in(DRY_RUN);
    let transition = Step::new("transition", Duration::from_secs(2)).skip_in(DRY_RUN);
    let plan = Plan::new()
        // A cycle that has begun is finished first: it may wait for the exchange twice.
        .agents_first(Duration::from_secs(10))
        .add_blocking(cancel, move |step| cancelling.cancel_orders(&step))
        .add_blocking(transition, move |_| closing.close_session());
    run.ready();
    run.run_until_stopped_blocking(plan)
}

/// The loop and its plan share this: what was ordered, and where.
struct Trader {
    dry_run: bool,
    exchange: Exchange,
    book: Mutex<Book>,
    state: PathBuf,
    orders_at_a_time: usize,
}

impl Trader {
    /// The book is never held while the exchange is asked: a step that hangs there must not hang the next one.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cycle(&self) -> Result<(), BoxError> {
        if !self.dry_run {
            self.look()?;
        }
        let Some(label) = self.book().next_order(self.orders_at_a_time) else { return Ok(()) };
        if self.dry_run {
            tracing::info!(label, "an order would be placed");
            return Ok(());
        }
        let id = self.exchange.place(&label)?;
        self.book().placed(&label, id);
        tracing::info!(label, id, "an order was placed");
        Ok(())
    }

    /// The exchange knows best what is open: its answer to an order may have got lost, or a life of ours with its book.
    fn look(&self) -> Result<(), BoxError> {
        for (id, label) in self.exchange.open()? {
            self.book().placed(&label, id);
        }
        Ok(())
    }

    fn cancel_orders(&self, step: &StepHandle) -> Result<(), BoxError> {
        self.look()?;
        let orders = self.book().not_cancelled();
        step.items(orders, |order| order.label.clone())
            .skip(|order| order.id.is_none().then_some("never placed"))
            .all_at_once(|orders| self.cancel_all(orders))
            .one_by_one(|order| self.cancel(order));
        Ok(())
    }

    /// Cancels a batch; gives the labels of those that the exchange refused.
    fn cancel_all(&self, orders: &[Order]) -> Result<Vec<String>, BoxError> {
        let refused = self.exchange.cancel_all(orders.iter().filter_map(|order| order.id))?;
        let (refused, done): (Vec<_>, Vec<_>) =
            orders.iter().partition(|order| order.id.is_some_and(|id| refused.contains(&id)));
        done.into_iter().for_each(|order| self.book().cancelled(&order.label));
        Ok(refused.into_iter().map(|order| order.label.clone()).collect())
    }

    fn cancel(&self, order: &Order) -> Result<(), BoxError> {
        self.exchange.cancel(order.id.ok_or("it was never placed")?)?;
        self.book().cancelled(&order.label);
        Ok(())
    }

    fn close_session(&self) -> Result<(), BoxError> {
        let (open, ours) = (self.exchange.close()?, self.book().open());
        // A bug of ours would show here. A step that panics has failed, no more: the book is saved all the same.
        assert!(open == ours, "{open} orders are open at the exchange, {ours} in the book");
        Ok(())
    }

    fn save(&self, step: &StepHandle) -> Result<(), BoxError> {
        let book = self.book();
        let (text, orders) = (book.to_string(), book.orders.len() as u64);
        drop(book);
        let saved = replace(&self.state, &text);
        if saved.is_ok() {
            step.flushed(orders)
        } else {
            step.dropped(orders)
        }
        saved.map_err(|error| format!("{}: {error}", self.state.display()).into())
    }
}

/// Written beside it, synced, renamed, and the rename synced: a file is the old one or the new one, never half.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// An order by our label, and by the exchange's id once we know it.
#[derive(Clone)]
struct Order {
    label: String,
    id: Option<u64>,
    cancelled: bool,
}

/// What was ordered in this life, and what an earlier one left open.
#[derive(Default)]
struct Book {
    orders: Vec<Order>,
    last: u64,
}

impl Book {
    /// `LABEL ID open` is an order that an earlier life left at the exchange; all else is history.
    fn read(text: &str) -> Result<Self, BoxError> {
        let mut book = Self::default();
        for line in text.lines() {
            let [label, id, standing] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("{line:?} is no order").into());
            };
            book.count(label);
            if standing == "open" {
                book.placed(label, id.parse()?);
            }
        }
        Ok(book)
    }

    /// Notes an order before it is placed, so that none is at the exchange that the book has not heard of.
    fn next_order(&mut self, at_a_time: usize) -> Option<String> {
        if self.not_cancelled().len() >= at_a_time {
            return None;
        }
        self.last += 1;
        let label = format!("o-{}", self.last);
        self.find_or_add(&label);
        Some(label)
    }

    /// No label is given twice, whoever gave it.
    fn count(&mut self, label: &str) {
        let number = label.strip_prefix("o-").and_then(|number| number.parse().ok());
        self.last = self.last.max(number.unwrap_or(0));
    }

    fn find_or_add(&mut self, label: &str) -> &mut Order {
        let at = self.orders.iter().position(|order| order.label == label).unwrap_or(self.orders.len());
        if at == self.orders.len() {
            self.count(label);
            self.orders.push(Order { label: label.into(), id: None, cancelled: false });
        }
        &mut self.orders[at]
    }

    fn placed(&mut self, label: &str, id: u64) {
        self.find_or_add(label).id = Some(id);
    }

    fn cancelled(&mut self, label: &str) {
        self.find_or_add(label).cancelled = true;
    }

    fn not_cancelled(&self) -> Vec<Order> {
        self.orders.iter().filter(|order| !order.cancelled).cloned().collect()
    }

    fn open(&self) -> usize {
        self.orders.iter().filter(|order| order.id.is_some() && !order.cancelled).count()
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.orders.iter().try_for_each(|order| match order {
            Order { label, id: None, .. } => writeln!(f, "{label} - unplaced"),
            Order { label, id: Some(id), cancelled: false } => writeln!(f, "{label} {id} open"),
            Order { label, id: Some(id), cancelled: true } => writeln!(f, "{label} {id} cancelled"),
        })
    }
}

/// An exchange that takes a line and answers with one.
struct Exchange {
    address: SocketAddr,
}

impl Exchange {
    fn place(&self, label: &str) -> Result<u64, BoxError> {
        Ok(self.ask(&format!("PLACE {label}"))?.parse()?)
    }

    fn cancel(&self, id: u64) -> Result<(), BoxError> {
        self.ask(&format!("CANCEL {id}")).map(drop)
    }

    /// Gives the ids that were refused.
    fn cancel_all(&self, ids: impl Iterator<Item = u64>) -> Result<Vec<u64>, BoxError> {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let refused = self.ask(&format!("CANCEL_ALL {}", ids.join(" ")))?;
        Ok(refused.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// What is open there, by id and label.
    fn open(&self) -> Result<Vec<(u64, String)>, BoxError> {
        let answer = self.ask("LIST")?;
        let order = |word: &str| {
            let (id, label) = word.split_once(':').ok_or("no label")?;
            Ok((id.parse()?, label.to_owned()))
        };
        answer.split_whitespace().map(order).collect()
    }

    fn close(&self) -> Result<usize, BoxError> {
        Ok(self.ask("CLOSE")?.parse()?)
    }

    fn ask(&self, line: &str) -> Result<String, BoxError> {
        let verb = line.split(' ').next().unwrap_or_default();
        let answer = self.exchange(line).map_err(|error| format!("{verb}: {error}"))?;
        match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
            ("OK", answer) => Ok(answer.to_owned()),
            ("NO", why) => Err(format!("{verb} refused: {why}").into()),
            ("", _) => Err(format!("{verb}: the exchange hung up").into()),
            _ => Err(format!("{verb}: not understood: {answer:?}").into()),
        }
    }

    fn exchange(&self, line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    }
}

/// The mode, the trader, and the pause between two cycles.
fn settings() -> Result<(String, Arc<Trader>, Duration), BoxError> {
    let mode = std::env::var("LASTBEAT_ENVIRONMENT").unwrap_or_else(|_| DRY_RUN.into());
    if ![DRY_RUN, "paper", "live"].contains(&mode.as_str()) {
        return Err(format!("LASTBEAT_ENVIRONMENT={mode}: it trades in dry_run, paper or live").into());
    }
    let (mut address, mut state) = ("127.0.0.1:7070".to_owned(), PathBuf::from("trading-loop.state"));
    let (mut orders_at_a_time, mut pace_ms) = (3, 1_000);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--exchange", value)) => address = value.into(),
            Some(("--state", value)) => state = value.into(),
            Some(("--orders", value)) => orders_at_a_time = value.parse()?,
            Some(("--pace-ms", value)) => pace_ms = value.parse()?,
            _ => return Err(format!("no such argument: {argument}").into()),
        }
    }
    let book = match fs::read_to_string(&state) {
        Ok(text) => Book::read(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
        Err(error) => return Err(format!("{}: {error}", state.display()).into()),
    };
    let exchange = Exchange { address: address.parse()? };
    let dry_run = mode == DRY_RUN;
    let trader = Trader { dry_run, exchange, book: Mutex::new(book), state, orders_at_a_time };
    Ok((mode, Arc::new(trader), Duration::from_millis(pace_ms)))
}
