//! A worker that links the client and does as it is told, for the tests to start, signal and kill.
//!
//! It prints `connected PID` and `ready PID`. Lines on its standard input are its orders: `panic MESSAGE`
//! (in the main task), `done`, `stop REASON`, `exit CODE` (at once, without a word to anybody).

use std::io::BufRead as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lastbeat::{Lastbeat, Plan, StepHandle};
use tokio::sync::mpsc::{Receiver, channel};

/// Orders that wait; nobody gives more.
const ORDERS_MAX: usize = 16;

/// What a step of the shutdown plan does.
#[derive(Clone, Copy)]
enum Act {
    Ok,
    Fail,
    Hang,
}

struct Step {
    name: String,
    act: Act,
    items: Option<(u64, u64)>,
}

struct Arguments {
    service: String,
    worker: String,
    steps: Vec<Step>,
    step_timeout: Duration,
    back_within: Option<Duration>,
    ready: bool,
    stoppable: bool,
    pausable: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut read = Arguments {
        service: String::new(),
        worker: String::new(),
        steps: Vec::new(),
        step_timeout: Duration::from_secs(5),
        back_within: None,
        ready: true,
        stoppable: false,
        pausable: false,
    };
    for argument in std::env::args().skip(1) {
        let (flag, value) = argument.split_once('=').unwrap_or((&argument, ""));
        match flag {
            "--name" => {
                let (service, worker) = value.split_once('/').ok_or("--name=SERVICE/WORKER")?;
                (read.service, read.worker) = (service.into(), worker.into());
            }
            "--step" => read.steps.push(step(value)?),
            "--step-timeout" => read.step_timeout = duration(value)?,
            "--back-within" => read.back_within = Some(duration(value)?),
            "--never-ready" => read.ready = false,
            "--stoppable" => read.stoppable = true,
            "--pausable" => read.pausable = true,
            other => return Err(format!("no such flag: {other}")),
        }
    }
    Ok(read)
}

/// `NAME:ok`, `NAME:ok:2/3`, `NAME:fail`, `NAME:hang`.
fn step(text: &str) -> Result<Step, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    let act = match parts.next() {
        Some("ok") => Act::Ok,
        Some("fail") => Act::Fail,
        Some("hang") => Act::Hang,
        other => return Err(format!("a step cannot {other:?}")),
    };
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let items = parts.next().and_then(|items| items.split_once('/'));
    let items = items.map(|(done, total)| Ok::<_, String>((number(done)?, number(total)?))).transpose()?;
    Ok(Step { name, act, items })
}

fn duration(text: &str) -> Result<Duration, String> {
    let cut = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..cut].parse().map_err(|error| format!("{text:?}: {error}"))?;
    match &text[cut..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        unit => Err(format!("{text:?}: no unit {unit:?}")),
    }
}

async fn play(act: Act, items: Option<(u64, u64)>, step: StepHandle) -> Result<(), lastbeat::BoxError> {
    if let Some((done, total)) = items {
        step.total(total);
        step.done(done);
    }
    match act {
        Act::Ok => Ok(()),
        Act::Fail => Err("the disk is full".into()),
        Act::Hang => std::future::pending().await,
    }
}

/// Lines of standard input, from a thread of their own: it ends with the process.
fn orders() -> Receiver<String> {
    let (give, take) = channel(ORDERS_MAX);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if give.blocking_send(line).is_err() {
                return;
            }
        }
    });
    take
}

#[expect(clippy::disallowed_methods, reason = "an end that skips every destructor is the point")]
fn vanish(code: i32) -> ! {
    std::process::exit(code)
}

async fn obey(worker: &Lastbeat, mut orders: Receiver<String>) -> ExitCode {
    while let Some(order) = orders.recv().await {
        let (verb, rest) = order.split_once(' ').unwrap_or((&order, ""));
        match verb {
            "panic" => panic!("{rest}"),
            "done" => worker.done(),
            "stop" => worker.stop(rest),
            "exit" => vanish(rest.parse().unwrap_or(1)),
            _ => eprintln!("no such order: {order}"),
        }
    }
    // A worker without anybody to give orders works on.
    std::future::pending().await
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let told = match arguments() {
        Ok(told) => told,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut builder = Lastbeat::builder(&told.service, &told.worker).version("1.0.0");
    if let Some(promise) = told.back_within {
        builder = builder.back_within(promise);
    }
    if told.stoppable {
        builder = builder.stoppable();
    }
    if told.pausable {
        builder = builder.pausable();
    }
    let worker = builder.connect();
    println!("connected {}", std::process::id());

    worker.spawn("price-feed", |agent| async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = agent.cancelled() => return Ok(()),
                _ = tick.tick() => agent.progress(),
            }
        }
    });
    let mut plan = Plan::new();
    for Step { name, act, items } in told.steps {
        plan = plan.step(&name, told.step_timeout, move |step| play(act, items, step));
    }
    if told.ready {
        worker.ready();
        println!("ready {}", std::process::id());
    }
    // One task: a panic while obeying unwinds through what waits for the stop, as it would in a real main.
    tokio::select! {
        code = worker.run_until_stopped(plan) => code,
        code = obey(&worker, orders()) => code,
    }
}
