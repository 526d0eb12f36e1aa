//! What is said of more than one run: planned work, hosts, and half of a fleet that falls silent.

mod stage;

use lastbeat_engine::ending::CauseKind;
use lastbeat_engine::fact::{Forget, Plan, PlanEnd, PlanKind, Start, WitnessStart};
use lastbeat_engine::{AlertName, Class, Condition, Moment, RunId, Severity, Source, What};
use stage::{Stage, asked, by_signal, clean_goodbye, exit_code, exit_signal, keyboard, seen, start};

const MINUTE: u64 = 60_000;

fn plan(id: &str, kind: PlanKind, for_ms: u64) -> What {
    What::Plan(Plan {
        id: id.into(),
        kind,
        service: "s".into(),
        worker: None,
        for_ms,
        who: Some("ada".into()),
        why: Some("new disks".into()),
        deploy: None,
    })
}

fn on_host(host: &str, boot: &str) -> Start {
    Start { goodbye: true, host: Some(host.into()), boot_id: Some(boot.into()), ..Start::default() }
}

/// A linked run of worker `wN` that is ready, on a host.
fn linked(stage: &mut Stage, number: u128, host: &str, boot: &str) -> RunId {
    let run = stage.run_of(number, &format!("w{number}"));
    stage.own(run, What::Start(on_host(host, boot))).own(run, What::Ready);
    stage.link(run, Source::Own, u64::try_from(number).expect("small"));
    run
}

fn beat_all(stage: &mut Stage, runs: &[RunId], ms: u64) {
    for _ in 0..ms / 5_000 {
        stage.pass(5_000);
        for run in runs {
            stage.beat(*run, Source::Own);
        }
    }
}

#[test]
fn a_witnessed_end_inside_a_stop_plan_is_a_shutdown_by_its_operator() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Stop, MINUTE)).pass(1_000);
    stage.witness(run, exit_code(3));
    assert_eq!((stage.class(run), stage.open_alerts()), (Some(Class::Shutdown), vec![]));
    assert_eq!(stage.words(), "System stopped 00:16:41 by operator ada");
}

#[test]
fn a_death_inside_a_stop_plan_is_a_death() {
    for (signal, class) in [("SIGKILL", Class::Killed), ("SIGSEGV", Class::Crashed)] {
        let mut stage = Stage::new();
        let run = stage.witnessed(1);
        stage.operator(plan("p", PlanKind::Stop, MINUTE)).pass(1_000);
        stage.witness(run, exit_signal(signal));
        assert_eq!(stage.class(run), Some(class));
        assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
    }
}

#[test]
fn a_plan_is_the_earliest_asker_and_a_deployment_names_its_id() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    let What::Plan(plan) = plan("p", PlanKind::Restart, MINUTE) else { unreachable!() };
    stage.operator(What::Plan(Plan { deploy: Some("42".into()), ..plan })).pass(1_000);
    let term = by_signal("SIGTERM");
    stage.own(run, asked(term.clone())).own(run, clean_goodbye(term, None));
    let snapshot = stage.roster.snapshot();
    let ending = snapshot.run(run).and_then(|(_, run)| run.verdict().ending()).expect("it ended");
    let cause = ending.cause.as_ref().expect("it was asked");
    assert_eq!((cause.kind, cause.id.as_deref()), (CauseKind::Deploy, Some("42")));
    assert_eq!(cause.signal.as_deref(), Some("SIGTERM"));
}

#[test]
fn a_restart_plan_is_a_promise_until_its_window_ends() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Restart, MINUTE)).pass(1_000);
    stage.witness(run, seen(by_signal("SIGTERM"))).witness(run, exit_signal("SIGTERM"));
    assert_eq!(stage.condition(), Condition::Restarting);
    assert_eq!(stage.standing().back_by, Some(Moment::from_millis(1_000_000 + MINUTE)));
    stage.pass(MINUTE - 1_001);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    stage.pass(1);
    assert_eq!(stage.condition(), Condition::RestartOverdue);
    assert_eq!(stage.open_alerts(), ["LastbeatRestartOverdue"]);
}

