//! The link: one WebSocket to the collector, dialled again for ever, never waited for.
//!
//! A small machine that the courier's thread turns: down, dialling, shaking hands, open. The socket never
//! blocks; see `dial` for how it comes to be.
//!
//! Invariant: one message waits to be written at most, and a bounded number waits for its receipt.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastbeat_wire::reply::{Bye, Frame, Receipt, Request};
use lastbeat_wire::{Code, FactId};
use tungstenite::client::client_with_config;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::config::{Address, Config};
use crate::dial::Dial;
use crate::wake::{Bell, Watched};

/// The most messages that wait for a receipt.
const IN_FLIGHT_MAX: usize = 16;
/// The most frames read before anything else gets its turn.
const READS_PER_TURN: usize = 64;
/// The largest frame taken from a collector; a receipt that refuses all of a full outbox has about 30 KiB.
const FRAME_MAX_BYTES: usize = 64 * 1024;
/// More than a message and the pongs beside it.
const WRITE_BUFFER_MAX_BYTES: usize = 512 * 1024;
/// The first pause after a link broke; each further one is twice as long.
const REDIAL_FIRST: Duration = Duration::from_millis(50);
/// The pause between dials while a flush counts its budget.
const REDIAL_HURRIED: Duration = Duration::from_millis(100);

/// What a turn brought.
#[derive(Debug)]
pub(crate) enum Event {
    /// A new link: the start and all that is not safe must be sent again.
    Opened,
    /// The collector took a fact.
    Acked(FactId, bool),
    /// The collector will never take a fact.
    Refused(FactId, String),
    /// The collector goes.
    Bye(Bye),
    /// An operator asks something of a run.
    Asked(Asking, Request),
    /// The link, or the attempt to open one, is over.
    Closed(String),
}

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    Stop,
    Pause,
    Resume,
}

#[derive(Debug)]
enum Line {
    Down { redial_at: Instant },
    Dialling(Dial),
    Shaking { middle: MidHandshake<ClientHandshake<TcpStream>>, give_up_at: Instant },
    Open(Box<Open>),
}

#[derive(Debug)]
struct Open {
    socket: WebSocket<TcpStream>,
    since: Instant,
    awaiting: VecDeque<Sent>,
    write_pending: bool,
    read_again: bool,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    ids: Vec<FactId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    address: Address,
    patience: Duration,
    redial_max: Duration,
    bell: Arc<Bell>,
    line: Line,
    dialled_at: Instant,
    failures: u32,
}

impl Link {
    pub(crate) fn new(address: Address, config: &Config, bell: Arc<Bell>, now: Instant) -> Self {
        Self {
            address,
            patience: config.receipt_patience(),
            redial_max: config.redial_max(),
            bell,
            line: Line::Down { redial_at: now },
            dialled_at: now,
            failures: 0,
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.line, Line::Open(_))
    }

    /// Whether a message can be handed over now.
    pub(crate) fn can_send(&self) -> bool {
        matches!(&self.line, Line::Open(open) if !open.write_pending && open.awaiting.len() < IN_FLIGHT_MAX)
    }

