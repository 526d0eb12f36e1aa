//! Endings, told fact by fact. One scenario a rule; the names are sentences that can fail. Conditions over time are
//! in `conditions.rs`.

mod stage;

use lastbeat_engine::ending::{AgentEnd, Cause, CauseKind, Class, ClassHint, CleanupOutcome, StepOutcome};
use lastbeat_engine::fact::{Deadline, Final, Process, Start, WitnessStart};
use lastbeat_engine::{Condition, Source, What};
use stage::*;

#[test]
fn a_stop_that_was_asked_and_kept_its_plan_is_a_shutdown_and_alerts_nobody() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(keyboard()));
    assert_eq!(stage.condition(), Condition::Stopping);
    assert_eq!(stage.words(), "Stopping, 30 s left");
    stage.own(run, clean_goodbye(keyboard(), None)).unlink(run, Source::Own, 1);
    assert_eq!(stage.class(run), Some(Class::Shutdown));
    assert_eq!(stage.words(), "System stopped 00:16:40 by Ctrl+C; cleanup complete");
    stage.pass(3_600_000);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Stopped, vec![]));
}

#[test]
fn a_kill_from_a_shell_names_the_shell() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(by_signal("SIGTERM"))).own(run, clean_goodbye(by_signal("SIGTERM"), None));
    assert_eq!(stage.words(), "System stopped 00:16:40 by kill from bash; cleanup complete");
}

#[test]
fn a_promise_is_restarting_until_a_successor_is_ready_and_then_live() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.own(old, asked(by_signal("SIGTERM"))).own(old, clean_goodbye(by_signal("SIGTERM"), Some(30_000)));
    assert_eq!(stage.words(), "Restarting, back by 00:17:10");
    stage.pass(2_000);
    let new = stage.run(2);
    stage.own(new, start());
    assert_eq!(stage.condition(), Condition::Restarting);
    stage.own(new, What::Ready);
    assert_eq!(stage.condition(), Condition::Live);
    stage.pass(29_000);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    let counts = stage.roster.snapshot();
    assert_eq!(counts.counts().promises.get(&("s".into(), true)), Some(&1));
}

#[test]
fn a_broken_promise_alerts_at_its_deadline_and_not_before() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(by_signal("SIGTERM"))).own(run, clean_goodbye(by_signal("SIGTERM"), Some(2_000)));
    stage.pass(1_999);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Restarting, vec![]));
    stage.pass(1);
    assert_eq!(
        (stage.condition(), stage.open_alerts()),
        (Condition::RestartOverdue, vec!["LastbeatRestartOverdue"])
    );
    assert_eq!(stage.words(), "Failed: restart overdue since 00:16:42");
    stage.pass(1).live(2);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec!["LastbeatRestartOverdue"]));
    for _ in 0..13 {
        stage.pass(4_999).beat(lastbeat_engine::RunId(2), Source::Own);
    }
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn an_unready_successor_that_dies_inside_the_promise_pages_nobody_until_the_promise_breaks() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.own(old, asked(by_signal("SIGTERM"))).own(old, clean_goodbye(by_signal("SIGTERM"), Some(20_000)));
    stage.pass(1_000);
    let new = stage.run(2);
    stage
        .own(new, start())
        .witness(new, What::WitnessStart(WitnessStart::default()))
        .witness(new, exit_code(3));
    assert_eq!(stage.class(new), Some(Class::StartFailed));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Restarting, vec![]));
    stage.pass(20_000);
    assert_eq!(stage.open_alerts(), vec!["LastbeatRestartOverdue"]);
}

#[test]
fn a_promise_on_the_command_line_is_not_for_the_keyboard() {
    for (cause, condition) in
        [(keyboard(), Condition::Stopped), (by_signal("SIGTERM"), Condition::Restarting)]
    {
        let mut stage = Stage::new();
        let run = stage.run(1);
        stage.witness(run, witness_start(Some(30_000))).witness(run, seen(cause)).witness(run, exit_code(0));
        assert_eq!(stage.condition(), condition);
    }
}

#[test]
fn a_kill_seen_by_the_witness_is_killed_and_pages() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, exit_signal("SIGKILL"));
    assert_eq!(stage.class(run), Some(Class::Killed));
    assert_eq!(stage.words(), "Failed: killed (SIGKILL)");
    assert_eq!(stage.open_alerts(), vec!["LastbeatWorkerFailed"]);
}