#[test]
fn the_end_of_the_run_that_came_back_was_not_announced() {
    let mut stage = Stage::new();
    let old = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Restart, 10 * MINUTE)).pass(1_000);
    stage.witness(old, seen(by_signal("SIGTERM"))).witness(old, exit_signal("SIGTERM")).pass(1_000);
    let new = stage.witnessed(2);
    stage.pass(1_000).witness(new, exit_code(1));
    assert_eq!(stage.class(new), Some(Class::Crashed));
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
}

#[test]
fn a_plan_that_was_ended_excuses_nothing_after_it() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Stop, MINUTE)).pass(1_000);
    stage.operator(What::PlanEnd(PlanEnd { id: "p".into() })).pass(1_000);
    stage.witness(run, exit_code(3));
    assert_eq!(stage.class(run), Some(Class::Crashed));
}

#[test]
fn a_plan_that_came_late_by_the_wire_amends_nothing_before_it() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, exit_code(3)).pass(1_000);
    stage.operator(plan("p", PlanKind::Stop, MINUTE));
    assert_eq!(stage.class(run), Some(Class::Crashed));
}

#[test]
fn maintenance_shows_what_happens_and_pages_nobody_when_it_is_back_in_time() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Maintenance, 10 * MINUTE)).pass(MINUTE);
    stage.witness(run, exit_signal("SIGKILL"));
    assert_eq!((stage.class(run), stage.condition()), (Some(Class::Killed), Condition::Maintenance));
    assert_eq!(stage.words(), "Maintenance until 00:26 (killed 00:17)");
    assert_eq!(stage.alerts(), vec![]);
    // Ready half a minute before the end: well again, though not yet steady.
    stage.pass(8 * MINUTE + 30_000);
    let new = stage.witnessed(2);
    for _ in 0..60 {
        stage.pass(5_000).beat(new, Source::Witness);
        assert_eq!(stage.alerts(), vec![]);
    }
    assert_eq!(stage.condition(), Condition::Live);
}

#[test]
fn what_is_still_down_after_maintenance_alerts_once_at_its_end() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Maintenance, 10 * MINUTE)).pass(MINUTE);
    stage.witness(run, exit_signal("SIGKILL")).pass(9 * MINUTE - 1);
    assert_eq!(stage.alerts(), vec![]);
    stage.pass(1);
    assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
    assert_eq!(stage.alerts()[0].since, Moment::from_millis(1_000_000 + 10 * MINUTE));
    assert_eq!(stage.condition(), Condition::Failed);
    let new = stage.witnessed(2);
    for _ in 0..12 {
        stage.pass(5_000).beat(new, Source::Witness);
    }
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
}

#[test]
fn a_planned_stop_inside_maintenance_is_not_missed_at_its_end() {
    let mut stage = Stage::new();
    let run = stage.live(1);
    stage.operator(plan("p", PlanKind::Maintenance, 10 * MINUTE)).pass(MINUTE);
    let term = by_signal("SIGTERM");
    stage.own(run, asked(term.clone())).own(run, clean_goodbye(term, None)).pass(20 * MINUTE);
    assert_eq!((stage.condition(), stage.alerts()), (Condition::Stopped, vec![]));
}

#[test]
fn an_alert_that_was_open_when_maintenance_began_is_held_and_told_again_at_its_end() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, exit_signal("SIGKILL")).pass(MINUTE);
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
    stage.operator(plan("p", PlanKind::Maintenance, 10 * MINUTE)).pass(1_000);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    stage.pass(10 * MINUTE);
    assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
}

#[test]
fn a_maintenance_that_ended_unwatched_is_judged_after_the_workers_could_speak() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("p", PlanKind::Maintenance, 2 * MINUTE)).pass(MINUTE);
    stage.witness(run, exit_signal("SIGKILL"));
    stage.away(3 * MINUTE);
    stage.pass(29_999);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    stage.pass(1);
    assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
    assert_eq!(stage.alerts()[0].since, Moment::from_millis(1_000_000 + 2 * MINUTE));
}

