//! `lastbeat explain`: who stopped it, and was it an error?

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lastbeat_wire::report::{CollectorReport, Condition, RunDetail, StatusReport, WorkerReport};
use serde_json::Value;

use crate::args::{Explain, Subject};
use crate::collector::Collector;
use crate::commands::report;
use crate::commands::story::{Promise, Telling};
use crate::failure::{Answer, Failure};
use crate::render::{self, Colour};

pub(crate) fn explain(typed: &Explain) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.reading.collector)?;
    let path = match &typed.subject {
        Subject::Worker(worker) => format!("/v1/workers/{worker}"),
        Subject::Run(run_id) => format!("/v1/runs/{run_id}"),
    };
    let mut answer = collector.get(&path)?;
    if typed.reading.json {
        if let Value::Object(fields) = &mut answer {
            fields.insert("v".into(), 1.into());
        }
        render::line(&answer.to_string());
        return Ok(Answer::Yes);
    }
    let StatusReport { collector: CollectorReport { now, .. }, .. } =
        report("the status", collector.get("/v1/status")?)?;
    let colour = Colour::of_stdout();
    let columns = render::paragraph_columns();
    let paragraphs = match &typed.subject {
        Subject::Worker(_) => of_worker(&report("the worker", answer)?, now),
        Subject::Run(_) => of_run(&report("the run", answer)?, now),
    };
    for (index, paragraph) in paragraphs.iter().enumerate() {
        let laid = render::wrap(&render::clean(paragraph), columns);
        render::line(&if index == 0 { colour.strong(&laid) } else { laid });
    }
    Ok(Answer::Yes)
}

fn of_worker(report: &WorkerReport, now: Timestamp) -> Vec<String> {
    let subject = format!("{}/{}", report.service, report.worker);
    let promise = match (report.condition, report.back_by) {
        (Condition::RestartOverdue, _) => Promise::Broken,
        (Condition::Restarting, Some(until)) => Promise::Open(until),
        _ => Promise::None,
    };
    let mut telling = Telling { subject: &subject, now, zone: TimeZone::system(), promise };
    let mut said = vec![format!("{subject}: {}", report.words)];
    if let Some(run) = &report.run {
        said.push(telling.of(run, &report.amendments).join(" "));
    }
    if let Some(run) = &report.last_ended {
        // The promise is told with the newest run; told again, it would read as a second one.
        telling.promise = Promise::None;
        let words = run.ending.as_ref().map(|ending| ending.words.as_str()).unwrap_or_default();
        said.push(format!("Before that: {words}. {}", telling.of(run, &report.amendments).join(" ")));
    }
    said
}

fn of_run(detail: &RunDetail, now: Timestamp) -> Vec<String> {
    let subject = format!("{}/{}", detail.service, detail.worker);
    let words = match &detail.run.ending {
        Some(ending) => ending.words.clone(),
        None => detail.run.state.to_string(),
    };
    let telling = Telling { subject: &subject, now, zone: TimeZone::system(), promise: Promise::None };
    vec![format!("{subject}: {words}"), telling.of(&detail.run, &detail.amendments).join(" ")]
}
