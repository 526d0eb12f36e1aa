//! The table of endings, played: every way a process ends, with the class, the cause, the cleanup, the words and
//! the alerts that are right for it, in time and nothing beside. The rows are data in `tests/endings`; how they
//! are read stands in `table/rows.rs` and `table/script.rs`, how they are played in `table/play.rs`.
#![expect(
    clippy::disallowed_methods,
    reason = "the rows are files, and UPDATE_GOLDEN writes their overview anew"
)]

mod stage;

#[path = "table/play.rs"]
mod play;
#[path = "table/rows.rs"]
mod rows;
#[path = "table/script.rs"]
mod script;

use std::collections::BTreeSet;

use lastbeat_engine::ending::{CauseKind, CleanupOutcome};
use lastbeat_engine::{AlertName, Class, Condition, NoticeName};
use play::play;
use rows::{Expect, Row, cast, folder, rows};

/// The numbers of the table; what lies between them is not in it.
const NUMBERS: [u32; 64] = [
    1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34,
    35, 36, 37, 38, 39, 41, 42, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 58, 60, 61, 63, 64, 65,
    67, 69, 70, 71, 72, 76, 77, 78, 79, 80,
];

/// Rows in which no run is judged: they are about the page and the collector alone.
const NOBODY_THERE: [u32; 3] = [63, 64, 80];
/// Those of them in which the engine says nothing either: the collector is not there.
const NOTHING_SAID: [u32; 2] = [63, 64];

/// The rules that must be shown, by their ids.
const RULES: [&str; 15] =
    ["D1", "D2", "D3", "D4", "D5", "D6", "D7", "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8"];

/// What of an operating system a row may need beyond a process and its parent.
const OS: [&str; 9] =
    ["browser", "cgroup", "libfaketime", "mounts", "network", "pid_namespace", "pty", "tmpfs", "uvicorn"];

/// The overview in `README.md` stands below this line.
const OVERVIEW: &str = "<!-- Everything below is written by the test: UPDATE_GOLDEN=1 -->\n";

fn all_rows() -> Vec<Row> {
    rows("endings.toml").into_iter().chain(rows("further.toml")).collect()
}

/// Every row that expects something, and what was wrong when it was played.
fn all_played() -> Vec<(Row, Vec<String>)> {
    let cast = cast();
    let played = |row: Row| {
        let wrong = play(&row, &cast);
        (row, wrong)
    };
    all_rows().into_iter().filter(|row| row.expect.is_some()).map(played).collect()
}

/// Each word that a row says is right: what was only seen on the way is asserted by nobody.
fn asserted(expect: &Expect) -> impl Iterator<Item = String> {
    let of = |kind: &'static str, words: Vec<Option<&String>>| {
        words.into_iter().flatten().map(|word| format!("{kind} {word}")).collect::<Vec<_>>()
    };
    [
        of("class", expect.ends.iter().map(|end| Some(&end.class)).collect()),
        of("cause", expect.ends.iter().map(|end| end.cause.as_ref()).collect()),
        of("cleanup", expect.ends.iter().map(|end| end.cleanup.as_ref()).collect()),
        of("condition", expect.page.iter().map(|look| look.condition.as_ref()).collect()),
        of("alert", expect.alerts.iter().map(|due| Some(&due.name)).collect()),
        of("notice", expect.notices.iter().map(|told| Some(&told.name)).collect()),
    ]
    .into_iter()
    .flatten()
}

#[test]
fn every_row_of_the_table_is_here_once_and_in_its_order() {
    let here: Vec<Option<u32>> = rows("endings.toml").iter().map(|row| row.number).collect();
    assert_eq!(here, NUMBERS.map(Some));
    let further = rows("further.toml");
    let names: BTreeSet<&String> = further.iter().filter_map(|row| row.name.as_ref()).collect();
    assert_eq!(names.len(), further.len(), "each further row has a name of its own");
}

#[test]
fn every_row_says_how_it_is_produced_and_what_is_right() {
    for row in all_rows() {
        let label = row.label();
        assert!(!row.title.is_empty() && !row.produce.is_empty(), "row {label} is not told");
        for need in &row.os {
            assert!(OS.contains(&need.as_str()), "row {label} needs {need}: what is that?");
        }
        let nobody = row.number.is_some_and(|number| NOBODY_THERE.contains(&number));
        assert_eq!(row.steps.is_empty(), nobody, "row {label}: steps, or a reason why there are none");
        assert_eq!(row.why_no_steps.is_some(), nobody, "row {label}: steps, or a reason why there are none");
        let expects = row.expect.as_ref().is_some_and(|expect| !expect.ends.is_empty());
        assert_eq!(expects, !nobody, "row {label} expects the end of no run");
        let silent = row.number.is_some_and(|number| NOTHING_SAID.contains(&number));
        let says = row.expect.as_ref().is_some_and(|expect| !expect.page.is_empty());
        assert!(says || silent || !nobody, "row {label} expects nothing to be said");
    }
}