#[test]
fn a_collector_that_restarts_takes_no_page_back_that_is_open() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("window", PlanKind::Maintenance, 60_000));
    stage.pass(1_000).witness(run, exit_signal("SIGKILL")).pass(60_000);
    assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
    for _ in 0..3 {
        stage.pass(120_000).away(10_000);
        assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
        assert_eq!(stage.words(), "Failed: still down after maintenance");
    }
    // Nor does a slow beater that comes later.
    let slow = stage.run(2);
    let start = Start { interval_ms: Some(60_000), goodbye: true, ..Start::default() };
    stage.own(slow, What::Start(start)).pass(1_000);
    assert_eq!(stage.open_alerts(), ["LastbeatMaintenanceOver"]);
    assert_eq!(stage.alerts().len(), 1, "it was told once: {:?}", stage.alerts());
}

#[test]
fn a_promise_that_was_answered_too_late_is_not_taken_back_by_a_later_absence() {
    let mut stage = Stage::new();
    let old = stage.live(1);
    stage.own(old, asked(keyboard())).own(old, clean_goodbye(keyboard(), Some(5_000)));
    stage.away(60_000);
    let late = stage.live(2);
    for _ in 0..8 {
        stage.pass(5_000).beat(late, Source::Own);
    }
    assert_eq!(stage.open_alerts(), ["LastbeatRestartOverdue"]);
    stage.away(10_000);
    assert_eq!(stage.open_alerts(), ["LastbeatRestartOverdue"]);
}

#[test]
fn who_was_stopped_while_nobody_watched_may_show_that_it_goes_on() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.witness(run, What::Stopped).pass(5_000).away(120_000);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    assert_eq!(stage.standing().severity, Severity::None);
    stage.pass(29_000).beat(run, Source::Witness);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    stage.pass(1_000);
    assert_eq!((stage.open_alerts(), stage.standing().severity), (vec!["LastbeatSuspended"], Severity::Page));
    stage.away(20_000);
    assert_eq!(stage.open_alerts(), ["LastbeatSuspended"], "what was told is not taken back");
}

#[test]
fn all_runs_of_a_silent_host_are_one_page() {
    let mut stage = Stage::new();
    let silent = [linked(&mut stage, 1, "h1", "a"), linked(&mut stage, 2, "h1", "a")];
    let other = linked(&mut stage, 3, "h2", "b");
    beat_all(&mut stage, &[other], 30_000);
    assert_eq!(silent.map(|run| stage.class(run)), [Some(Class::HostLost); 2]);
    assert_eq!(stage.open_alerts(), ["LastbeatHostLost"]);
    assert_eq!(stage.alerts()[0].host.as_deref(), Some("h1"));
    // One of them is heard: the host lives, and so does it.
    stage.beat(silent[0], Source::Own);
    assert_eq!(silent.map(|run| stage.class(run)), [None, Some(Class::HostLost)]);
}

#[test]
fn a_host_of_which_one_run_beats_is_not_lost() {
    let mut stage = Stage::new();
    let dead = linked(&mut stage, 1, "h1", "a");
    let alive = linked(&mut stage, 2, "h1", "a");
    beat_all(&mut stage, &[alive], 30_000);
    assert_eq!((stage.class(dead), stage.class(alive)), (Some(Class::Lost), None));
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
}

#[test]
fn links_that_close_show_that_their_host_was_still_there() {
    let mut stage = Stage::new();
    let runs = [linked(&mut stage, 1, "h1", "a"), linked(&mut stage, 2, "h1", "a")];
    stage.unlink(runs[0], Source::Own, 1).unlink(runs[1], Source::Own, 2).pass(10_000);
    assert_eq!(runs.map(|run| stage.class(run)), [Some(Class::Lost); 2]);
}

