//! What a verb comes to: an answer, or a failure that says what, why, and what to type next.

use std::fmt;

/// The answer is no, or the work failed.
pub(crate) const EXIT_NO: u8 = 1;
/// The command line cannot be used.
pub(crate) const EXIT_USAGE: u8 = 2;
/// No collector answers.
pub(crate) const EXIT_UNREACHABLE: u8 = 4;

/// What a verb that did its work has to say by its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All is well: 0.
    Yes,
    /// The answer is no: 1.
    No,
    /// The status of a program that was run, passed through.
    Status(u8),
}

/// Why a verb could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: u8,
    /// What was tried.
    pub(crate) what: String,
    /// Why it did not work.
    pub(crate) why: String,
    /// A command to paste.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// The work failed.
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { exit: EXIT_NO, what: what.into(), why: why.to_string(), hint: None }
    }

    /// What was typed or set cannot be used.
    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { exit: EXIT_USAGE, ..Self::failed(what, why) }
    }

    /// No collector answers.
    pub(crate) fn unreachable(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { exit: EXIT_UNREACHABLE, ..Self::failed(what, why) }
    }

    /// Adds what to type next.
    pub(crate) fn hint(mut self, command: impl Into<String>) -> Self {
        self.hint = Some(command.into());
        self
    }

    /// Ends with another code, where the code has a meaning of its own.
    pub(crate) fn exit(mut self, code: u8) -> Self {
        self.exit = code;
        self
    }
}
