//! The socket of one connection, and how it is ended from outside.
//!
//! A connection that was upgraded belongs to whoever upgraded it, in a task that nobody here knows. Its socket
//! is still ours: as long as it lives the server waits for it, and at the cut it is shut down under whoever
//! holds it, whatever that one is doing.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that two can reach: who reads and writes, and who cuts. The lock is held for one system call, and
/// fought for at the cut alone.
type Shared = Arc<Mutex<TcpStream>>;

fn lock(stream: &Shared) -> MutexGuard<'_, TcpStream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sockets of a server that are open.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last_key: u64,
    streams: HashMap<u64, Shared>,
}

impl Sockets {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().streams.len()
    }

    /// Ends all of them in both directions. Whoever reads one finds its end, whoever writes an error.
    pub(super) fn cut(&self) {
        for stream in self.lock().streams.values() {
            // One that its peer has closed already needs no cut.
            let _ = SockRef::from(&*lock(stream)).shutdown(Shutdown::Both);
        }
    }
}

/// One open socket. `held` is let go with it.
pub(super) struct Socket<T> {
    stream: Shared,
    sockets: Arc<Sockets>,
    key: u64,
    _held: T,
}

impl<T> Socket<T> {
    pub(super) fn new(stream: TcpStream, sockets: &Arc<Sockets>, held: T) -> Self {
        let stream = Arc::new(Mutex::new(stream));
        let mut open = sockets.lock();
        open.last_key += 1;
        let key = open.last_key;
        open.streams.insert(key, Arc::clone(&stream));
        drop(open);
        Self { stream, sockets: Arc::clone(sockets), key, _held: held }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer(Arc::downgrade(&self.stream))
    }
}

/// The other end of a socket, for who neither reads nor writes it.
#[derive(Debug, Default)]
pub(super) struct Peer(Weak<Mutex<TcpStream>>);

impl Peer {
    /// Whether it has gone, also when nobody has read that yet.
    pub(super) fn has_left(&self) -> bool {
        let Some(stream) = self.0.upgrade() else { return false };
        let looked = SockRef::from(&*lock(&stream)).peek(&mut [MaybeUninit::uninit()]);
        looked.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |read| read == 0)
    }
}

impl<T> Drop for Socket<T> {
    fn drop(&mut self) {
        self.sockets.lock().streams.remove(&self.key);
    }
}

impl<T: Unpin> AsyncRead for Socket<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_read(cx, buf)
    }
}

impl<T: Unpin> AsyncWrite for Socket<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.stream)).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.stream)).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.stream).is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_shutdown(cx)
    }
}