#[test]
fn a_closed_link_without_witness_is_unreachable_at_once_and_lost_after_ten_seconds() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.pass(1_000).unlink(run, Source::Own, 1);
    assert_eq!(stage.condition(), Condition::Unreachable);
    stage.pass(9_999);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Unreachable, vec![]));
    stage.pass(1);
    assert_eq!((stage.class(run), stage.open_alerts()), (Some(Class::Lost), vec!["LastbeatWorkerFailed"]));
    stage.pass(19_000);
    assert_eq!(stage.words(), "Failed: lost contact 30 s ago", "counted from the last sign of it");
}

#[test]
fn a_link_that_comes_back_in_time_was_nothing() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage
        .unlink(run, Source::Own, 1)
        .pass(6_000)
        .beat(run, Source::Own)
        .link(run, Source::Own, 2)
        .pass(9_000);
    assert_eq!((stage.class(run), stage.condition()), (None, Condition::Live));
    stage.unlink(run, Source::Own, 1);
    assert_eq!(stage.condition(), Condition::Live, "the close of an older link says nothing");
}

#[test]
fn silence_is_late_then_unreachable_then_lost_and_a_word_takes_it_back() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.pass(10_000);
    assert_eq!(stage.words(), "Late 10 s");
    stage.pass(5_000);
    assert_eq!(stage.words(), "Unreachable 15 s, last seen 00:16:40");
    stage.pass(14_999);
    assert_eq!(stage.class(run), None);
    stage.pass(1);
    assert_eq!(stage.class(run), Some(Class::Lost));
    stage.pass(60_000).beat(run, Source::Own);
    assert_eq!((stage.class(run), stage.condition(), stage.open_alerts()), (None, Condition::Live, vec![]));
    let alerts = stage.alerts();
    assert!(alerts[0].because.starts_with("amended to live: heard again"), "{alerts:?}");
}

#[test]
fn a_final_delivered_late_amends_lost_to_shutdown() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.unlink(run, Source::Own, 1).pass(20_000);
    assert_eq!(stage.class(run), Some(Class::Lost));
    stage.spooled(run, Source::Own, 19_000, asked(keyboard()));
    stage.spooled(run, Source::Own, 18_000, clean_goodbye(keyboard(), None));
    assert_eq!((stage.class(run), stage.condition()), (Some(Class::Shutdown), Condition::Stopped));
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    let snapshot = stage.roster.snapshot();
    let worker = snapshot.worker("s", "w").unwrap();
    assert_eq!(worker.amendments()[0].from, Class::Lost);
}

#[test]
fn a_run_that_was_asked_is_never_lost_but_times_out_at_its_deadline() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(keyboard())).own(run, What::Step(step("flush", None))).unlink(run, Source::Own, 1);
    stage.pass(29_999);
    assert_eq!(stage.class(run), None);
    stage.pass(1);
    assert_eq!(stage.class(run), Some(Class::ShutdownTimeout));
    assert_eq!(stage.words(), "Failed: stop timed out: flush");
}

#[test]
fn a_kill_after_an_ask_is_a_timeout_not_a_murder() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, seen(by_signal("SIGTERM"))).pass(5_000).witness(run, exit_signal("SIGKILL"));
    assert_eq!(stage.class(run), Some(Class::ShutdownTimeout));
}

#[test]
fn a_panic_that_nobody_caught_is_crashed_with_its_place() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    let fin = Final { hint: Some(ClassHint::Crashed), ..Final::default() };
    stage.own(run, panic_of("order book crossed")).own(run, What::Final(fin));
    assert_eq!(stage.class(run), Some(Class::Crashed));
    assert_eq!(stage.words(), "Failed: panic \"order book crossed\"");
}

#[test]
fn a_panic_that_was_caught_is_nothing_when_the_stop_is_clean() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, panic_of("x")).own(run, asked(keyboard())).own(run, clean_goodbye(keyboard(), None));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn an_unlinked_program_that_was_asked_is_shutdown_whatever_its_code() {
    for exit in [exit_code(0), exit_code(1), exit_code(143), exit_signal("SIGTERM")] {
        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        stage.witness(run, seen(by_signal("SIGTERM"))).witness(run, exit);
        assert_eq!(stage.class(run), Some(Class::Shutdown));
        let snapshot = stage.roster.snapshot();
        let ending = snapshot.run(run).unwrap().1.verdict().ending().unwrap().clone();
        assert_eq!(ending.cleanup_outcome, CleanupOutcome::NoneDeclared);
    }
}

