//! What a reader of the page is told, and what a page may never contain.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lastbeat_wire::report::{AlertReport, Condition, RunDetail, Severity, WorkerReport};

use super::Address;
use super::overview::Filter;
use super::screen::Screen;
use super::{assets, overview, run, samples, worker};

fn overview_of(workers: &[WorkerReport]) -> Screen {
    overview_with(workers, &[])
}

fn overview_with(workers: &[WorkerReport], alerts: &[AlertReport]) -> Screen {
    let sentence = "4 of 12 workers failed, 2 more need a look.";
    overview::screen(
        &samples::status(sentence, "Newest: trading-loop/risk.", workers),
        workers,
        alerts,
        &Filter::default(),
    )
}

fn every_screen() -> Vec<Screen> {
    let fleet = samples::fleet();
    let mut screens = vec![
        overview_of(&fleet),
        overview_of(&[]),
        overview_with(&fleet, &[samples::alert("risk", Severity::Page)]),
    ];
    screens.extend(fleet.iter().map(|each| {
        let runs: Vec<_> = each.run.iter().chain(&each.last_ended).cloned().collect();
        worker::screen(samples::collector(), each, &runs)
    }));
    screens.push(run::screen(samples::collector(), &samples::detail()));
    screens.push(worker::unknown(samples::collector(), "a", "b"));
    screens.push(run::unknown(samples::collector()));
    screens
}

/// The text between the tags, white space folded.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for letter in html.chars() {
        match letter {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            _ if !inside => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn row<'a>(screen: &'a Screen, id: &str) -> &'a str {
    screen
        .all()
        .find(|piece| piece.id == id)
        .map_or_else(|| panic!("no piece {id}"), |piece| piece.html.as_str())
}

