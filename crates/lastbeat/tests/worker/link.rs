//! Links come and go; facts do not get lost.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lastbeat::Plan;
use lastbeat_wire::signal::{CauseKind, ClassHint, Final, Signal};
use lastbeat_wire::spool::{Instant as SpoolInstant, decode};
use lastbeat_wire::{Envelope, RunId, Source};

use crate::peer::{LIMIT, Peer, builder, cleanup, final_in};

#[test]
fn a_start_says_who_it_is_and_facts_come_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker =
        builder(&peer.url(), dir.path()).version("1.2.3").environment("paper").accept_exit(&[3]).connect();
    worker.ready();
    let first = peer.next_fact().envelope;
    assert_eq!((first.run_id, first.source, first.seq), (worker.run_id(), Source::Own, 1));
    assert_eq!((first.service.as_str(), first.worker.as_str()), ("trader", "main"));
    let Signal::Start(start) = first.signal else { panic!("a start comes first") };
    assert_eq!(start.interval_ms, Some(500));
    assert_eq!(start.grace_ms, Some(10_000));
    assert_eq!(start.capabilities, ["goodbye"]);
    assert_eq!(start.pid, Some(std::process::id()));
    assert_eq!((start.version.as_deref(), start.environment.as_deref()), (Some("1.2.3"), Some("paper")));
    assert_eq!(start.accept_exit, [3]);
    #[cfg(target_os = "linux")]
    assert!(start.boot_id.is_some() && start.pid_ns.is_some() && start.start_ticks.is_some());
    assert_eq!(peer.next_fact().envelope.signal, Signal::Ready);
}

#[test]
fn after_a_broken_link_the_start_comes_first_then_what_nobody_acknowledged_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    peer.next_fact();
    // A beat's receipt follows the start's on the same link: by then the start is acknowledged.
    peer.next(|heard| matches!(heard.envelope.signal, Signal::Beat(_)));
    peer.mute();
    worker.ready();
    worker.stop("the test");
    let said: Vec<u64> = (0..2).map(|_| peer.next_fact().envelope.seq).collect();
    peer.hang_up();
    peer.unmute();

    let again: Vec<Envelope> = (0..3)
        .map(|_| peer.next(|heard| heard.link > 1 && heard.envelope.signal.is_durable()).envelope)
        .collect();
    assert!(matches!(again[0].signal, Signal::Start(_)) && again[0].seq == 1, "{again:?}");
    assert_eq!(again[1..].iter().map(|envelope| envelope.seq).collect::<Vec<_>>(), said);
    assert_eq!(again[1].signal, Signal::Ready);
    // A repeated start is no sign of life, so a beat follows on the new link.
    peer.next(|heard| heard.link > 1 && matches!(heard.envelope.signal, Signal::Beat(_)));
}

#[test]
fn a_collector_that_forgot_everything_hears_the_state_again_by_a_new_link() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.ready();
    let _feed = worker.spawn_thread("price-feed", |agent| {
        while !agent.cancelled_within(LIMIT) {}
        Ok(())
    });
    let said: Vec<Envelope> = (0..3).map(|_| peer.next_fact().envelope).collect();
    // Receipts come in order: with the second beat out, the first one's and all before it are there.
    for _ in 0..2 {
        peer.next(|heard| matches!(heard.envelope.signal, Signal::Beat(_)));
    }
    peer.hang_up();
    let again: Vec<Envelope> = (0..3)
        .map(|_| peer.next(|heard| heard.link > 1 && heard.envelope.signal.is_durable()).envelope)
        .collect();
    let facts = |envelopes: &[Envelope]| -> Vec<(u64, Signal)> {
        envelopes.iter().map(|envelope| (envelope.seq, envelope.signal.clone())).collect()
    };
    assert_eq!(facts(&again), facts(&said), "the same facts, so that a repeat changes nothing");
    assert!(matches!(again[0].signal, Signal::Start(_)) && again[1].signal == Signal::Ready);
}

