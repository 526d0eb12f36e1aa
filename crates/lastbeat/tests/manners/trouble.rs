//! Collectors of every kind that a worker may meet: one that is well, and those that are not there, slow or hostile.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastbeat_wire::envelope::{Batch, decode_batch};
use lastbeat_wire::reply::{Ack, Frame, Receipt, Rejected, Request};
use lastbeat_wire::signal::Final;
use lastbeat_wire::{Code, Envelope, RunId, Signal, Source};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Bytes, Message, WebSocket};

/// What a collector does to those who dial it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All that it should.
    Up,
    /// Nobody listens.
    Down,
    /// The kernel completes the connection; nobody ever reads or answers.
    BlackHoled,
    /// Somebody accepts the connection, and never says a word.
    AcceptsAndIsMute,
    /// The answer to the handshake comes byte by byte, one a second.
    TricklingHandshake,
    /// So do the receipts.
    TricklingReceipts,
    HangsUp,
    HangsUpAfterHandshake,
    HangsUpAfterReceipt,
    /// The handshake is answered with this.
    Status(&'static str),
    /// It says to go elsewhere, where somebody counts who comes.
    Redirect,
    WrongKey,
    HeadersWithoutEnd,
    /// No frames at all.
    Noise,
    /// Whole frames that say nothing a client knows: text, binary, nested JSON, pings.
    Nonsense,
    /// A frame that claims to have an exabyte.
    HugeClaim,
    /// A frame of 10 MiB.
    HugeFrame,
    FragmentsWithoutEnd,
    /// Receipts for what nobody said, and none for what was.
    WrongAcks,
    /// Every fact is taken, and none is durable.
    NeverDurable,
    /// As many refusals as fit into a frame, all of one fact.
    ManyRefusals,
    RefusesAll,
    CannotTakeNow,
    /// It asks a run, which never said that it may be asked, to stop and to pause, at length and without end.
    AsksWithoutEnd,
}

impl Kind {
    pub(crate) const HOSTILE: [Self; 20] = [
        Self::HangsUp,
        Self::HangsUpAfterHandshake,
        Self::HangsUpAfterReceipt,
        Self::Status("503 Service Unavailable"),
        Self::Status("500 Internal Server Error"),
        Self::Status("404 Not Found"),
        Self::Status("200 OK"),
        Self::Redirect,
        Self::WrongKey,
        Self::HeadersWithoutEnd,
        Self::Noise,
        Self::Nonsense,
        Self::HugeClaim,
        Self::HugeFrame,
        Self::FragmentsWithoutEnd,
        Self::WrongAcks,
        Self::NeverDurable,
        Self::ManyRefusals,
        Self::RefusesAll,
        Self::CannotTakeNow,
    ];

    /// The four conditions that every figure is shown under, with both ways to trickle.
    pub(crate) const CONDITIONS: [Self; 5] =
        [Self::Up, Self::Down, Self::BlackHoled, Self::TricklingHandshake, Self::TricklingReceipts];
}

/// A collector of some kind.
pub(crate) struct Trouble {
    kind: Kind,
    url: String,
    /// Never accepted from.
    _hole: Option<TcpListener>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    dials: Mutex<Vec<Instant>>,
    /// How often it did what it does.
    played: AtomicUsize,
    followed: AtomicBool,
    finals: Mutex<Vec<(RunId, Final)>>,
}

impl Trouble {
    pub(crate) fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let seen = Arc::new(Seen::default());
        let mut hole = None;
        match kind {
            Kind::Down => {}
            Kind::BlackHoled => hole = Some(listener),
            _ => {
                let theirs = Arc::clone(&seen);
                let elsewhere = elsewhere(kind, &seen);
                std::thread::spawn(move || {
                    for stream in listener.incoming().map_while(Result::ok) {
                        theirs.dials.lock().expect("no panic").push(Instant::now());
                        let (seen, elsewhere) = (Arc::clone(&theirs), elsewhere.clone());
                        // It ends when the client hangs up.
                        std::thread::spawn(move || play(kind, stream, &seen, &elsewhere));
                    }
                });
            }
        }
        Self { kind, url, _hole: hole, seen }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// When it was dialled.
    pub(crate) fn dials(&self) -> Vec<Instant> {
        self.seen.dials.lock().expect("no panic").clone()
    }

