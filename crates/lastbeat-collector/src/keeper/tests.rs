use std::sync::Arc;
use std::time::Duration;

use lastbeat_engine::Rules;
use lastbeat_wire::envelope::Batch;
use lastbeat_wire::report::{AlertsReport, StatusReport, WorkerReport};
use lastbeat_wire::spool as spool_file;
use lastbeat_wire::{RunId, decode_batch};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::inbox::{self, Message, Via};
use super::{Keeper, TICK, watch};
use crate::assembly;
use crate::clock::{self, Clock, Mark};
use crate::journal::Journal;
use crate::snapshot::Published;
use crate::trial::{Trial, envelope, run, start};
use crate::views::api;

/// All that is said of the fleet at one moment; the collector's own state apart.
fn shown(trial: &Trial, mark: Mark) -> (Vec<WorkerReport>, AlertsReport, StatusReport) {
    let snapshot = trial.parts.state.published.borrow().clone();
    let identity = trial.parts.state.identity;
    let published = Published::new(snapshot, mark, identity, false);
    let mut status = api::status(&published);
    status.collector.epoch = 0;
    status.collector.started_at = clock::timestamp(0);
    status.collector.state = lastbeat_wire::report::CollectorState::Live;
    (api::workers(&published), api::alerts(&published), status)
}

#[tokio::test]
async fn replay_shows_what_was_shown_before() {
    let trial = Trial::new().await;
    let cause = json!({ "kind": "keyboard", "signal": "SIGINT" });
    let said = [
        ("self", 1, start()),
        ("witness", 1, json!({ "type": "witness_start", "ready": true, "pid": 7 })),
        ("self", 2, json!({ "type": "ready" })),
        ("self", 3, json!({ "type": "agent", "name": "feed", "state": "running" })),
        ("self", 4, json!({ "type": "asked", "cause": cause })),
        (
            "self",
            5,
            json!({ "type": "final", "class_hint": "shutdown", "cause": cause,
            "cleanup": { "steps": [{ "name": "flush", "outcome": "ok" }] }, "back_within_ms": 60_000 }),
        ),
        ("witness", 2, json!({ "type": "exit", "code": 0 })),
    ];
    for (source, seq, signal) in said {
        trial.post(envelope(run(1), source, seq, signal)).await;
    }
    let mut crashed =
        envelope(run(2), "self", 1, json!({ "type": "panic", "message": "no", "location": "a.rs:1:1" }));
    crashed["worker"] = json!("second");
    let mut gone = envelope(run(2), "self", 2, json!({ "type": "final", "class_hint": "crashed" }));
    gone["worker"] = json!("second");
    trial.post(json!([crashed, gone])).await;

    trial
        .until(|snapshot| {
            snapshot.roster.workers().iter().filter(|worker| worker.last_ended().is_some()).count() == 2
        })
        .await;
    let mark = trial.parts.state.clock.mark();
    let before = shown(&trial, mark);
    let counts = trial.parts.state.now().snapshot.roster.counts().clone();
    let dir = trial.stop().await;

    let again = Trial::not_open(dir);
    again.until(|snapshot| snapshot.roster.workers().len() == 2).await;
    assert_eq!(shown(&again, mark), before);
    assert_eq!(*again.parts.state.now().snapshot.roster.counts(), counts);
    assert!(again.parts.state.clock.now() >= mark.moment);
}

#[tokio::test]
async fn who_cannot_wait_for_the_next_snapshot_is_shown_all_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let (journal, opening) = Journal::open(dir.path()).unwrap();
    let clock = Clock::continue_after(opening.last_mark);
    let mut keeper = Keeper::new(journal, opening, clock, Rules::scaled(1.0), 1.0, Arc::default());
    // Those of a large fleet take long, and come seldom for that.
    keeper.publish_took_ms = 60_000;
    let published = keeper.subscribe();
    let workers = || published.borrow().roster.workers().len();
    let (inbox, mail) = inbox::inbox();

    let said = envelope(run(1), "self", 1, start()).to_string();
    let Ok(Batch::One(said)) = decode_batch(said.as_bytes()) else { panic!("one envelope") };
    let taken = inbox.offer(vec![said.unwrap()], Via::Post, 1).unwrap();
    assert!(keeper.round(&mail));
    assert!(taken.await.unwrap()[0].as_ref().is_ok_and(|ack| ack.durable));
    assert_eq!(workers(), 0, "the next snapshot is minutes away");
    let mut shown = inbox.show().unwrap();
    assert!(shown.try_recv().is_err());
    assert!(keeper.round(&mail));
    shown.try_recv().unwrap();
    assert_eq!(workers(), 1);
}