#[test]
fn a_second_signal_a_second_later_aborts_an_unlinked_program_and_three_at_once_do_not() {
    for (gap_ms, class) in [(300, Class::Shutdown), (1_000, Class::ShutdownAborted)] {
        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        stage
            .witness(run, seen(keyboard()))
            .pass(gap_ms)
            .witness(run, seen(keyboard()))
            .witness(run, exit_code(0));
        assert_eq!(stage.class(run), Some(class));
    }
}

#[test]
fn a_linked_run_is_held_to_its_exit_code_unless_it_declared_it() {
    for (accept, class) in [(vec![], Class::ShutdownDegraded), (vec![1], Class::Shutdown)] {
        let mut stage = Stage::new();
        let run = stage.run(1);
        stage.witness(run, witness_start(None));
        stage.own(run, What::Start(Start { goodbye: true, accept_exit: accept, ..Start::default() }));
        stage.own(run, What::Ready).own(run, asked(by_signal("SIGTERM")));
        stage.own(run, clean_goodbye(by_signal("SIGTERM"), None)).witness(run, exit_code(1));
        assert_eq!(stage.class(run), Some(class));
    }
}

#[test]
fn a_linked_run_that_was_asked_and_said_nothing_skipped_its_cleanup() {
    let mut stage = Stage::new();
    let run = stage.run(1);
    stage.witness(run, witness_start(None)).own(run, start()).own(run, What::Ready);
    stage.witness(run, seen(by_signal("SIGTERM"))).witness(run, exit_signal("SIGTERM"));
    assert_eq!(stage.class(run), Some(Class::ShutdownDegraded));
    assert_eq!(stage.words(), "Stopped, cleanup skipped");
    assert_eq!(stage.open_alerts(), vec!["LastbeatCleanupNotClean"]);
}

#[test]
fn the_worst_step_decides_the_class_and_the_words() {
    let mut partial = step("orders", Some(StepOutcome::Partial));
    (partial.done, partial.total) = (Some(2), Some(3));
    let rows = [
        (partial, Class::ShutdownDegraded, "Stopped, cleanup partial: orders 2 of 3"),
        (step("flush", Some(StepOutcome::Failed)), Class::ShutdownDegraded, "Stopped, cleanup failed: flush"),
        (step("flush", Some(StepOutcome::TimedOut)), Class::ShutdownTimeout, "Failed: stop timed out: flush"),
    ];
    for (bad, class, words) in rows {
        let mut stage = Stage::new();
        let run = stage.live(1);
        let steps = vec![step("first", Some(StepOutcome::Ok)), bad];
        stage.own(run, asked(keyboard())).own(run, goodbye(keyboard(), cleaned(steps), None));
        assert_eq!((stage.class(run), stage.words().as_str()), (Some(class), words));
    }
}

#[test]
fn an_exit_that_nobody_asked_for_is_judged_by_its_code_and_by_what_could_be_said() {
    let rows = [
        (false, exit_code(0), Class::Completed),
        (true, exit_code(0), Class::ExitedSilently),
        (false, exit_code(1), Class::Crashed),
        (false, exit_signal("SIGSEGV"), Class::Crashed),
        (false, exit_signal("SIGUSR1"), Class::Crashed),
    ];
    for (linked, exit, class) in rows {
        let mut stage = Stage::new();
        let run = stage.run(1);
        stage.witness(run, witness_start(None));
        if linked {
            stage.own(run, start()).own(run, What::Ready);
        }
        stage.witness(run, exit);
        assert_eq!(stage.class(run), Some(class));
    }
}

#[test]
fn done_is_no_ask_and_a_bare_goodbye_proves_no_intent() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    let done = Cause { reason: Some("done".into()), ..Cause::of(CauseKind::Itself) };
    let fin = Final { hint: Some(ClassHint::Completed), cause: Some(done), ..Final::default() };
    stage.own(run, What::Final(fin));
    assert_eq!((stage.class(run), stage.condition()), (Some(Class::Completed), Condition::Completed));

    let mut stage = Stage::new();
    let run = stage.run(1);
    stage.witness(run, witness_start(None)).own(run, start()).own(run, What::Ready);
    stage.own(run, What::Final(Final::default())).witness(run, exit_code(1));
    assert_eq!(stage.class(run), Some(Class::Crashed));
}