#[test]
fn a_host_that_boots_anew_is_one_page_and_says_so_of_all_that_ran_there() {
    let mut stage = Stage::new();
    let runs = [linked(&mut stage, 1, "h1", "a"), linked(&mut stage, 2, "h1", "a")];
    stage.pass(20_000);
    let back = linked(&mut stage, 3, "h1", "b");
    stage.pass(0);
    assert_eq!(runs.map(|run| stage.class(run)), [Some(Class::HostRebooted); 2]);
    assert_eq!(stage.open_alerts(), ["LastbeatHostRebooted"]);
    assert_eq!(stage.class(back), None);
}

#[test]
fn a_loss_is_amended_to_a_reboot_when_the_host_is_back() {
    let mut stage = Stage::new();
    let run = linked(&mut stage, 1, "h1", "a");
    stage.pass(MINUTE);
    assert_eq!(stage.class(run), Some(Class::Lost));
    linked(&mut stage, 3, "h1", "b");
    assert_eq!(stage.class(run), Some(Class::HostRebooted));
    assert_eq!(stage.open_alerts(), ["LastbeatHostRebooted"]);
}

#[test]
fn a_worker_that_comes_back_with_its_host_supersedes_nobody() {
    let mut stage = Stage::new();
    let old = stage.run(1);
    stage.own(old, What::Start(on_host("h1", "a"))).own(old, What::Ready).pass(40_000);
    let new = stage.run(2);
    stage.own(new, What::Start(on_host("h1", "b"))).own(new, What::Ready).pass(0);
    assert_eq!((stage.class(old), stage.class(new)), (Some(Class::HostRebooted), None));
}

#[test]
fn two_hosts_of_one_name_reboot_nobody() {
    let mut stage = Stage::new();
    let first = linked(&mut stage, 1, "localhost", "a");
    let second = linked(&mut stage, 2, "localhost", "b");
    beat_all(&mut stage, &[first, second], 2 * MINUTE);
    assert_eq!((stage.class(first), stage.class(second)), (None, None));
    assert_eq!(stage.alerts(), vec![]);
}

#[test]
fn a_goodbye_before_the_reboot_is_a_goodbye() {
    let mut stage = Stage::new();
    let run = linked(&mut stage, 1, "h1", "a");
    let term = by_signal("SIGTERM");
    stage.own(run, asked(term.clone())).own(run, clean_goodbye(term, None)).pass(20_000);
    linked(&mut stage, 2, "h1", "b");
    stage.pass(0);
    assert_eq!((stage.class(run), stage.alerts()), (Some(Class::Shutdown), vec![]));
}

/// Forty runs on three hosts, all ready and beating.
fn fleet(stage: &mut Stage) -> Vec<RunId> {
    let runs: Vec<RunId> = (1..=40).map(|n| linked(stage, n, ["a", "b", "c"][n as usize % 3], "x")).collect();
    beat_all(stage, &runs, 10_000);
    runs
}

#[test]
fn half_of_a_fleet_that_falls_silent_is_one_page_and_nobody_is_lost() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (silent, alive) = runs.split_at(30);
    beat_all(&mut stage, alive, 15_000);
    assert_eq!(stage.open_alerts(), ["LastbeatObserverOrNetwork"]);
    assert_eq!(stage.alerts()[0].because, "30 of 40 silent");
    for _ in 0..50 {
        beat_all(&mut stage, alive, 5_000);
        assert_eq!(stage.open_alerts(), ["LastbeatObserverOrNetwork"]);
        assert!(runs.iter().all(|run| stage.class(*run).is_none()));
    }
    // The network heals: it ends with the first word of each host.
    for run in silent {
        stage.beat(*run, Source::Own);
    }
    stage.pass(0);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    beat_all(&mut stage, &runs, 10 * MINUTE);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
    assert!(runs.iter().all(|run| stage.class(*run).is_none()));
}

#[test]
fn who_stays_silent_is_lost_inside_the_one_alert_and_stands_alone_when_it_is_over() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (silent, alive) = runs.split_at(30);
    beat_all(&mut stage, alive, 6 * MINUTE);
    assert!(silent.iter().all(|run| stage.class(*run).is_some_and(|class| class != Class::Shutdown)));
    assert_eq!(stage.open_alerts(), ["LastbeatObserverOrNetwork"]);
    // All but one come back.
    let back = [&silent[1..], alive].concat();
    beat_all(&mut stage, &back, MINUTE);
    assert_eq!(stage.class(silent[0]), Some(Class::Lost));
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
}

