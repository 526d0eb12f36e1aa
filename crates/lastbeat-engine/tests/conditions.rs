//! Conditions and alerts over time, told fact by fact: deadlines that move, loops, hung and suspended runs,
//! promises that were answered, words that came late. What one ending is called stands in `scenarios.rs`.

mod stage;

use lastbeat_engine::ending::{AgentEnd, Cause, CauseKind, Class, ClassHint, Cleanup, StepOutcome};
use lastbeat_engine::fact::{Final, LeftBehind, Notify, Start, WitnessStart};
use lastbeat_engine::{Condition, RunId, Source, What};
use stage::*;

#[test]
fn an_extension_counts_when_it_comes_in_time_and_something_moved() {
    // (each, counter moves, how often, deadline passed at): 30 s and what was granted.
    for (by_ms, moves, deadline_ms) in
        [(5_000, true, 90_000), (5_000, false, 35_000), (90_000, true, 630_000)]
    {
        let mut stage = Stage::new();
        let run = stage.live(1);
        stage.own(run, asked(by_signal("SIGTERM")));
        let asked_at = stage.now;
        for n in 0..12 {
            stage.own(run, extend(by_ms, if moves { n } else { 0 })).pass(5_000);
        }
        while stage.class(run).is_none() {
            stage.beat(run, Source::Own).pass(1_000);
        }
        assert_eq!(stage.class(run), Some(Class::ShutdownTimeout));
        let snapshot = stage.roster.snapshot();
        let ending = snapshot.run(run).unwrap().1.verdict().ending().unwrap();
        assert_eq!(ending.at.since(asked_at), deadline_ms, "by {by_ms}, moving {moves}");
    }
}

#[test]
fn five_bad_endings_in_a_minute_are_one_page_until_a_run_was_ready_for_a_minute() {
    let mut stage = Stage::new();
    for number in 1..=5 {
        let run = stage.witnessed(number);
        stage.pass(1_000).witness(run, exit_code(1)).pass(9_000);
    }
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::CrashLoop, vec!["LastbeatCrashLoop"]));
    assert_eq!(stage.words(), "Failed: crash loop (5 in 60 s)");
    let sixth = stage.witnessed(6);
    stage.pass(9_000);
    assert_eq!(stage.condition(), Condition::CrashLoop);
    for _ in 0..13 {
        stage.pass(4_000).beat(sixth, Source::Witness);
    }
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn four_bad_endings_in_a_minute_or_five_in_more_are_no_loop() {
    for (count, gap_ms) in [(4, 1_000), (6, 20_000)] {
        let mut stage = Stage::new();
        for number in 1..=count {
            let run = stage.witnessed(number);
            stage.pass(gap_ms).witness(run, exit_code(1));
        }
        assert_eq!(
            (stage.condition(), stage.open_alerts()),
            (Condition::Failed, vec!["LastbeatWorkerFailed"])
        );
    }
}

#[test]
fn a_program_in_state_t_is_suspended_and_pages_after_a_minute() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, What::Stopped);
    for _ in 0..15 {
        assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Suspended, vec![]));
        stage.pass(4_000).beat(run, Source::Witness);
    }
    assert_eq!((stage.words().as_str(), stage.open_alerts()), ("Suspended 60 s", vec!["LastbeatSuspended"]));
    stage.witness(run, What::Continued);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_run_whose_witness_left_without_an_exit_is_orphaned_while_it_goes_on() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2);
    stage.unlink(run, Source::Witness, 1).pass(5_000).beat(run, Source::Own);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
    stage.pass(5_000).beat(run, Source::Own);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec!["LastbeatOrphaned"]));
    stage.link(run, Source::Witness, 3);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
}

#[test]
fn beats_without_promised_progress_are_hung_and_progress_takes_it_back() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, agent_at_work("quotes", 10_000)).beat_with(run, "quotes", 1);
    for _ in 0..5 {
        stage.pass(5_000).beat_with(run, "quotes", 1);
    }
    stage.pass(4_999);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
    stage.pass(1);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Hung, vec!["LastbeatHung"]));
    stage.beat_with(run, "quotes", 1).pass(5_000);
    assert_eq!(stage.words(), "Failed: hung: no progress for 35 s");
    stage.beat_with(run, "quotes", 2);
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_hung_run_that_is_killed_is_the_watchdogs_not_a_strangers() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).own(run, agent_at_work("quotes", 1_000)).pass(3_000);
    assert_eq!(stage.condition(), Condition::Hung);
    stage.witness(run, exit_signal("SIGKILL"));
    assert_eq!((stage.class(run), stage.words().as_str()), (Some(Class::Watchdog), "Failed: watchdog"));
}