#[test]
fn failed_workers_come_first_and_empty_groups_are_hidden() {
    let screen = overview_of(&samples::fleet());
    let order: Vec<(&str, usize)> = screen.order().into_iter().map(|(id, rows)| (id, rows.len())).collect();
    assert_eq!(order, [("g:failed", 4), ("g:look", 2), ("g:changing", 2), ("g:live", 2), ("g:away", 2)]);
    let document = overview_of(&samples::fleet()[..4]).document().into_string();
    assert!(document.contains(r#"<tbody id="g:failed">"#), "{document}");
    assert!(document.contains(r#"<tbody id="g:live" hidden>"#), "{document}");
}

#[test]
fn a_killed_worker_says_what_happened_and_that_nobody_asked() {
    let screen = overview_of(&samples::fleet());
    assert_eq!(
        text(row(&screen, "w:market-watch/agent-3")),
        "market-watch/ agent-3 pid 812, lon-3, 4.8.1 Failed: killed (SIGKILL) 03:02:25 , 11 min ago 03:02:25 no final \
         Killed ; nobody asked it to stop; ended by SIGKILL. witness"
    );
}

#[test]
fn a_stop_names_who_asked() {
    let screen = overview_of(&samples::fleet());
    let stopped = text(row(&screen, "w:market-watch/web"));
    assert!(stopped.contains("System stopped 03:02:25 by Ctrl+C; cleanup complete"), "{stopped}");
    assert!(stopped.ends_with("Stopped by Ctrl+C. self witness"), "{stopped}");
    let partial = text(row(&screen, "w:trading-loop/live"));
    assert!(
        partial.contains(
            "Stopped by kill from bash (uid 1000, pts/3); cleanup timed out in 11.0 s. First judged lost."
        ),
        "{partial}"
    );
}

#[test]
fn a_provisional_loss_says_so_and_that_it_is_inferred() {
    let lost = text(row(&overview_of(&samples::fleet()), "w:interview-server/ws-4"));
    assert!(
        lost.contains("no goodbye was heard, and no witness can be asked; provisional. inferred"),
        "{lost}"
    );
}

#[test]
fn what_passes_has_its_words_in_the_past_and_an_ending_has_not() {
    let screen = overview_of(&samples::fleet());
    assert!(row(&screen, "w:market-watch/api").contains(r#"data-was="Was live""#));
    assert!(
        row(&screen, "w:interview-server/generator-1")
            .contains(r#"data-was="Was restarting, back by 03:15:10""#)
    );
    for ended in ["w:market-watch/agent-3", "w:market-watch/web", "w:nightly/backup"] {
        assert!(!row(&screen, ended).contains("data-was=\"Was"), "{ended}");
    }
}

#[test]
fn a_late_worker_is_listed_as_live_with_its_age_of_the_interval() {
    let late = text(row(&overview_of(&samples::fleet()), "w:acm2/eval-3"));
    assert!(late.contains("Late 12 s") && late.contains("12 s of 5 s"), "{late}");
}

#[test]
fn nobody_reported_yet_says_how_to_start_one() {
    let status = samples::status("No worker has reported yet.", "", &[]);
    let document = overview::screen(&status, &[], &[], &Filter::default()).document().into_string();
    let text = text(&document);
    assert!(text.contains("No worker has reported yet."), "{text}");
    assert!(text.contains("lastbeat run --worker demo/web -- python3 -m http.server"), "{text}");
    assert!(document.contains(r#"id="workers" hidden"#));
}

#[test]
fn counts_are_links_that_add_up_and_filter() {
    let fleet = samples::fleet();
    let status = samples::status("One sentence.", "", &fleet);
    let pick = text(row(&overview_of(&fleet), "pick"));
    assert_eq!(
        pick, "All 12 Failed 4 Needs a look 2 Restarting 1 Stopping 1 Live 2 Stopped 1 Completed 1",
        "they add up to all"
    );
    let filter = Filter { condition: Some("failed".to_owned()), service: None };
    let rows: usize =
        overview::screen(&status, &fleet, &[], &filter).order().iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!(rows, 4);
    let filter = Filter { condition: None, service: Some("acm2".to_owned()) };
    let screen = overview::screen(&status, &fleet, &[], &filter);
    let rows: Vec<&str> = screen.order().into_iter().flat_map(|(_, rows)| rows).collect();
    assert_eq!(rows, ["w:acm2/api", "w:acm2/eval-3"]);
}

#[test]
fn the_title_follows_the_worst_state() {
    let fleet = samples::fleet();
    let title = |workers: &[WorkerReport]| overview_of(workers).title;
    assert_eq!(title(&fleet), "4 failed, 2 to look at: lastbeat");
    assert_eq!(title(&fleet[4..]), "2 to look at: lastbeat");
    assert_eq!(title(&fleet[6..]), "2 changing: lastbeat");
    assert_eq!(title(&fleet[8..]), "All well: lastbeat");
    assert_eq!(title(&[]), "No worker yet: lastbeat");
}

#[test]
fn open_alerts_are_listed_pages_first_and_a_page_is_never_all_well() {
    let fleet = samples::fleet();
    let ticket = samples::alert("eval-3", Severity::Ticket);
    let page = AlertReport { since: samples::at("02:59:00"), ..samples::alert("backup", Severity::Page) };
    let over = AlertReport { resolved_at: Some(samples::at("03:00:00")), ..page.clone() };
    let screen = overview_with(&fleet[8..], &[ticket.clone(), page.clone(), over.clone()]);
    assert_eq!(
        text(row(&screen, "alerts")),
        "Open alerts Page LastbeatWorkerFailed trading-loop/backup : it was killed since 02:59:00 Ticket \
         LastbeatWorkerFailed trading-loop/eval-3 : it was killed since 03:02:25"
    );
    assert!(row(&screen, "alerts").contains(r#"href="/workers/trading-loop/backup""#));
    assert_eq!(screen.title, "1 page open: lastbeat");
    let title = |workers: &[WorkerReport], alerts: &[AlertReport]| overview_with(workers, alerts).title;
    assert_eq!(title(&fleet[4..], &[page.clone(), page.clone()]), "2 pages open, 2 to look at: lastbeat");
    assert_eq!(title(&fleet, std::slice::from_ref(&page)), "4 failed, 2 to look at: lastbeat");
    assert_eq!(title(&fleet[8..], &[ticket]), "1 ticket open: lastbeat");
    assert_eq!(title(&fleet[8..], std::slice::from_ref(&over)), "All well: lastbeat");
    assert!(row(&overview_with(&fleet, &[over]), "alerts").contains(r#"id="alerts" hidden"#));
    let many = vec![page; 23];
    assert!(text(row(&overview_with(&fleet, &many), "alerts")).contains("And 3 more, in the JSON"));
}

#[test]
fn a_promise_is_never_called_no_alert_and_a_broken_one_is_told() {
    let overdue = &samples::fleet()[3];
    let screen = worker::screen(samples::collector(), overdue, &[]);
    let head = text(row(&screen, "head"));
    assert!(
        head.contains("It promised to be back within 30 s; it was due 03:02:55 and nobody came."),
        "{head}"
    );
    let mut detail = samples::detail();
    detail.run = overdue.run.clone().expect("it has a run");
    let head = |detail: &RunDetail| text(row(&run::screen(samples::collector(), detail), "head"));
    assert!(!head(&detail).contains("No alert"), "{}", head(&detail));
    detail.run.ending.as_mut().expect("it ended").back_within_ms = None;
    assert!(head(&detail).contains("No alert."), "{}", head(&detail));
}

#[test]
fn a_crash_has_its_place_and_the_foot_is_a_piece() {
    let screen = overview_of(&samples::fleet());
    let crashed = text(row(&screen, "w:trading-loop/risk"));
    assert!(
        crashed.contains("Crashed at src/margin.rs:88:13; nobody asked it to stop; exit 101."),
        "{crashed}"
    );
    assert_eq!(text(row(&screen, "foot")), "lastbeat 0.1.0, started 01:00:00");
}

#[test]
fn an_axis_never_says_the_same_twice() {
    for (ms, expected) in [
        (1, ["0", "0.3 ms", "0.7 ms", "1 ms"]),
        (2, ["0", "0.7 ms", "1.3 ms", "2 ms"]),
        (3, ["0", "1 ms", "2 ms", "3 ms"]),
        (9000, ["0", "3 s", "6 s", "9 s"]),
        (100_000, ["0", "33.3 s", "", "1 min"]),
    ] {
        assert_eq!(super::account::axis(ms), expected, "{ms}");
    }
}

#[test]
fn the_story_of_a_partial_stop_is_whole() {
    let each = samples::partial_stop();
    let runs = vec![each.run.clone().expect("it has a run")];
    let screen = worker::screen(samples::collector(), &each, &runs);
    let account = text(row(&screen, "account"));
    for part in [
        "This was a planned stop, but it was not clean. The stop was asked by kill from bash (uid 1000, pts/3).",
        "2 of 5 steps went well, in 11.0 s.",
        "Left undone: cancel-orders, 2 of 3 (order 88213); tell-risk-desk timed out, 0 of 3; agent audit-tail was \
         still alive.",
        "At 03:04:12 the verdict went from lost to shutdown_degraded: final beat delivered late.",
        "Sender bash, pid 790, uid 1000, child of 644, terminal pts/3",
        "Rests on self: final #42; witness: exit #9",
        "WARN cancel orders: 2 of 3",
    ] {
        assert!(account.contains(part), "{part} is not in {account}");
    }
    let steps = row(&screen, "steps");
    assert!(
        steps.contains(r#"<line class="limit" x1="0.00%""#) && steps.contains(r#"class="part""#),
        "{steps}"
    );
    let agents = text(row(&screen, "agents"));
    assert!(
        agents.contains("audit-tail abandoned: still alive when the run ended waits for a lock"),
        "{agents}"
    );
}

#[test]
fn a_panic_is_told_with_its_message_and_place() {
    let each = &samples::fleet()[1];
    let account = text(row(&worker::screen(samples::collector(), each, &[]), "account"));
    assert!(
        account.contains("It crashed. Nobody asked it to stop. It panicked at src/margin.rs:88:13:"),
        "{account}"
    );
    assert!(account.contains("Panic attempt to subtract with overflow at src/margin.rs:88:13"), "{account}");
}

#[test]
fn a_run_shows_its_facts_in_the_order_of_receipt() {
    let received = text(row(&run::screen(samples::collector(), &samples::detail()), "received"));
    let places: Vec<usize> = ["start #1", "ready #2", "final #42", "exit #9"]
        .iter()
        .filter_map(|fact| received.find(fact))
        .collect();
    assert!(places.len() == 4 && places.is_sorted(), "{received}");
    assert!(received.contains("1 min old then"), "{received}");
}

#[test]
fn a_worker_that_never_reported_is_a_page_with_a_way_out() {
    let screen = worker::unknown(samples::collector(), "demo", "web");
    assert!(!screen.found);
    let text = text(&screen.document().into_string());
    assert!(
        text.contains("No such worker has reported") && text.contains("lastbeat run --worker demo/web --")
    );
    let hostile = worker::unknown(samples::collector(), "<script>", "x").document().into_string();
    assert!(!hostile.contains("<script>"), "{hostile}");
    // The page becomes that of the worker as soon as it reports: each of its pieces has a place already.
    let known = worker::screen(samples::collector(), &samples::partial_stop(), &[]);
    let ids = |screen: &Screen| screen.all().map(|piece| piece.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&screen), ids(&known));
    let known = run::screen(samples::collector(), &samples::detail());
    assert_eq!(ids(&run::unknown(samples::collector())), ids(&known));
}

#[test]
fn an_address_is_read_with_its_escapes() {
    let worker = |service: &str, worker: &str| {
        Some(Address::Worker { service: service.to_owned(), worker: worker.to_owned() })
    };
    assert_eq!(Address::parse("/workers/a%3Ab/c%40d?x=1"), worker("a:b", "c@d"));
    let filter = Filter { condition: Some("failed".to_owned()), service: Some("a:b".to_owned()) };
    assert_eq!(Address::parse("/?condition=failed&service=a%3ab&other="), Some(Address::Overview(filter)));
    assert_eq!(Address::parse("/runs/nonsense"), Some(Address::Run(None)));
    for nowhere in
        ["", "x", "/workers", "/workers/a", "/workers/a/b/c", "/workers/%/b", "/workers/%ff/b", "/%2"]
    {
        assert_eq!(Address::parse(nowhere), None, "{nowhere}");
    }
}

const HOSTILE: &str = r#""'></td><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 }}&amp;"#;

#[test]
fn hostile_text_is_shown_as_text() {
    let mut each = samples::partial_stop();
    each.words = HOSTILE.to_owned();
    each.amendments[0].because = HOSTILE.to_owned();
    each.amendments[0].from = HOSTILE.to_owned();
    each.condition = Condition::Degraded;
    let hostile_run = each.run.as_mut().expect("it has a run");
    for field in [&mut hostile_run.host, &mut hostile_run.version, &mut hostile_run.environment] {
        *field = Some(HOSTILE.to_owned());
    }
    hostile_run.agents[1].error = Some(HOSTILE.to_owned());
    hostile_run.agents[1].state = HOSTILE.to_owned();
    hostile_run.agents[1].end = None;
    let told = hostile_run.ending.as_mut().expect("it ended");
    told.words = HOSTILE.to_owned();
    told.during = Some(HOSTILE.to_owned());
    told.output_tail = vec![HOSTILE.to_owned()];
    told.evidence[0].facts = vec![HOSTILE.to_owned()];
    let step = &mut told.cleanup.steps[1];
    step.error = Some(HOSTILE.to_owned());
    step.why_skipped = Some(HOSTILE.to_owned());
    step.failed_items = vec![HOSTILE.to_owned()];
    let cause = told.cause.as_mut().expect("it was asked");
    cause.signal = Some(HOSTILE.to_owned());
    let sender = cause.sender.as_mut().expect("it has a sender");
    for field in [&mut sender.comm, &mut sender.cmdline, &mut sender.tty] {
        *field = Some(HOSTILE.to_owned());
    }
    let mut detail = samples::detail();
    detail.run = each.run.clone().expect("it has a run");
    detail.facts[0].signal = serde_json::json!({ "type": HOSTILE, HOSTILE: HOSTILE });

    let mut alerts = [samples::alert("live", Severity::Page)];
    (alerts[0].name, alerts[0].because) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let status = samples::status(HOSTILE, HOSTILE, std::slice::from_ref(&each));
    let filter = Filter { condition: Some(HOSTILE.to_owned()), service: Some(HOSTILE.to_owned()) };
    for screen in [
        overview::screen(&status, std::slice::from_ref(&each), &alerts, &Filter::default()),
        overview::screen(&status, std::slice::from_ref(&each), &alerts, &filter),
        worker::screen(samples::collector(), &each, std::slice::from_ref(&detail.run)),
        run::screen(samples::collector(), &detail),
    ] {
        let document = screen.document().into_string();
        assert_eq!(document.matches("<script").count(), 1, "only our own module: {document}");
        assert!(!document.contains("<img"), "{document}");
        assert!(!document.contains("&#38;#"), "escaped once, not twice");
    }
}

#[test]
fn no_page_has_a_style_attribute_an_inline_script_or_a_foreign_host() {
    for screen in every_screen() {
        let document = screen.document().into_string();
        assert!(!document.contains(" style="), "{document}");
        assert!(!document.contains("<style"), "{document}");
        assert!(!document.contains(" onclick") && !document.contains("javascript:"), "{document}");
        assert_eq!(document.matches("<script").count(), 1);
        assert!(document.contains(r#"<script type="module" src="/lastbeat.js"></script>"#));
        for quoted in document.split(['"', '\'']) {
            assert!(!quoted.starts_with("http") && !quoted.starts_with("//"), "{quoted}");
        }
    }
    assert!(!assets::STYLE.contains("url(") && !assets::STYLE.contains("@import"));
}

#[test]
fn every_element_with_an_id_has_it_alone_and_every_table_has_a_caption_and_scopes() {
    for screen in every_screen() {
        let document = screen.document().into_string();
        let mut ids: Vec<&str> =
            document.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "an id is there twice");
        assert_eq!(document.matches("<table").count(), document.matches("<caption").count());
        let scoped =
            document.matches("<th scope=").count() + document.matches("<th colspan=\"4\" scope=").count();
        assert_eq!(document.matches("<th ").count() + document.matches("<th>").count(), scoped);
        for href in document.split("href=\"#s-").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.contains(&format!("<g id=\"s-{href}\"")), "no shape {href}");
        }
    }
}

#[test]
fn every_piece_stands_in_the_document_under_its_id() {
    for screen in every_screen() {
        let document = screen.document().into_string();
        for piece in screen.all() {
            assert!(document.contains(piece.html.as_str()), "{}", piece.id);
            assert!(piece.html.as_str().contains(&format!(" id=\"{}\"", piece.id)), "{}", piece.id);
            for cell in &piece.cells {
                assert!(piece.html.as_str().contains(cell.html.as_str()), "{}", cell.id);
            }
        }
    }
}

fn gzip(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all").len()
}

#[test]
fn fifty_workers_with_the_style_are_14_kb_and_the_module_is_5() {
    let fleet: Vec<WorkerReport> = (0..50_u32)
        .map(|number| {
            let kinds = samples::fleet();
            let mut each = kinds[number as usize % kinds.len()].clone();
            each.worker = samples::name(&format!("{}-{number}", each.worker));
            if let Some(run) = &mut each.run {
                run.pid = Some(1000 + number * 7919 % 31_000);
                run.run_id = lastbeat_wire::RunId::mint();
            }
            each
        })
        .collect();
    let document = overview_of(&fleet).document().into_string();
    let total = gzip(&document) + gzip(assets::STYLE);
    assert!(total <= 14 * 1024, "{total} bytes");
    let module = gzip(assets::MODULE);
    assert!(module <= 5 * 1024, "{module} bytes");
}