#[test]
fn who_is_lost_in_a_mass_silence_is_lost_and_not_with_its_host() {
    let mut stage = Stage::new();
    let runs: Vec<RunId> = (0..9_u8)
        .map(|place| {
            linked(&mut stage, u128::from(place) + 1, ["north", "south", "west"][usize::from(place / 3)], "b")
        })
        .collect();
    stage.pass(1_000);
    beat_all(&mut stage, &runs, 10_000);
    beat_all(&mut stage, &runs[6..], 400_000);
    let classes: Vec<Option<Class>> = runs.iter().map(|run| stage.class(*run)).collect();
    assert_eq!(classes[..6], [Some(Class::Lost); 6]);
    assert_eq!(stage.open_alerts(), ["LastbeatObserverOrNetwork"]);
}

#[test]
fn a_mass_silence_is_over_when_every_member_was_replaced() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (_, alive) = runs.split_at(30);
    beat_all(&mut stage, alive, 6 * MINUTE);
    let mut fresh = Vec::new();
    for number in 1..=30_u128 {
        let run = stage.run_of(100 + number, &format!("w{number}"));
        stage.own(run, What::Start(on_host("d", "y"))).own(run, What::Ready);
        fresh.push(run);
    }
    beat_all(&mut stage, &[&fresh, alive].concat(), 2 * MINUTE);
    assert_eq!(stage.open_alerts(), Vec::<&str>::new());
}

#[test]
fn fewer_than_eight_or_one_host_alone_are_no_mass_silence() {
    let mut stage = Stage::new();
    for number in 1..=7 {
        linked(&mut stage, number, ["a", "b"][number as usize % 2], "x");
    }
    let mut other = Stage::new();
    let alive: Vec<RunId> = (1..=20).map(|n| linked(&mut other, n, "a", "x")).collect();
    stage.pass(MINUTE);
    beat_all(&mut other, &alive[..5], MINUTE);
    let mass = |stage: &Stage| stage.alerts().iter().any(|alert| alert.name == AlertName::ObserverOrNetwork);
    assert!(!mass(&stage) && !mass(&other));
    assert_eq!(stage.open_alerts().len(), 2, "one page for each of two hosts");
}

#[test]
fn a_death_with_a_witness_is_no_silence_and_pages_at_once_in_the_middle_of_it() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (silent, alive) = runs.split_at(30);
    beat_all(&mut stage, alive, 20_000);
    let start = WitnessStart { ready: true, ..WitnessStart::default() };
    stage.witness(silent[0], What::WitnessStart(start)).witness(silent[0], exit_signal("SIGKILL"));
    assert_eq!(stage.class(silent[0]), Some(Class::Killed));
    assert!(stage.open_alerts().contains(&"LastbeatWorkerFailed"));
}

#[test]
fn departures_leave_the_count() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (leaving, alive) = runs.split_at(30);
    for run in leaving {
        let term = by_signal("SIGTERM");
        stage.own(*run, asked(term.clone())).own(*run, clean_goodbye(term, None));
    }
    beat_all(&mut stage, alive, 10 * MINUTE);
    assert_eq!(stage.alerts(), vec![]);
}

#[test]
fn a_worker_that_ended_leaves_the_list_when_it_is_forgotten_or_after_a_day() {
    let mut stage = Stage::new();
    let forget = || What::Forget(Forget { service: "s".into(), worker: "w".into() });
    let known = |stage: &Stage| stage.roster.snapshot().worker("s", "w").is_some();
    let run = stage.witnessed(1);
    stage.operator(forget());
    assert!(known(&stage), "nobody forgets what lives");
    stage.witness(run, exit_signal("SIGKILL"));
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed"]);
    stage.operator(forget());
    assert!(!known(&stage));
    assert_eq!(stage.alerts(), vec![]);

    let run = stage.run(2);
    let term = by_signal("SIGTERM");
    stage.own(run, start()).own(run, What::Ready);
    stage.own(run, asked(term.clone())).own(run, clean_goodbye(term, None));
    stage.pass(24 * 60 * MINUTE - 1);
    assert!(known(&stage));
    stage.pass(1);
    assert!(!known(&stage));
}

