//! Agents: progress in beats, and an end of their own each.

use std::sync::mpsc::channel;
use std::time::Duration;

use lastbeat::Plan;
use lastbeat_wire::Name;
use lastbeat_wire::signal::{Agent, AgentEnd, AgentState, Signal};

use crate::peer::{LIMIT, Peer, builder, cleanup};

fn end_of(peer: &mut Peer, name: &str) -> Agent {
    let heard = peer.next(|heard| {
        matches!(&heard.envelope.signal, Signal::Agent(agent) if agent.name.as_str() == name && agent.end.is_some())
    });
    match heard.envelope.signal {
        Signal::Agent(agent) => agent,
        other => panic!("it was asked for an agent, not {other:?}"),
    }
}

fn crashes() -> Result<(), lastbeat::BoxError> {
    panic!("lost the price")
}

// The peer is heard by blocking the test's thread, so agents need others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_agent_has_its_own_end_and_the_run_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let handle = worker.spawn("done", |_| async { Ok(()) });
    assert_eq!(end_of(&mut peer, "done").end, Some(AgentEnd::Completed));
    assert!(handle.is_finished());

    worker.spawn("panics", |_| async { crashes() });
    let ended = end_of(&mut peer, "panics");
    assert_eq!(ended.end, Some(AgentEnd::Crashed));
    assert_eq!(ended.error.as_deref(), Some("panicked: lost the price"));

    worker.spawn("errs", |_| async { Err("no route".into()) });
    let ended = end_of(&mut peer, "errs");
    assert_eq!((ended.end, ended.error.as_deref()), (Some(AgentEnd::Crashed), Some("no route")));

    worker.spawn("aborted", |_| std::future::pending()).abort();
    assert_eq!(end_of(&mut peer, "aborted").end, Some(AgentEnd::CancelledUnexpected));

    worker.spawn("polite", |agent| async move {
        agent.cancelled().await;
        Ok(())
    });
    worker.stop("the test");
    worker.run_until_stopped(Plan::new()).await;
    assert_eq!(end_of(&mut peer, "polite").end, Some(AgentEnd::CancelledExpected));
    assert!(cleanup(peer.final_of(worker.run_id())).abandoned.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ignores_its_token_is_abandoned_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).stop_deadline(Duration::from_secs(2)).connect();
    worker.spawn("deaf", |_| std::future::pending());
    worker.stop("the test");
    worker.run_until_stopped(Plan::new()).await;
    assert_eq!(end_of(&mut peer, "deaf").end, Some(AgentEnd::Abandoned));
    let deaf = Name::new("deaf").expect("a name");
    assert_eq!(cleanup(peer.final_of(worker.run_id())).abandoned, [deaf]);
}

#[test]
fn beats_carry_the_progress_of_agents_that_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    let (counted, has_counted) = channel();
    worker.spawn_thread("price-feed", move |agent| {
        (0..3).for_each(|_| agent.progress());
        counted.send(())?;
        while !agent.cancelled_within(LIMIT) {}
        Ok(())
    });
    has_counted.recv_timeout(LIMIT).expect("the agent runs");
    let heard =
        peer.next(|heard| matches!(&heard.envelope.signal, Signal::Agent(agent) if agent.state.is_some()));
    assert!(matches!(heard.envelope.signal, Signal::Agent(Agent { state: Some(AgentState::Running), .. })));
    let feed = Name::new("price-feed").expect("a name");
    let heard =
        peer.next(|heard| matches!(&heard.envelope.signal, Signal::Beat(beat) if !beat.agents.is_empty()));
    let Signal::Beat(beat) = heard.envelope.signal else { panic!("it was asked for") };
    assert_eq!(beat.agents.into_iter().collect::<Vec<_>>(), [(feed, 3)]);

    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    assert_eq!(end_of(&mut peer, "price-feed").end, Some(AgentEnd::CancelledExpected));
}
