//! The few types whose text is HTML, and how times and durations are told.
//!
//! Invariant: whatever comes from outside enters HTML through a template, which escapes it. Only the types of this
//! file pass unescaped, and each is made from a template, from numbers, or from words of this program.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lastbeat_wire::report::{Evidence, EvidenceKind};

use super::look::Shape;

/// HTML that a template has made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Html(String);

impl Html {
    /// Fills a template.
    ///
    /// # Panics
    /// Never: the templates use no filter that fails, and a `String` takes all that is written.
    pub(crate) fn of(template: &impl Template) -> Self {
        Self(template.render().expect("a template without fallible filters renders into a String"))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, as its own.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// A shape from the sprite of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Icon(pub(crate) Shape);

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0.id();
        write!(f, r##"<svg class="g" viewBox="-8 -8 16 16" aria-hidden="true"><use href="#s-{id}"/></svg>"##)
    }
}

impl HtmlSafe for Icon {}

/// A moment as `<time>`: UTC, the script adds the local time as its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    /// Tells `at` to somebody who reads it at `now`: with its date where that is another day.
    pub(crate) const fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_zoned(TimeZone::UTC);
        let shown = if at.date() == self.now.to_zoned(TimeZone::UTC).date() {
            at.strftime("%H:%M:%S")
        } else {
            at.strftime("%Y-%m-%d %H:%M:%S")
        };
        write!(f, r#"<time datetime="{}">{shown}</time>"#, at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

impl HtmlSafe for When {}

/// The kinds of evidence behind a verdict, as small tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags(Vec<EvidenceKind>);

impl Tags {
    /// The kinds, in their order.
    pub(crate) fn of(evidence: &[Evidence]) -> Self {
        Self(evidence.iter().map(|each| each.kind).collect())
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(r#"<span class="evs">"#)?;
        for (index, kind) in self.0.iter().enumerate() {
            let class = match kind {
                EvidenceKind::Own | EvidenceKind::Witness => "ev",
                EvidenceKind::Inferred => "ev inferred",
            };
            let gap = if index == 0 { "" } else { " " };
            write!(f, r#"{gap}<span class="{class}">{kind}</span>"#)?;
        }
        f.write_str("</span>")
    }
}

impl HtmlSafe for Tags {}

/// `HH:MM:SS`, UTC.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// Milliseconds from `from` to `to`; 0 where the wall clock went back in between.
pub(crate) fn ms_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

/// A running time, as coarse as it is long: `41 s`, `4 min`, `2 h 5 min`, `3 d`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => match seconds / 60 % 60 {
            0 => format!("{} h", seconds / 3600),
            minutes => format!("{} h {minutes} min", seconds / 3600),
        },
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A measured time: `640 ms`, `1.2 s`, `14 s`, then as [`span`].
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(ms),
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
