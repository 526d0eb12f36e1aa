//! `lastbeat plan`: announce planned work, end it, list it.

use jiff::tz::TimeZone;
use lastbeat_wire::report::{CollectorReport, PlanReport, PlanState, PlansReport, StatusReport};
use serde_json::{Value, json};

use crate::args::{Announce, Plan, PlanEnd, PlanVerb, Reading, Selection};
use crate::collector::Collector;
use crate::commands::author::author;
use crate::commands::{phrase, report};
use crate::failure::{Answer, Failure};
use crate::render::{self, Colour, Tone};

pub(crate) fn plan(typed: &Plan) -> Result<Answer, Failure> {
    match &typed.verb {
        PlanVerb::Restart(work) => announce("restart", work),
        PlanVerb::Stop(work) => announce("stop", work),
        PlanVerb::Maintenance(work) => announce("maintenance", work),
        PlanVerb::End(typed) => end(typed),
        PlanVerb::List(reading) => list(reading),
    }
}

fn announce(kind: &str, typed: &Announce) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.reading.collector)?;
    let (service, worker) = match &typed.target {
        Selection::Service(service) => (service, None),
        Selection::Worker(path) => (&path.service, Some(&path.worker)),
    };
    let who = typed.who.clone().or_else(author);
    let mut plan = json!({
        "kind": kind,
        "service": service,
        "for_ms": u64::try_from(typed.window.as_millis()).unwrap_or(u64::MAX),
        "why": typed.why,
    });
    let optional =
        [("worker", worker.map(ToString::to_string)), ("deploy", typed.deploy.clone()), ("who", who)];
    for (field, said) in optional {
        if let Some(said) = said {
            plan[field] = said.into();
        }
    }
    let answer = collector.post("/v1/plans", &plan)?;
    if typed.reading.json {
        return Ok(print(answer));
    }
    let plan: PlanReport = report("the plan", answer)?;
    let until = phrase::moment(plan.until, plan.from, &TimeZone::system());
    render::line(&format!("planned: {} of {} until {until}", plan.kind, subject(&plan)));
    render::line(&format!("end it before with: lastbeat plan end {}", plan.id));
    Ok(Answer::Yes)
}

fn end(typed: &PlanEnd) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.reading.collector)?;
    let answer = collector.delete(&format!("/v1/plans/{}", typed.id))?;
    if typed.reading.json {
        return Ok(print(answer));
    }
    let plan: PlanReport = report("the plan", answer)?;
    let until = phrase::moment(plan.until, plan.until, &TimeZone::system());
    render::line(&format!("over: {} of {} since {until}", plan.kind, subject(&plan)));
    Ok(Answer::Yes)
}

fn list(reading: &Reading) -> Result<Answer, Failure> {
    let collector = Collector::at(&reading.collector)?;
    let answer = collector.get("/v1/plans")?;
    if reading.json {
        return Ok(print(answer));
    }
    let PlansReport { plans } = report("the plans", answer)?;
    if plans.is_empty() {
        render::line("Nothing is planned, and nothing was within the last day.");
        return Ok(Answer::Yes);
    }
    let StatusReport { collector: CollectorReport { now, .. }, .. } =
        report("the status", collector.get("/v1/status")?)?;
    let rows: Vec<(Tone, Vec<String>)> = plans
        .iter()
        .map(|plan| {
            let (shape, tone) = match plan.state {
                PlanState::Open => ("◷", Tone::Purple),
                PlanState::Over => ("□", Tone::Grey),
            };
            let said = |text: &Option<String>| render::clean(text.as_deref().unwrap_or_default());
            let cells = vec![
                shape.to_owned(),
                plan.id.to_string(),
                plan.kind.to_string(),
                subject(plan),
                phrase::clock(plan.from, now),
                phrase::clock(plan.until, now),
                said(&plan.deploy),
                said(&plan.who),
                said(&plan.why),
            ];
            (tone, cells)
        })
        .collect();
    let header = ["", "plan", "kind", "of", "from", "until", "deploy", "who", "why"];
    render::line(&render::table(&header, &rows, Colour::of_stdout()));
    Ok(Answer::Yes)
}

fn subject(plan: &PlanReport) -> String {
    match &plan.worker {
        Some(worker) => format!("{}/{worker}", plan.service),
        None => plan.service.to_string(),
    }
}

/// Prints what the API answered, with the version of its form.
fn print(mut answer: Value) -> Answer {
    if let Value::Object(fields) = &mut answer {
        fields.insert("v".into(), 1.into());
    }
    render::line(&answer.to_string());
    Answer::Yes
}
