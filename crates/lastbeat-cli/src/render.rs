//! Everything that is printed: tables, paragraphs, failures, colour.
//!
//! Invariant: colour only on a terminal, never with `NO_COLOR`; a shape always says the same.
//! Invariant: text from workers is printed without its control characters: a panic message must not
//! move a reader's cursor.
//! Invariant: a reader that closed the pipe (`lastbeat status | head`) is no error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// The family of a state; it decides the colour, the shape says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// At work.
    Green,
    /// In motion.
    Blue,
    /// Away, with a promise.
    Purple,
    /// Away as planned.
    Grey,
    /// Not clean, or in doubt.
    Amber,
    /// Somebody is needed.
    Red,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Blue => "34",
            Self::Purple => "35",
            Self::Grey => "90",
            Self::Amber => "33",
            Self::Red => "31",
        }
    }
}

/// Whether a stream takes colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// ANSI colours.
    Ansi,
    /// None.
    Plain,
}

impl Colour {
    /// What standard output takes.
    pub(crate) fn of_stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    /// What standard error takes.
    pub(crate) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if terminal && !refused && !is_dumb() { Self::Ansi } else { Self::Plain }
    }

    /// Text in the colour of a family.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        self.wrapped(tone.code(), text)
    }

    /// Text that stands out.
    pub(crate) fn strong(self, text: &str) -> String {
        self.wrapped("1", text)
    }

    fn wrapped(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// Text without control characters, so that nothing a worker said can act on the terminal.
pub(crate) fn clean(text: &str) -> String {
    // Bidirectional overrides are no control characters to Rust, but reorder what a reader sees.
    let acts = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(' '),
            c if acts(c) => {
                // Writing into a String cannot fail.
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Prints one line to standard output.
pub(crate) fn line(text: &str) {
    // A closed pipe has no reader to tell.
    let _ = writeln!(io::stdout().lock(), "{text}").and_then(|()| io::stdout().flush());
}

/// Prints one line to standard error, where a program's own output must stay untouched.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints what, why and hint.
pub(crate) fn failure(failure: &Failure) {
    note(&failure_text(failure, Colour::of_stderr()));
}

/// Prints what clap refuses and why, and the command that shows what would be right.
pub(crate) fn refusal(refused: &clap::Error, help: &str) {
    let colour = Colour::of_stderr();
    let said = refused.render();
    let said = match colour {
        Colour::Ansi => said.ansi().to_string(),
        Colour::Plain => said.to_string(),
    };
    // Its last paragraph points at `--help` without saying of what.
    let said = said.split("\n\nFor more information").next().unwrap_or_default();
    note(&format!("{}\n\n{}: {help}", said.trim_end(), colour.tone(Tone::Blue, "hint")));
}

/// What is wrong but stops nothing.
pub(crate) fn warning(text: &str) {
    note(&format!("{}: {}", Colour::of_stderr().tone(Tone::Amber, "warning"), clean(text)));
}

/// One line that says what is waited for: on a terminal, and nowhere else. Dropped, it is gone.
pub(crate) struct Progress {
    on_terminal: bool,
    shown: String,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn new() -> Self {
        // A terminal that cannot go back to the start of a line would fill with them.
        Self { on_terminal: io::stderr().is_terminal() && !is_dumb(), shown: String::new() }
    }

    /// Shows a text instead of the one before, cut to the width of the terminal: only one line can be taken back.
    pub(crate) fn show(&mut self, text: &str) {
        if !self.on_terminal {
            return;
        }
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { PARAGRAPH_PLAIN_COLUMNS } else { columns };
        let line: String = clean(text).chars().take(columns - 1).collect();
        if line != self.shown {
            // A terminal that is gone has no reader to tell.
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{line}");
            self.shown = line;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

fn failure_text(failure: &Failure, colour: Colour) -> String {
    let mut text =
        format!("{}: {}: {}", colour.tone(Tone::Red, "error"), clean(&failure.what), clean(&failure.why));
    if let Some(hint) = &failure.hint {
        // Writing into a String cannot fail.
        let _ = write!(text, "\n{}: {}", colour.tone(Tone::Blue, "hint"), clean(hint));
    }
    text
}

/// Rows under a header, columns as wide as their widest cell. The first column carries the tone.
pub(crate) fn table(header: &[&str], rows: &[(Tone, Vec<String>)], colour: Colour) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for (_, cells) in rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let laid = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![colour.strong(&laid(&mut header.iter().copied()))];
    for (tone, cells) in rows {
        let line = laid(&mut cells.iter().map(String::as_str));
        let dot = line.chars().next().map_or(0, char::len_utf8);
        lines.push(format!("{}{}", colour.tone(*tone, &line[..dot]), &line[dot..]));
    }
    lines.join("\n")
}

/// The widest line a paragraph gets: longer ones are hard to read, however wide the terminal.
const PARAGRAPH_MAX_COLUMNS: usize = 100;
/// Where standard output is no terminal.
const PARAGRAPH_PLAIN_COLUMNS: usize = 80;

/// The width for paragraphs on standard output.
pub(crate) fn paragraph_columns() -> usize {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 20)
        .map_or(PARAGRAPH_PLAIN_COLUMNS, |columns| columns.min(PARAGRAPH_MAX_COLUMNS))
}

/// A paragraph in lines of at most `columns`; a longer word stands alone.
pub(crate) fn wrap(text: &str, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_a_command_to_paste() {
        let failure =
            Failure::usage("cannot listen on 127.0.0.1:1", "the port is taken").hint("lastbeat serve");
        assert_eq!(
            failure_text(&failure, Colour::Plain),
            "error: cannot listen on 127.0.0.1:1: the port is taken\nhint: lastbeat serve"
        );
    }

    #[test]
    fn text_from_a_worker_cannot_act_on_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb c\\u{202e}d");
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells_and_colours_only_the_dot() {
        let rows = vec![
            (Tone::Green, vec!["●".into(), "shop/api".into(), "Live".into()]),
            (Tone::Red, vec!["◆".into(), "a/b".into(), "Failed: killed (SIGKILL)".into()]),
        ];
        assert_eq!(
            table(&["", "worker", "state"], &rows, Colour::Plain),
            "   worker    state\n●  shop/api  Live\n◆  a/b       Failed: killed (SIGKILL)"
        );
        assert!(table(&["", "worker", "state"], &rows, Colour::Ansi).contains("\u{1b}[31m◆\u{1b}[0m  a/b"));
    }

    #[test]
    fn a_paragraph_breaks_between_words_only() {
        assert_eq!(wrap("one two  three extraordinarily", 9), "one two\nthree\nextraordinarily");
    }
}
