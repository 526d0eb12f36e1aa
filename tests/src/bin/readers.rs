//! Many clients of one event stream, each on a plain connection of its own, that tell what they really read.
//!
//! `lastbeat-test-readers ADDRESS COUNT PROMPT_BYTES` posts a prompt of so many bytes to `/chat` as often as COUNT
//! says, and prints `all read` when each client has its first event. At the end of its connection each prints a
//! line of JSON. With `--stall` clients take nothing more after the first bytes, through as little of a window as
//! the kernel gives, until a line on standard input tells them to read the rest.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::json;
use socket2::{Domain, Socket, Type};

/// The least that a kernel gives is more; it takes this as a wish.
const WINDOW_BYTES: usize = 1024;
/// How many of the last events are told.
const LAST: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count, prompt_bytes, rest @ ..] = arguments.as_slice() else {
        panic!("lastbeat-test-readers ADDRESS COUNT PROMPT_BYTES [--stall]");
    };
    let address: SocketAddr = address.parse().expect("an address");
    let count: usize = count.parse().expect("a count");
    let prompt = "x".repeat(prompt_bytes.parse().expect("a number of bytes"));
    let stalls = rest.iter().any(|flag| flag == "--stall");

    // One more than clients: who tells that all of them read, and, when they stall, that they may go on.
    let (all_read, go_on) = (Arc::new(Barrier::new(count + 1)), Arc::new(Barrier::new(count + 1)));
    let readers: Vec<_> = (0..count)
        .map(|_| {
            let (prompt, all_read, go_on) = (prompt.clone(), Arc::clone(&all_read), Arc::clone(&go_on));
            thread::spawn(move || {
                let stream = connect(address, stalls).expect("the server accepts");
                let mut reader = Reader::ask(stream, &prompt).expect("the server answers");
                all_read.wait();
                if stalls {
                    go_on.wait();
                }
                let ended = reader.read_to_the_end();
                println!("{}", json!({ "last": reader.last, "named": reader.named, "ended": ended }));
            })
        })
        .collect();
    all_read.wait();
    println!("all read");
    if stalls {
        let mut line = String::new();
        io::stdin().read_line(&mut line).expect("a line, or the end");
        go_on.wait();
    }
    for reader in readers {
        reader.join().expect("a reader does not panic");
    }
}

fn connect(address: SocketAddr, stalls: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if stalls {
        // Before the handshake, which tells the server the window.
        socket.set_recv_buffer_size(WINDOW_BYTES)?;
    }
    socket.connect(&address.into())?;
    Ok(socket.into())
}

struct Reader {
    stream: BufReader<TcpStream>,
    /// What was read of the body and is no whole line yet.
    line: Vec<u8>,
    /// The data of the last events.
    last: Vec<String>,
    /// How many events had a name.
    named: usize,
}

impl Reader {
    /// Asks, and reads to the first byte of the first event.
    fn ask(mut stream: TcpStream, prompt: &str) -> io::Result<Self> {
        let body = format!("prompt={prompt}");
        write!(
            stream,
            "POST /chat HTTP/1.1\r\nhost: smith\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        // The least that can be read at once: one that stalls is to leave the rest where it is.
        let mut stream = BufReader::with_capacity(256, stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        stream.fill_buf()?;
        Ok(Self { stream, line: Vec::new(), last: Vec::new(), named: 0 })
    }

    /// How the connection ended: `whole` after the end of the body, else `cut` or the error.
    fn read_to_the_end(&mut self) -> String {
        loop {
            match self.chunk() {
                Ok(Some(chunk)) => self.take(&chunk),
                Ok(None) => {
                    let after = self.stream.read(&mut [0]);
                    return if matches!(after, Ok(0)) {
                        "whole".into()
                    } else {
                        format!("{after:?} after the end")
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return "cut".into(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// The next chunk of the body; none after its end.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        if self.stream.read_line(&mut size)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    fn take(&mut self, chunk: &[u8]) {
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            if let Some(data) = line.strip_prefix("data: ") {
                if self.last.len() == LAST {
                    self.last.remove(0);
                }
                // Enough to tell which it was.
                self.last.push(data.chars().take(80).collect());
            } else if line.starts_with("event:") {
                self.named += 1;
            }
        }
    }
}
