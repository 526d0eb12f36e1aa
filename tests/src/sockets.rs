//! What the kernel knows of sockets.

use std::fs;

/// A socket that both sides have closed; the kernel keeps its address from being used again for a minute.
const TIME_WAIT: &str = "06";
/// A socket that listens.
const LISTEN: &str = "0A";

/// The sockets of this host that are bound to an IPv4 port or connected to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Those that listen.
    pub listening: usize,
    /// Connections, each side of one on its own.
    pub connected: usize,
}

impl Sockets {
    /// What is open now.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn of_port(port: u16) -> Self {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux tells of its sockets");
        let port = format!(":{port:04X}");
        let mut sockets = Self::default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, state, ..] = words.as_slice() else { continue };
            match *state {
                TIME_WAIT => {}
                LISTEN => sockets.listening += usize::from(local.ends_with(&port)),
                _ => {
                    sockets.connected += usize::from(local.ends_with(&port) || remote.ends_with(&port));
                }
            }
        }
        sockets
    }
}
