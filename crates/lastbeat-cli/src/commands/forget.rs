//! `lastbeat forget`: a worker that is gone leaves the list, and its alerts with it.

use serde_json::json;

use crate::args::Forget;
use crate::collector::Collector;
use crate::failure::{Answer, Failure};
use crate::render;

pub(crate) fn forget(typed: &Forget) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.collector)?;
    collector.post(&format!("/v1/workers/{}/forget", typed.worker), &json!({}))?;
    render::line(&format!("{} is off the list", typed.worker));
    Ok(Answer::Yes)
}
