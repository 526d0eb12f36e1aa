//! How the I/O thread sleeps: until its socket is ready, somebody rings, or a time has come.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// Rings the sleeping thread; never blocks.
#[derive(Debug)]
pub(crate) struct Bell {
    #[cfg(unix)]
    near: std::os::unix::net::UnixStream,
}

/// What the I/O thread sleeps on.
#[derive(Debug)]
pub(crate) struct Sleeper {
    #[cfg(unix)]
    far: std::os::unix::net::UnixStream,
}

/// A socket to wake for, besides the bell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) socket: &'a TcpStream,
    /// Bytes wait to be written.
    pub(crate) until_writable: bool,
}

#[cfg(unix)]
pub(crate) fn pair() -> io::Result<(Bell, Sleeper)> {
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    Ok((Bell { near }, Sleeper { far }))
}

#[cfg(unix)]
impl Bell {
    pub(crate) fn ring(&self) {
        // A full buffer means that it rings already.
        let _ = io::Write::write(&mut &self.near, &[1]);
    }
}

#[cfg(unix)]
impl Sleeper {
    /// Sleeps. Waking too early is harmless; the loop looks at everything again.
    pub(crate) fn sleep(&self, watched: Option<Watched<'_>>, at_most: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let mut polled = vec![PollFd::new(&self.far, PollFlags::IN)];
        if let Some(watched) = watched {
            let write = if watched.until_writable { PollFlags::OUT } else { PollFlags::empty() };
            polled.push(PollFd::new(watched.socket, PollFlags::IN | write));
        }
        if poll(&mut polled, Some(&limit)).is_err_and(|error| error != rustix::io::Errno::INTR) {
            // The kernel lacks memory for a poll: without this pause the loop would spin.
            std::thread::sleep(at_most.min(Duration::from_millis(50)));
        }
        let mut rung = [0; 64];
        while io::Read::read(&mut &self.far, &mut rung).is_ok_and(|bytes| bytes == rung.len()) {}
    }
}

/// Elsewhere the thread looks around every 20 ms.
#[cfg(not(unix))]
pub(crate) fn pair() -> io::Result<(Bell, Sleeper)> {
    Ok((Bell {}, Sleeper {}))
}

#[cfg(not(unix))]
impl Bell {
    pub(crate) fn ring(&self) {}
}

#[cfg(not(unix))]
impl Sleeper {
    pub(crate) fn sleep(&self, watched: Option<Watched<'_>>, at_most: Duration) {
        let _ = watched.map(|watched| (watched.socket, watched.until_writable));
        std::thread::sleep(at_most.min(Duration::from_millis(20)));
    }
}
