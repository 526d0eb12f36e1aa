//! A server on loopback, its leave in the hands of the test: no clock decides anything here.

mod sockets;
mod streams;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::leave::Leave;
use super::server::Server;
use crate::streams::{Streams, Tally};

/// Nothing of these tests takes as long; what does hangs.
const LIMIT: Duration = Duration::from_secs(10);
/// More than the kernel takes for a reader that reads nothing (4 MiB at the most, unless somebody changed that).
const MORE_THAN_A_SOCKET_HOLDS: usize = 16 * 1024 * 1024;

struct Trial {
    leave: Arc<Leave>,
    streams: Arc<Streams>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Trial {
    async fn of(app: Router) -> Self {
        Self::with(app, |server| server).await
    }

    async fn with(app: Router, limits: impl FnOnce(Server) -> Server) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let streams = Arc::new(Streams::default());
        let (asked, cut) = (CancellationToken::new(), CancellationToken::new());
        let leave = Arc::new(Leave::new(asked, cut, Arc::clone(&streams)));
        let serving = tokio::spawn(limits(Server::new(listener, app)).serve(Arc::clone(&leave)));
        Self { leave, streams, address, serving }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("the server listens");
        client.set_read_timeout(Some(LIMIT)).expect("a limit");
        client
    }

    /// Asks for `path`.
    fn get(&self, path: &str) -> TcpStream {
        let mut client = self.connect();
        client.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).expect("it reads");
        client
    }

    /// How many streams are open.
    fn open(&self) -> u64 {
        self.streams.at_the_end().cut - self.streams.tally().cut
    }

    /// Waits until nothing is open any more.
    async fn ends(self) -> Tally {
        tokio::time::timeout(LIMIT, self.serving).await.expect("the server ends").expect("without a panic");
        self.streams.at_the_end()
    }
}

const fn tally(farewell: u64, cut: u64, client_left: u64) -> Tally {
    Tally { farewell, cut, client_left }
}

async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("it comes to be so");
}

/// Reads until what was read ends like this.
fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(end.as_bytes()) {
        client.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error} before {end:?}; read: {:?}", String::from_utf8_lossy(&read))
        });
        read.push(byte[0]);
    }
    String::from_utf8(read).expect("text")
}

fn read_to_end(client: &mut TcpStream) -> String {
    let mut read = String::new();
    client.read_to_string(&mut read).expect("it ends in order");
    read
}
