//! A worker that plays one row of the table of endings, as far as its own client decides it.
//!
//! `lastbeat-test-actor --name=SERVICE/WORKER PART`. It prints `ready PID`, plays its part when it is told to stop, and
//! for some parts at the line `go` on its standard input.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lastbeat::{Agent, BoxError, Lastbeat, Plan, Step};

const LONG: Duration = Duration::from_secs(20);

/// Who plays what.
fn play(part: &str, worker: &Lastbeat) -> Option<Plan> {
    let flush = || Plan::new().step_blocking("flush", LONG, |_| Ok(()));
    Some(match part {
        "clean" => flush(),
        // Row 20: longer than the stop deadline, and it moves.
        "drain" => Plan::new().step_blocking("drain", LONG, |step| {
            step.total(60);
            for _ in 0..60 {
                thread::sleep(Duration::from_millis(50));
                step.done(1);
                let _ = step.extend(Duration::from_millis(200));
            }
            Ok(())
        }),
        // Row 23.
        "partial" => Plan::new().step_blocking("orders", LONG, |step| {
            step.items(vec![15, 16, 17], |order| format!("order {order}"))
                .one_by_one(|order| if *order == 17 { Err("refused".into()) } else { Ok(()) });
            Ok(())
        }),
        // Row 24.
        "third-time" => {
            let pause = Duration::from_millis(20);
            let orders = Step::new("orders", LONG).attempts(3).backoff(pause, pause);
            let mut attempt = 0;
            Plan::new().add_blocking(orders, move |step| {
                attempt += 1;
                step.items(vec![15, 16, 17], |order| format!("order {order}")).one_by_one(|order| {
                    if *order == 17 && attempt < 3 { Err("busy".into()) } else { Ok(()) }
                });
                Ok(())
            })
        }
        // Row 25: a device that is always full.
        "full-disk" => Plan::new().step_blocking("flush", LONG, |_| {
            use std::io::Write as _;
            let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
            full.write_all(b"state")?;
            Ok(full.sync_all()?)
        }),
        // Row 31.
        "deaf" => {
            worker.spawn_thread("audit", |_| {
                loop {
                    thread::park();
                }
            });
            flush()
        }
        // Rows 34 and 35, at the word.
        "cancelled" => {
            let feed = worker.spawn("price-feed", |_| std::future::pending());
            at_the_word(move || feed.abort());
            flush()
        }
        "panics" => {
            let (go, gone) = std::sync::mpsc::channel();
            worker.spawn_thread("price-feed", move |_| {
                gone.recv()?;
                panic!("the price is gone")
            });
            // Nobody waits where the worker has already ended.
            at_the_word(move || go.send(()).unwrap_or_default());
            flush()
        }
        // Row 48: takes a lock twice at the word, and does no work any more; before, it does.
        "deadlocks" => {
            let (go, gone) = std::sync::mpsc::channel::<()>();
            worker.spawn_thread("quotes", move |agent| deadlock(&agent, &gone));
            at_the_word(move || drop(go));
            flush()
        }
        _ => return None,
    })
}

fn deadlock(agent: &Agent, gone: &std::sync::mpsc::Receiver<()>) -> Result<(), BoxError> {
    use std::sync::mpsc::RecvTimeoutError;
    agent.progress_every(Duration::from_millis(200));
    while gone.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
        agent.progress();
    }
    // The owner of the lock waits for it: what a thread does that takes it twice.
    let lock = Mutex::new(());
    let _held = lock.lock();
    while lock.try_lock().is_err() {
        thread::park();
    }
    Ok(())
}

/// Does something at the line `go`, from a thread that ends with the process.
fn at_the_word(then: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        if std::io::stdin().lock().lines().map_while(Result::ok).any(|line| line == "go") {
            then();
        }
    });
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let mut arguments = std::env::args().skip(1);
    let (name, part) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let Some((service, worker)) = name.strip_prefix("--name=").and_then(|name| name.split_once('/')) else {
        eprintln!("--name=SERVICE/WORKER comes first, not {name:?}");
        return ExitCode::from(2);
    };
    let mut builder = Lastbeat::builder(service, worker).stop_on_hangup();
    if matches!(part.as_str(), "drain" | "deaf") {
        builder = builder.stop_deadline(Duration::from_secs(5));
    }
    let worker = builder.connect();
    let Some(plan) = play(&part, &worker) else {
        eprintln!("nobody plays {part:?}");
        return ExitCode::from(2);
    };
    worker.ready();
    println!("ready {}", std::process::id());
    worker.run_until_stopped(plan).await
}
