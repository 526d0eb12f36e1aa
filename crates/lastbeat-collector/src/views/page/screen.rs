//! A page as a list of pieces, each an element with an id: so the first answer and every later change are made by the
//! same templates.

use std::hash::{DefaultHasher, Hash, Hasher};

use askama::Template;
use lastbeat_wire::report::{CollectorReport, CollectorState};

use super::markup::{Html, Icon, When};

/// An element with an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The element's id.
    pub(crate) id: String,
    /// The element.
    pub(crate) html: Html,
    /// Elements inside it that change by themselves, each second perhaps: replaced without the rest.
    pub(crate) cells: Vec<Self>,
}

impl Piece {
    /// A piece without cells.
    pub(crate) fn new(id: impl Into<String>, html: Html) -> Self {
        Self { id: id.into(), html, cells: Vec::new() }
    }

    /// A number that stays as long as nothing changes outside the cells.
    pub(crate) fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut rest = self.html.as_str();
        for cell in &self.cells {
            if let Some((before, after)) = rest.split_once(cell.html.as_str()) {
                before.hash(&mut hasher);
                rest = after;
            }
        }
        rest.hash(&mut hasher);
        hasher.finish()
    }
}

/// Rows of one group, below its head.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// The id of the table body.
    pub(crate) id: String,
    /// The row above the others.
    pub(crate) head: Piece,
    /// The rows.
    pub(crate) rows: Vec<Piece>,
}

/// The way back up, beside the name of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crumb {
    /// The words.
    pub(crate) text: String,
    /// Where they lead; the last one leads nowhere.
    pub(crate) href: Option<String>,
}

/// A page.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// The title: the worst state first.
    pub(crate) title: String,
    /// The way back up.
    pub(crate) crumbs: Vec<Crumb>,
    /// Where the same is told as JSON.
    pub(crate) json: String,
    /// The collector, of itself.
    pub(crate) collector: CollectorReport,
    /// The pieces, from top to bottom.
    pub(crate) pieces: Vec<Piece>,
    /// What the page says at its foot of the collector: another one after it came back.
    pub(crate) foot: Piece,
    /// The groups of the table below them; only the overview has it.
    pub(crate) groups: Vec<Rows>,
    /// What the page is about is known.
    pub(crate) found: bool,
}

#[derive(Template)]
#[template(path = "frame.html")]
struct Frame<'a> {
    screen: &'a Screen,
    at: String,
    as_of: When,
}

#[derive(Template)]
#[template(path = "parts/foot.html")]
struct Foot<'a> {
    version: &'a str,
    started: When,
}

impl Screen {
    /// The whole document.
    pub(crate) fn document(&self) -> Html {
        let now = self.collector.now;
        Html::of(&Frame { screen: self, at: now.to_string(), as_of: When::new(now, now) })
    }

    /// Every piece there is, rows included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Piece> {
        let rows = self.groups.iter().flat_map(|group| std::iter::once(&group.head).chain(&group.rows));
        self.pieces.iter().chain(rows).chain([&self.foot])
    }

    /// The ids of the rows, for each table body.
    pub(crate) fn order(&self) -> Vec<(&str, Vec<&str>)> {
        self.groups
            .iter()
            .map(|group| (group.id.as_str(), group.rows.iter().map(|row| row.id.as_str()).collect()))
            .collect()
    }

    /// Whether the table has no row.
    fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.rows.is_empty())
    }

    /// The collector's state in a word.
    fn state(&self) -> CollectorState {
        self.collector.state
    }
}

/// What a page says of the collector at its foot.
pub(crate) fn foot(collector: &CollectorReport) -> Piece {
    let started = When::new(collector.started_at, collector.now);
    Piece::new("foot", Html::of(&Foot { version: &collector.version, started }))
}

/// The sentence on top of a page about one worker or run.
#[derive(Template)]
#[template(path = "parts/headline.html")]
pub(crate) struct Headline<'a> {
    /// What it is about, before the slash.
    pub(crate) service: &'a str,
    /// And behind it.
    pub(crate) worker: &'a str,
    /// More of the same, such as the run.
    pub(crate) more: String,
    /// The shape, where something is known.
    pub(crate) icon: Option<Icon>,
    /// The state in words.
    pub(crate) words: String,
    /// The same in the past.
    pub(crate) was: Option<String>,
    /// The sentence below.
    pub(crate) lead: Html,
}

/// Words of the present put into the past: `Live` becomes `Was live`.
pub(crate) fn past(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("Was {}{}", first.to_lowercase(), letters.as_str()))
}

/// A page for something that is not known.
#[derive(Template)]
#[template(path = "parts/missing.html")]
struct Missing<'a> {
    hint: &'a str,
    code: Option<String>,
}

/// A page that says that there is no such thing, and what to do.
///
/// `below` are the pieces of the page that it becomes as soon as there is something, hidden so far.
pub(crate) fn missing(
    collector: CollectorReport,
    what: &str,
    hint: &str,
    code: Option<String>,
    below: Vec<Piece>,
) -> Screen {
    let head = Html::of(&Headline {
        service: "",
        worker: "",
        more: String::new(),
        icon: None,
        words: what.to_owned(),
        was: None,
        lead: Html::of(&Missing { hint, code }),
    });
    let mut pieces = vec![Piece::new("head", head)];
    pieces.extend(below);
    Screen {
        title: format!("{what}: lastbeat"),
        crumbs: Vec::new(),
        json: "/v1/workers".to_owned(),
        foot: foot(&collector),
        collector,
        pieces,
        groups: Vec::new(),
        found: false,
    }
}
