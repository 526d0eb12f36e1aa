//! The open alerts, below the sentence of the overview.

use askama::Template;
use lastbeat_wire::report::{AlertReport, Severity};

use super::look::Shape;
use super::markup::{Html, Icon, When};
use super::screen::Piece;

/// More open alerts than this are told as a number; all are in the JSON.
const ALERTS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "parts/alerts.html")]
struct Alerts<'a> {
    alerts: Vec<AlertRow<'a>>,
    more: usize,
}

struct AlertRow<'a> {
    icon: Icon,
    severity: &'static str,
    name: &'a str,
    /// The worker, else the service, the host or the fleet.
    about: String,
    href: String,
    because: &'a str,
    since: When,
}

/// The open alerts, pages first, the newest first among their like.
pub(crate) fn open(alerts: &[AlertReport]) -> Vec<&AlertReport> {
    let mut open: Vec<&AlertReport> = alerts.iter().filter(|alert| alert.resolved_at.is_none()).collect();
    open.sort_by_key(|alert| (alert.severity != Severity::Page, std::cmp::Reverse(alert.since)));
    open
}

/// Their list, hidden while there is none.
pub(crate) fn list(alerts: &[&AlertReport], now: jiff::Timestamp) -> Piece {
    let more = alerts.len().saturating_sub(ALERTS_MAX);
    let alerts = alerts.iter().take(ALERTS_MAX).map(|alert| row(alert, now)).collect();
    Piece::new("alerts", Html::of(&Alerts { alerts, more }))
}

fn row(alert: &AlertReport, now: jiff::Timestamp) -> AlertRow<'_> {
    let (shape, severity) = match alert.severity {
        Severity::Page => (Shape::Failed, "Page"),
        Severity::Ticket | Severity::None => (Shape::Ticket, "Ticket"),
    };
    let href = match (&alert.service, &alert.worker) {
        (Some(service), Some(worker)) => format!("/workers/{service}/{worker}"),
        (Some(service), None) => format!("/?service={service}"),
        (None, _) => "/".into(),
    };
    AlertRow {
        icon: Icon(shape),
        severity,
        name: &alert.name,
        about: alert.subject(),
        href,
        because: &alert.because,
        since: When::new(alert.since, now),
    }
}
