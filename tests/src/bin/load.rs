//! A client by hand, over HTTP, that works off small jobs as fast as it can and tells the collector of each.
//!
//! It reports its own life only. What was acknowledged as durable it prints, one line each batch
//! (`acked RUN SEQ…`), after the answer was read: an oracle outside the collector. What was not
//! acknowledged it sends again, with the same identity. The line `done` on its standard input ends it.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lastbeat_wire::envelope::VERSION;
use lastbeat_wire::reply::Receipt;
use lastbeat_wire::signal::{Agent, AgentEnd, AgentState, ClassHint, Final, Start};
use lastbeat_wire::{Envelope, Name, RunId, Signal, Source};

/// Jobs that are worked at once; each is an agent of the run.
const LANES: usize = 8;
/// How long to wait before a collector that does not answer is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

struct Client {
    url: String,
    web: ureq::Agent,
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
    fn send(&self, mut batch: Vec<Envelope>) {
        let said = Instant::now();
        while !batch.is_empty() {
            for envelope in &mut batch {
                envelope.age_ms = u64::try_from(said.elapsed().as_millis()).unwrap_or(u64::MAX);
            }
            match self.post(&batch) {
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

    fn post(&self, batch: &[Envelope]) -> Result<Receipt, ureq::Error> {
        let mut response = self.web.post(&self.url).send_json(batch)?;
        response.body_mut().read_json()
    }
}

fn agent(lane: usize, state: Option<AgentState>, end: Option<AgentEnd>) -> Signal {
    let name = Name::new(&format!("lane-{lane}")).expect("a name");
    Signal::Agent(Agent { name, state, end, progress_every_ms: None, error: None })
}

fn main() {
    let name = std::env::args().nth(1).expect("SERVICE/WORKER");
    let (service, worker) = name.split_once('/').expect("SERVICE/WORKER");
    let mut client = Client {
        url: format!("{}/v1/beats", std::env::var("LASTBEAT_COLLECTOR").expect("a collector")),
        web: ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into(),
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