#[test]
fn a_client_that_is_silent_while_its_witness_sees_it_is_hung_and_never_lost() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready);
    for _ in 0..7 {
        assert_eq!(stage.condition(), Condition::Live);
        stage.pass(4_000).beat(run, Source::Witness);
    }
    stage.pass(4_000);
    assert_eq!((stage.class(run), stage.condition()), (None, Condition::Hung));
    stage.beat(run, Source::Own);
    assert_eq!(stage.condition(), Condition::Live);
}

#[test]
fn an_agent_that_ended_or_stops_owes_no_progress() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, agent_at_work("batch", 1_000)).own(run, agent_ended("batch", AgentEnd::Completed));
    stage.pass(8_000).beat(run, Source::Own);
    assert_eq!(stage.condition(), Condition::Live);
    stage.own(run, agent_at_work("quotes", 1_000)).own(run, asked(keyboard())).pass(8_000);
    assert_eq!(stage.condition(), Condition::Stopping);
}

#[test]
fn an_answered_promise_covers_no_later_failure() {
    let mut stage = Stage::new();
    let first = stage.live(1);
    stage
        .own(first, asked(by_signal("SIGTERM")))
        .own(first, clean_goodbye(by_signal("SIGTERM"), Some(60_000)));
    stage.pass(1_000);
    let second = stage.live(2);
    stage.pass(1_000).own(second, asked(keyboard())).own(second, clean_goodbye(keyboard(), None)).pass(1_000);
    let third = stage.run(3);
    stage.own(third, start()).witness(third, What::WitnessStart(WitnessStart::default()));
    stage.witness(third, exit_code(1));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Failed, vec!["LastbeatWorkerFailed"]));
}

#[test]
fn a_successor_that_is_ready_too_late_breaks_the_promise_even_before_its_deadline_was_noticed() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.own(old, asked(keyboard())).own(old, clean_goodbye(keyboard(), Some(5_000)));
    stage.away(60_000);
    let late = stage.live(2);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new(), "just back, who is late is not yet known");
    for _ in 0..6 {
        stage.pass(5_000).beat(late, Source::Own);
    }
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec!["LastbeatRestartOverdue"]));
    let snapshot = stage.roster.snapshot();
    assert_eq!(snapshot.counts().promises.get(&("s".into(), false)), Some(&1));
}

#[test]
fn what_was_seen_of_links_before_an_absence_says_nothing_after_it() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.pass(20_000).unlink(run, Source::Own, 1).beat(run, Source::Own).pass(2_000).away(1_000);
    assert_eq!(stage.words(), "Live");
}

#[test]
fn a_witness_that_has_not_redialled_yet_leaves_no_orphan() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2).unlink(run, Source::Witness, 1);
    stage.link(run, Source::Witness, 3).beat(run, Source::Own).away(10_000);
    stage.roster = stage.replayed();
    stage.pass(1_000).beat(run, Source::Own);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
}

#[test]
fn an_old_run_that_ends_long_after_its_successor_was_steady_wakes_nobody() {
    let mut stage = Stage::new();
    let old = stage.witnessed(1);
    stage.pass(1_000);
    let new = stage.witnessed(2);
    for _ in 0..20 {
        stage.pass(4_000).beat(new, Source::Witness);
    }
    stage.witness(old, exit_signal("SIGKILL"));
    assert_eq!((stage.class(old), stage.alerts().len()), (Some(Class::Killed), 0));
}

#[test]
fn a_worker_remembers_so_many_runs_and_a_forgotten_one_may_speak_again() {
    let mut stage = Stage::new();
    for number in 1..=40 {
        let run = stage.witnessed(number);
        stage.pass(120_000).witness(run, seen(keyboard())).witness(run, exit_code(0));
    }
    let snapshot = stage.roster.snapshot();
    assert_eq!(snapshot.worker("s", "w").unwrap().runs().count(), 32);
    let forgotten = lastbeat_engine::RunId(1);
    stage.witness(forgotten, What::Continued);
    assert_eq!((stage.condition(), stage.class(forgotten)), (Condition::Stopped, Some(Class::Superseded)));
    stage.witnessed(41);
    assert!(stage.roster.snapshot().run(forgotten).is_none(), "and is forgotten again");
}

