//! `lastbeat serve`: the collector, with no configuration.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lastbeat::witness::sender::{Asker, ignored_signals};
use lastbeat_collector::Config;
use tokio::sync::oneshot;
use tracing::info;

use crate::args::{DEFAULT_LISTEN, Serve};
use crate::commands::{kept_promise, phrase, settings};
use crate::failure::{Answer, Failure};
use crate::render::{self, Colour};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Signals within this time of the first are one request; a later one ends us at once.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// How the first line begins; the demo and scripts read the address behind it.
pub(crate) const AT: &str = "lastbeat is at ";

pub(crate) fn serve(typed: &Serve) -> Result<Answer, Failure> {
    let settings = settings()?;
    refuse_unprotected(typed)?;
    let data_dir = match &typed.data_dir {
        Some(dir) => dir.clone(),
        None => default_data_dir(|name| std::env::var_os(name).map(PathBuf::from))?,
    };
    let listener = listen(typed.listen)?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed("cannot read the port that was bound", error))?;
    log_to_stderr();
    let cannot = |error: std::io::Error| Failure::failed("cannot start the collector", error);
    let shutdown = asked_to_stop(typed.until_stdin_closes).map_err(cannot)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    let config = Config {
        back_by: kept_promise(typed.back_by),
        scale: settings.scale,
        ..Config::new(&data_dir, settings.spool_dir)
    };
    let elsewhere = if address.to_string() == DEFAULT_LISTEN {
        String::new()
    } else {
        format!("LASTBEAT_COLLECTOR=http://{address} ")
    };
    // Only now is it true: a journal that cannot be opened leaves an address where nobody is.
    let opened = || {
        render::line(&format!("{AT}http://{address}"));
        render::line(&format!("try: {elsewhere}lastbeat run --worker shop/api -- sleep 60"));
    };
    let asked = async {
        // A sender that is gone without a word has no thread to hear signals with: stop as well.
        let _ = shutdown.await;
    };
    runtime
        .block_on(lastbeat_collector::run_then(config, listener, asked, opened))
        .map_err(|error| cannot_serve(&error, &data_dir))?;
    Ok(Answer::Yes)
}

/// Beyond loopback anybody could report and read: refused unless told so.
fn refuse_unprotected(typed: &Serve) -> Result<(), Failure> {
    let loopback = typed.listen.ip().to_canonical().is_loopback();
    if loopback {
        return Ok(());
    }
    if typed.insecure_listen {
        render::warning(&format!("{} is open to whoever reaches it: nothing protects it", typed.listen));
        return Ok(());
    }
    let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), typed.listen.port());
    Err(Failure::usage(
        format!("refused to listen on {}", typed.listen),
        "beyond loopback nothing protects the collector: anybody could report endings and read them",
    )
    .hint(format!(
        "lastbeat serve --listen {local}   # behind a tunnel or a proxy; or add --insecure-listen"
    )))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let what = format!("cannot listen on {address}");
        let free = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(0));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => Failure::failed(what, held_by(holder::of_port(address.port())))
                .hint(format!("lastbeat serve --listen {free}")),
            std::io::ErrorKind::PermissionDenied => Failure::failed(what, "ports below 1024 belong to root")
                .hint(format!("lastbeat serve --listen {DEFAULT_LISTEN}")),
            std::io::ErrorKind::AddrNotAvailable => Failure::failed(what, "this machine has no such address")
                .hint(format!("lastbeat serve --listen {DEFAULT_LISTEN}")),
            _ => Failure::failed(what, error),
        }
    })
}

fn held_by(holder: Option<holder::Holder>) -> String {
    match holder {
        Some(holder) => format!("the port is held by {} (pid {})", holder.comm, holder.pid),
        None => "the port is held by a process that only root may look at".into(),
    }
}

fn default_data_dir(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/lastbeat".into());
    }
    let absolute = |name: &str| lookup(name).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("lastbeat"))
        .ok_or_else(|| {
            Failure::usage("where shall the journal live?", "neither XDG_STATE_HOME nor HOME is set")
                .hint("lastbeat serve --data-dir DIR")
        })
}

