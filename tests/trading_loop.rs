//! Promise: a synchronous trading loop that is stopped takes its orders back, saves its book, and says which of that it
//! could not do.
//!
//! The loop is the client's example `trading_loop`. What became of its orders is asked of the exchange, another process;
//! what became of its book is read from the disk; and what is said of both is compared whole: the final beat as the
//! collector shows it, the block in the loop's log, and `lastbeat explain`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use lastbeat_tests::trading::{Stand, Stopped, WHO, ok};
use lastbeat_tests::worker::live;
use lastbeat_tests::{PATIENCE, until};
use lastbeat_wire::report::{Class, Condition, Severity};
use lastbeat_wire::signal::{AgentEnd, CauseKind};
use rustix::process::Signal;
use serde_json::{Value, json};

/// More orders than a test waits for: the loop never has enough.
const ENDLESS: u32 = 1_000_000;

/// The block that a loop prints which somebody stopped from a shell.
fn block(cleanup: &str, rows: &[&str]) -> String {
    let rows = rows.iter().map(|row| format!("\n  {row}")).collect::<String>();
    let title = format!("{WHO} stopped: SIGTERM from bash, pid P on TTY; cleanup {cleanup} in T");
    format!("{title}{rows}\n  final heartbeat: delivered")
}

/// What `explain` says of a loop that somebody stopped from a shell, from the verdict on.
fn story(verdict: &str, cleanup: &str, next: &str) -> String {
    format!(
        "{verdict} It was asked by a SIGTERM sent by bash (pid P, uid U, at TTY), started as “bash --norc --noprofile \
         -i”. Cleanup was {cleanup} Nobody saw its exit: it ran without a witness. This verdict rests on its own word \
         (asked #N, final #N). Next: {next}"
    )
}

const CLEAN: &str =
    "It was no error: a stop was asked, nothing was left undone, and it ended inside its deadline.";
const NOT_CLEAN: &str = "It stopped as asked and in time, but not cleanly.";
const SEE_TO_IT: &str = "see to what was not cleaned up before it is started again.";

/// Nothing was left undone, and nobody is told more than that.
fn clean(stand: &Stand, stopped: &Stopped) {
    let ending = stopped.ending();
    assert_eq!((ending.class, ending.severity), (Class::Shutdown, Severity::None), "{ending:#?}");
    assert_eq!(stopped.words(), "System stopped T by kill from bash; cleanup complete");
    assert!(!stopped.warned, "{}", stopped.printed);
    assert_eq!(stand.collector.alerts_of(WHO), []);
}

/// It ended in time, but somebody has to look in office hours.
fn not_clean(stand: &Stand, stopped: &Stopped, words: &str) {
    let ending = stopped.ending();
    assert_eq!((ending.class, ending.severity), (Class::ShutdownDegraded, Severity::Ticket), "{ending:#?}");
    assert_eq!(stopped.words(), words);
    assert!(stopped.warned, "{}", stopped.printed);
    let alerts = stand.collector.alerts_of(WHO);
    let names: Vec<_> = alerts.iter().map(|alert| (alert.name.as_str(), alert.severity)).collect();
    assert_eq!(names, [("LastbeatCleanupNotClean", Severity::Ticket)]);
}

/// The row of orders that were all cancelled.
fn cancelled(done: u64) -> Value {
    json!({ "name": "cancel-orders", "outcome": "ok", "done": done, "total": done, "attempts": 1 })
}

fn cleanup(outcome: &str, steps: &[Value], flushed: u64) -> Value {
    json!({ "outcome": outcome, "steps": steps, "items_flushed": flushed })
}