#[tokio::test]
async fn each_start_after_the_first_journals_its_absence() {
    let trial = Trial::new().await;
    let id = trial.parts.state.identity.id;
    let dir = trial.stop().await;
    let second = Trial::in_dir(dir).await;
    assert_eq!(second.parts.state.identity.epoch, 2);
    let facts = second.parts.state.journal.facts_of(id).unwrap();
    let seqs: Vec<u64> = facts.iter().map(|fact| fact.id.seq).collect();
    assert_eq!(seqs, [1], "a fresh journal has no absence to tell of");
    assert!(facts[0].signal_json.contains(r#""type":"away""#));
    let dir = second.stop().await;
    let third = Trial::in_dir(dir).await;
    assert_eq!(third.parts.state.journal.facts_of(id).unwrap().len(), 2);
}

#[tokio::test]
async fn a_spooled_final_is_delivered_at_the_start_and_its_file_removed() {
    let trial = Trial::new().await;
    trial.post(envelope(run(1), "self", 1, start())).await;
    trial.post(envelope(run(1), "self", 2, json!({ "type": "ready" }))).await;
    let dir = trial.stop().await;

    let final_beat = envelope(run(1), "self", 3, json!({ "type": "final", "class_hint": "completed" }));
    let final_beat = serde_json::from_value(final_beat).unwrap();
    let bytes = spool_file::encode(&clock::spool_instant(), &[final_beat]).unwrap();
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(spool.join("a.self.spool"), &bytes).unwrap();
    let mut torn = bytes.clone();
    torn.truncate(bytes.len() - 9);
    std::fs::write(spool.join("b.self.spool"), torn).unwrap();

    let trial = Trial::in_dir(dir).await;
    let left: Vec<_> = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["b.self.spool.damaged"]);
    assert_eq!(trial.parts.state.counters.spool_damaged.get(), 1);
    let facts = trial.parts.state.journal.facts_of(run(1)).unwrap();
    assert_eq!(facts.iter().map(|fact| fact.live).collect::<Vec<_>>(), [true, true, false]);
    trial.until(|snapshot| snapshot.roster.workers()[0].last_ended().is_some()).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_skipped_and_counted() {
    let trial = Trial::new().await;
    trial.post(envelope(run(1), "self", 1, start())).await;
    let data_dir = trial.config.data_dir.clone();
    let dir = trial.stop().await;
    let journal = rusqlite::Connection::open(data_dir.join("journal.sqlite3")).unwrap();
    journal
        .execute(
            "INSERT INTO facts (run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json)
             SELECT run_id, 'observer', 9, service, worker, taken_ms, age_ms, 0, '{\"type\":\"later\"}' FROM facts",
            [],
        )
        .unwrap();
    drop(journal);
    let trial = Trial::in_dir(dir).await;
    assert_eq!(trial.parts.state.counters.unreadable_rows.get(), 1);
    assert_eq!(trial.parts.state.now().snapshot.roster.workers().len(), 1);
}

#[tokio::test]
async fn a_keeper_that_was_stopped_answers_that_it_goes() {
    let mut trial = Trial::new().await;
    assembly::end_keeper(&mut trial.parts).await.unwrap();
    let (status, answer) = trial.post(envelope(run(1), "self", 1, start())).await;
    assert_eq!((status.as_u16(), answer["error"]["code"].as_str()), (503, Some("stopping")));
}

/// What the collector itself said of a run, or with its own identity of no run.
fn observed(trial: &Trial, run: RunId) -> Vec<(u64, Value)> {
    let facts = trial.parts.state.journal.facts_of(run).unwrap();
    let own = facts.into_iter().filter(|fact| fact.id.source == lastbeat_wire::Source::Observer);
    own.map(|fact| (fact.id.seq, serde_json::from_str(&fact.signal_json).unwrap())).collect()
}

async fn pulse(trial: &Trial) {
    let (taken, was_taken) = oneshot::channel();
    trial.parts.state.inbox.send(Message::Pulse { taken }, 0).await.unwrap();
    was_taken.await.unwrap();
}

#[tokio::test]
async fn a_punctual_keeper_that_gets_no_pulse_is_away_and_calls_nobody_lost() {
    const SCALE: f64 = 0.01;
    // Six of these are the silence that is a death, far longer than a pulse may be late.
    const INTERVAL_MS: u64 = 250;
    let trial = Trial::scaled(TempDir::new().unwrap(), SCALE);
    let (clock, id) = (trial.parts.state.clock.clone(), trial.parts.state.identity.id);
    let (done, watching) = oneshot::channel();
    trial.parts.state.inbox.send(Message::Watch { done }, 0).await.unwrap();
    watching.await.unwrap();
    trial.post(envelope(run(1), "self", 1, json!({ "type": "start", "interval_ms": INTERVAL_MS }))).await;
    let due = clock.now().plus(6 * INTERVAL_MS);
    while clock.now() <= due {
        tokio::time::sleep(TICK).await;
    }
    // The second answer is written after the first one's round has ended.
    for seq in 1..=2 {
        trial.post(envelope(run(2), "self", seq, json!({ "type": "ready" }))).await;
    }
    assert_eq!(observed(&trial, run(1)), [], "its beats may wait in a socket");
    assert_eq!(observed(&trial, id), [], "the absence is not over");

    pulse(&trial).await;
    for seq in 3..=4 {
        trial.post(envelope(run(2), "self", seq, json!({ "type": "ready" }))).await;
    }
    let away = observed(&trial, id);
    let [(1, away)] = &away[..] else { panic!("{away:?}") };
    let span_ms = away["to_ms"].as_u64().unwrap() - away["from_ms"].as_u64().unwrap();
    assert!(away["type"] == "away" && span_ms > watch::absence_ms(SCALE), "{away}");
    assert_eq!(observed(&trial, run(1)), [], "it has a whole silence from the return");

    // Watched again, it is judged.
    while observed(&trial, run(1)).is_empty() {
        pulse(&trial).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_death_is_judged_although_the_observers_count_was_used_before() {
    let trial = Trial::scaled(TempDir::new().unwrap(), 0.01);
    assembly::open(&trial.config, &trial.parts.state).await.unwrap();
    let journal = rusqlite::Connection::open(trial.config.data_dir.join("journal.sqlite3")).unwrap();
    for seq in [1_u64, 7] {
        journal
            .execute(
                "INSERT INTO facts (run_id, source, seq, service, worker, taken_ms, age_ms, live, signal_json)
                 VALUES (?1, 'observer', ?2, 'trader', 'main', 0, 0, 0, '{\"type\":\"seen\"}')",
                rusqlite::params![run(1).as_u128().to_be_bytes(), seq.cast_signed()],
            )
            .unwrap();
    }
    // Six of these are longer than a pulse may be late: it is judged by the pulse of the collector itself.
    trial.post(envelope(run(1), "self", 1, json!({ "type": "start", "interval_ms": 250 }))).await;
    let ended = trial.until(|snapshot| {
        snapshot.roster.workers().first().is_some_and(|worker| worker.last_ended().is_some())
    });
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    let seqs: Vec<u64> = observed(&trial, run(1)).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 7, 8]);
}

/// Eight workers on two hosts say this.
async fn all_say(trial: &Trial, seq: u64, signal: Value) {
    let said: Vec<Value> = (1..=8)
        .map(|number| {
            let mut signal = signal.clone();
            signal["host"] = json!(format!("h{}", number % 2));
            let mut said = envelope(run(number), "self", seq, signal);
            said["worker"] = json!(format!("w{number}"));
            said
        })
        .collect();
    let (_, answer) = trial.post(json!(said)).await;
    assert_eq!(answer["accepted"], 8, "{answer}");
}

/// Waits until the collector has said so many things of no single run.
async fn said_of_none(trial: &Trial, count: usize) -> Vec<(u64, Value)> {
    let id = trial.parts.state.identity.id;
    let said = async {
        while observed(trial, id).len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        observed(trial, id)
    };
    let told = tokio::time::timeout(Duration::from_secs(20), said).await;
    told.unwrap_or_else(|_| panic!("{:?}; of the first: {:?}", observed(trial, id), observed(trial, run(1))))
}

#[tokio::test]
async fn a_mass_silence_and_its_end_are_said_by_the_collector_of_no_single_run() {
    let trial = Trial::scaled(TempDir::new().unwrap(), 0.01);
    assembly::open(&trial.config, &trial.parts.state).await.unwrap();
    all_say(&trial, 1, json!({ "type": "start", "interval_ms": 150 })).await;
    all_say(&trial, 2, json!({ "type": "ready" })).await;
    let said = said_of_none(&trial, 1).await;
    let [(1, silence)] = &said[..] else { panic!("{said:?}") };
    let members = silence["members"].as_array().unwrap().len();
    assert_eq!((&silence["type"], members, &silence["of"]), (&json!("mass_silence"), 8, &json!(8)));

    // Their last words, so that nobody falls silent again.
    all_say(&trial, 3, json!({ "type": "final", "class_hint": "completed" })).await;
    let said = said_of_none(&trial, 2).await;
    assert_eq!((said[1].0, &said[1].1["members"]), (2, &json!([])), "their hosts are heard again");
    let shown = |trial: &Trial| {
        let alerts = api::alerts(&trial.parts.state.now()).alerts;
        alerts.into_iter().map(|alert| (alert.name, alert.service, alert.because)).collect::<Vec<_>>()
    };
    let once = [("LastbeatObserverOrNetwork".to_owned(), None, "heard again".to_owned())];
    trial.until(|known| known.roster.silences().iter().any(|silence| silence.until.is_some())).await;
    assert_eq!(shown(&trial), once);
    let again = Trial::scaled(trial.stop().await, 0.01);
    again.until(|known| known.roster.workers().len() == 8).await;
    assert_eq!(shown(&again), once);
}