#[test]
fn a_run_that_ends_or_stays_unready_failed_to_start() {
    let mut stage = Stage::new();
    let run = stage.run(1);
    stage
        .own(run, start())
        .witness(run, What::WitnessStart(WitnessStart::default()))
        .witness(run, exit_code(3));
    assert_eq!(stage.class(run), Some(Class::StartFailed));
    assert_eq!(stage.words(), "Failed to start: exit 3");

    let mut stage = Stage::new();
    let run = stage.run(1);
    stage.own(run, start());
    for _ in 0..15 {
        stage.pass(4_000).beat(run, Source::Own);
    }
    assert_eq!(stage.class(run), Some(Class::StartFailed));
    assert_eq!(stage.words(), "Failed to start: not ready after 60 s");
    stage.own(run, What::Ready);
    assert_eq!((stage.class(run), stage.condition()), (None, Condition::Live));
}

#[test]
fn a_run_alive_ten_seconds_after_its_final_did_not_keep_its_word() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).own(run, asked(keyboard()));
    stage.own(run, clean_goodbye(keyboard(), None));
    assert_eq!(stage.condition(), Condition::Stopping, "its witness will tell");
    stage.pass(10_000);
    assert_eq!(stage.class(run), Some(Class::ShutdownTimeout));
    assert_eq!(stage.words(), "Failed: said goodbye, still running");
}

#[test]
fn a_run_that_exits_long_after_its_final_did_not_keep_its_word_either() {
    for (lag_ms, class) in [(9_000, Class::Shutdown), (11_000, Class::ShutdownTimeout)] {
        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        stage.own(run, start()).own(run, What::Ready);
        stage.spooled(run, Source::Own, lag_ms, asked(keyboard()));
        stage.spooled(run, Source::Own, lag_ms, clean_goodbye(keyboard(), None));
        stage.spooled(run, Source::Witness, 0, exit_code(0));
        assert_eq!(stage.class(run), Some(class));
    }
}

#[test]
fn a_signal_after_a_stop_asked_otherwise_is_the_first_signal() {
    for (signals, class) in [(1, Class::Shutdown), (2, Class::ShutdownAborted)] {
        let mut stage = Stage::new();
        let run = stage.live(1);
        stage.own(run, asked(Cause::of(CauseKind::Api)));
        for _ in 0..signals {
            stage.pass(2_000).own(run, asked(by_signal("SIGTERM")));
        }
        let skipped = step("flush", Some(StepOutcome::Skipped));
        stage.own(run, goodbye(Cause::of(CauseKind::Api), cleaned(vec![skipped]), None));
        assert_eq!(stage.class(run), Some(class));
    }
}

#[test]
fn what_its_own_gate_skipped_no_second_request_forced() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(keyboard())).pass(2_000).own(run, asked(keyboard()));
    let mut gated = step("flush", Some(StepOutcome::Skipped));
    gated.why_skipped = Some("dry run".into());
    stage.own(run, goodbye(keyboard(), cleaned(vec![gated]), None));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn a_final_suffices_when_its_witness_is_gone() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage
        .own(run, start())
        .own(run, What::Ready)
        .own(run, asked(keyboard()))
        .own(run, clean_goodbye(keyboard(), None));
    stage.unlink(run, Source::Witness, 1).pass(10_000);
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn a_closed_link_of_a_client_whose_witness_sees_it_is_never_a_loss() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2).unlink(run, Source::Own, 2);
    for _ in 0..30 {
        stage.pass(4_000).beat(run, Source::Witness);
    }
    assert_eq!((stage.class(run), stage.condition()), (None, Condition::Hung));
}

#[test]
fn a_successor_supersedes_and_the_old_final_still_counts() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.pass(1_000);
    stage.live(2);
    assert_eq!((stage.class(old), stage.condition()), (Some(Class::Superseded), Condition::Live));
    stage.pass(3_000).own(old, asked(keyboard())).own(old, clean_goodbye(keyboard(), None));
    assert_eq!((stage.class(old), stage.condition()), (Some(Class::Shutdown), Condition::Live));
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
}

#[test]
fn a_process_that_executes_itself_anew_has_one_exit_and_it_is_the_newest_runs() {
    let process = Process { boot_id: "b".into(), pid_ns: 1, pid: 9, start_ticks: 7 };
    let told = Start { goodbye: true, process: Some(process), ..Start::default() };
    let mut stage = Stage::new();
    let (old, new) = (stage.run(1), stage.run(2));
    stage.witness(
        old,
        What::WitnessStart(WitnessStart { start: told.clone(), ready: true, back_within_ms: None }),
    );
    stage.own(old, What::Start(told.clone())).own(old, What::Ready).pass(1_000);
    stage.own(new, What::Start(told)).own(new, What::Ready).witness(old, exit_signal("SIGKILL"));
    assert_eq!((stage.class(old), stage.class(new)), (Some(Class::Superseded), Some(Class::Killed)));
}