#[test]
fn a_dry_run_leaves_the_exchange_alone_and_says_that_it_skipped_the_steps() {
    let mut stand = Stand::new();
    let mut trading = stand.trade("dry_run", 3);
    trading.line("label=\"o-3\"");
    let stopped = stand.stop(trading);

    for verb in ["PLACE", "LIST", "CANCEL", "CANCEL_ALL", "CLOSE"] {
        assert_eq!(stand.exchange.seen(verb), 0, "{verb} in a dry run");
    }
    clean(&stand, &stopped);
    let gated = |name| json!({ "name": name, "outcome": "skipped", "why_skipped": "skipped in dry_run" });
    let steps = [gated("cancel-orders"), gated("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 3));
    let rows = [
        "cancel-orders: skipped in dry_run",
        "transition: skipped in dry_run",
        "save-state: ok, T",
        "buffers: 3 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders skipped in dry_run, transition skipped in dry_run, save-state ok. \
                Buffered items written out: 3.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
    assert_eq!(stand.book(), "o-1 - unplaced\no-2 - unplaced\no-3 - unplaced\n");
}

#[test]
fn on_paper_all_orders_are_cancelled_in_one_batch_and_each_is_told_by_its_label() {
    let mut stand = Stand::new();
    let trading = stand.trading("paper", 3);
    assert_eq!(stand.exchange.orders(), "o-1=open o-2=open o-3=open");
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled o-3=cancelled");
    assert_eq!((stand.exchange.seen("CANCEL_ALL"), stand.exchange.seen("CANCEL")), (1, 0));
    clean(&stand, &stopped);
    let steps = [cancelled(3), ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 3));
    let rows = [
        "cancel-orders: ok, 3 of 3, T",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 3 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders ok (3 of 3), transition ok, save-state ok. \
                Buffered items written out: 3.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
    assert_eq!(stopped.audit, ["o-1 done", "o-2 done", "o-3 done"]);
    assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 cancelled\no-3 3 cancelled\n");

    let end = stopped.run.agents.iter().map(|agent| (agent.name.as_str(), agent.end)).collect::<Vec<_>>();
    assert_eq!(end, [("trading-loop", Some(AgentEnd::CancelledExpected))]);
    assert_eq!(stopped.run.environment.as_deref(), Some("paper"));
    let service = ("service", "trader");
    let steps =
        |outcome| stand.collector.metric("lastbeat_shutdown_steps_total", &[service, ("outcome", outcome)]);
    assert_eq!((steps("ok"), steps("failed"), steps("partial")), (3.0, 0.0, 0.0));
    let count = [service, ("outcome", "complete")];
    assert_eq!(stand.collector.metric("lastbeat_shutdown_duration_seconds_count", &count), 1.0);
}

#[test]
fn with_no_order_open_there_is_nothing_to_cancel_and_that_is_well() {
    let mut stand = Stand::new();
    let trading = stand.trade("paper", 0);
    let stopped = stand.stop(trading);

    assert_eq!((stand.exchange.seen("CANCEL_ALL"), stand.exchange.seen("CANCEL")), (0, 0));
    clean(&stand, &stopped);
    let none = json!({ "name": "cancel-orders", "outcome": "ok", "attempts": 1 });
    assert_eq!(stopped.cleanup()["steps"], json!([none, ok("transition"), ok("save-state")]));
    let rows = ["cancel-orders: ok, 0 of 0, T", "transition: ok, T", "save-state: ok, T"];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders ok (0 of 0), transition ok, save-state ok.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
    assert_eq!(stand.book(), "");
}

#[test]
fn live_one_order_is_cancelled() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 1);
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled");
    clean(&stand, &stopped);
    let steps = [cancelled(1), ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 1));
    let rows = [
        "cancel-orders: ok, 1 of 1, T",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 1 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders ok (1 of 1), transition ok, save-state ok. \
                Buffered items written out: 1.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
    assert_eq!(stand.book(), "o-1 1 cancelled\n");
}

#[test]
fn what_a_batch_refuses_is_cancelled_one_by_one() {
    for (misbehaviour, singly) in
        [("single o-2", 1), ("next CANCEL_ALL refuse", 3), ("next CANCEL_ALL drop", 3)]
    {
        let mut stand = Stand::new();
        let trading = stand.trading("paper", 3);
        stand.exchange.desk(misbehaviour);
        let stopped = stand.stop(trading);

        assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled o-3=cancelled", "{misbehaviour}");
        let seen = (stand.exchange.seen("CANCEL_ALL"), stand.exchange.seen("CANCEL"));
        assert_eq!(seen, (1, singly), "{misbehaviour}");
        clean(&stand, &stopped);
        let steps = [cancelled(3), ok("transition"), ok("save-state")];
        assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 3), "{misbehaviour}");
        let mut audit = stopped.audit.clone();
        audit.sort();
        assert_eq!(audit, ["o-1 done", "o-2 done", "o-3 done"], "{misbehaviour}");
        assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 cancelled\no-3 3 cancelled\n");
    }
}