    /// The socket to sleep on.
    pub(crate) fn watched(&self) -> Option<Watched<'_>> {
        match &self.line {
            Line::Down { .. } => None,
            Line::Dialling(dial) => dial.watched(),
            Line::Shaking { middle, .. } => {
                Some(Watched { socket: middle.get_ref().get_ref(), until_writable: false })
            }
            Line::Open(open) => {
                Some(Watched { socket: open.socket.get_ref(), until_writable: open.write_pending })
            }
        }
    }

    /// When it must be turned again, whatever the socket does.
    pub(crate) fn due_at(&self, now: Instant) -> Option<Instant> {
        match &self.line {
            Line::Down { redial_at } => Some(*redial_at),
            Line::Dialling(dial) => dial.due_at(),
            Line::Shaking { give_up_at, .. } => Some(*give_up_at),
            Line::Open(open) if open.read_again => Some(now),
            Line::Open(open) => open.awaiting.front().map(|sent| sent.at + self.patience),
        }
    }

    /// While a flush counts its budget, a long pause between dials would eat all of it.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Line::Down { redial_at } = &mut self.line {
            *redial_at = (*redial_at).min(now + REDIAL_HURRIED);
        }
    }

    /// Gives the line up as it is, to dial again after a pause.
    pub(crate) fn break_off(&mut self, now: Instant) {
        self.line = Line::Down { redial_at: now + self.pause() };
    }

    /// Says goodbye to the collector as far as the socket takes it at once.
    pub(crate) fn close(&mut self) {
        if let Line::Open(open) = &mut self.line {
            let _ = open.socket.close(None);
            let _ = open.socket.flush();
        }
    }

    /// Hands over one message. An error shows at the next turn.
    pub(crate) fn send(&mut self, ids: Vec<FactId>, text: String, now: Instant) {
        if let Line::Open(open) = &mut self.line {
            open.awaiting.push_back(Sent { at: now, ids });
            // A message that could not be written whole stays in the socket's buffer; `advance` flushes it.
            let _ = open.socket.write(Message::text(text));
            open.write_pending = true;
            open.read_again = true;
        }
    }

    /// Does what can be done without waiting.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let line = std::mem::replace(&mut self.line, Line::Down { redial_at: now });
        let was_open = matches!(line, Line::Open(_));
        match self.step(line, now, &mut events) {
            Ok(line) => self.line = line,
            Err(why) => {
                let pause = self.pause();
                // The time that an attempt took in vain is part of the pause: a collector that takes every dial and
                // answers none must not be tried more rarely than one that is not there.
                let redial_at = if was_open { now + pause } else { self.dialled_at + pause };
                self.line = Line::Down { redial_at: redial_at.max(now + REDIAL_FIRST) };
                events.push(Event::Closed(why));
            }
        }
        events
    }

    fn step(&mut self, line: Line, now: Instant, events: &mut Vec<Event>) -> Result<Line, String> {
        match line {
            Line::Down { redial_at } if now < redial_at => Ok(Line::Down { redial_at }),
            Line::Down { .. } => self.dial(now),
            Line::Dialling(dial) => match dial.turn(now) {
                Ok(None) => Ok(Line::Dialling(dial)),
                Err(error) => Err(format!("dial {}: {error}", self.address.authority)),
                Ok(Some(stream)) => {
                    let begun = client_with_config(self.address.link_url.as_str(), stream, Some(limits()));
                    self.shaken(begun, now, now + self.patience, events)
                }
            },
            Line::Shaking { give_up_at, .. } if now >= give_up_at => {
                Err("the collector did not answer the handshake".into())
            }
            Line::Shaking { middle, give_up_at } => self.shaken(middle.handshake(), now, give_up_at, events),
            Line::Open(mut open) => {
                self.advance(&mut open, now, events)?;
                Ok(Line::Open(open))
            }
        }
    }

    fn shaken(
        &self,
        result: Result<
            (WebSocket<TcpStream>, tungstenite::handshake::client::Response),
            HandshakeError<ClientHandshake<TcpStream>>,
        >,
        now: Instant,
        give_up_at: Instant,
        events: &mut Vec<Event>,
    ) -> Result<Line, String> {
        match result {
            Ok((socket, _)) => {
                events.push(Event::Opened);
                Ok(Line::Open(Box::new(Open {
                    socket,
                    since: now,
                    awaiting: VecDeque::new(),
                    write_pending: false,
                    read_again: true,
                })))
            }
            Err(HandshakeError::Interrupted(middle)) => Ok(Line::Shaking { middle, give_up_at }),
            Err(HandshakeError::Failure(error)) => {
                Err(format!("handshake with {}: {error}", self.address.authority))
            }
        }
    }

    /// Writes what waits, reads what came, and counts the time of the oldest message without a receipt.
    /// Reading comes first: after a pause of this process the receipts lie ready. What a frame brought is
    /// settled before the next one is read, so that no collector decides how much is kept here at once.
    fn advance(&mut self, open: &mut Open, now: Instant, events: &mut Vec<Event>) -> Result<(), String> {
        if open.write_pending {
            match open.socket.flush() {
                Ok(()) => open.write_pending = false,
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(format!("write: {error}")),
            }
        }
        open.read_again = true;
        for _ in 0..READS_PER_TURN {
            if !events.is_empty() {
                break;
            }
            match open.socket.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(text.as_str()) {
                    Ok(Frame::Receipt(receipt)) => self.receipt(open, &receipt, now, events)?,
                    Ok(Frame::Bye(bye)) => events.push(Event::Bye(bye)),
                    Ok(Frame::Stop(request)) => events.push(Event::Asked(Asking::Stop, request)),
                    Ok(Frame::Pause(request)) => events.push(Event::Asked(Asking::Pause, request)),
                    Ok(Frame::Resume(request)) => events.push(Event::Asked(Asking::Resume, request)),
                    // A newer collector may say what this version does not know.
                    Err(_) => {}
                },
                Ok(Message::Close(_)) => return Err("the collector closed the link".into()),
                Ok(_) => {}
                Err(error) if would_block(&error) => {
                    open.read_again = false;
                    break;
                }
                Err(error) => return Err(format!("read: {error}")),
            }
        }
        match open.awaiting.front() {
            // Only once all that lies ready is read: two receipts may, and behind them what an operator asks.
            Some(sent) if !open.read_again && now.saturating_duration_since(sent.at) >= self.patience => {
                Err(format!("no receipt for {} ms", self.patience.as_millis()))
            }
            _ => Ok(()),
        }
    }

    /// Of a receipt counts what it says of the message it answers, and no more.
    fn receipt(
        &mut self,
        open: &mut Open,
        receipt: &Receipt,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), String> {
        let Some(sent) = open.awaiting.pop_front() else { return Ok(()) };
        // A link that breaks again and again right after its first receipt has come to nothing: each dial of it
        // must wait as long as one that nobody answers.
        if receipt.accepted > 0 && now.saturating_duration_since(open.since) >= self.redial_max {
            self.failures = 0;
        }
        let items = sent.ids.len();
        let acks = receipt.acks.iter().filter(|ack| sent.ids.contains(&ack.id()));
        events.extend(acks.take(items).map(|ack| Event::Acked(ack.id(), ack.durable)));
        for rejected in receipt.rejected.iter().take(items) {
            let code = Code::ALL.iter().find(|code| code.as_str() == rejected.code);
            if code.is_some_and(|code| code.status() >= 500) {
                // Not taken now, to be sent again later: that is what a new link does, after its pause.
                return Err(format!("the collector cannot take facts now ({})", rejected.code));
            }
            if let Some(id) = sent.ids.get(rejected.index) {
                let why = format!("{}: {}", rejected.code, rejected.message);
                events.push(Event::Refused(*id, crate::wait::bounded(&why)));
            }
        }
        Ok(())
    }

    fn dial(&mut self, now: Instant) -> Result<Line, String> {
        self.dialled_at = now;
        let limit = self.patience.min(self.redial_max.max(REDIAL_HURRIED));
        Dial::begin(&self.address.authority, limit, &self.bell, now)
            .map(Line::Dialling)
            .map_err(|error| format!("dial {}: {error}", self.address.authority))
    }

    fn pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        crate::backoff::pause(REDIAL_FIRST, self.redial_max, failures)
    }
}

