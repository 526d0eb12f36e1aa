//! `lastbeat pause`, `lastbeat resume`, and the asking of `lastbeat stop`.

use lastbeat_wire::report::AskedReport;
use serde_json::json;

use crate::args::{Ask, Pause, Resume};
use crate::collector::Collector;
use crate::commands::author::author;
use crate::commands::report;
use crate::failure::{Answer, Failure};
use crate::render;

/// What a worker can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Stop,
    /// What is left of the cleanup is skipped.
    ForcedStop,
    Pause,
    Resume,
}

pub(crate) fn pause(typed: &Pause) -> Result<Answer, Failure> {
    tell(Wish::Pause, &typed.ask)
}

pub(crate) fn resume(typed: &Resume) -> Result<Answer, Failure> {
    tell(Wish::Resume, &typed.ask)
}

fn tell(wish: Wish, typed: &Ask) -> Result<Answer, Failure> {
    let asked = ask(&Collector::at(&typed.collector)?, wish, typed)?;
    say(wish, typed, &asked);
    Ok(Answer::Yes)
}

/// Asks; says which run was asked.
pub(super) fn ask(collector: &Collector, wish: Wish, typed: &Ask) -> Result<AskedReport, Failure> {
    let verb = match wish {
        Wish::Stop | Wish::ForcedStop => "stop",
        Wish::Pause => "pause",
        Wish::Resume => "resume",
    };
    let mut request = json!({});
    for (field, said) in [("who", typed.who.clone().or_else(author)), ("why", typed.why.clone())] {
        if let Some(said) = said {
            request[field] = said.into();
        }
    }
    if wish == Wish::ForcedStop {
        request["force"] = true.into();
    }
    let answer = collector.post(&format!("/v1/workers/{}/{verb}", typed.worker), &request)?;
    report("what was asked", answer)
}

/// Prints what was asked of whom.
pub(super) fn say(wish: Wish, typed: &Ask, asked: &AskedReport) {
    let wished = match wish {
        Wish::Stop => "stop",
        Wish::ForcedStop => "stop at once",
        Wish::Pause => "pause",
        Wish::Resume => "resume",
    };
    render::line(&format!("asked to {wished}: {} (run {})", typed.worker, asked.run_id));
}