#[test]
fn replay_knows_plans_hosts_and_silences() {
    let mut stage = Stage::new();
    stage.operator(plan("p", PlanKind::Maintenance, 10 * MINUTE));
    let runs = fleet(&mut stage);
    beat_all(&mut stage, &runs[30..], 6 * MINUTE);
    linked(&mut stage, 50, "a", "y");
    stage.pass(MINUTE);
    let (live, again) = (stage.roster.snapshot(), stage.replayed().snapshot());
    let told = |snapshot: &lastbeat_engine::Snapshot| {
        let workers = snapshot.workers().iter();
        let verdicts: Vec<String> = workers
            .flat_map(|worker| worker.runs().map(|run| format!("{:?}{:?}", run.verdict(), run.amendments())))
            .collect();
        (verdicts, snapshot.silences().to_vec(), snapshot.windows().to_vec())
    };
    assert_eq!(told(&live), told(&again));
}

#[test]
fn a_member_that_was_heard_again_dies_alone() {
    let mut stage = Stage::new();
    let runs = fleet(&mut stage);
    let (silent, alive) = runs.split_at(30);
    beat_all(&mut stage, alive, 20_000);
    // One of them is back; the others, and with them a host or two, are not.
    stage.beat(silent[0], Source::Own).link(silent[0], Source::Own, 900);
    beat_all(&mut stage, &[alive, &silent[..1]].concat(), MINUTE);
    stage.unlink(silent[0], Source::Own, 900);
    beat_all(&mut stage, alive, 10_000);
    assert_eq!(stage.class(silent[0]), Some(Class::Lost));
    assert!(stage.open_alerts().contains(&"LastbeatWorkerFailed"));
}

#[test]
fn other_peoples_plans_do_not_make_a_planned_stop_a_crash() {
    let mut stage = Stage::new();
    let run = stage.witnessed(1);
    stage.operator(plan("first", PlanKind::Stop, MINUTE)).pass(1_000).witness(run, exit_code(1));
    assert_eq!(stage.class(run), Some(Class::Shutdown));
    stage.pass(10 * MINUTE);
    for number in 0..5_000 {
        let What::Plan(other) = plan(&format!("other-{number}"), PlanKind::Maintenance, 1) else {
            unreachable!()
        };
        stage.operator(What::Plan(Plan { service: "t".into(), ..other }));
    }
    for number in 0..100 {
        stage.operator(plan(&format!("own-{number}"), PlanKind::Maintenance, 1)).pass(10);
    }
    assert_eq!(stage.class(run), Some(Class::Shutdown));
}

#[test]
fn a_run_that_falls_silent_days_after_its_host_was_lost_is_news() {
    let mut stage = Stage::new();
    linked(&mut stage, 1, "h1", "a");
    linked(&mut stage, 2, "h1", "a");
    stage.pass(3 * 24 * 60 * MINUTE);
    let third = linked(&mut stage, 3, "h1", "a");
    stage.pass(MINUTE);
    assert_eq!(stage.class(third), Some(Class::Lost));
    assert_eq!(stage.open_alerts(), ["LastbeatWorkerFailed", "LastbeatHostLost"]);
}

#[test]
fn a_beat_late_namesake_of_a_slow_client_is_not_taken_for_its_reboot() {
    let mut stage = Stage::new();
    let slow = stage.run_of(1, "w1");
    let start = Start { interval_ms: Some(20_000), ..on_host("localhost", "a") };
    stage.own(slow, What::Start(start)).own(slow, What::Ready).link(slow, Source::Own, 1).pass(5_000);
    linked(&mut stage, 2, "localhost", "b");
    stage.pass(15_000).beat(slow, Source::Own).pass(20_000).beat(slow, Source::Own);
    assert_eq!(stage.class(slow), None);
}