#[test]
fn a_hang_up_or_a_thread_dump_is_no_ask_unless_the_program_ends_by_it() {
    for signal in ["SIGHUP", "SIGQUIT"] {
        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        for _ in 0..12 {
            stage.witness(run, seen(by_signal(signal)));
            for _ in 0..10 {
                stage.pass(4_000).beat(run, Source::Witness);
            }
            assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]), "{signal}");
        }
        stage.witness(run, seen(by_signal("SIGTERM"))).pass(1_000).witness(run, exit_code(0));
        assert_eq!(stage.class(run), Some(Class::Shutdown), "{signal}");

        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        stage.witness(run, seen(by_signal(signal))).pass(2_000).witness(run, exit_signal(signal));
        assert_eq!(stage.class(run), Some(Class::Shutdown), "{signal}");
    }
}

#[test]
fn ctrl_backslash_is_an_ask() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    let quit = Cause { signal: Some("SIGQUIT".into()), ..Cause::of(CauseKind::Keyboard) };
    stage.witness(run, seen(quit));
    assert_eq!(stage.condition(), Condition::Stopping);
    stage.pass(2_000).witness(run, exit_signal("SIGQUIT"));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
    let words = stage.words();
    assert!(words.starts_with("System stopped ") && words.ends_with(r" by Ctrl+\"), "{words}");
}

#[test]
fn a_full_roster_has_room_for_those_it_knows_alone() {
    let mut stage = Stage::new();
    stage.roster = lastbeat_engine::Roster::new(lastbeat_engine::Rules {
        workers_max: 1,
        ..lastbeat_engine::Rules::default()
    });
    assert!(stage.roster.has_room_for("s", "w"));
    stage.live(1);
    assert!(stage.roster.has_room_for("s", "w"));
    assert!(!stage.roster.has_room_for("s", "another"));
}

#[test]
fn a_job_that_completes_resolves_the_alert_of_the_one_before() {
    let mut stage = Stage::new();
    let failed = stage.witnessed(1);
    stage.pass(1_000).witness(failed, exit_code(1)).pass(5_000);
    let again = stage.witnessed(2);
    stage.pass(2_000).witness(again, exit_code(0));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Completed, vec![]));
}

#[test]
fn a_word_that_was_spooled_is_news_of_its_moment_and_no_presence() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.away(120_000);
    stage.spooled(run, Source::Own, 20_000, asked(keyboard()));
    stage.spooled(run, Source::Own, 19_000, clean_goodbye(keyboard(), None));
    let snapshot = stage.roster.snapshot();
    assert_eq!(snapshot.run(run).unwrap().1.last_seen(), stage.now.less(19_000));
}

#[test]
fn a_witness_that_vanishes_leaves_open_whether_the_program_lives() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.unlink(run, Source::Witness, 1).pass(10_000);
    assert_eq!(stage.class(run), Some(Class::Lost));
    assert!(stage.alerts()[0].because.contains("its witness vanished"), "{:?}", stage.alerts());
}

#[test]
fn whichever_signal_asked_to_end_by_it_is_to_end_as_asked() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).own(run, asked(Cause::of(CauseKind::Api)));
    stage.witness(run, seen(by_signal("SIGTERM"))).own(run, clean_goodbye(Cause::of(CauseKind::Api), None));
    stage.witness(run, exit_signal("SIGTERM"));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn a_hang_up_that_reloads_excuses_no_crash_and_asks_nobody() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    let hangup = Cause { signal: Some("SIGHUP".into()), ..Cause::of(CauseKind::Signal) };
    let notify = |reloading, ready| What::Notify(Notify { reloading, ready, ..Notify::default() });
    stage.witness(run, seen(hangup)).witness(run, notify(true, false));
    assert_eq!(stage.condition(), Condition::Reloading);
    stage.pass(1_000).witness(run, notify(false, true));
    assert_eq!(stage.condition(), Condition::Live);
    stage.pass(4_000).witness(run, exit_code(1));
    assert_eq!(stage.class(run), Some(Class::Crashed));
}

#[test]
fn a_call_for_a_thread_dump_does_not_take_a_hang_up_back() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready);
    stage.witness(run, seen(by_signal("SIGHUP"))).witness(run, seen(by_signal("SIGQUIT")));
    assert_eq!(stage.condition(), Condition::Stopping);
}

