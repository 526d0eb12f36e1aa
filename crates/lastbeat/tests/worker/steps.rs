//! Steps that are tried again, gated, counted item by item, and given more time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lastbeat::{BoxError, Builder, Plan, Step, StepHandle};
use lastbeat_wire::signal::{self, Cleanup, Extend, Signal, StepOutcome};

use crate::peer::{Peer, builder, cleanup};

const LONG: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(2);

/// Stops a worker by this plan and gives what the final says, and the summary.
fn stopped(make: impl FnOnce(Builder) -> Builder, plan: Plan) -> (Cleanup, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = make(builder(&peer.url(), dir.path())).connect();
    worker.stop("the test");
    worker.run_until_stopped_blocking(plan);
    let summary = worker.summary().expect("the stop is over");
    let cleanup = cleanup(peer.final_of(worker.run_id()));
    assert_eq!(summary.cleanup, cleanup, "what is returned is what is said");
    (cleanup, summary.to_string())
}

fn row(plan: Plan) -> signal::Step {
    let (cleanup, _) = stopped(|builder| builder, plan);
    cleanup.steps.into_iter().next().expect("a step")
}

fn step() -> Step {
    Step::new("cancel-orders", LONG).backoff(SOON, SOON)
}

/// Fails so often, then not.
fn fails(times: u32) -> impl FnMut(StepHandle) -> Result<(), BoxError> + Send + 'static {
    let mut left = times;
    move |step| {
        step.total(1);
        if left > 0 {
            left -= 1;
            return Err("the exchange does not answer".into());
        }
        step.done(1);
        Ok(())
    }
}

#[test]
fn a_step_is_tried_again_until_it_is_done_and_says_how_often() {
    let done = row(Plan::new().add_blocking(step().attempts(3), fails(2)));
    assert_eq!((done.outcome, done.attempts, done.done), (Some(StepOutcome::Ok), Some(3), Some(1)));
    assert_eq!(done.error, None);
    let failed = row(Plan::new().add_blocking(step().attempts(3), fails(3)));
    assert_eq!((failed.outcome, failed.attempts), (Some(StepOutcome::Failed), Some(3)));
    assert_eq!(failed.error.as_deref(), Some("the exchange does not answer"));
}

#[test]
fn a_future_is_made_anew_for_each_attempt_and_a_panic_is_one() {
    let seen = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&seen);
    let plan = Plan::new().add(step().attempts(2), move |_| {
        let attempt = counts.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(attempt > 0, "the first one panics");
            Ok(())
        }
    });
    let done = row(plan);
    assert_eq!((done.outcome, done.attempts), (Some(StepOutcome::Ok), Some(2)));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[test]
fn a_hanging_step_is_cut_once_and_not_tried_again() {
    let plan = Plan::new()
        .add(Step::new("hangs", Duration::from_millis(100)).attempts(5), |_| std::future::pending());
    let cut = row(plan);
    assert_eq!((cut.outcome, cut.attempts), (Some(StepOutcome::TimedOut), Some(1)));
}

#[test]
fn a_step_is_left_out_in_the_environments_it_names_and_the_cleanup_is_no_worse_for_it() {
    let plan = || {
        Plan::new().add_blocking(step().skip_in("dry_run"), |_| Err("it ran".into())).step_blocking(
            "save-state",
            LONG,
            |_| Ok(()),
        )
    };
    let (cleanup, summary) = stopped(|builder| builder.environment("dry_run"), plan());
    assert_eq!(cleanup.steps[0].outcome, Some(StepOutcome::Skipped));
    assert_eq!(cleanup.steps[0].why_skipped.as_deref(), Some("skipped in dry_run"));
    let lines: Vec<&str> = summary.lines().collect();
    assert!(lines[0].contains("cleanup complete"), "{summary}");
    assert_eq!(lines[1], "  cancel-orders: skipped in dry_run");
    let (cleanup, _) = stopped(|builder| builder.environment("live"), plan());
    assert_eq!(cleanup.steps[0].outcome, Some(StepOutcome::Failed));
}

