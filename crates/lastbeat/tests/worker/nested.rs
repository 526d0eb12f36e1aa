//! Nested agents, pauses and promises of progress.

use std::sync::mpsc::channel;
use std::time::Duration;

use lastbeat::Plan;
use lastbeat_wire::signal::{Agent, AgentEnd, AgentState, PhaseTo, Signal};

use crate::peer::{LIMIT, Peer, builder, cleanup};

/// The next word of an agent.
fn word_of(peer: &mut Peer, name: &str) -> Agent {
    let heard = peer
        .next(|heard| matches!(&heard.envelope.signal, Signal::Agent(agent) if agent.name.as_str() == name));
    let Signal::Agent(agent) = heard.envelope.signal else { panic!("it was asked for") };
    agent
}

fn ends(peer: &mut Peer, count: usize) -> Vec<(String, AgentEnd)> {
    let mut ends = Vec::new();
    while ends.len() < count {
        if let Signal::Agent(Agent { name, end: Some(end), .. }) = peer.next_fact().envelope.signal {
            ends.push((name.as_str().to_owned(), end));
        }
    }
    ends.sort();
    ends
}

fn expected(names: &[(&str, AgentEnd)]) -> Vec<(String, AgentEnd)> {
    names.iter().map(|(name, end)| ((*name).to_owned(), *end)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_cancelled_with_its_parent_and_that_was_expected() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    // A generation that owns its keep-alive, and one that is broken off.
    for name in ["generation", "broken"] {
        let broken = name == "broken";
        let handle = worker.spawn(name, move |agent| async move {
            let child = if broken { "orphan" } else { "keepalive" };
            agent.spawn(child, |child| async move {
                child.cancelled().await;
                Ok(())
            });
            if broken { std::future::pending().await } else { Ok(()) }
        });
        if broken {
            word_of(&mut peer, "orphan");
            handle.abort();
        }
        let ended = ends(&mut peer, 2);
        if broken {
            let told = [("broken", AgentEnd::CancelledUnexpected), ("orphan", AgentEnd::CancelledExpected)];
            assert_eq!(ended, expected(&told));
        } else {
            let told = [("generation", AgentEnd::Completed), ("keepalive", AgentEnd::CancelledExpected)];
            assert_eq!(ended, expected(&told));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_its_owner_calls_off_was_expected_to_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let handle = worker.spawn_blocking("poll", |agent| {
        while !agent.cancelled_within(LIMIT) {}
        Ok(())
    });
    handle.cancel();
    assert_eq!(ends(&mut peer, 1), expected(&[("poll", AgentEnd::CancelledExpected)]));
}

#[test]
fn a_stop_reaches_children_and_threads_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (tell, told) = channel();
    worker.spawn_thread("parent", move |agent| {
        agent.spawn_thread("child", |child| {
            while !child.cancelled_within(LIMIT) {}
            Ok(())
        });
        while !agent.cancelled_within(LIMIT) {}
        tell.send(agent.deadline().is_some())?;
        Ok(())
    });
    word_of(&mut peer, "child");
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    assert!(told.recv_timeout(LIMIT).is_ok());
    let told = [("child", AgentEnd::CancelledExpected), ("parent", AgentEnd::CancelledExpected)];
    assert_eq!(ends(&mut peer, 2), expected(&told));
    assert!(cleanup(peer.final_of(worker.run_id())).abandoned.is_empty());
}

#[test]
fn a_pause_holds_agents_at_their_next_turn_and_a_stop_ends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (begun, has_begun) = channel();
    let (release, released) = channel::<()>();
    worker.spawn_thread("loop", move |agent| {
        agent.progress_every(Duration::from_secs(60));
        while agent.turn_blocking() {
            begun.send(())?;
            // A cycle ends when the test says so, or when the test is over.
            if released.recv().is_err() {
                agent.progress();
            }
        }
        Ok(())
    });
    has_begun.recv_timeout(LIMIT).expect("the first turn");
    worker.pause();
    worker.pause();
    release.send(()).expect("the loop waits");
    // The turn was let end, and the next one does not begin: it says that it waits.
    let promised = word_of(&mut peer, "loop");
    assert_eq!((promised.state, promised.progress_every_ms), (Some(AgentState::Running), None));
    assert_eq!(word_of(&mut peer, "loop").progress_every_ms, Some(60_000));
    let waits = word_of(&mut peer, "loop");
    assert_eq!((waits.state, waits.progress_every_ms), (Some(AgentState::Paused), Some(60_000)));
    assert!(has_begun.try_recv().is_err());
    worker.resume();
    has_begun.recv_timeout(LIMIT).expect("the second turn");

    worker.pause();
    release.send(()).expect("the loop waits");
    while word_of(&mut peer, "loop").state != Some(AgentState::Paused) {}
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    assert_eq!(ends(&mut peer, 1), expected(&[("loop", AgentEnd::CancelledExpected)]));
    assert!(has_begun.try_recv().is_err(), "no turn after a stop");
}

#[test]
fn phases_are_told_once_and_not_while_the_run_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.pause();
    worker.pause();
    worker.resume();
    worker.draining(14, 60);
    worker.reloading();
    worker.resume();
    worker.stop("the test");
    worker.draining(15, 60);
    worker.run_until_stopped_blocking(Plan::new());
    let phases: Vec<(PhaseTo, Option<u64>)> = peer
        .facts_to_the_final()
        .into_iter()
        .filter_map(|fact| if let Signal::Phase(phase) = fact { Some((phase.to, phase.done)) } else { None })
        .collect();
    let told = [
        (PhaseTo::Paused, None),
        (PhaseTo::Running, None),
        (PhaseTo::Draining, Some(14)),
        (PhaseTo::Reloading, None),
        (PhaseTo::Running, None),
    ];
    assert_eq!(phases, told);
}
