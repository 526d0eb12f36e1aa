//! `lastbeat demo-worker`: a real worker that links the client, as the demo needs it.

use std::process::ExitCode;
use std::time::Duration;

use lastbeat::{BoxError, Lastbeat, Plan};
use tokio::sync::oneshot;

use crate::args::{Act, DemoWorker};
use crate::failure::{Answer, Failure};

/// How long one turn of an agent's work takes.
const TURN: Duration = Duration::from_millis(200);
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
const ORDERS: u64 = 3;

pub(crate) fn work(typed: &DemoWorker) -> Result<Answer, Failure> {
    let cannot = |error: std::io::Error| Failure::failed("cannot start a worker of the demo", error);
    let cue = cue().map_err(cannot)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
    let code = runtime.block_on(life(typed, cue));
    Ok(if code == ExitCode::SUCCESS { Answer::Yes } else { Answer::No })
}

async fn life(typed: &DemoWorker, cue: oneshot::Receiver<Cue>) -> ExitCode {
    let mut builder = Lastbeat::builder(typed.worker.service.as_str(), typed.worker.worker.as_str())
        .version(env!("CARGO_PKG_VERSION"))
        .environment("demo");
    if let Some(promised) = typed.back_by {
        builder = builder.back_within(promised);
    }
    let worker = builder.connect();
    for agent in ["price-feed", "order-book", "audit"] {
        worker.spawn(agent, |agent| async move {
            while tokio::time::timeout(TURN, agent.cancelled()).await.is_err() {
                agent.progress();
            }
            Ok(())
        });
    }
    worker.ready();
    let plan = Plan::new()
        .step("cancel-orders", CANCEL_LIMIT, |step| async move {
            step.total(ORDERS);
            for _ in 0..ORDERS {
                tokio::time::sleep(Duration::from_millis(30)).await;
                step.done(1);
            }
            Ok::<(), BoxError>(())
        })
        .step("flush", FLUSH_LIMIT, |_| async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok::<(), BoxError>(())
        });
    let mut ending = std::pin::pin!(worker.run_until_stopped(plan));
    tokio::select! {
        code = &mut ending => return code,
        said = cue => match (said, typed.act) {
            (Ok(Cue::Signal), Act::Panic) => panic!("the price feed sent NaN"),
            (Ok(Cue::Signal), Act::Job) => worker.done(),
            (Ok(Cue::Signal), Act::Serve) => {}
            (Ok(Cue::ParentGone) | Err(_), _) => worker.stop("the demo is gone"),
        },
    }
    ending.await
}

/// What a worker of the demo waits for beside the signals that ask it to stop.
#[derive(Debug, Clone, Copy)]
enum Cue {
    /// SIGUSR1: its moment has come.
    Signal,
    /// Standard input closed: whoever started it has vanished.
    ParentGone,
}

fn cue() -> std::io::Result<oneshot::Receiver<Cue>> {
    let (say, cue) = oneshot::channel();
    let say = std::sync::Arc::new(std::sync::Mutex::new(Some(say)));
    let tell = move |cue| {
        if let Some(say) = say.lock().ok().and_then(|mut say| say.take()) {
            // A worker on its way out no longer listens.
            let _ = say.send(cue);
        }
    };
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGUSR1])?;
    let by_signal = tell.clone();
    std::thread::Builder::new().name("demo-signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            by_signal(Cue::Signal);
        }
    })?;
    std::thread::Builder::new().name("demo-stdin".into()).spawn(move || {
        // Whatever is said on it, only its end counts.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tell(Cue::ParentGone);
    })?;
    Ok(cue)
}
