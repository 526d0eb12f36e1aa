//! The binary `lastbeat`: the collector, the witness, and the answers to "how and why did it end?".
//!
//! Lives here: what may be typed ([`args`]), one file per verb ([`commands`]), what is printed
//! ([`render`]), what goes wrong ([`failure`]), the reading of a collector ([`collector`]), the
//! [`witness`] behind `lastbeat run`.
//!
//! Invariant: a verb returns one `Result`; only `main` turns it into an exit code.
//! Invariant: nothing here judges an ending. Verdicts and their words come from the collector.
//!
//! Read [`args`] next.

mod args;
mod collector;
mod commands;
mod failure;
mod render;
mod witness;

use std::process::ExitCode;

use clap::Parser as _;

use crate::failure::Answer;

fn main() -> ExitCode {
    let typed = match args::Args::try_parse() {
        Ok(typed) => typed,
        // `--help`, `--version`, and the help that answers a command line with nothing in it.
        Err(answer) if args::is_help(&answer) => answer.exit(),
        Err(refused) => {
            render::refusal(&refused, &args::help_for(std::env::args_os()));
            return ExitCode::from(failure::EXIT_USAGE);
        }
    };
    match commands::dispatch(typed.verb) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(failure::EXIT_NO),
        Ok(Answer::Status(code)) => ExitCode::from(code),
        Err(failure) => {
            render::failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}
