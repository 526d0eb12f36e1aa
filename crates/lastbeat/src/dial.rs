//! The way to a connected socket, never waited for.
//!
//! An address in numbers is connected to from the courier's own thread, without blocking. A name is resolved and
//! connected to on a short-lived thread beside, since a resolver may take half a minute. Most addresses are numbers,
//! and a worker whose collector is away for a day must not start thousands of threads: they cost, and a host that
//! forks at the moment one begins has a child that hangs in the standard library.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wake::{Bell, Watched};

/// The most addresses of one name tried in one dial.
const ADDRESSES_MAX: usize = 4;

/// A dial that is under way.
#[derive(Debug)]
pub(crate) enum Dial {
    /// A thread beside resolves the name and connects.
    Beside(Arc<Answer>),
    /// The kernel connects.
    #[cfg(unix)]
    Connecting { stream: TcpStream, give_up_at: Instant },
}

type Answer = Mutex<Option<io::Result<TcpStream>>>;

impl Dial {
    /// Begins; what comes of it is there after a while, at most the limit and a resolver's time.
    pub(crate) fn begin(
        authority: &str,
        limit: Duration,
        bell: &Arc<Bell>,
        now: Instant,
    ) -> io::Result<Self> {
        #[cfg(unix)]
        if let Ok(address) = authority.parse() {
            return Ok(Self::Connecting { stream: begin_to_connect(address)?, give_up_at: now + limit });
        }
        let _ = now;
        let answer = Arc::new(Answer::default());
        let (theirs, authority, bell) = (Arc::clone(&answer), authority.to_owned(), Arc::clone(bell));
        std::thread::Builder::new().name("lastbeat-dial".into()).spawn(move || {
            let dialled = connect(&authority, limit);
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(dialled);
            bell.ring();
        })?;
        Ok(Self::Beside(answer))
    }

    /// What has come of it; none while it is under way.
    ///
    /// # Errors
    /// When no connection could be had.
    pub(crate) fn turn(&self, now: Instant) -> io::Result<Option<TcpStream>> {
        match self {
            Self::Beside(answer) => answer.lock().unwrap_or_else(PoisonError::into_inner).take().transpose(),
            #[cfg(unix)]
            Self::Connecting { stream, give_up_at } => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => ready(stream.try_clone()?).map(Some),
                    Err(_) if now < *give_up_at => Ok(None),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }

    /// The socket to sleep on.
    pub(crate) const fn watched(&self) -> Option<Watched<'_>> {
        match self {
            Self::Beside(_) => None,
            #[cfg(unix)]
            Self::Connecting { stream, .. } => Some(Watched { socket: stream, until_writable: true }),
        }
    }

    /// When it must be turned again, whatever the socket does.
    pub(crate) const fn due_at(&self) -> Option<Instant> {
        match self {
            Self::Beside(_) => None,
            #[cfg(unix)]
            Self::Connecting { give_up_at, .. } => Some(*give_up_at),
        }
    }
}

#[cfg(unix)]
fn begin_to_connect(address: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Tries the addresses of a name, all of them within the limit: a name with four dead ones must not take four
/// times as long.
fn connect(authority: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<SocketAddr> = authority.to_socket_addrs()?.take(ADDRESSES_MAX).collect();
    let share = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    for address in addresses {
        match TcpStream::connect_timeout(&address, share).and_then(ready) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ready(stream: TcpStream) -> io::Result<TcpStream> {
    // A dial to a free port of this host can meet itself; that is no collector.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(all(test, unix))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Turns a dial to its end as the courier does: whenever the socket is ready or the time has come.
    fn dialled(authority: &str, limit: Duration) -> io::Result<TcpStream> {
        let (bell, sleeper) = crate::wake::pair()?;
        let dial = Dial::begin(authority, limit, &Arc::new(bell), Instant::now())?;
        loop {
            if let Some(stream) = dial.turn(Instant::now())? {
                return Ok(stream);
            }
            sleeper.sleep(dial.watched(), limit);
        }
    }

    #[test]
    fn numbers_and_names_lead_to_the_same_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let limit = Duration::from_secs(20);
        for authority in [address.to_string(), format!("localhost:{}", address.port())] {
            let stream = dialled(&authority, limit).expect("somebody listens");
            assert_eq!(stream.peer_addr().expect("it is connected"), address);
        }
    }

    #[test]
    fn a_port_where_nobody_listens_refuses() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
        let refused = dialled(&free.to_string(), Duration::from_secs(20)).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_listener_whose_queue_is_full_is_given_up_at_the_limit() {
        let listener = full_listener().expect("a listener");
        let address = listener.local_addr().expect("its address");
        let fill: Vec<Dial> = (0..8)
            .map(|_| {
                let (bell, _) = crate::wake::pair().expect("a pair");
                Dial::begin(&address.to_string(), Duration::from_secs(20), &Arc::new(bell), Instant::now())
            })
            .collect::<Result<_, _>>()
            .expect("each begins");
        let timed_out = dialled(&address.to_string(), Duration::from_millis(100)).expect_err("no room");
        assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
        drop(fill);
    }

    /// One that takes no more than a connection or two into its queue, and accepts none.
    fn full_listener() -> io::Result<TcpListener> {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listen(&socket, 0)?;
        Ok(socket.into())
    }
}