#[test]
fn an_order_that_was_never_placed_is_skipped_and_does_not_fail() {
    let mut stand = Stand::new();
    stand.exchange.desk("next PLACE refuse");
    let trading = stand.trading("paper", 3);
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-2=cancelled o-3=cancelled");
    clean(&stand, &stopped);
    let cancel = json!({ "name": "cancel-orders", "outcome": "ok", "done": 2, "total": 3, "skipped": 1, "attempts": 1 });
    let steps = [cancel, ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 3));
    let rows = [
        "cancel-orders: ok, 2 of 3, 1 skipped, T",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 3 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders ok (2 of 3, 1 skipped), transition ok, save-state ok. \
                Buffered items written out: 3.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
    assert_eq!(stopped.audit, ["o-1 skipped never placed", "o-2 done", "o-3 done"]);
    assert_eq!(stand.book(), "o-1 - unplaced\no-2 1 cancelled\no-3 2 cancelled\n");
}

#[test]
fn an_order_whose_answer_got_lost_is_found_at_the_exchange_and_cancelled() {
    let mut stand = Stand::new();
    stand.exchange.desk("next PLACE mute");
    let trading = stand.trading("paper", 2);
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled");
    clean(&stand, &stopped);
    assert_eq!(stopped.cleanup()["steps"][0], cancelled(2));
    assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 cancelled\n");
}

#[test]
fn what_a_killed_life_left_open_the_next_one_finds_at_the_exchange() {
    let mut stand = Stand::new();
    stand.trading("live", 2).kill();
    assert_eq!(stand.exchange.orders(), "o-1=open o-2=open", "a KILL leaves no time for a plan");
    let next_life = stand.trade("live", 3);
    stand.exchange.wait_for("PLACE", 3);
    let stopped = stand.stop(next_life);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled o-3=cancelled");
    assert_eq!(stopped.ending().class, Class::Shutdown);
    assert_eq!(stopped.cleanup()["steps"][0], cancelled(3));
}

#[test]
fn one_order_that_cannot_be_cancelled_is_named_and_makes_a_ticket() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 3);
    stand.exchange.desk("stubborn o-2");
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=open o-3=cancelled");
    not_clean(&stand, &stopped, "Stopped, cleanup partial: cancel-orders 2 of 3");
    let cancel = json!({ "name": "cancel-orders", "outcome": "partial", "done": 2, "total": 3, "attempts": 3,
        "failed_items": ["o-2"], "error": "CANCEL refused: it is being filled" });
    let steps = [cancel, ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("partial", &steps, 3));
    let rows = [
        "cancel-orders: partial, 2 of 3, 3 attempts, T (CANCEL refused: it is being filled; not done: o-2)",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 3 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("partial", &rows));
    let told = "partial in T: cancel-orders partial (2 of 3; not done: o-2; 3 attempts; CANCEL refused: it is being \
                filled), transition ok, save-state ok. Buffered items written out: 3.";
    assert_eq!(stopped.story, story(NOT_CLEAN, told, SEE_TO_IT));
    let failed = "o-2 failed CANCEL refused: it is being filled";
    assert_eq!(stopped.audit, ["o-1 done", "o-3 done", failed, failed, failed]);
    assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 open\no-3 3 cancelled\n");
    let partial = [("service", "trader"), ("outcome", "partial")];
    assert_eq!(stand.collector.metric("lastbeat_shutdown_steps_total", &partial), 1.0);
}

#[test]
fn an_exchange_that_comes_back_at_the_third_attempt_makes_a_clean_stop() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 2);
    stand.exchange.desk("next CANCEL_ALL drop 2");
    stand.exchange.desk("next CANCEL drop 4");
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled");
    clean(&stand, &stopped);
    let cancel = json!({ "name": "cancel-orders", "outcome": "ok", "done": 2, "total": 2, "attempts": 3 });
    let steps = [cancel, ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("complete", &steps, 2));
    let rows = [
        "cancel-orders: ok, 2 of 2, 3 attempts, T",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 2 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("complete", &rows));
    let told = "complete in T: cancel-orders ok (2 of 2; 3 attempts), transition ok, save-state ok. \
                Buffered items written out: 2.";
    assert_eq!(stopped.story, story(CLEAN, told, "nothing."));
}