#[test]
fn a_run_that_says_a_lot_while_no_collector_is_there_still_spools_that_it_was_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let worker = builder(&format!("http://{free}"), dir.path()).connect();
    worker.ready();
    for number in 0..100 {
        // One after the other, each with a state and an end: 200 facts.
        let agent = worker.spawn_thread(&format!("job-{number}"), |_| Ok(()));
        let until = Instant::now() + LIMIT;
        while !agent.is_finished() {
            assert!(Instant::now() < until, "the job ends");
            std::thread::yield_now();
        }
    }
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    let envelopes = spooled(&spool_file(dir.path(), worker.run_id()));
    assert!(matches!(envelopes[0].signal, Signal::Start(_)));
    assert_eq!((envelopes[1].seq, &envelopes[1].signal), (2, &Signal::Ready));
    assert!(envelopes.iter().any(|envelope| matches!(envelope.signal, Signal::Asked(_))));
    assert!(envelopes.iter().any(|envelope| final_in(envelope).is_some()));
}

#[test]
fn a_refused_ending_stays_in_the_spool_until_a_collector_takes_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    peer.refuse(Some("final"));
    let worker = builder(&peer.url(), dir.path()).flush_budget(Duration::from_secs(5)).connect();
    // The link is open: what is spooled is spooled for the refusal.
    peer.next_fact();
    worker.stop("the test");
    let began = Instant::now();
    worker.run_until_stopped_blocking(Plan::new());
    assert!(began.elapsed() < Duration::from_secs(4), "what is refused is not waited for");
    let file = spool_file(dir.path(), worker.run_id());
    assert!(spooled(&file).iter().any(|envelope| final_in(envelope).is_some()));
    peer.final_of(worker.run_id());

    peer.refuse(None);
    peer.hang_up();
    let again = peer.next(|heard| heard.link > 1 && final_in(&heard.envelope).is_some());
    assert_eq!(again.envelope.run_id, worker.run_id());
    let until = Instant::now() + LIMIT;
    while file.exists() {
        assert!(Instant::now() < until, "the file is removed once all of it is durable");
        std::thread::yield_now();
    }
}

#[test]
fn a_collector_that_gives_no_receipt_for_an_interval_is_dialled_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    peer.mute();
    let _worker = builder(&peer.url(), dir.path()).connect();
    assert_eq!(peer.next_fact().link, 1);
    let again = peer.next(|heard| heard.link == 2);
    assert!(matches!(again.envelope.signal, Signal::Start(_)));
    assert!(again.envelope.age_ms > 0, "its age is brought up to date");
    peer.unmute();
}

#[test]
fn a_stop_without_a_collector_ends_inside_the_flush_budget_and_leaves_the_final_in_the_spool() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let began = Instant::now();
    let run_id = stopped_run(&format!("http://{free}"), dir.path());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let envelopes = spooled(&spool_file(dir.path(), run_id));
    assert!(matches!(envelopes[0].signal, Signal::Start(_)));
    let fin = envelopes.iter().find_map(final_in).expect("the final is there");
    assert_eq!(fin.class_hint, Some(ClassHint::Shutdown));
    assert_eq!(fin.cause.as_ref().map(|cause| cause.kind), Some(CauseKind::Api));
    assert_eq!(cleanup(fin).steps.len(), 1);
}

#[test]
fn a_black_holed_collector_costs_a_stop_no_more_than_the_flush_budget() {
    let dir = tempfile::tempdir().expect("a directory");
    // The kernel completes the connection; nobody ever reads or answers.
    let hole = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", hole.local_addr().expect("its address"));
    let began = Instant::now();
    let run_id = stopped_run(&url, dir.path());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(spooled(&spool_file(dir.path(), run_id)).iter().any(|envelope| final_in(envelope).is_some()));
}

#[test]
fn a_name_that_does_not_resolve_holds_nobody_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    let run_id = stopped_run("http://no-such-host.invalid:5278", dir.path());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(spool_file(dir.path(), run_id).exists());
}