#[test]
fn what_the_witness_saw_after_the_exit_asked_nobody() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, exit_code(1)).witness(run, seen(by_signal("SIGTERM")));
    assert_eq!(stage.class(run), Some(Class::Crashed));
}

#[test]
fn what_the_witness_saw_after_the_exit_is_no_second_request() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, seen(by_signal("SIGTERM"))).pass(2_000).witness(run, exit_code(0));
    stage.witness(run, seen(by_signal("SIGTERM")));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn a_second_request_may_come_by_another_signal() {
    for signal in ["SIGINT", "SIGHUP", "SIGQUIT"] {
        for (apart_ms, class) in [(500, Class::Shutdown), (2_000, Class::ShutdownAborted)] {
            let mut stage = Stage::new();
            let run = stage.witnessed(1);
            stage.witness(run, seen(by_signal("SIGTERM"))).pass(apart_ms);
            stage.witness(run, seen(by_signal(signal))).pass(100).witness(run, exit_code(0));
            assert_eq!(stage.class(run), Some(class), "{signal} after {apart_ms} ms");
        }
    }
}

#[test]
fn a_hang_up_for_a_reload_is_no_second_request() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, What::Start(Start { goodbye: true, reload: true, ..Start::default() }));
    stage.own(run, What::Ready).witness(run, seen(by_signal("SIGTERM"))).pass(2_000);
    stage.witness(run, seen(by_signal("SIGHUP"))).own(run, clean_goodbye(by_signal("SIGTERM"), None));
    stage.witness(run, exit_code(0));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn an_operator_who_forces_a_stop_is_a_second_request() {
    let alice = || Cause { who: Some("alice".into()), ..Cause::of(CauseKind::Operator) };
    let by = |signal: &str| Cause { signal: Some(signal.into()), ..alice() };
    let mut stage = Stage::new();
    let linked = stage.witnessed(1);
    stage.own(linked, start()).own(linked, What::Ready).own(linked, asked(alice())).pass(400);
    stage.own(linked, asked(alice()));
    let skipped = Cleanup { forced: true, ..cleaned(vec![step("flush", Some(StepOutcome::Skipped))]) };
    stage.own(linked, goodbye(alice(), skipped, None)).witness(linked, exit_code(0));
    assert_eq!(stage.class(linked), Some(Class::ShutdownAborted));

    let mut stage = Stage::new();
    let unlinked = stage.witnessed(1);
    stage.witness(unlinked, seen(by("SIGTERM"))).pass(400).witness(unlinked, seen(by("SIGKILL")));
    stage.witness(unlinked, exit_signal("SIGKILL"));
    assert_eq!(stage.class(unlinked), Some(Class::ShutdownAborted));

    let mut stage = Stage::new();
    let at_once = stage.witnessed(1);
    stage.witness(at_once, seen(by("SIGKILL"))).witness(at_once, exit_signal("SIGKILL"));
    assert_eq!(
        (stage.class(at_once), stage.cause_kind(at_once)),
        (Some(Class::ShutdownAborted), Some("operator"))
    );
}

#[test]
fn a_signal_after_an_operators_stop_of_an_unlinked_program_is_the_first() {
    let by_alice = |signal: &str| Cause {
        who: Some("alice".into()),
        signal: Some(signal.into()),
        ..Cause::of(CauseKind::Operator)
    };
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, seen(by_alice("SIGTERM"))).pass(3_000).witness(run, seen(keyboard()));
    stage.pass(500).witness(run, exit_code(0));
    assert_eq!((stage.class(run), stage.cause_kind(run)), (Some(Class::Shutdown), Some("operator")));
}

#[test]
fn the_goodbye_of_a_run_whose_witness_was_killed_is_believed_ten_seconds_later() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2);
    stage.unlink(run, Source::Witness, 1).pass(4_000).beat(run, Source::Own);
    stage.own(run, asked(keyboard())).own(run, clean_goodbye(keyboard(), Some(5_000)));
    stage.unlink(run, Source::Own, 2).pass(10_000);
    assert_eq!(
        (stage.class(run), stage.open_alerts()),
        (Some(Class::Shutdown), vec!["LastbeatRestartOverdue"])
    );
}