fn would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
        .max_message_size(Some(FRAME_MAX_BYTES))
        .max_frame_size(Some(FRAME_MAX_BYTES))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use lastbeat_wire::reply::Ack;
    use lastbeat_wire::{RunId, Source};

    use super::*;

    /// No event of these tests takes longer.
    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn after_a_pause_all_that_lies_ready_is_read_before_a_message_counts_as_unanswered() {
        let run_id = RunId::mint();
        let ids = [1, 2].map(|seq| FactId { run_id, source: Source::Own, seq });
        let receipt = |id: FactId| {
            let ack = Ack { run_id, source: Source::Own, seq: id.seq, durable: true };
            Frame::Receipt(Receipt { acks: vec![ack], accepted: 1, rejected: Vec::new() })
        };
        let request = Request { run_id, who: None, why: None, force: false };
        let frames = [receipt(ids[0]), receipt(ids[1]), Frame::Stop(request.clone())];
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (answered, was_answered) = channel();
        let collector = std::thread::spawn(move || {
            let mut socket = tungstenite::accept(listener.accept().expect("a client").0).expect("a link");
            for _ in ids {
                socket.read().expect("a message");
            }
            let mut bytes = 0;
            for frame in frames {
                let text = serde_json::to_string(&frame).expect("a frame");
                // Two bytes of head, and two more for a length from 126 on.
                bytes += text.len() + if text.len() < 126 { 2 } else { 4 };
                socket.send(Message::text(text)).expect("it is taken");
            }
            answered.send(bytes).expect("the test waits");
            socket
        });

        let (config, _) = Config::read(|_| None);
        let (bell, _sleeper) = crate::wake::pair().expect("a pair");
        let address = Address::parse("test", &url).expect("an address");
        let begun = Instant::now();
        let mut link = Link::new(address, &config, Arc::new(bell), begun);
        while !link.is_open() {
            assert!(begun.elapsed() < LIMIT, "{link:?}");
            link.turn(Instant::now());
            std::thread::yield_now();
        }
        let sent_at = Instant::now();
        for id in ids {
            link.send(vec![id], "[]".into(), sent_at);
        }
        let bytes = was_answered.recv_timeout(LIMIT).expect("both were read");
        let mut ready = vec![0; 2 * bytes];
        while link.watched().map_or(0, |it| it.socket.peek(&mut ready).unwrap_or(0)) < bytes {
            assert!(begun.elapsed() < LIMIT, "the answers never came");
        }

        // The process was held for a long time meanwhile.
        let later = sent_at + 10 * config.receipt_patience();
        let events: Vec<Event> = (0..4).flat_map(|_| link.turn(later)).collect();
        let acked = |event: &Event, id| matches!(event, Event::Acked(acked, true) if *acked == id);
        assert!(acked(&events[0], ids[0]) && acked(&events[1], ids[1]), "{events:?}");
        assert!(matches!(&events[2], Event::Asked(Asking::Stop, asked) if *asked == request), "{events:?}");
        assert!(events.len() == 3 && link.is_open(), "{events:?}");
        drop(collector.join().expect("it answered"));
    }

    #[test]
    fn pauses_grow_to_the_limit_and_never_beyond() {
        let (mut config, _) = Config::read(|_| None);
        config.set_interval(Duration::from_secs(5));
        let (bell, _sleeper) = crate::wake::pair().expect("a pair");
        let address = Address::parse("test", "http://127.0.0.1:1").expect("an address");
        let mut link = Link::new(address, &config, Arc::new(bell), Instant::now());
        let pauses: Vec<Duration> = (0..20).map(|_| link.pause()).collect();
        assert!(pauses[0] <= REDIAL_FIRST);
        assert!(pauses.iter().all(|pause| *pause <= config.redial_max()), "{pauses:?}");
        assert!(pauses[19] >= config.redial_max() / 2, "{pauses:?}");
    }
}
