//! `lastbeat status`: one line a worker, and an exit code for scripts.

use jiff::Timestamp;
use lastbeat_wire::report::{
    AlertReport, AlertsReport, Condition, RunReport, Severity, StatusReport, WorkerReport,
};
use lastbeat_wire::signal::Cause;
use serde_json::{Value, json};

use crate::args::{Selection, Status};
use crate::collector::Collector;
use crate::commands::{phrase, report};
use crate::failure::{Answer, Failure};
use crate::render::{self, Colour, Tone};

/// The version of what `--json` prints.
const JSON_VERSION: u64 = 1;
/// How many workers are asked for at a time: the most that one answer holds.
const WINDOW: usize = 1_000;
/// The most windows that are read; past that nobody reads the table.
const WINDOWS_MAX: usize = 20;

pub(crate) fn status(typed: &Status) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.reading.collector)?;
    let status = collector.get("/v1/status")?;
    let workers = match &typed.only {
        None => all_workers(&collector, "")?,
        Some(Selection::Service(service)) => all_workers(&collector, &format!("&service={service}"))?,
        Some(Selection::Worker(path)) => vec![collector.get(&format!("/v1/workers/{path}"))?],
    };
    let mut alerts = collector.get("/v1/alerts")?;
    if let Some(list) = alerts.get_mut("alerts").and_then(Value::as_array_mut) {
        let hosts: Vec<&Value> = workers.iter().map(|worker| &worker["run"]["host"]).collect();
        list.retain(|alert| concerns(alert, typed.only.as_ref(), &hosts));
    }
    let open: AlertsReport = report("the alerts", alerts.clone())?;
    let answer = if open.alerts.iter().any(pages) { Answer::No } else { Answer::Yes };
    if typed.reading.json {
        render::line(
            &json!({
                "v": JSON_VERSION,
                "status": status,
                "workers": workers,
                "alerts": alerts["alerts"],
            })
            .to_string(),
        );
        return Ok(answer);
    }
    let status: StatusReport = report("the status", status)?;
    let workers: Vec<WorkerReport> = report("the workers", workers.into())?;
    if matches!(typed.only, Some(Selection::Service(_))) && workers.is_empty() {
        return Err(Failure::failed("nothing to show", "no worker of this service has reported")
            .hint("lastbeat status"));
    }
    render::line(&text(&status, &workers, &open.alerts, typed.only.as_ref(), Colour::of_stdout()));
    Ok(answer)
}

/// Reads window after window, each behind the last worker of the one before. `more` is further query.
fn all_workers(collector: &Collector, more: &str) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    for _ in 0..WINDOWS_MAX {
        let mut answer = collector.get(&format!("/v1/workers?limit={WINDOW}{more}{after}"))?;
        let Some(Value::Array(window)) = answer.get_mut("workers").map(Value::take) else {
            return Err(Failure::failed("cannot read the workers", "the answer holds no list of them"));
        };
        let whole = window.len() < WINDOW;
        if let Some(last) = window.last() {
            // Names are of an allow-list that a query can carry as it is.
            after = format!("&after={}/{}", text_of(last, "service"), text_of(last, "worker"));
        }
        all.extend(window);
        if whole {
            return Ok(all);
        }
    }
    render::warning(&format!("only the first {} workers are shown; name a service", all.len()));
    Ok(all)
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn pages(alert: &AlertReport) -> bool {
    alert.severity == Severity::Page && alert.resolved_at.is_none()
}

/// Whether an alert speaks of what was asked for. A service's alert concerns each worker of it, a host's each that
/// runs there, the fleet's everybody. `hosts` are those of the workers asked for.
fn concerns(alert: &Value, only: Option<&Selection>, hosts: &[&Value]) -> bool {
    let of_service = |service: &lastbeat_wire::Name| alert["service"] == service.as_str();
    if alert["service"].is_null() {
        return only.is_none() || alert["host"].is_null() || hosts.contains(&&alert["host"]);
    }
    match only {
        None => true,
        Some(Selection::Service(service)) => of_service(service),
        Some(Selection::Worker(path)) => {
            of_service(&path.service)
                && (alert["worker"].is_null() || alert["worker"] == path.worker.as_str())
        }
    }
}

