//! Reads `tests/endings/*.toml`: the rows, what they expect, and the cast of who asks.
//!
//! Invariant: nothing in a file is passed over. A key that nobody reads, or a word that the engine does not know, is
//! an error. What the steps mean stands in `script.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lastbeat_engine::ending::{Cause, CauseKind, Sender};
use serde::Deserialize;
use toml::Table;

/// Where the rows are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/endings"))
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    row: Vec<Row>,
}

/// One way a process ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Its place in the table; a further row has a name instead.
    pub(crate) number: Option<u32>,
    pub(crate) name: Option<String>,
    /// What happens, in plain words.
    pub(crate) title: String,
    /// How a real process is brought to it.
    pub(crate) produce: String,
    /// What of an operating system it takes to produce it.
    pub(crate) os: Vec<String>,
    /// Rules it shows, by their ids.
    #[serde(default)]
    pub(crate) shows: Vec<String>,
    /// Why there is nothing to judge.
    pub(crate) why_no_steps: Option<String>,
    #[serde(default)]
    pub(crate) steps: Vec<Table>,
    /// Until when it is watched; else to its last moment.
    pub(crate) lasts: Option<String>,
    pub(crate) expect: Option<Expect>,
}

impl Row {
    pub(crate) fn label(&self) -> String {
        self.number.map_or_else(|| self.name.clone().unwrap_or_default(), |number| number.to_string())
    }
}

/// What must be said of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    #[serde(default)]
    pub(crate) ends: Vec<End>,
    #[serde(default)]
    pub(crate) page: Vec<Look>,
    /// Every alert there may be; an empty list is a promise as well.
    pub(crate) alerts: Vec<Due>,
    /// Every notice there may be; each stands at the end.
    #[serde(default)]
    pub(crate) notices: Vec<Told>,
    /// Every amendment there may be, in their order.
    #[serde(default)]
    pub(crate) amended: Vec<Amended>,
}

/// How a run ended, or that it did not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) run: String,
    /// When to look; else at the end.
    pub(crate) at: Option<String>,
    /// A class, or `none` of a run that lives.
    pub(crate) class: String,
    /// A kind of cause, or `none` where nobody asked.
    pub(crate) cause: Option<String>,
    /// All of the cause, by its name in the cast.
    pub(crate) by: Option<String>,
    pub(crate) cleanup: Option<String>,
    /// The most tries of any step.
    pub(crate) attempts: Option<u32>,
    /// Where it panicked.
    pub(crate) place: Option<String>,
    /// A crash in the middle of a stop.
    pub(crate) during_shutdown: Option<bool>,
}

/// What the page says at a moment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    pub(crate) at: String,
    /// Whose row; else `w`.
    pub(crate) worker: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) words: Option<String>,
    /// What is said of the service.
    pub(crate) service: Option<String>,
    /// What is said of all there is.
    pub(crate) fleet: Option<String>,
}

/// An alert: closed before `from`, open by `by`, open until the end or `until`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Due {
    pub(crate) name: String,
    pub(crate) severity: String,
    pub(crate) from: String,
    pub(crate) by: String,
    pub(crate) until: Option<String>,
    /// What it is dated at, when that is before it may open; else a moment between `from` and `by`.
    pub(crate) dated: Option<String>,
    /// Whose; of an alert that is nobody's own (a host, a network), none.
    pub(crate) worker: Option<String>,
}

/// A notice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) worker: String,
    /// The moment it tells of.
    pub(crate) at: String,
    pub(crate) because: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Amended {
    pub(crate) run: String,
    pub(crate) from: String,
    /// A class, or `live`.
    pub(crate) to: String,
}

/// Who asks, by a name.
pub(crate) type Cast = BTreeMap<String, Cause>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asker {
    kind: String,
    signal: Option<String>,
    reason: Option<String>,
    name: Option<String>,
    id: Option<String>,
    who: Option<String>,
    why: Option<String>,
    sender: Option<Someone>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Someone {
    pid: u32,
    uid: u32,
    ppid: Option<u32>,
    comm: Option<String>,
    cmdline: Option<String>,
    tty: Option<String>,
    #[serde(default)]
    gone: bool,
    #[serde(default)]
    outside_namespace: bool,
}

/// The rows of a file, in its order.
pub(crate) fn rows(file: &str) -> Vec<Row> {
    let read: File = toml::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    read.row
}

/// Who asks.
pub(crate) fn cast() -> Cast {
    let read: BTreeMap<String, Asker> =
        toml::from_str(&read("cast.toml")).unwrap_or_else(|error| panic!("cast.toml: {error}"));
    let cause = |asker: Asker| Cause {
        kind: word(CauseKind::ALL, CauseKind::as_str, &asker.kind),
        signal: asker.signal,
        reason: asker.reason,
        name: asker.name,
        id: asker.id,
        who: asker.who,
        why: asker.why,
        sender: asker.sender.map(|sender| Sender {
            pid: sender.pid,
            uid: sender.uid,
            ppid: sender.ppid,
            comm: sender.comm,
            cmdline: sender.cmdline,
            tty: sender.tty,
            gone: sender.gone,
            outside_namespace: sender.outside_namespace,
        }),
    };
    read.into_iter().map(|(name, asker)| (name, cause(asker))).collect()
}

/// The value of a closed list that has this word.
pub(crate) fn word<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str, text: &str) -> T {
    let found = all.iter().copied().find(|value| as_str(*value) == text);
    found.unwrap_or_else(|| panic!("the engine has no word {text:?}"))
}

/// `250ms`, `3.2s`, `10m`, `1h` as milliseconds.
pub(crate) fn ms(text: &str) -> u64 {
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let (whole, part) = amount.split_once('.').unwrap_or((amount, "0"));
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => panic!("{text:?} is no time"),
    };
    let number = |digits: &str| digits.parse::<u64>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let tens = 10_u64.pow(u32::try_from(part.len()).expect("a short text"));
    number(whole) * unit_ms + number(part) * unit_ms / tens
}

/// `a` is one name; `a1..3` are a1, a2 and a3.
pub(crate) fn names(text: &str) -> Vec<String> {
    let Some((first, last)) = text.split_once("..") else { return vec![text.to_owned()] };
    let prefix = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |digits: &str| digits.parse::<u32>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    (number(&first[prefix.len()..])..=number(last)).map(|index| format!("{prefix}{index}")).collect()
}
