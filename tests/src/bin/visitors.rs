//! Visitors of a WebSocket server, each on a connection of its own, that tell what they really saw of its end.
//!
//! `lastbeat-test-visitors URL COUNT [TEXT ANSWER]…` opens so many WebSockets. Each says the texts in their order, and
//! waits for the answer to each before it says the next. When all have had all their answers, `all there` is printed;
//! when one ends, what it saw, as a line of JSON.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

/// How long a visitor waits for a word. The server is never silent for longer than its keep-alive of 3 s.
const SILENCE_MAX: Duration = Duration::from_secs(20);

type Socket = WebSocket<TcpStream>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, said @ ..] = arguments.as_slice() else {
        panic!("lastbeat-test-visitors URL COUNT [TEXT ANSWER]…");
    };
    let count: usize = count.parse().expect("a count");
    let said: Vec<(String, String)> =
        said.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();

    let all_there = Arc::new(Barrier::new(count + 1));
    let visitors: Vec<_> = (0..count)
        .map(|_| {
            let (url, said, all_there) = (url.clone(), said.clone(), Arc::clone(&all_there));
            thread::spawn(move || {
                let mut socket = connect(&url);
                for (text, answer) in &said {
                    socket.send(Message::text(text)).expect("the server takes a text");
                    while read_text(&mut socket) != *answer {}
                }
                all_there.wait();
                println!("{}", see_the_end(&mut socket));
            })
        })
        .collect();
    all_there.wait();
    println!("all there");
    for visitor in visitors {
        visitor.join().expect("a visitor does not panic");
    }
}

fn connect(url: &str) -> Socket {
    let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).expect("ws://ADDRESS/…");
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a timeout can be set");
    tungstenite::client(url, stream).expect("the server upgrades").0
}

fn read_text(socket: &mut Socket) -> String {
    loop {
        // What is pinged is answered by the next read.
        if let Message::Text(text) = socket.read().expect("the server goes on") {
            return text.to_string();
        }
    }
}

/// Reads to the end of the connection.
fn see_the_end(socket: &mut Socket) -> serde_json::Value {
    let (mut close, mut closed_ms) = (None, None);
    let ended = loop {
        match socket.read() {
            Ok(Message::Close(frame)) => {
                close = frame.map(|CloseFrame { code, reason }| (u16::from(code), reason.to_string()));
                closed_ms = Some(now_ms());
            }
            Ok(_) => {}
            // Held by its test for a while, and now it goes on.
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            // The close is answered, and the server has ended the connection.
            Err(Error::ConnectionClosed) => break "in order".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    let (code, reason) = close.unzip();
    json!({ "code": code, "reason": reason, "closed_ms": closed_ms, "ended": ended })
}

/// By the wall clock, which the test reads too.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later than 1970");
    u64::try_from(now.as_millis()).expect("before the year 500,000,000")
}