#[test]
fn a_forked_child_is_no_successor_and_its_end_is_not_its_parents() {
    let mut stage = Stage::new();
    let parent = stage.live(1);
    let child = stage.run(2);
    stage.pass(10).own(child, What::Start(Start { parent_run: Some(parent), ..Start::default() }));
    stage.own(child, What::Ready);
    let crashed = Final { hint: Some(ClassHint::Crashed), ..Final::default() };
    stage.own(child, panic_of("in the child")).own(child, What::Final(crashed));
    assert_eq!((stage.class(parent), stage.class(child)), (None, Some(Class::Crashed)));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_parent_that_is_heard_of_after_its_child_is_not_its_successor() {
    let mut stage = Stage::new();
    let (child, parent) = (stage.run(1), stage.run(2));
    stage.own(child, What::Start(Start { goodbye: true, parent_run: Some(parent), ..Start::default() }));
    stage.own(parent, What::Start(Start { goodbye: true, ..Start::default() }));
    stage.own(child, What::Ready).own(parent, What::Ready);
    assert_eq!((stage.class(parent), stage.class(child)), (None, None));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn an_agent_that_fails_while_nobody_asked_degrades_its_worker() {
    for (end, words) in [
        (AgentEnd::Crashed, "Degraded: price-feed crashed"),
        (AgentEnd::CancelledUnexpected, "Degraded: price-feed cancelled"),
    ] {
        let mut stage = Stage::new();
        let run = stage.live(1);
        stage.own(run, agent_ended("price-feed", end));
        assert_eq!((stage.words().as_str(), stage.open_alerts()), (words, vec!["LastbeatAgentFailed"]));
    }
}

#[test]
fn no_absence_of_the_observer_makes_a_run_lost_that_speaks_again_in_time() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.away(600_000);
    assert_eq!(stage.words(), "Unknown: collector recovering");
    stage.pass(29_999);
    assert_eq!(stage.class(run), None);
    stage.beat(run, Source::Own).pass(5_000);
    assert_eq!((stage.class(run), stage.condition()), (None, Condition::Live));
}

#[test]
fn after_an_absence_nothing_inferred_fires_before_one_full_silence_timeout() {
    let mut stage = Stage::new();
    let promising = stage.live(1);
    stage.own(promising, asked(keyboard())).own(promising, clean_goodbye(keyboard(), Some(5_000)));
    stage.away(60_000).pass(29_999);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    stage.pass(1);
    assert_eq!(stage.open_alerts(), vec!["LastbeatRestartOverdue"]);
}

#[test]
fn a_witnessed_exit_counts_at_once_even_right_after_an_absence() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.away(600_000).spooled(run, Source::Witness, 300_000, exit_signal("SIGKILL"));
    assert_eq!((stage.class(run), stage.open_alerts()), (Some(Class::Killed), vec!["LastbeatWorkerFailed"]));
}

#[test]
fn an_expiry_is_dated_at_its_deadline_and_names_its_evidence() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.pass(45_000);
    let snapshot = stage.roster.snapshot();
    let ending = snapshot.run(run).unwrap().1.verdict().ending().unwrap().clone();
    assert_eq!(ending.at.as_millis(), 1_030_000);
    assert_eq!((ending.expired, ending.provisional), (Some(Deadline::Silence), true));
    assert_eq!(ending.evidence[0].facts, ["expired #1"]);
}

#[test]
fn a_bad_end_stays_in_the_alert_until_a_successor_was_ready_for_a_minute() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, exit_signal("SIGKILL")).pass(1_000);
    let since = stage.alerts()[0].since;
    let second = stage.witnessed(2);
    stage.pass(10_000).witness(second, exit_code(3)).pass(1_000);
    assert_eq!(
        (stage.open_alerts().len(), stage.alerts()[0].since),
        (1, since),
        "the next ending continues it"
    );
    let third = stage.witnessed(3);
    for _ in 0..15 {
        stage.pass(4_000).beat(third, Source::Witness);
    }
    assert_eq!((stage.open_alerts(), stage.alerts().len()), (vec![], 1));
}
