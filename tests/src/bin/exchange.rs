//! An exchange: a process of its own that holds the orders of the trading loop, and misbehaves when it is told to.
//!
//! Prints `orders at ADDRESS`. There it takes lines: `PLACE LABEL` (answered `OK ID`), `CANCEL ID` (`OK`; an order
//! that is cancelled already is no fault), `CANCEL_ALL ID…` (`OK` and the ids it refused), `LIST` (`OK` and `ID:LABEL`
//! for each open order), `CLOSE` (`OK` and how many orders are open). What it refuses is `NO` and why.
//!
//! Lines on its standard input are the desk: what a person at the exchange sees and does. An answer repeats the first
//! word of its question where that begins with `#`.
//! - `list`: every order there ever was; `seen VERB`: how many such requests have come; `await VERB N`: the same, when
//!   they are N
//! - `next VERB refuse|drop|mute|hold|miscount [TIMES]`: what becomes of the next such requests, once by default
//! - `holding`: waits until a request is on hold; `release`: those on hold go on
//! - `stubborn LABEL`: this order cannot be cancelled; `single LABEL`: not in a batch
//!
//! It ends with its standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The longest line that is read, in bytes: a batch of some hundred orders.
const LINE_MAX_BYTES: u64 = 8 * 1024;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    /// It is done and answered.
    Fair,
    /// It is not done, and answered so.
    Refuse,
    /// It is not done, and the connection is closed.
    Drop,
    /// It is done, and the connection is closed without an answer.
    Mute,
    /// It is done and answered when the desk releases it.
    Hold,
    /// It is done, and the answer is off by one.
    Miscount,
}

struct Order {
    label: String,
    open: bool,
}

#[derive(Default)]
struct Orders {
    by_id: BTreeMap<u64, Order>,
    stubborn: BTreeSet<String>,
    single: BTreeSet<String>,
    seen: BTreeMap<String, u64>,
    /// For each verb: what its next requests meet, and how many of them.
    next: BTreeMap<String, (Conduct, u64)>,
    /// Requests on hold.
    holding: u64,
    /// How often the desk has released them.
    releases: u64,
}

#[derive(Default)]
struct Exchange {
    orders: Mutex<Orders>,
    news: Condvar,
}

impl Orders {
    fn conduct(&mut self, verb: &str) -> Conduct {
        *self.seen.entry(verb.into()).or_default() += 1;
        match self.next.get_mut(verb) {
            Some((conduct, times)) if *times > 0 => {
                *times -= 1;
                *conduct
            }
            _ => Conduct::Fair,
        }
    }

    fn place(&mut self, label: &str) -> u64 {
        let id = self.by_id.len() as u64 + 1;
        self.by_id.insert(id, Order { label: label.into(), open: true });
        id
    }