fn cannot_serve(error: &lastbeat_collector::RunError, data_dir: &Path) -> Failure {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        why = format!("{why}: {deeper}");
        source = deeper.source();
    }
    Failure::failed(format!("cannot serve from {}", data_dir.display()), why)
        .hint(format!("ls -ld {}; or name another with --data-dir", data_dir.display()))
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LASTBEAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second subscriber in one process cannot be; there is none before this.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(Colour::of_stderr() == Colour::Ansi)
        .with_writer(std::io::stderr)
        .try_init();
}

/// What the second request is for: no goodbye, no last commit. What was acknowledged is on disk already.
#[allow(clippy::disallowed_methods, reason = "skipping everything that is left is what was asked for")]
fn end_at_once(signal: i32) -> ! {
    std::process::exit(128 + signal)
}

/// Resolves when a stop is asked.
fn asked_to_stop(until_stdin_closes: bool) -> std::io::Result<oneshot::Receiver<()>> {
    let (ask, asked) = oneshot::channel();
    let ask = std::sync::Arc::new(std::sync::Mutex::new(Some(ask)));
    let stop = move || {
        if let Some(ask) = ask.lock().ok().and_then(|mut ask| ask.take()) {
            // The collector may have ended by itself.
            let _ = ask.send(());
        }
    };
    // One that was ignored when we were started stays so: `nohup`, and a script's background jobs, which a
    // Ctrl+C meant for the script shall not reach.
    let ignored = ignored_signals();
    let wanted: Vec<i32> =
        [SIGINT, SIGTERM].into_iter().filter(|signal| !ignored.contains(*signal)).collect();
    let asker = Asker::listen(&wanted)?;
    let by_signal = stop.clone();
    std::thread::Builder::new().name("lastbeat-signals".into()).spawn(move || {
        let mut first: Option<Instant> = None;
        for heard in asker {
            match first {
                None => {
                    first = Some(Instant::now());
                    let by = heard.sender.as_ref().map(phrase::sender_name);
                    info!(signal = heard.signal, kind = %heard.kind, by, "asked to stop");
                    by_signal();
                }
                Some(at) if at.elapsed() >= ONE_REQUEST => end_at_once(heard.number),
                Some(_) => {}
            }
        }
    })?;
    if until_stdin_closes {
        std::thread::Builder::new().name("lastbeat-stdin".into()).spawn(move || {
            // Whatever is said on it, only its end counts.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop();
        })?;
    }
    Ok(asked)
}

/// Who holds a port, from `/proc`.
mod holder {
    /// A process.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Holder {
        pub(super) pid: u32,
        pub(super) comm: String,
    }

    /// The most open files that are looked at before the search is given up.
    const DESCRIPTORS_MAX: usize = 1_000_000;

    /// The process that listens on a TCP port; none when it cannot be seen.
    pub(super) fn of_port(port: u16) -> Option<Holder> {
        let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .flat_map(|table| listening_inodes(&table, port))
            .collect();
        let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
        if sockets.is_empty() {
            return None;
        }
        let mut looked_at = 0;
        for process in std::fs::read_dir("/proc").ok()?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Only root sees into another user's process.
            let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
                continue;
            };
            for descriptor in descriptors.flatten() {
                looked_at += 1;
                if looked_at > DESCRIPTORS_MAX {
                    return None;
                }
                let Ok(target) = std::fs::read_link(descriptor.path()) else {
                    continue;
                };
                if sockets.iter().any(|socket| target.as_os_str() == socket.as_str()) {
                    let comm = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                    return Some(Holder { pid, comm: comm.trim().to_owned() });
                }
            }
        }
        None
    }

    /// Inodes of the sockets in state LISTEN (0A) on a port. The port is hexadecimal behind the colon of
    /// the local address.
    fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
        table
            .lines()
            .skip(1)
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                let local = fields.get(1)?.rsplit_once(':')?.1;
                let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
                listens.then(|| fields.get(9)?.parse().ok())?
            })
            .collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_holder_of_a_port_is_found() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            assert_eq!(of_port(port).map(|holder| holder.pid), Some(std::process::id()));
        }

        #[test]
        fn a_connected_socket_of_the_same_port_does_not_hold_it() {
            let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                 0: 0100007F:149E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
                 1: 0100007F:149E 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
            assert_eq!(listening_inodes(table, 5278), vec![4711]);
            assert_eq!(listening_inodes(table, 5279), Vec::<u64>::new());
        }
    }
}