#[test]
fn the_goodbye_of_a_run_whose_witness_was_killed_while_nobody_watched_is_believed_as_soon() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2);
    // A crash of the observer: what only memory knew is gone, and nobody tells of the links that it had.
    stage.away(20_000);
    stage.roster = stage.replayed();
    stage.link(run, Source::Own, 3);
    for _ in 0..20 {
        stage.beat(run, Source::Own).pass(5_000);
    }
    stage.own(run, asked(keyboard())).own(run, clean_goodbye(keyboard(), Some(5_000)));
    stage.unlink(run, Source::Own, 3).pass(10_000);
    assert_eq!(
        (stage.class(run), stage.open_alerts()),
        (Some(Class::Shutdown), vec!["LastbeatRestartOverdue"])
    );
}

#[test]
fn an_open_link_of_a_witness_that_is_silent_itself_shows_nobody_alive() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).pass(16_000);
    stage.spooled(run, Source::Own, 3_000, asked(keyboard()));
    stage.spooled(run, Source::Own, 1_000, clean_goodbye(keyboard(), None)).pass(60_000);
    assert_eq!((stage.class(run), stage.open_alerts()), (Some(Class::Shutdown), vec![]));
}

#[test]
fn a_terminal_that_closes_asks_whatever_was_declared() {
    let closed = || Cause { signal: Some("SIGHUP".into()), ..Cause::of(CauseKind::TerminalHangup) };
    let reloads = || Start { reload: true, ..Start::default() };
    let begun = |stage: &mut Stage| {
        let run = stage.run(1);
        let what = What::WitnessStart(WitnessStart { start: reloads(), ready: true, back_within_ms: None });
        stage.witness(run, what).link(run, Source::Witness, 1).witness(run, seen(closed()));
        run
    };
    let mut stage = Stage::new();
    let run = begun(&mut stage);
    assert_eq!(stage.condition(), Condition::Stopping);
    stage.pass(2_000).witness(run, exit_code(1));
    assert_eq!((stage.class(run), stage.cause_kind(run)), (Some(Class::Shutdown), Some("terminal_hangup")));

    let mut stage = Stage::new();
    let run = begun(&mut stage);
    stage.pass(30_000);
    assert_eq!(stage.class(run), Some(Class::ShutdownTimeout), "who ignores it has its deadline");

    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, What::Start(Start { goodbye: true, ..reloads() })).own(run, What::Ready);
    stage.witness(run, seen(closed())).witness(run, exit_signal("SIGHUP"));
    let expected = (Some(Class::ShutdownDegraded), Some("terminal_hangup"));
    assert_eq!((stage.class(run), stage.cause_kind(run)), expected);
}

#[test]
fn an_operator_who_asks_and_is_followed_by_a_signal_forces_nothing() {
    let alice = Cause { who: Some("alice".into()), ..Cause::of(CauseKind::Operator) };
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.own(run, asked(alice.clone())).pass(2_000).own(run, asked(by_signal("SIGTERM")));
    stage.own(run, goodbye(alice, cleaned(vec![step("flush", Some(StepOutcome::Skipped))]), None));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn forked_children_that_vanish_are_no_crash_loop_of_their_parent() {
    let mut stage = Stage::new();
    let parent = stage.live(1);
    for number in 2..8 {
        let child = stage.run(number);
        stage.own(child, What::Start(Start { goodbye: true, parent_run: Some(parent), ..Start::default() }));
        stage.own(child, What::Ready).witness(child, witness_start(None)).witness(child, exit_code(1));
    }
    assert_eq!((stage.condition(), stage.alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_child_that_was_handed_over_to_keeps_its_parents_promise() {
    let mut stage = Stage::new();
    let parent = stage.live(1);
    let child = stage.run(2);
    stage.own(child, What::Start(Start { goodbye: true, parent_run: Some(parent), ..Start::default() }));
    stage.own(child, What::Ready).pass(1_000);
    stage.own(parent, asked(keyboard())).own(parent, clean_goodbye(keyboard(), Some(20_000)));
    for _ in 0..6 {
        stage.pass(5_000).beat(child, Source::Own);
    }
    assert_eq!((stage.condition(), stage.alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_child_that_lives_takes_the_place_of_a_parent_that_was_killed() {
    let mut stage = Stage::new();
    let parent = stage.witnessed(1);
    stage.own(parent, start()).own(parent, What::Ready);
    let child = stage.run(2);
    stage
        .pass(1_000)
        .own(child, What::Start(Start { goodbye: true, parent_run: Some(parent), ..Start::default() }));
    stage.own(child, What::Ready).link(child, Source::Own, 2);
    for _ in 0..20 {
        stage.pass(4_000).beat(child, Source::Own).beat(parent, Source::Own).beat(parent, Source::Witness);
    }
    stage.witness(parent, exit_signal("SIGKILL"));
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec!["LastbeatWorkerFailed"]));
    for _ in 0..16 {
        stage.pass(4_000).beat(child, Source::Own);
    }
    assert_eq!((stage.condition(), stage.open_alerts()), (Condition::Live, vec![]));
}

#[test]
fn a_step_that_began_and_was_not_heard_of_again_is_named() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, seen(by_signal("SIGTERM"))).own(run, What::Step(step("flush", None)));
    stage.witness(run, exit_code(0));
    assert_eq!(stage.words(), "Stopped, cleanup partial: flush not finished");
}

#[test]
fn a_ticket_of_before_the_maintenance_is_not_forgotten_over_it() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).witness(run, exit_code(0)).pass(1_000);
    let plan = lastbeat_engine::fact::Plan {
        id: "window".into(),
        kind: lastbeat_engine::fact::PlanKind::Maintenance,
        service: "s".into(),
        worker: None,
        for_ms: 60_000,
        who: None,
        why: None,
        deploy: None,
    };
    stage.operator(What::Plan(plan)).pass(1_000);
    assert_eq!(stage.open_alerts(), ["LastbeatExitedSilently"]);
    stage.pass(120_000);
    assert_eq!(stage.open_alerts(), ["LastbeatExitedSilently"]);
}

#[test]
fn a_verdict_names_the_plan_and_the_children_it_rests_on() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, seen(by_signal("SIGTERM")));
    let children = vec![(71, "feed".to_owned())];
    stage.witness(run, What::LeftBehind(LeftBehind { children, ..LeftBehind::default() }));
    stage.witness(run, exit_code(0));
    let snapshot = stage.roster.snapshot();
    let ending = snapshot.run(run).unwrap().1.verdict().ending().unwrap().clone();
    let facts: Vec<String> = ending.evidence.into_iter().flat_map(|it| it.facts).collect();
    assert_eq!(facts, ["signal_seen #2", "left_behind #3", "exit #4"]);
}