    fn cancel(&mut self, id: &str, in_a_batch: bool) -> Result<(), &'static str> {
        let order = id.parse().ok().and_then(|id: u64| self.by_id.get_mut(&id)).ok_or("no such order")?;
        if order.open && self.stubborn.contains(&order.label) {
            return Err("it is being filled");
        }
        if order.open && in_a_batch && self.single.contains(&order.label) {
            return Err("not in a batch");
        }
        order.open = false;
        Ok(())
    }

    fn open(&self) -> Vec<String> {
        let open = self.by_id.iter().filter(|(_, order)| order.open);
        open.map(|(id, order)| format!("{id}:{}", order.label)).collect()
    }

    fn answer(&mut self, verb: &str, rest: &str, conduct: Conduct) -> String {
        let words = || rest.split_whitespace();
        match (verb, conduct) {
            (_, Conduct::Refuse) => "NO not now".into(),
            ("PLACE", _) => format!("OK {}", self.place(rest)),
            ("CANCEL", _) => {
                self.cancel(rest, false).map_or_else(|why| format!("NO {why}"), |()| "OK".into())
            }
            ("CANCEL_ALL", _) => {
                let refused: Vec<_> = words().filter(|id| self.cancel(id, true).is_err()).collect();
                format!("OK {}", refused.join(" "))
            }
            ("LIST", _) => format!("OK {}", self.open().join(" ")),
            ("CLOSE", Conduct::Miscount) => format!("OK {}", self.open().len() + 1),
            ("CLOSE", _) => format!("OK {}", self.open().len()),
            (other, _) => format!("NO {other} is not understood"),
        }
    }

    fn list(&self) -> String {
        let word = |order: &Order| if order.open { "open" } else { "cancelled" };
        let all = self.by_id.values().map(|order| format!("{}={}", order.label, word(order)));
        all.collect::<Vec<_>>().join(" ")
    }
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while lines.by_ref().take(LINE_MAX_BYTES).read_line(&mut line)? > 0 {
            let (verb, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            let mut orders = self.lock();
            let conduct = orders.conduct(verb);
            self.news.notify_all();
            if conduct == Conduct::Drop {
                return Ok(());
            }
            if conduct == Conduct::Hold {
                let before = orders.releases;
                orders.holding += 1;
                let held = self.news.wait_while(orders, |orders| orders.releases == before);
                orders = held.unwrap_or_else(PoisonError::into_inner);
                orders.holding -= 1;
            }
            let answer = orders.answer(verb, rest, conduct);
            drop(orders);
            if conduct == Conduct::Mute {
                return Ok(());
            }
            stream.write_all(format!("{answer}\n").as_bytes())?;
            line.clear();
        }
        Ok(())
    }

    /// What the desk is asked or told.
    fn desk(&self, order: &str) -> Result<String, String> {
        let words: Vec<&str> = order.split_whitespace().collect();
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        let mut orders = self.lock();
        let seen = |orders: &Orders, verb: &str| orders.seen.get(verb).copied().unwrap_or(0);
        match words[..] {
            ["list"] => return Ok(orders.list()),
            ["seen", verb] => return Ok(seen(&orders, verb).to_string()),
            ["await", verb, count] => {
                let count = number(count)?;
                let until = self.news.wait_while(orders, |orders| seen(orders, verb) < count);
                let orders = until.unwrap_or_else(PoisonError::into_inner);
                return Ok(seen(&orders, verb).to_string());
            }
            ["next", verb, conduct] => drop(orders.next.insert(verb.into(), (read(conduct)?, 1))),
            ["next", verb, conduct, times] => {
                let next = (read(conduct)?, number(times)?);
                orders.next.insert(verb.into(), next);
            }
            ["holding"] => {
                let until = self.news.wait_while(orders, |orders| orders.holding == 0);
                return Ok(until.unwrap_or_else(PoisonError::into_inner).holding.to_string());
            }
            ["release"] => orders.releases += 1,
            ["stubborn", label] => drop(orders.stubborn.insert(label.into())),
            ["single", label] => drop(orders.single.insert(label.into())),
            _ => return Err(format!("{order:?} is not understood")),
        }
        self.news.notify_all();
        Ok("done".into())
    }
}

fn read(conduct: &str) -> Result<Conduct, String> {
    match conduct {
        "refuse" => Ok(Conduct::Refuse),
        "drop" => Ok(Conduct::Drop),
        "mute" => Ok(Conduct::Mute),
        "hold" => Ok(Conduct::Hold),
        "miscount" => Ok(Conduct::Miscount),
        other => Err(format!("a request cannot meet {other:?}")),
    }
}

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7070".into());
    let listener = match TcpListener::bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let exchange = Arc::new(Exchange::default());
    println!("orders at {}", listener.local_addr().expect("a bound socket has an address"));
    let floor = Arc::clone(&exchange);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let floor = Arc::clone(&floor);
            thread::spawn(move || {
                if let Err(error) = floor.serve(stream) {
                    eprintln!("a connection broke: {error}");
                }
            });
        }
    });
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let tagged = line.split_once(' ').filter(|(tag, _)| tag.starts_with('#'));
        let (tag, order) =
            tagged.map_or((String::new(), line.as_str()), |(tag, rest)| (format!("{tag} "), rest));
        match exchange.desk(order) {
            Ok(answer) => println!("{tag}{answer}"),
            Err(why) => println!("{tag}? {why}"),
        }
    }
    ExitCode::SUCCESS
}