#[test]
fn an_exchange_that_stays_away_fails_its_step_alone_and_the_next_life_cancels_what_the_book_holds() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 2);
    stand.exchange.desk("next CANCEL_ALL drop 3");
    stand.exchange.desk("next CANCEL drop 6");
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=open o-2=open", "as it is said");
    not_clean(&stand, &stopped, "Stopped, cleanup failed: cancel-orders");
    let why = "CANCEL: the exchange hung up";
    let cancel = json!({ "name": "cancel-orders", "outcome": "failed", "total": 2, "attempts": 3, "error": why,
        "failed_items": ["o-1", "o-2"] });
    let steps = [cancel, ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("failed", &steps, 2));
    let rows = [
        "cancel-orders: failed, 0 of 2, 3 attempts, T (CANCEL: the exchange hung up; not done: o-1, o-2)",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 2 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("failed", &rows));
    let told = "not done: a step failed in T: cancel-orders failed (0 of 2; not done: o-1, o-2; 3 attempts; \
                CANCEL: the exchange hung up), transition ok, save-state ok. Buffered items written out: 2.";
    assert_eq!(stopped.story, story(NOT_CLEAN, told, SEE_TO_IT));
    assert_eq!(stand.book(), "o-1 1 open\no-2 2 open\n");

    let next_life = stand.trade("live", 2);
    let stopped = stand.stop(next_life);
    assert_eq!(stand.exchange.orders(), "o-1=cancelled o-2=cancelled");
    assert_eq!(stopped.cleanup()["steps"][0], cancelled(2));
    assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 cancelled\n");
}

#[test]
fn a_transition_that_fails_does_not_keep_the_book_from_being_saved() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 2);
    stand.exchange.desk("next CLOSE refuse");
    let stopped = stand.stop(trading);

    not_clean(&stand, &stopped, "Stopped, cleanup failed: transition");
    let transition = json!({ "name": "transition", "outcome": "failed", "attempts": 1,
        "error": "CLOSE refused: not now" });
    assert_eq!(stopped.cleanup(), cleanup("failed", &[cancelled(2), transition, ok("save-state")], 2));
    let rows = [
        "cancel-orders: ok, 2 of 2, T",
        "transition: failed, T (CLOSE refused: not now)",
        "save-state: ok, T",
        "buffers: 2 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("failed", &rows));
    let told = "not done: a step failed in T: cancel-orders ok (2 of 2), transition failed (CLOSE refused: not now), \
                save-state ok. Buffered items written out: 2.";
    assert_eq!(stopped.story, story(NOT_CLEAN, told, SEE_TO_IT));
    assert_eq!(stand.book(), "o-1 1 cancelled\no-2 2 cancelled\n");
}

/// What makes it impossible to write a file with this path.
type Obstacle = fn(&Path) -> io::Result<()>;

#[test]
fn a_book_that_cannot_be_saved_is_said_to_be_lost_and_the_one_from_before_is_whole() {
    let in_the_way: [(&str, Obstacle); 2] = [
        ("No space left on device (os error 28)", |path| symlink("/dev/full", path)),
        ("Is a directory (os error 21)", |path| fs::create_dir(path)),
    ];
    for (why, put_in_the_way) in in_the_way {
        let mut stand = Stand::new();
        fs::write(stand.book_file(), "o-7 70 cancelled\n").expect("an earlier life's book");
        put_in_the_way(&stand.book_file().with_extension("new")).expect("something is in the way");
        let trading = stand.trading("paper", 2);
        let stopped = stand.stop(trading);

        assert_eq!(stand.exchange.orders(), "o-8=cancelled o-9=cancelled");
        not_clean(&stand, &stopped, "Stopped, cleanup failed: save-state");
        let error = format!("{}: {why}", stand.book_file().display());
        let save = json!({ "name": "save-state", "outcome": "failed", "attempts": 1, "error": error });
        let steps = json!([cancelled(2), ok("transition"), save]);
        assert_eq!(stopped.cleanup(), json!({ "outcome": "failed", "steps": steps, "items_dropped": 2 }));
        let save = format!("save-state: failed, T ({error})");
        let rows =
            ["cancel-orders: ok, 2 of 2, T", "transition: ok, T", &save, "buffers: 0 flushed, 2 dropped"];
        assert_eq!(stopped.printed, block("failed", &rows));
        let told = format!(
            "not done: a step failed in T: cancel-orders ok (2 of 2), transition ok, save-state failed ({error}). Left \
             behind: 2 buffered items dropped."
        );
        assert_eq!(stopped.story, story(NOT_CLEAN, &told, SEE_TO_IT));
        assert_eq!(stand.book(), "o-7 70 cancelled\n", "never half");
    }
}