    /// Waits until it has done its worst so often; where that cannot be counted, for so long.
    pub(crate) fn has_played(&self, times: usize, limit: Duration) {
        if matches!(self.kind, Kind::Down | Kind::BlackHoled) {
            std::thread::sleep(Duration::from_millis(1_500));
            return;
        }
        let until = Instant::now() + limit;
        while self.seen.played.load(Ordering::SeqCst) < times {
            assert!(Instant::now() < until, "{:?} was met {times} times", self.kind);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The final of this run, if it was acknowledged as durable.
    pub(crate) fn final_of(&self, run: RunId) -> Option<Final> {
        let finals = self.seen.finals.lock().expect("no panic");
        finals.iter().find(|(of, _)| *of == run).map(|(_, fin)| fin.clone())
    }

    pub(crate) fn has_the_final_of(&self, run: RunId) -> bool {
        self.final_of(run).is_some()
    }

    /// Somebody went where a redirect pointed.
    pub(crate) fn was_followed(&self) -> bool {
        self.seen.followed.load(Ordering::SeqCst)
    }
}

/// The place that a redirect points to.
fn elsewhere(kind: Kind, seen: &Arc<Seen>) -> String {
    if kind != Kind::Redirect {
        return String::new();
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            seen.followed.store(true, Ordering::SeqCst);
        }
    });
    format!("ws://{address}/v1/link")
}

/// Does to one who dialled what the kind does. Ends at the first write that fails: then the client has gone.
fn play(kind: Kind, mut stream: TcpStream, seen: &Seen, elsewhere: &str) -> Option<()> {
    let played = || seen.played.fetch_add(1, Ordering::SeqCst);
    match kind {
        Kind::HangsUp => {
            played();
            return Some(());
        }
        Kind::AcceptsAndIsMute => {
            played();
            // Ends when the client hangs up.
            return std::io::copy(&mut stream, &mut std::io::sink()).ok().map(|_| ());
        }
        Kind::Status(status) => return answer(stream, &format!("{status}\r\ncontent-length: 0"), seen),
        Kind::Redirect => {
            let head = format!("301 Moved Permanently\r\nlocation: {elsewhere}\r\ncontent-length: 0");
            return answer(stream, &head, seen);
        }
        Kind::WrongKey => {
            let head = "101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                        sec-websocket-accept: bm90IHlvdXIga2V5IGF0IGFsbCE=";
            return answer(stream, head, seen);
        }
        Kind::HeadersWithoutEnd => {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").ok()?;
            played();
            loop {
                stream.write_all(&b"x-more: and more and more and more\r\n".repeat(64)).ok()?;
            }
        }
        Kind::TricklingHandshake => {
            for byte in b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n".iter().cycle() {
                played();
                stream.write_all(&[*byte]).ok()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        _ => {}
    }
    let mut socket = tungstenite::accept(stream).ok()?;
    if kind == Kind::HangsUpAfterHandshake {
        played();
        return Some(());
    }
    misbehave_unasked(kind, &mut socket, seen)?;
    loop {
        let Message::Text(text) = socket.read().ok()? else { continue };
        let items = match decode_batch(text.as_bytes()).expect("the client speaks the wire's language") {
            Batch::One(one) => vec![*one],
            Batch::Many(many) => many,
        };
        let said: Vec<Envelope> = items.into_iter().map(|item| item.expect("whole").envelope).collect();
        let receipt = receipt(kind, &said);
        if kind == Kind::TricklingReceipts {
            let text = serde_json::to_string(&Frame::Receipt(receipt)).expect("it is JSON");
            return trickle(&mut socket, &text, seen);
        }
        // Counted first: who waits for it may end everything as soon as it is there.
        if receipt.acks.iter().any(|ack| ack.durable) && kind != Kind::WrongAcks {
            let finals = said.iter().filter_map(final_in);
            seen.finals.lock().expect("no panic").extend(finals);
        }
        let text = serde_json::to_string(&Frame::Receipt(receipt)).expect("it is JSON");
        socket.send(Message::text(text)).ok()?;
        played();
        if kind == Kind::HangsUpAfterReceipt {
            return Some(());
        }
    }
}

pub(crate) fn final_in(envelope: &Envelope) -> Option<(RunId, Final)> {
    if let Signal::Final(fin) = &envelope.signal { Some((envelope.run_id, fin.clone())) } else { None }
}

/// Reads the request whole, so that the answer is not lost in a reset, and answers.
fn answer(mut stream: TcpStream, head: &str, seen: &Seen) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    seen.played.fetch_add(1, Ordering::SeqCst);
    stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).ok()
}

fn trickle(socket: &mut WebSocket<TcpStream>, text: &str, seen: &Seen) -> Option<()> {
    let frame = tungstenite::protocol::frame::Frame::message(text.to_owned(), OpCode::Data(Data::Text), true);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).ok()?;
    for byte in bytes {
        seen.played.fetch_add(1, Ordering::SeqCst);
        socket.get_mut().write_all(&[byte]).ok()?;
        std::thread::sleep(Duration::from_secs(1));
    }
    None
}

