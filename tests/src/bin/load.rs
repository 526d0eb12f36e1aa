//! A client by hand, over HTTP or (`--link`) on the link, that works off small jobs as fast as it can and tells the collector of each.
//!
//! It reports its own life only. What was acknowledged as durable it prints, one line each batch
//! (`acked RUN SEQ…`), after the answer was read: an oracle outside the collector. What was not
//! acknowledged it sends again, with the same identity. The line `done` on its standard input ends it.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lastbeat_wire::envelope::VERSION;
use lastbeat_wire::reply::{Frame, Receipt};
use lastbeat_wire::signal::{Agent, AgentEnd, AgentState, ClassHint, Final, Start};
use lastbeat_wire::{Envelope, Name, RunId, Signal, Source};
use tungstenite::{Message, WebSocket};

/// Jobs that are worked at once; each is an agent of the run.
const LANES: usize = 8;
/// How long to wait before a collector that does not answer is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// No answer is waited for longer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How the collector is spoken to.
enum Way {
    Posts { url: String, web: ureq::Agent },
    Link { address: String, open: Option<Box<WebSocket<TcpStream>>> },
}

impl Way {
    fn deliver(&mut self, batch: &[Envelope]) -> Result<Receipt, Box<dyn Error>> {
        match self {
            Self::Posts { url, web } => Ok(web.post(&*url).send_json(batch)?.body_mut().read_json()?),
            Self::Link { address, open } => {
                // A link that failed once is not spoken on again.
                let mut link = match open.take() {
                    Some(link) => link,
                    None => dial(address)?,
                };
                link.send(Message::text(serde_json::to_string(batch)?))?;
                loop {
                    let Message::Text(text) = link.read()? else { continue };
                    match serde_json::from_str(&text)? {
                        Frame::Receipt(receipt) => {
                            *open = Some(link);
                            return Ok(receipt);
                        }
                        Frame::Bye(bye) => return Err(format!("{bye:?}").into()),
                        Frame::Stop(_) | Frame::Pause(_) | Frame::Resume(_) => {}
                    }
                }
            }
        }
    }
}

fn dial(address: &str) -> Result<Box<WebSocket<TcpStream>>, Box<dyn Error>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let (link, _) = tungstenite::client(format!("ws://{address}/v1/link"), stream)?;
    Ok(Box::new(link))
}

struct Client {
    way: Way,
    run_id: RunId,
    service: Name,
    worker: Name,
    seq: u64,
}

impl Client {
    fn put(&mut self, signal: Signal) -> Envelope {
        self.seq += 1;
        Envelope {
            v: VERSION,
            run_id: self.run_id,
            source: Source::Own,
            seq: self.seq,
            service: self.service.clone(),
            worker: self.worker.clone(),
            age_ms: 0,
            signal,
        }
    }

    /// Sends until all of it is taken.
    fn send(&mut self, mut batch: Vec<Envelope>) {
        let said = Instant::now();
        while !batch.is_empty() {
            for envelope in &mut batch {
                envelope.age_ms = u64::try_from(said.elapsed().as_millis()).unwrap_or(u64::MAX);
            }
            match self.way.deliver(&batch) {
                Ok(receipt) => {
                    let durable: Vec<u64> =
                        receipt.acks.iter().filter(|ack| ack.durable).map(|ack| ack.seq).collect();
                    let seqs: Vec<String> = durable.iter().map(u64::to_string).collect();
                    // One write a line: a reader never sees half of one.
                    let line = format!("acked {} {}\n", self.run_id, seqs.join(" "));
                    std::io::stdout().write_all(line.as_bytes()).expect("the test reads along");
                    assert_eq!(receipt.rejected, [], "nothing we say is wrong");
                    batch.retain(|envelope| !durable.contains(&envelope.seq));
                }
                Err(_) => thread::sleep(AGAIN_AFTER),
            }
        }
    }
}

fn agent(lane: usize, state: Option<AgentState>, end: Option<AgentEnd>) -> Signal {
    let name = Name::new(&format!("lane-{lane}")).expect("a name");
    Signal::Agent(Agent { name, state, end, progress_every_ms: None, error: None })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("SERVICE/WORKER");
    let collector = std::env::var("LASTBEAT_COLLECTOR").expect("a collector");
    let way = match arguments.next().as_deref() {
        None => Way::Posts {
            url: format!("{collector}/v1/beats"),
            web: ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).build().into(),
        },
        Some("--link") => {
            Way::Link { address: collector.strip_prefix("http://").expect("no TLS").into(), open: None }
        }
        Some(other) => panic!("no such flag: {other}"),
    };
    let (service, worker) = name.split_once('/').expect("SERVICE/WORKER");
    let mut client = Client {
        way,
        run_id: RunId::mint(),
        service: Name::new(service).expect("a name"),
        worker: Name::new(worker).expect("a name"),
        seq: 0,
    };
    let done = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&done);
    thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).find(|line| line == "done");
        asked.store(true, Ordering::Relaxed);
    });

    let start = Start { pid: Some(std::process::id()), ..Start::default() };
    let hello = vec![client.put(Signal::Start(start)), client.put(Signal::Ready)];
    client.send(hello);
    let mut job: usize = 0;
    while !done.load(Ordering::Relaxed) {
        let mut batch = Vec::new();
        for lane in 0..=job % LANES {
            batch.push(client.put(agent(lane, Some(AgentState::Running), None)));
            // The job: small, but work.
            std::hint::black_box((0..1_000_u64).fold(client.seq, |sum, n| sum.rotate_left(7) ^ n));
            batch.push(client.put(agent(lane, None, Some(AgentEnd::Completed))));
        }
        client.send(batch);
        job += 1;
    }
    let last = Final { class_hint: Some(ClassHint::Completed), ..Final::default() };
    let last = client.put(Signal::Final(last));
    client.send(vec![last]);
}