fn orders(step: &StepHandle, refused: &'static [&'static str], bad: &'static [&'static str]) {
    step.items(vec!["o-1", "o-2", "o-3", "new"], |order| (*order).to_owned())
        .skip(|order| (*order == "new").then_some("never placed"))
        .all_at_once(|orders| {
            assert_eq!(orders, ["o-1", "o-2", "o-3"], "what is skipped is not asked for");
            if refused == ["all"] {
                return Err("no batches today".into());
            }
            Ok(refused.iter().map(|order| (*order).to_owned()).collect())
        })
        .one_by_one(|order| if bad.contains(order) { Err("unknown order".into()) } else { Ok(()) });
}

#[test]
fn a_batch_falls_back_to_one_by_one_and_each_item_is_counted_once() {
    type Told = (Option<StepOutcome>, Option<u64>, Option<u64>, Option<u64>, Vec<String>);
    let told = |refused, bad| -> Told {
        let row = row(Plan::new().step_blocking("cancel-orders", LONG, move |step| {
            orders(&step, refused, bad);
            Ok(())
        }));
        (row.outcome, row.done, row.total, row.skipped, row.failed_items)
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(told(&[], &["o-1"]), (Some(StepOutcome::Ok), Some(3), Some(4), Some(1), none.clone()));
    assert_eq!(told(&["o-2"], &[]), (Some(StepOutcome::Ok), Some(3), Some(4), Some(1), none.clone()));
    assert_eq!(told(&["all"], &[]), (Some(StepOutcome::Ok), Some(3), Some(4), Some(1), none));
    let partial = (Some(StepOutcome::Partial), Some(2), Some(4), Some(1), vec!["o-2".to_owned()]);
    assert_eq!(told(&["o-2"], &["o-2"]), partial);
    let all = vec!["o-1".to_owned(), "o-2".to_owned(), "o-3".to_owned()];
    assert_eq!(
        told(&["all"], &["o-1", "o-2", "o-3"]),
        (Some(StepOutcome::Failed), Some(0), Some(4), Some(1), all)
    );
}

#[test]
fn an_item_that_failed_and_is_done_in_a_later_attempt_is_done() {
    let mut left = vec!["o-1".to_owned(), "o-2".to_owned()];
    let plan = Plan::new().add_blocking(step().attempts(2), move |step| {
        let first = left.len() == 2;
        let open = std::mem::take(&mut left);
        step.items(open, Clone::clone).one_by_one(|order| {
            if first && order == "o-2" {
                left.push(order.clone());
                return Err("busy".into());
            }
            Ok(())
        });
        Ok(())
    });
    let done = row(plan);
    assert_eq!((done.outcome, done.attempts), (Some(StepOutcome::Ok), Some(2)));
    assert_eq!((done.done, done.total, done.failed_items.len()), (Some(2), Some(2), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_futures_is_counted_the_same_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.stop("the test");
    let plan = Plan::new().step("cancel-orders", LONG, |step| async move {
        step.items(vec![1, 2, 3], |order| format!("o-{order}"))
            .all_at_once_async(|orders| async move {
                assert_eq!(orders, [1, 2, 3]);
                Ok(vec!["o-2".to_owned(), "o-3".to_owned()])
            })
            .await
            .one_by_one_async(|order| async move { if order == 3 { Err("unknown".into()) } else { Ok(()) } })
            .await;
        Ok(())
    });
    worker.run_until_stopped(plan).await;
    let row = cleanup(peer.final_of(worker.run_id())).steps.remove(0);
    assert_eq!((row.outcome, row.done, row.total), (Some(StepOutcome::Partial), Some(2), Some(3)));
    assert_eq!(row.failed_items, ["o-3"]);
}

#[test]
fn what_the_end_of_the_time_leaves_open_is_named_after_what_failed() {
    let plan = Plan::new().step_blocking("cancel-orders", Duration::from_millis(100), |step| {
        let deadline = step.deadline();
        step.items(vec!["o-1", "o-2", "o-3"], |order| (*order).to_owned()).one_by_one(|order| {
            if *order == "o-1" {
                return Err("refused".into());
            }
            while Instant::now() < deadline {
                std::thread::yield_now();
            }
            Ok(())
        });
        Ok(())
    });
    let row = row(plan);
    assert_eq!(row.outcome, Some(StepOutcome::TimedOut));
    assert_eq!(row.failed_items.first().map(String::as_str), Some("o-1"));
    assert!(row.failed_items.contains(&"o-3".to_owned()), "{row:?}");
}

#[test]
fn buffers_flush_after_the_plan_and_what_they_drop_makes_the_cleanup_partial() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.flush_at_stop("audit-log", LONG, |step| {
        step.flushed(118);
        step.dropped(2);
        Ok(())
    });
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new().step_blocking("first", LONG, |_| Ok(())));
    let cleanup = cleanup(peer.final_of(worker.run_id()));
    let names: Vec<&str> = cleanup.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["first", "audit-log"]);
    assert_eq!(cleanup.steps[1].outcome, Some(StepOutcome::Partial));
    assert_eq!((cleanup.items_flushed, cleanup.items_dropped), (118, 2));
}

