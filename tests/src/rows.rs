//! The table of endings (`tests/endings/endings.toml`), as far as a test with real processes reads it.

use serde::Deserialize;

use crate::tools;

/// What is right for one way to end.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number in the table.
    pub number: u32,
    /// The right answer.
    pub expect: Expect,
}

/// See [`Row`].
#[derive(Debug, Clone, Deserialize)]
pub struct Expect {
    /// How each run ends; none where no run is judged.
    #[serde(default)]
    pub ends: Vec<End>,
    /// What the page says, in time.
    pub page: Vec<Page>,
    /// What alerts.
    #[serde(default)]
    pub alerts: Vec<Alert>,
}

/// How one run ends.
#[derive(Debug, Clone, Deserialize)]
pub struct End {
    /// The class; `none`: it does not end.
    pub class: String,
    /// The cause's kind.
    pub cause: Option<String>,
    /// The cleanup's outcome.
    pub cleanup: Option<String>,
}

/// What the page says at one moment.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    /// Of this worker; none: of the only one.
    pub worker: Option<String>,
    /// The condition.
    pub condition: Option<String>,
    /// The words.
    pub words: Option<String>,
}

/// One alert.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// `page` or `ticket`.
    pub severity: String,
}

#[derive(Deserialize)]
struct Table {
    row: Vec<Entry>,
}

/// Some ways to end are for a browser alone.
#[derive(Deserialize)]
struct Entry {
    number: u32,
    expect: Option<Expect>,
}

impl Row {
    /// The row of this number.
    ///
    /// # Panics
    /// When there is none, or the table cannot be read.
    #[must_use]
    pub fn of(number: u32) -> Self {
        let path = tools::repository().join("tests/endings/endings.toml");
        let text = std::fs::read_to_string(&path).expect("the table is there");
        let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{}", error.message()));
        let entry = table.row.into_iter().find(|row| row.number == number);
        let expect = entry.and_then(|entry| entry.expect).expect("a row of the table with a right answer");
        Self { number, expect }
    }

    /// The last words that the page says of the row's first worker.
    ///
    /// # Panics
    /// When it says none.
    #[must_use]
    pub fn last_words(&self) -> &str {
        let of_the_first = self.expect.page.iter().filter(|page| page.worker.is_none());
        of_the_first.filter_map(|page| page.words.as_deref()).next_back().expect("the page says something")
    }
}

/// Words without the numbers that differ from one play to the next: each run of digits becomes a `#`.
#[must_use]
pub fn without_numbers(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !out.ends_with('#') {
            out.push(c);
        }
    }
    out
}