/// What some do as soon as a link is open, whatever the client says.
fn misbehave_unasked(kind: Kind, socket: &mut WebSocket<TcpStream>, seen: &Seen) -> Option<()> {
    let played = || seen.played.fetch_add(1, Ordering::SeqCst);
    match kind {
        Kind::Noise => {
            played();
            socket.get_mut().write_all(&[0xff; 4096]).ok()?;
        }
        Kind::HugeClaim => {
            played();
            socket.get_mut().write_all(&[0x81, 127, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).ok()?;
            loop {
                socket.get_mut().write_all(&[b'x'; 4096]).ok()?;
            }
        }
        Kind::HugeFrame => {
            played();
            socket.send(Message::text("x".repeat(10 * 1024 * 1024))).ok()?;
        }
        Kind::FragmentsWithoutEnd => {
            played();
            // Text that does not end, in pieces of a kilobyte.
            let mut piece = vec![0x01, 126, 0x04, 0x00];
            piece.extend_from_slice(&[b'x'; 1024]);
            loop {
                socket.get_mut().write_all(&piece).ok()?;
                piece[0] = 0x00;
            }
        }
        Kind::Nonsense => {
            let nested = "[".repeat(20_000);
            let unknown = r#"{"type":"newer","than":"we"}"#.to_owned();
            for text in ["", "\u{0}", "{}", "null", "[1,2", &nested, &unknown] {
                socket.send(Message::text(text)).ok()?;
            }
            socket.send(Message::Binary(Bytes::from(vec![0; 60_000]))).ok()?;
            for _ in 0..1_000 {
                socket.send(Message::Ping(Bytes::from(vec![1; 100]))).ok()?;
                played();
            }
        }
        Kind::AsksWithoutEnd => {
            let Message::Text(text) = socket.read().ok()? else { return None };
            let run_id = match decode_batch(text.as_bytes()).ok()? {
                Batch::One(one) => (*one).ok()?.envelope.run_id,
                Batch::Many(many) => many.into_iter().next()?.ok()?.envelope.run_id,
            };
            let why = Some("w".repeat(30_000));
            let request = Request { run_id, who: why.clone(), why, force: true };
            let asks = [Frame::Stop(request.clone()), Frame::Pause(request)]
                .map(|frame| serde_json::to_string(&frame).expect("it is JSON"));
            for ask in asks.iter().cycle() {
                socket.send(Message::text(ask.clone())).ok()?;
                played();
            }
        }
        _ => {}
    }
    Some(())
}

fn receipt(kind: Kind, said: &[Envelope]) -> Receipt {
    let acks = |durable| said.iter().map(move |it| ack(it.run_id, it.source, it.seq, durable)).collect();
    let refusals = |code: Code| {
        let refused = |index| Rejected { index, code: code.as_str().into(), message: "no".into() };
        (0..said.len()).map(refused).collect::<Vec<_>>()
    };
    match kind {
        Kind::WrongAcks => {
            let (run, source) = (said[0].run_id, said[0].source);
            let mut acks: Vec<Ack> =
                (0..100).map(|n| ack(RunId::from_u128(n), source, u64::MAX - 7, true)).collect();
            acks.extend((1_000..1_100).map(|seq| ack(run, source, seq, true)));
            acks.extend((1..100).map(|seq| ack(run, Source::Witness, seq, true)));
            let rejected = [usize::MAX, 1_000, said.len()].map(|index| Rejected {
                index,
                code: "no such code".into(),
                message: "m".repeat(4_000),
            });
            Receipt { acks, accepted: usize::MAX, rejected: rejected.into() }
        }
        Kind::NeverDurable => Receipt { acks: acks(false), accepted: said.len(), rejected: Vec::new() },
        Kind::ManyRefusals => {
            let refused = Rejected { index: 0, code: String::new(), message: String::new() };
            Receipt { acks: Vec::new(), accepted: 0, rejected: vec![refused; 1_700] }
        }
        Kind::RefusesAll => Receipt { acks: Vec::new(), accepted: 0, rejected: refusals(Code::BadField) },
        Kind::CannotTakeNow => {
            let code = Code::ALL.iter().find(|code| code.status() >= 500).expect("there is one");
            Receipt { acks: Vec::new(), accepted: 0, rejected: refusals(*code) }
        }
        _ => Receipt { acks: acks(true), accepted: said.len(), rejected: Vec::new() },
    }
}

const fn ack(run_id: RunId, source: Source, seq: u64, durable: bool) -> Ack {
    Ack { run_id, source, seq, durable }
}