#[test]
fn an_exchange_that_hangs_costs_its_step_its_time_and_no_more() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 2);
    stand.exchange.desk("next CANCEL_ALL hold 100");
    stand.exchange.desk("next CANCEL hold 100");
    let stopped = stand.stop(trading);

    assert_eq!(stand.exchange.orders(), "o-1=open o-2=open", "as it is said");
    let ending = stopped.ending();
    assert_eq!((ending.class, ending.severity), (Class::ShutdownTimeout, Severity::Page), "{ending:#?}");
    assert_eq!(stopped.words(), "Failed: stop timed out: cancel-orders");
    let cancel = json!({ "name": "cancel-orders", "outcome": "timed_out", "total": 2, "attempts": 1,
        "failed_items": ["o-1", "o-2"] });
    let steps = [cancel, ok("transition"), ok("save-state")];
    assert_eq!(stopped.cleanup(), cleanup("timed_out", &steps, 2));
    let rows = [
        "cancel-orders: timed_out, 0 of 2, T (not done: o-1, o-2)",
        "transition: ok, T",
        "save-state: ok, T",
        "buffers: 2 flushed, 0 dropped",
    ];
    assert_eq!(stopped.printed, block("timed out", &rows));
    let told = "not done: a step ran out of time in T: cancel-orders timed out (0 of 2; not done: o-1, o-2), \
                transition ok, save-state ok. Buffered items written out: 2.";
    let verdict = "It was an error: a stop was asked, and it did not end inside its deadline.";
    let next = "find out what hung; if it only needs longer, allow more with `lastbeat run --grace` or \
                LASTBEAT_STOP_DEADLINE.";
    assert_eq!(stopped.story, story(verdict, told, next));
    let took = ending.cleanup.steps[0].duration_ms.expect("it ran");
    assert!((5_000..6_000).contains(&took), "its limit is 5 s: {took} ms");
    assert_eq!(stand.book(), "o-1 1 open\no-2 2 open\n");
    let names: Vec<_> = stand.collector.alerts_of(WHO).into_iter().map(|alert| alert.name).collect();
    assert_eq!(names, ["LastbeatWorkerFailed"]);
}

#[test]
fn a_step_that_panics_has_failed_and_the_next_one_runs() {
    let mut stand = Stand::new();
    let trading = stand.trading("live", 1);
    stand.exchange.desk("next CLOSE miscount");
    let stopped = stand.stop(trading);

    not_clean(&stand, &stopped, "Stopped, cleanup failed: transition");
    let why = "panicked: 1 orders are open at the exchange, 0 in the book";
    let transition = json!({ "name": "transition", "outcome": "failed", "attempts": 1, "error": why });
    assert_eq!(stopped.cleanup(), cleanup("failed", &[cancelled(1), transition, ok("save-state")], 1));
    let failed = format!("transition: failed, T ({why})");
    let rows =
        ["cancel-orders: ok, 1 of 1, T", &failed, "save-state: ok, T", "buffers: 1 flushed, 0 dropped"];
    assert_eq!(stopped.printed, block("failed", &rows));
    let told = format!(
        "not done: a step failed in T: cancel-orders ok (1 of 1), transition failed ({why}), save-state ok. Buffered \
         items written out: 1."
    );
    let story = story(NOT_CLEAN, &told, SEE_TO_IT).replace("asked #N", "asked #N, panic #N");
    assert_eq!(stopped.story, story);
    assert_eq!(stand.exchange.orders(), "o-1=cancelled");
    assert_eq!(stand.book(), "o-1 1 cancelled\n");
}