fn text(
    status: &StatusReport,
    workers: &[WorkerReport],
    alerts: &[AlertReport],
    only: Option<&Selection>,
    colour: Colour,
) -> String {
    let whole = only.is_none();
    let mut parts = Vec::new();
    if whole {
        parts.push(colour.strong(&render::clean(&status.sentence)));
        if !status.lead.is_empty() {
            parts.push(render::clean(&status.lead));
        }
    }
    if !workers.is_empty() {
        let now = status.collector.now;
        let rows: Vec<(Tone, Vec<String>)> = workers.iter().map(|worker| row(worker, now)).collect();
        let header = ["", "worker", "state", "since", "last beat", "who asked"];
        if whole {
            parts.push(String::new());
        }
        parts.push(render::table(&header, &rows, colour));
    }
    if let (Some(Selection::Worker(_)), [worker]) = (only, workers) {
        parts.extend(runs(worker));
    }
    let open: Vec<&AlertReport> = alerts.iter().filter(|alert| alert.resolved_at.is_none()).collect();
    if !open.is_empty() {
        parts.push(String::new());
        for alert in open {
            let tone = if alert.severity == Severity::Page { Tone::Red } else { Tone::Amber };
            parts.push(format!(
                "{} {} {}: {}",
                colour.tone(tone, alert.severity.as_str()),
                alert.name,
                alert.subject(),
                render::clean(&alert.because)
            ));
        }
    }
    parts.join("\n")
}

/// The identities by which `lastbeat explain` takes a worker's runs.
fn runs(worker: &WorkerReport) -> Vec<String> {
    let line = |what: &str, run: &RunReport| format!("{what} {}", run.run_id);
    let newest = worker.run.as_ref().map(|run| line("run", run));
    let before = worker.last_ended.as_ref().map(|run| line("run before", run));
    newest.into_iter().chain(before).collect()
}

fn row(worker: &WorkerReport, now: Timestamp) -> (Tone, Vec<String>) {
    let (shape, tone) = shape(worker.condition, worker.severity);
    let ended = worker.run.as_ref().and_then(|run| run.ending.as_ref());
    let cause: Option<&Cause> = match ended {
        Some(ending) => ending.cause.as_ref(),
        None => worker.run.as_ref().and_then(|run| run.cause.as_ref()),
    };
    let asked = match (cause, ended) {
        (Some(cause), _) => phrase::who(cause),
        (None, Some(_)) => "nobody".into(),
        (None, None) => String::new(),
    };
    let cells = vec![
        shape.to_owned(),
        format!("{}/{}", worker.service, worker.worker),
        render::clean(&worker.words),
        phrase::clock(worker.since, now),
        worker.run.as_ref().map(|run| phrase::ago(run.last_beat_at, now)).unwrap_or_default(),
        render::clean(&asked),
    ];
    (tone, cells)
}

/// The shape and the colour of a condition. Shapes alone tell planned from unplanned.
fn shape(condition: Condition, severity: Severity) -> (&'static str, Tone) {
    match condition {
        Condition::CrashLoop | Condition::RestartOverdue | Condition::Failed | Condition::Hung => {
            ("◆", Tone::Red)
        }
        Condition::Suspended | Condition::Degraded => ("▲", Tone::Amber),
        Condition::Unreachable | Condition::Unknown => ("◌", Tone::Amber),
        Condition::Restarting => ("↻", Tone::Purple),
        Condition::Maintenance => ("◷", Tone::Purple),
        Condition::Starting => ("◔", Tone::Blue),
        Condition::Stopping => ("◉", Tone::Blue),
        Condition::Draining | Condition::Reloading => ("◑", Tone::Blue),
        Condition::Live => ("●", Tone::Green),
        Condition::Paused => ("‖", Tone::Grey),
        Condition::Stopped if severity == Severity::Ticket => ("▲", Tone::Amber),
        Condition::Stopped => ("□", Tone::Grey),
        Condition::Completed => ("✓", Tone::Grey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(service: &str, worker: Option<&str>) -> Value {
        json!({ "service": service, "worker": worker })
    }

    #[test]
    fn an_alert_of_a_whole_service_concerns_each_of_its_workers_and_no_other_service() {
        let api: Selection = "shop/api".parse().unwrap();
        let shop: Selection = "shop".parse().unwrap();
        let concerns = |alert: &Value, only| concerns(alert, only, &[]);
        assert!(concerns(&alert("shop", None), Some(&api)));
        assert!(concerns(&alert("shop", Some("api")), Some(&api)));
        assert!(!concerns(&alert("shop", Some("jobs")), Some(&api)));
        assert!(concerns(&alert("shop", Some("jobs")), Some(&shop)));
        assert!(!concerns(&alert("bank", None), Some(&shop)));
        assert!(concerns(&alert("bank", None), None));
    }

    #[test]
    fn an_alert_of_a_host_concerns_who_runs_there_and_one_of_the_fleet_everybody() {
        let shop: Selection = "shop".parse().unwrap();
        let of_host = json!({ "service": null, "worker": null, "host": "h1" });
        let of_fleet = json!({ "service": null, "worker": null, "host": null });
        assert!(concerns(&of_host, None, &[]));
        assert!(concerns(&of_host, Some(&shop), &[&json!("h2"), &json!("h1")]));
        assert!(!concerns(&of_host, Some(&shop), &[&json!("h2"), &json!(null)]));
        assert!(concerns(&of_fleet, Some(&shop), &[&json!("h2")]));
    }
}