#[test]
fn work_that_moves_gets_more_time_and_says_so_before_the_deadline() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).stop_deadline(Duration::from_secs(2)).connect();
    worker.stop("the test");
    let plan = Plan::new().step_blocking("drain", Duration::from_secs(60), |step| {
        let first = step.deadline();
        step.total(2);
        step.done(1);
        if !step.extend(LONG) || step.extend(LONG) || step.deadline() < first + LONG {
            return Err("an extension is given once for each move".into());
        }
        while Instant::now() < first {
            std::thread::yield_now();
        }
        step.done(1);
        Ok(())
    });
    worker.run_until_stopped_blocking(plan);
    let facts = peer.facts_to_the_final();
    let extends: Vec<&Extend> = facts
        .iter()
        .filter_map(|fact| if let Signal::Extend(extend) = fact { Some(extend) } else { None })
        .collect();
    assert_eq!(extends.len(), 1);
    assert_eq!((extends[0].by_ms, extends[0].counter), (5_000, Some(1)));
    assert_eq!(extends[0].step.as_ref().map(|name| name.as_str()), Some("drain"));
    let Some(Signal::Final(fin)) = facts.last().cloned() else { panic!("a final comes last") };
    assert_eq!(cleanup(fin).steps[0].outcome, Some(StepOutcome::Ok));
}

#[test]
fn the_summary_is_one_block_that_a_person_can_read() {
    let plan = Plan::new()
        .add_blocking(step().attempts(3), |step| {
            step.items(vec!["o-1", "o-2"], |order| (*order).to_owned())
                .one_by_one(|order| if *order == "o-2" { Err("refused".into()) } else { Ok(()) });
            Ok(())
        })
        .step_blocking("flush", LONG, |_| Err("disk full".into()));
    let (_, summary) = stopped(|builder| builder, plan);
    let without_times: String = summary
        .split_inclusive([' ', '\n'])
        .map(|word| if word.trim().parse::<u64>().is_ok_and(|n| n > 3 || n == 0) { "N " } else { word })
        .collect();
    let lines: Vec<&str> = without_times.lines().collect();
    assert!(
        lines[0].starts_with("trader/main stopped: the program itself (the test); cleanup failed in "),
        "{summary}"
    );
    assert!(lines[1].starts_with("  cancel-orders: partial, 1 of 2, 3 attempts, "), "{summary}");
    assert!(lines[1].ends_with(" ms (refused; not done: o-2)"), "{summary}");
    assert!(lines[2].starts_with("  flush: failed, ") && lines[2].ends_with(" ms (disk full)"), "{summary}");
    assert_eq!(lines[3], "  final heartbeat: delivered");
}

#[test]
fn none_of_none_is_ok_and_said() {
    let none = Plan::new().add_blocking(step(), |step| {
        let orders: Vec<String> = Vec::new();
        step.items(orders, Clone::clone)
            .all_at_once(|_| Err("nothing is called without items".into()))
            .one_by_one(|_| Err("nor one by one".into()));
        Ok(())
    });
    let (cleanup, summary) = stopped(|builder| builder, none);
    let row = &cleanup.steps[0];
    assert_eq!((row.outcome, row.done, row.total), (Some(StepOutcome::Ok), Some(0), Some(0)));
    assert!(summary.contains("cancel-orders: ok, 0 of 0, "), "{summary}");
    // What the step said itself stands.
    let said = row_of_total(2);
    assert_eq!((said.outcome, said.done, said.total), (Some(StepOutcome::Partial), Some(1), Some(2)));
}

/// A step that says its total itself, does one of it, and then finds no item.
fn row_of_total(items: u64) -> signal::Step {
    row(Plan::new().add_blocking(step(), move |step| {
        step.total(items);
        step.done(1);
        step.items(Vec::<String>::new(), Clone::clone).one_by_one(|_| Ok(()));
        Ok(())
    }))
}