/// Waits until the loop has beaten so often again: it was there, and had time for more.
fn beats(stand: &Stand, count: u32) {
    let heard = || stand.collector.worker(WHO).run.map(|run| run.last_beat_at);
    for _ in 0..count {
        let before = heard();
        until("a beat", PATIENCE, || if heard() > before { Ok(()) } else { Err(format!("{before:?}")) });
    }
}

fn ask(stand: &Stand, what: &str) {
    let answer = stand.collector.cli(&[what, WHO, "--who=anna", "--why=new disk"]);
    assert_eq!(answer.code, Some(0), "{what}: {answer:?}");
}

#[test]
fn a_paused_loop_places_no_order_until_it_is_resumed_and_is_stopped_all_the_same() {
    let mut stand = Stand::new();
    let mut trading = stand.trade("paper", ENDLESS);
    // The cycle that a pause finds at work is finished, and counts.
    stand.exchange.desk("next PLACE hold");
    stand.exchange.desk("holding");
    let held = stand.exchange.seen("PLACE");
    ask(&stand, "pause");
    let paused = |report: &lastbeat_wire::report::WorkerReport| report.condition == Condition::Paused;
    stand.collector.wait_for(WHO, "paused", PATIENCE, paused);
    stand.exchange.desk("release");
    trading.line(&format!("label=\"o-{held}\""));
    let looks = stand.exchange.seen("LIST");
    beats(&stand, 3);
    assert_eq!((stand.exchange.seen("PLACE"), stand.exchange.seen("LIST")), (held, looks), "it is paused");
    assert_eq!(stand.collector.worker(WHO).condition, Condition::Paused);

    ask(&stand, "resume");
    stand.exchange.wait_for("PLACE", held + 3);
    live(&stand.collector, WHO);
    beats(&stand, 3);
    assert!(stand.exchange.seen("PLACE") > held + 3, "so many beats are time for more orders, where it may");

    ask(&stand, "pause");
    stand.collector.wait_for(WHO, "paused", PATIENCE, paused);
    let stopped = stand.stop(trading);
    clean(&stand, &stopped);
    assert!(!stand.exchange.orders().contains("open"), "{}", stand.exchange.orders());
}

#[test]
fn a_cycle_that_a_stop_finds_at_work_is_finished_inside_the_deadline() {
    let mut stand = Stand::new();
    stand.exchange.desk("next PLACE hold");
    let mut trading = stand.trading("live", 1);
    trading.signal(Signal::TERM);
    let stopping = |report: &lastbeat_wire::report::WorkerReport| report.condition == Condition::Stopping;
    stand.collector.wait_for(WHO, "stopping", PATIENCE, stopping);
    stand.exchange.desk("holding");
    assert_eq!((stand.exchange.seen("CANCEL_ALL"), stand.exchange.seen("CLOSE")), (0, 0), "first the loop");
    stand.exchange.desk("release");
    let stopped = stand.ended(&mut trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled");
    assert_eq!(stopped.ending().class, Class::Shutdown);
    assert_eq!(
        stopped.cleanup(),
        cleanup("complete", &[cancelled(1), ok("transition"), ok("save-state")], 1)
    );
    assert_eq!(stand.book(), "o-1 1 cancelled\n");
    let placed = trading.output().find("an order was placed").expect("the cycle was finished");
    let cancelled = trading.output().find("item=\"o-1\"").expect("and its order cancelled");
    assert!(placed < cancelled);
}

#[test]
fn an_operator_stops_it_by_name_and_is_named() {
    let mut stand = Stand::new();
    let mut trading = stand.trading("live", 1);
    ask(&stand, "stop");
    let stopped = stand.ended(&mut trading);

    assert_eq!(stand.exchange.orders(), "o-1=cancelled");
    let cause = stopped.ending().cause.as_ref().expect("it was asked");
    assert_eq!((stopped.ending().class, cause.kind), (Class::Shutdown, CauseKind::Operator));
    assert_eq!(stopped.words(), "System stopped T by operator anna; cleanup complete");
    assert!(stopped.printed.starts_with("trader/loop stopped: anna (new disk); cleanup complete in T\n"));
}
