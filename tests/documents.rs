//! Promise: the page that says what is an error and what is expected says what the code does: it is made of the code's
//! own tables.

use std::fmt::Write as _;
use std::path::Path;

use lastbeat::events;
use lastbeat_engine::alert::AlertName;
use lastbeat_engine::ending::{Class, Severity};
use lastbeat_tests::tools::repository;
use lastbeat_wire::signal::AgentEnd;

const PAGE: &str = "docs/errors-and-expected.md";

/// How loud a thing is, for people.
const fn loudness(severity: Severity) -> &'static str {
    match severity {
        Severity::None => "expected",
        Severity::Ticket => "a ticket: somebody looks in office hours",
        Severity::Page => "a page: somebody is woken",
    }
}

/// Grey and outlined, amber, red: how the page shows it.
const fn family(severity: Severity) -> &'static str {
    match severity {
        Severity::None => "grey",
        Severity::Ticket => "amber",
        Severity::Page => "red",
    }
}

fn endings() -> String {
    let mut table = String::from(
        "| ending | what it means | is it an error? | alert | on the page |\n|---|---|---|---|---|\n",
    );
    for class in Class::ALL {
        let severity = class.severity();
        let alert = AlertName::of_class(*class);
        let alert = alert.map_or_else(|| "none".to_owned(), |name| format!("`{}`", name.as_str()));
        let (name, about) = (class.as_str(), class.about());
        // Writing into a String cannot fail.
        let _ = writeln!(
            table,
            "| `{name}` | {about} | {} | {alert} | {} |",
            loudness(severity),
            family(severity)
        );
    }
    table
}

const fn is_expected(end: AgentEnd) -> bool {
    match end {
        AgentEnd::Completed | AgentEnd::CancelledExpected => true,
        AgentEnd::CancelledUnexpected | AgentEnd::Crashed | AgentEnd::Abandoned => false,
    }
}

fn agents() -> String {
    let mut table = String::from("| agent's end | what it means | is it an error? |\n|---|---|---|\n");
    for end in AgentEnd::ALL {
        let error = if is_expected(*end) { "expected" } else { "yes" };
        let _ = writeln!(table, "| `{}` | {} | {error} |", end.as_str(), end.about());
    }
    table
}

fn log() -> String {
    let mut table = String::from("| event | level | is it an error? | when |\n|---|---|---|---|\n");
    for event in events::ALL {
        let error = if event.is_error { "yes" } else { "expected" };
        let _ = writeln!(
            table,
            "| `{}` | {} | {error} | {} |",
            event.name,
            event.level.as_str().to_lowercase(),
            event.when
        );
    }
    table
}

fn page() -> String {
    format!(
        "# What is an error and what is expected

One answer for logs, traces, metrics, alerts and the page. This page is made of the tables of the code;
`UPDATE_GOLDEN=1 cargo nextest run -p lastbeat-tests --test documents` writes it, and a test keeps it equal to them.

## How a run ended

The same word is the label `class` of `lastbeat_endings_total`, and `run.ending.class` over HTTP. An ending is more than
its class: it has a cause, a cleanup and its evidence.

{}
## How an agent ended

The same word is the label `end` of `lastbeat_agent_ends_total`. An agent that crashed or was cancelled unexpectedly makes
its worker *degraded*; one that is abandoned makes the cleanup partial.

{}
## What a worker's log and traces say

Events of the crate `tracing`, by the name in their metadata; the spans are `lastbeat.run`, `lastbeat.stop` and
`lastbeat.step`. Nothing that is expected is told above level info, and no span of an expected stop has an error status.

{}",
        endings(),
        agents(),
        log()
    )
}

#[test]
fn the_page_of_errors_and_of_what_is_expected_is_the_codes_own_table() {
    let path = repository().join(Path::new(PAGE));
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "{PAGE} is not what the code says; write it anew as it says itself");
}

#[test]
fn what_is_expected_is_told_at_info_and_below_and_what_is_not_above() {
    for event in events::ALL {
        let loud = event.level <= tracing::Level::WARN;
        assert_eq!(event.is_error, loud, "{event:?}");
    }
}