#[test]
fn the_next_run_delivers_what_an_earlier_one_could_not_and_removes_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let earlier = stopped_run(&format!("http://{free}"), dir.path());
    let file = spool_file(dir.path(), earlier);
    assert!(file.exists());

    let mut peer = Peer::start();
    let _worker = builder(&peer.url(), dir.path()).connect();
    let fin: Final = peer.final_of(earlier);
    assert_eq!(fin.class_hint, Some(ClassHint::Shutdown));
    let until = Instant::now() + LIMIT;
    while file.exists() {
        assert!(Instant::now() < until, "the file is removed once all of it is durable");
        std::thread::yield_now();
    }
}

#[test]
fn with_a_healthy_collector_a_stop_takes_no_budget_and_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).flush_budget(Duration::from_secs(5)).connect();
    worker.ready();
    peer.next(|heard| heard.envelope.signal == Signal::Ready);
    worker.stop("the test");
    let began = Instant::now();
    worker.run_until_stopped_blocking(Plan::new());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let run_id = worker.run_id();
    drop(worker);
    peer.final_of(run_id);
    assert!(!spool_file(dir.path(), run_id).exists());
}

/// A worker that is stopped at once, with one step.
fn stopped_run(url: &str, spool_dir: &Path) -> RunId {
    let worker = builder(url, spool_dir).connect();
    worker.ready();
    worker.stop("the test");
    let plan = Plan::new().step("flush", Duration::from_secs(1), |_| async { Ok(()) });
    worker.run_until_stopped_blocking(plan);
    worker.run_id()
}

fn spool_file(dir: &Path, run_id: RunId) -> PathBuf {
    dir.join(lastbeat_wire::spool::file_name(run_id, Source::Own))
}

fn spooled(file: &Path) -> Vec<Envelope> {
    let now = SpoolInstant { boot_id: None, boottime_ms: 0, wall_ms: 0 };
    let bytes = std::fs::read(file).expect("the spool file is there");
    let read = decode(&bytes, &now).expect("its header is whole");
    read.into_iter().map(|line| line.expect("a whole line").envelope).collect()
}

/// D4: what a child could not deliver goes before its exit, although its witness has long had an open link.
#[cfg(feature = "witness")]
#[test]
fn a_witness_delivers_its_childs_last_words_before_the_exit() {
    use lastbeat::witness::{Config, Courier, Flushed, Identity};
    use lastbeat_wire::signal::{Exit, WitnessStart};

    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let child = stopped_run(&format!("http://{free}"), dir.path());
    let (file, aside) = (spool_file(dir.path(), child), dir.path().join("not yet written"));
    std::fs::rename(&file, &aside).expect("the child has spooled");

    let mut peer = Peer::start();
    let mut config = Config::from_env().expect("nothing is set");
    (config.collector, config.spool_dir) = (peer.url(), dir.path().to_owned());
    let name = |text| lastbeat_wire::Name::new(text).expect("a name");
    let (service, worker) = (name("trader"), name("main"));
    let courier =
        Courier::start(Identity { run_id: child, source: Source::Witness, service, worker }, &config);
    courier.say(Signal::WitnessStart(WitnessStart::default()));
    peer.next(|heard| matches!(heard.envelope.signal, Signal::WitnessStart(_)));

    std::fs::rename(&aside, &file).expect("the child spools");
    courier.deliver_leftovers_first();
    courier.say(Signal::Exit(Exit { code: Some(0), ..Exit::default() }));
    let said = peer.next(|heard| matches!(heard.envelope.signal, Signal::Final(_) | Signal::Exit(_)));
    assert_eq!(said.envelope.source, Source::Own, "{said:?}");
    peer.next(|heard| matches!(heard.envelope.signal, Signal::Exit(_)));
    assert_eq!(courier.flush(LIMIT), Flushed::Delivered);
    assert!(!file.exists(), "all of it is durable");
}