#[test]
fn every_row_is_judged_right_in_time_and_without_a_false_alarm() {
    let mut wrong = Vec::new();
    for (row, differences) in all_played() {
        // The first few differences of a row tell it all.
        let some: Vec<String> = differences.iter().take(6).map(|what| format!("    {what}")).collect();
        if !some.is_empty() {
            wrong.push(format!("row {} ({}):\n{}", row.label(), row.title, some.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_word_and_every_rule_is_shown_by_a_row_that_is_right() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for (row, _) in all_played().iter().filter(|(_, wrong)| wrong.is_empty()) {
        shown.extend(row.expect.iter().flat_map(asserted));
        for rule in &row.shows {
            assert!(RULES.contains(&rule.as_str()), "row {} shows {rule}: no such rule", row.label());
            shown.insert(format!("rule {rule}"));
        }
    }
    let classes = Class::ALL.iter().map(|class| format!("class {}", class.as_str()));
    let causes = CauseKind::ALL.iter().map(|cause| format!("cause {}", cause.as_str()));
    let cleanups = CleanupOutcome::ALL.iter().map(|outcome| format!("cleanup {}", outcome.as_str()));
    let conditions = Condition::ALL.iter().map(|condition| format!("condition {}", condition.as_str()));
    let alerts = AlertName::ALL.iter().map(|name| format!("alert {}", name.as_str()));
    let notices = NoticeName::ALL.iter().map(|name| format!("notice {}", name.as_str()));
    let rules = RULES.iter().map(|rule| format!("rule {rule}"));
    let all =
        classes.chain(causes).chain(cleanups).chain(conditions).chain(alerts).chain(notices).chain(rules);
    let missing: Vec<String> = all.filter(|word| !shown.contains(word)).collect();
    assert!(missing.is_empty(), "no row that is right shows: {}", missing.join(", "));
}

#[test]
fn the_overview_in_the_readme_is_the_data() {
    let path = folder().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (told, _) = readme.split_once(OVERVIEW).expect("the README has a line where the overview begins");
    assert!(told.lines().count() <= 40, "what people wrote in the README is short");
    let wanted = format!("{told}{OVERVIEW}{}", overview());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &wanted).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        assert!(readme == wanted, "the overview is not the data: run with UPDATE_GOLDEN=1");
    }
}

/// The rows as two tables.
fn overview() -> String {
    let mut text = String::new();
    for (title, file) in [("The table", "endings.toml"), ("Further endings", "further.toml")] {
        text.push_str(&format!(
            "\n## {title}: `{file}`\n\n\
             | row | what happens | class | cause | last words | alert |\n|---|---|---|---|---|---|\n"
        ));
        for row in rows(file) {
            let [class, cause, words, alert] = row.expect.as_ref().map_or_else(
                || [String::new(), String::new(), "nothing to judge".to_owned(), "none".to_owned()],
                in_short,
            );
            let cells = [row.label(), row.title.clone(), class, cause, words, alert];
            text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
    }
    text
}

/// Class, cause, the last words and the alerts of a row, each in one cell.
fn in_short(expect: &Expect) -> [String; 4] {
    let distinct = |words: Vec<&str>| {
        let mut seen: Vec<&str> = Vec::new();
        for word in words {
            if !seen.contains(&word) {
                seen.push(word);
            }
        }
        seen.join(", ")
    };
    let class = distinct(expect.ends.iter().map(|end| end.class.as_str()).collect());
    let cause = distinct(expect.ends.iter().filter_map(|end| end.cause.as_deref()).collect());
    let last = expect
        .page
        .iter()
        .rev()
        .find_map(|look| look.words.as_deref().or(look.service.as_deref()).or(look.fleet.as_deref()));
    let alerts: Vec<String> = expect
        .alerts
        .iter()
        .map(|due| format!("{} {} by {}", due.severity, due.name.trim_start_matches("Lastbeat"), due.by))
        .collect();
    let alert = if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") };
    [class, cause, last.unwrap_or_default().to_owned(), alert]
}
