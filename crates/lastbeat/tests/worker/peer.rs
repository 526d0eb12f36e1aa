//! A collector's end of the link: a real WebSocket server on loopback that keeps what it hears.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastbeat::{Builder, Lastbeat};
use lastbeat_wire::envelope::{Batch, decode_batch};
use lastbeat_wire::reply::{Ack, Frame, Receipt, Rejected};
use lastbeat_wire::signal::{Cleanup, Final, Signal};
use lastbeat_wire::{Code, Envelope, RunId};
use tungstenite::Message;

/// How long a test waits for an event before it fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    address: SocketAddr,
    heard: Receiver<Heard>,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Which link it came by, from 1.
    pub(crate) link: usize,
    pub(crate) envelope: Envelope,
}

#[derive(Default)]
struct Shared {
    mute: AtomicBool,
    /// The type of fact that it does not take.
    refused: Mutex<Option<&'static str>>,
    sockets: Mutex<Vec<TcpStream>>,
    /// What an operator asks; said with the next receipt.
    orders: Mutex<Vec<Frame>>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let (tell, heard) = channel();
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (tell, shared) = (tell.clone(), Arc::clone(&theirs));
                std::thread::spawn(move || serve(stream, index + 1, &tell, &shared));
            }
        });
        Self { address, heard, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it hears, and answers nothing.
    pub(crate) fn mute(&self) {
        self.shared.mute.store(true, Ordering::SeqCst);
    }

    pub(crate) fn unmute(&self) {
        self.shared.mute.store(false, Ordering::SeqCst);
    }

    /// From now on it refuses facts of this type, or of none.
    pub(crate) fn refuse(&self, type_name: Option<&'static str>) {
        *self.shared.refused.lock().expect("no panic") = type_name;
    }

    /// Passes on what an operator asks, as soon as the worker is heard.
    pub(crate) fn order(&self, frame: Frame) {
        self.shared.orders.lock().expect("no panic").push(frame);
    }

    /// Cuts every open link.
    pub(crate) fn hang_up(&self) {
        for socket in self.shared.sockets.lock().expect("no panic").drain(..) {
            // One that is closed already needs no cut.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// The next thing heard that is of interest; what comes before it is passed over.
    pub(crate) fn next(&mut self, of_interest: impl Fn(&Heard) -> bool) -> Heard {
        let until = Instant::now() + LIMIT;
        loop {
            let heard = self
                .heard
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .expect("the worker says it in time");
            if of_interest(&heard) {
                return heard;
            }
        }
    }

    /// The next fact that is no beat.
    pub(crate) fn next_fact(&mut self) -> Heard {
        self.next(|heard| heard.envelope.signal.is_durable())
    }

    /// Hears until the final of this run.
    pub(crate) fn final_of(&mut self, run_id: RunId) -> Final {
        let heard = self.next(|heard| {
            heard.envelope.run_id == run_id && matches!(heard.envelope.signal, Signal::Final(_))
        });
        final_in(&heard.envelope).expect("it was asked for")
    }

    /// All facts, beats left out, up to and with the final.
    pub(crate) fn facts_to_the_final(&mut self) -> Vec<Signal> {
        let mut facts = Vec::new();
        loop {
            let signal = self.next_fact().envelope.signal;
            facts.push(signal);
            if matches!(facts.last(), Some(Signal::Final(_))) {
                return facts;
            }
        }
    }
}

pub(crate) fn final_in(envelope: &Envelope) -> Option<Final> {
    match &envelope.signal {
        Signal::Final(fin) => Some(fin.clone()),
        _ => None,
    }
}

pub(crate) fn cleanup(fin: Final) -> Cleanup {
    fin.cleanup.expect("a stop that was asked has a cleanup")
}

/// A builder with short times that talks to this collector.
pub(crate) fn builder(url: &str, spool_dir: &Path) -> Builder {
    Lastbeat::builder("trader", "main")
        .collector(url)
        .spool_dir(spool_dir.to_owned())
        .interval(Duration::from_millis(500))
        .stop_deadline(Duration::from_secs(10))
        .flush_budget(Duration::from_millis(800))
}

fn serve(stream: TcpStream, link: usize, tell: &Sender<Heard>, shared: &Shared) {
    shared.sockets.lock().expect("no panic").push(stream.try_clone().expect("a second handle"));
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let batch = decode_batch(text.as_bytes()).expect("the client speaks the wire's language");
        let items = match batch {
            Batch::One(one) => vec![*one],
            Batch::Many(many) => many,
        };
        let mut receipt = Receipt::default();
        for (index, item) in items.into_iter().enumerate() {
            let envelope = item.expect("each envelope is whole").envelope;
            if *shared.refused.lock().expect("no panic") == Some(envelope.signal.type_name()) {
                let code = Code::BadField.as_str().to_owned();
                receipt.rejected.push(Rejected { index, code, message: "the test does not take it".into() });
            } else {
                receipt.accepted += 1;
                receipt.acks.push(Ack {
                    run_id: envelope.run_id,
                    source: envelope.source,
                    seq: envelope.seq,
                    durable: envelope.signal.is_durable(),
                });
            }
            // The test may be over while the worker says goodbye.
            let _ = tell.send(Heard { link, envelope });
        }
        if shared.mute.load(Ordering::SeqCst) {
            continue;
        }
        let orders = std::mem::take(&mut *shared.orders.lock().expect("no panic"));
        for frame in [Frame::Receipt(receipt)].into_iter().chain(orders) {
            let answer = serde_json::to_string(&frame).expect("a frame is JSON");
            if socket.send(Message::text(answer)).is_err() {
                return;
            }
        }
    }
}
