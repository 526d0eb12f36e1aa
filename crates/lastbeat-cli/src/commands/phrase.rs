//! Times, spans and askers in a few words: for a cell of a table or a part of a sentence.
//!
//! Invariant: pure. "Now" is the collector's clock, never ours.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lastbeat_wire::signal::{Cause, CauseKind, Sender};

/// A time of day in UTC; with its date where that is not today's.
pub(crate) fn clock(at: Timestamp, now: Timestamp) -> String {
    let today = at.strftime("%F").to_string() == now.strftime("%F").to_string();
    at.strftime(if today { "%T" } else { "%F %T" }).to_string()
}

/// The same for a sentence: UTC, and the local time beside it where that differs.
pub(crate) fn moment(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    if local.offset().is_zero() {
        return format!("{} UTC", clock(at, now));
    }
    format!("{} UTC ({} local time)", clock(at, now), local.strftime("%T"))
}

/// How long ago something was.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let ms = now.as_millisecond().saturating_sub(at.as_millisecond()).max(0);
    format!("{} ago", span(ms.unsigned_abs()))
}

/// A span of time in its two largest units.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Who asked, in a few words for a table.
pub(crate) fn who(cause: &Cause) -> String {
    let signal = cause.signal.as_deref().unwrap_or("a signal");
    let named = |word: &str, name: &Option<String>| match name {
        Some(name) => format!("{word} {name}"),
        None => word.to_owned(),
    };
    match cause.kind {
        CauseKind::Api => "the program itself".into(),
        CauseKind::Keyboard if cause.signal.as_deref() == Some("SIGQUIT") => "Ctrl+\\".into(),
        CauseKind::Keyboard => "Ctrl+C".into(),
        CauseKind::TerminalHangup => "terminal closed".into(),
        CauseKind::Signal => match &cause.sender {
            Some(sender) => format!("{} ({signal})", sender_name(sender)),
            None => format!("unknown sender ({signal})"),
        },
        CauseKind::Supervisor => match &cause.sender {
            Some(sender) => format!("supervisor {}", sender_name(sender)),
            None => "supervisor".into(),
        },
        CauseKind::HostShutdown => "host going down".into(),
        CauseKind::Deploy => named("deploy", &cause.id),
        CauseKind::Itself => named("itself:", &cause.reason),
        CauseKind::Dependency => named("dependency", &cause.name),
        CauseKind::Operator => named("operator", &cause.who),
        CauseKind::Unknown => "unknown".into(),
    }
}

/// A sender in a few words.
pub(crate) fn sender_name(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "from outside".into();
    }
    match &sender.comm {
        Some(comm) => format!("{comm}, pid {}", sender.pid),
        None if sender.gone => format!("pid {} (gone)", sender.pid),
        None => format!("pid {}", sender.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_said_in_a_few_words() {
        let mut cause = Cause::of(CauseKind::Signal);
        cause.signal = Some("SIGTERM".into());
        assert_eq!(who(&cause), "unknown sender (SIGTERM)");
        cause.sender = Some(Sender {
            pid: 812,
            uid: 1000,
            ppid: None,
            comm: None,
            cmdline: None,
            tty: None,
            gone: true,
            outside_namespace: false,
        });
        assert_eq!(who(&cause), "pid 812 (gone) (SIGTERM)");
        assert_eq!(who(&Cause::of(CauseKind::Keyboard)), "Ctrl+C");
    }

    #[test]
    fn times_are_utc_and_dated_when_they_are_not_of_today() {
        let now: Timestamp = "2026-01-05T12:05:00Z".parse().expect("a time");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert_eq!(clock(at("2026-01-05T12:03:07Z"), now), "12:03:07");
        assert_eq!(clock(at("2026-01-04T23:59:59Z"), now), "2026-01-04 23:59:59");
        assert_eq!(ago(at("2026-01-05T12:03:07Z"), now), "1 min 53 s ago");
        // A worker's beat may be stamped after the answer's clock was read.
        assert_eq!(ago(at("2026-01-05T12:05:01Z"), now), "0 ms ago");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(moment(at("2026-01-05T12:03:07Z"), now, &zone), "12:03:07 UTC (13:03:07 local time)");
    }
}
