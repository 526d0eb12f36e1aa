//! The stream as pieces of a page: a `snapshot` of all, then each second at least a `delta` of those that differ.

use std::collections::{BTreeMap, HashMap};

use lastbeat_wire::report::CollectorState;
use serde::Serialize;

use super::{From, to_json};
use crate::error::Refused;
use crate::snapshot::Published;
use crate::views::AppState;
use crate::views::page::{self, Address, Facts, Piece, Screen};

/// What this stream was last sent, as one number for each piece.
#[derive(Debug)]
pub(super) struct Feed {
    address: Address,
    facts: Facts,
    sent: Option<Sent>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    marks: HashMap<String, u64>,
    order: Vec<(String, Vec<String>)>,
    title: String,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    from: From,
    state: CollectorState,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// Elements by id, in the order of the page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    html: Vec<(&'a str, &'a str)>,
    /// The ids of the rows for each table body.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<BTreeMap<&'a str, Vec<&'a str>>>,
}

impl Feed {
    pub(super) fn new(address: Address) -> Self {
        Self { address, facts: Facts::default(), sent: None }
    }

    /// What differs. Even when nothing does it says the time: a page that hears nothing for a while must not say
    /// that it is live.
    pub(super) async fn next(
        &mut self,
        state: &AppState,
        published: &Published,
    ) -> Result<(&'static str, String), Refused> {
        let screen = page::screen(state, published, &self.address, &mut self.facts).await?;
        let now = sent(&screen);
        let name = if self.sent.is_none() { "snapshot" } else { "delta" };
        let before = self.sent.take().unwrap_or_default();
        let order =
            (now.order != before.order || name == "snapshot").then(|| screen.order().into_iter().collect());
        let message = Message {
            from: From::of(&screen.collector),
            state: screen.collector.state,
            title: (now.title != before.title).then_some(&screen.title),
            html: screen.all().flat_map(|piece| differing(piece, &before, &now)).collect(),
            order,
        };
        let said = (name, to_json(&message));
        self.sent = Some(now);
        Ok(said)
    }
}

fn sent(screen: &Screen) -> Sent {
    let mut marks = HashMap::new();
    for piece in screen.all() {
        marks.insert(piece.id.clone(), piece.mark());
        marks.extend(piece.cells.iter().map(|cell| (cell.id.clone(), cell.mark())));
    }
    let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect();
    let order = screen.order().into_iter().map(|(body, ids)| (body.to_owned(), owned(ids))).collect();
    Sent { marks, order, title: screen.title.clone() }
}

/// The whole piece when it differs outside its cells, else the cells that differ.
fn differing<'a>(piece: &'a Piece, before: &Sent, now: &Sent) -> Vec<(&'a str, &'a str)> {
    let differs = |piece: &Piece| before.marks.get(&piece.id) != now.marks.get(&piece.id);
    let told = |piece: &'a Piece| (piece.id.as_str(), piece.html.as_str());
    if differs(piece) {
        return vec![told(piece)];
    }
    piece.cells.iter().filter(|cell| differs(cell)).map(told).collect()
}
