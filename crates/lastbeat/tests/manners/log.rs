//! A host's log that panics costs its host no more than it would without us.

use std::panic::AssertUnwindSafe;

use lastbeat::{Plan, RunId};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::LIMIT;
use crate::host::{connect, counts_until_cancelled, ordered, say};
use crate::process::Start;
use crate::trouble::{Kind, Trouble};

/// Fails at whatever it is told, wherever that comes from.
struct Panics;

impl<S: tracing::Subscriber> Layer<S> for Panics {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        panic!("the log is broken");
    }
}

pub(crate) fn host() {
    let log = tracing_subscriber::registry().with(Panics);
    tracing::subscriber::set_global_default(log).expect("the first one");
    let worker = connect();
    worker.spawn_thread("counts", |agent| counts_until_cancelled(&agent));
    worker.ready();
    say(&format!("up {}", worker.run_id()));
    assert_eq!(ordered(), "fail");
    // Without a client this host would live on.
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| tracing::error!("an error"))).is_err());
    assert!(std::panic::catch_unwind(|| panic!("a panic")).is_err());
    say("lives");
    assert_eq!(ordered(), "stop");
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    say("over");
}

#[test]
fn a_log_that_panics_ends_neither_its_host_nor_the_heartbeats() {
    let trouble = Trouble::start(Kind::Up);
    let mut host = Start::of("panicking_log", trouble.url()).process();
    let run: RunId = host.says("up").parse().expect("a run's identity");
    trouble.has_played(2, LIMIT);
    host.order("fail");
    host.says("lives");
    trouble.has_played(8, LIMIT);
    host.order("stop");
    host.says("over");
    assert_eq!(host.end().code(), Some(0));
    assert!(trouble.has_the_final_of(run));
    assert_eq!(trouble.dials().len(), 1, "the link was open all the time");
}