#[test]
fn who_was_forked_by_somebody_unknown_is_a_successor_like_any_other() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.own(old, asked(keyboard())).own(old, clean_goodbye(keyboard(), Some(20_000))).pass(1_000);
    let new = stage.run(2);
    stage.own(new, What::Start(Start { goodbye: true, parent_run: Some(RunId(77)), ..Start::default() }));
    stage.own(new, What::Ready);
    for _ in 0..6 {
        stage.pass(5_000).beat(new, Source::Own);
    }
    assert_eq!((stage.condition(), stage.alerts()), (Condition::Live, vec![]));
}

#[test]
fn the_last_words_of_a_run_that_nobody_knows_any_more_page_nobody() {
    let mut stage = Stage::new();
    let run = stage.run(1);
    let done = Cause { reason: Some("done".into()), ..Cause::of(CauseKind::Itself) };
    let fin = Final { hint: Some(ClassHint::Completed), cause: Some(done), ..Final::default() };
    stage.spooled(run, Source::Own, 5_000, What::Final(fin));
    assert_eq!((stage.class(run), stage.alerts()), (Some(Class::Completed), vec![]));
}

#[test]
fn a_panic_that_was_caught_last_week_is_not_what_it_died_of() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.own(run, start()).own(run, What::Ready).own(run, panic_of("caught")).pass(60_000);
    stage.witness(run, exit_signal("SIGSEGV"));
    assert_eq!(stage.words(), "Failed: SIGSEGV");
}

#[test]
fn nine_impatient_keys_do_not_hide_the_second_request() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    for _ in 0..9 {
        stage.witness(run, seen(keyboard())).pass(50);
    }
    stage.pass(3_000).witness(run, seen(keyboard())).pass(100).witness(run, exit_code(0));
    assert_eq!(stage.class(run), Some(Class::ShutdownAborted));
}

#[test]
fn what_a_process_left_behind_is_not_hidden_by_its_goodbye() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    let term = by_signal("SIGTERM");
    stage.own(run, start()).own(run, What::Ready).own(run, asked(term.clone()));
    stage.own(run, clean_goodbye(term, None));
    let left = LeftBehind { children: vec![(7, "ffmpeg".into())], ..LeftBehind::default() };
    stage.witness(run, What::LeftBehind(left)).witness(run, exit_code(0));
    assert_eq!(stage.words(), "Stopped, children left: 1");
}
