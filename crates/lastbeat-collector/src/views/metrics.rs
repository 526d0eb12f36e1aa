//! `/metrics`: the snapshot and the counters in Prometheus text, written anew for each scrape.
//!
//! No registry and no gauges that are set: label sets of what is gone cannot be left behind. Every counter of a
//! known service is born at 0, because `increase()` misses one that is born at 1.
//!
//! Invariant: label values are names that passed the door, closed words, or (in `worker_info` and `alerts`)
//! one value for each worker; never a pid, a run id or a message.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lastbeat_engine::counts::{DURATION_BUCKETS_MS, Durations};
use lastbeat_engine::ending::{AgentEnd, CauseKind, StepOutcome};
use lastbeat_engine::words::Tally;
use lastbeat_engine::{Class, Condition, Moment};
use lastbeat_wire::Code;
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{AppState, report};
use crate::counters::{Counters, LATENCY_BOUNDS_US};
use crate::error::Refused;
use crate::snapshot::Published;

/// Above this many workers only the series of services remain.
const WORKERS_MAX: usize = 2_000;
/// How streams close; the engine counts by these words.
const STREAM_ENDS: [&str; 2] = ["farewell", "cut"];

/// The routes.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(state): State<AppState>) -> Result<Response, Refused> {
    let families = gather(&state.now(), &state.counters, state.inbox.waiting_kib());
    let text = TextEncoder::new().encode_to_string(&families).map_err(|error| {
        tracing::error!(%error, "cannot write the metrics");
        Refused::new(Code::Internal, "the metrics cannot be written")
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// All families that have a series.
fn gather(published: &Published, counters: &Counters, waiting_kib: usize) -> Vec<MetricFamily> {
    let mut families = of_workers(published);
    families.extend(of_services(published));
    families.extend(of_collector(published, counters, waiting_kib));
    // A family without a series is an error to the encoder.
    families.retain(|family| !family.get_metric().is_empty());
    families
}

fn of_workers(published: &Published) -> Vec<MetricFamily> {
    let (now, roster) = (published.now, &published.snapshot.roster);
    let mut state = gauge("worker_state", "1 for the condition a worker is in, 0 for every other.");
    let mut info = gauge("worker_info", "What the newest run of a worker said of itself; always 1.");
    let mut last_beat =
        gauge("worker_last_beat_timestamp_seconds", "When the newest run of a worker was last heard.");
    let mut started = gauge("worker_start_timestamp_seconds", "When the newest run of a worker started.");
    let mut interval =
        gauge("worker_interval_seconds", "How often the newest run of a worker means to beat.");
    let mut planned = gauge(
        "worker_planned_until_timestamp_seconds",
        "Until when a worker may be away as planned; no series when no plan or promise is open.",
    );
    let mut alerts = gauge("alerts", "1 while an alert is open.");
    let mut dropped = gauge("series_dropped", "1 when there are too many workers for a series each.");

    let too_many = roster.workers().len() > WORKERS_MAX;
    dropped.add(&[], flag(too_many));
    for worker in roster.workers().iter().take(if too_many { 0 } else { WORKERS_MAX }) {
        let names = [("service", &**worker.service()), ("worker", &**worker.worker())];
        let standing = worker.standing(now, roster.rules());
        for condition in Condition::ALL {
            let labels = [names[0], names[1], ("state", condition.as_str())];
            state.add(&labels, flag(*condition == standing.condition));
        }
        let open = worker.windows().iter().filter(|window| window.holds(now)).map(|window| window.until);
        if let Some(until) = open.chain(standing.back_by).max() {
            planned.add(&names, wall_seconds(published, until));
        }
        let Some(run) = worker.current() else { continue };
        let (version, host, environment) = (run.version(), run.host(), run.environment());
        info.add(
            &[
                names[0],
                names[1],
                ("version", version.as_deref().unwrap_or_default()),
                ("host", host.as_deref().unwrap_or_default()),
                ("environment", environment.as_deref().unwrap_or_default()),
            ],
            1.0,
        );
        if !published.is_recovering() {
            last_beat.add(&names, wall_seconds(published, run.last_seen()));
        }
        started.add(&names, wall_seconds(published, run.started_at()));
        interval.add(&names, seconds(run.interval_ms(roster.rules())));
    }
    let open = report::alerts(published).filter(|alert| alert.resolved.is_none());
    for alert in open.take(WORKERS_MAX) {
        let labels = [
            ("name", alert.name.as_str()),
            ("severity", alert.name.severity().as_str()),
            ("service", &*alert.service),
            ("worker", &*alert.worker),
            ("host", alert.host.as_deref().unwrap_or_default()),
        ];
        alerts.add(&labels, 1.0);
    }
    [state, info, last_beat, started, interval, planned, alerts, dropped]
        .into_iter()
        .map(Family::done)
        .collect()
}

fn of_services(published: &Published) -> Vec<MetricFamily> {
    let (now, roster) = (published.now, &published.snapshot.roster);
    let counts = roster.counts();
    let services: BTreeSet<Arc<str>> =
        roster.workers().iter().map(|worker| Arc::clone(worker.service())).collect();

    let mut workers = gauge("workers", "Workers of a service in each condition.");
    let mut endings = counter("endings_total", "Runs that ended, by the first verdict.");
    let mut asks = counter("stop_requests_total", "Stops that were asked, by cause.");
    let mut agents = counter("agent_ends_total", "Agents that ended.");
    let mut steps = counter("shutdown_steps_total", "Steps that final heartbeats told of.");
    let mut promises = counter("restart_promises_total", "Restart promises that were kept or broken.");
    let mut streams = counter("streams_closed_total", "Streams that stopping runs closed.");
    for service in &services {
        let mut tally = Tally::default();
        for worker in roster.workers().iter().filter(|worker| worker.service() == service) {
            tally.add(&worker.standing(now, roster.rules()));
        }
        let labels = |name: &'static str, value: &'static str| [("service", &**service), (name, value)];
        let key = || Arc::clone(service);
        for condition in Condition::ALL {
            workers.add(&labels("state", condition.as_str()), float(tally.of(&[*condition])));
        }
        for class in Class::ALL {
            endings.add(&labels("class", class.as_str()), of(&counts.endings, &(key(), *class)));
        }
        for kind in CauseKind::ALL {
            asks.add(&labels("cause", kind.as_str()), of(&counts.stop_requests, &(key(), *kind)));
        }
        for end in AgentEnd::ALL {
            agents.add(&labels("end", end.as_str()), of(&counts.agent_ends, &(key(), *end)));
        }
        for outcome in StepOutcome::ALL {
            steps.add(&labels("outcome", outcome.as_str()), of(&counts.shutdown_steps, &(key(), *outcome)));
        }
        for (kept, word) in [(true, "true"), (false, "false")] {
            promises.add(&labels("kept", word), of(&counts.promises, &(key(), kept)));
        }
        for how in STREAM_ENDS {
            streams.add(&labels("how", how), of(&counts.streams, &(key(), how)));
        }
    }

    let mut amendments = counter("amendments_total", "Verdicts that later evidence changed.");
    for ((from, to), count) in &counts.amendments {
        let to = to.map_or("live", Class::as_str);
        amendments.add(&[("from", from.as_str()), ("to", to)], float(*count));
    }
    let mut shutdowns = histogram("shutdown_duration_seconds", "From the ask to the end of a run.");
    for ((service, outcome), durations) in &counts.shutdown_durations {
        shutdowns.add_durations(&[("service", service), ("outcome", outcome.as_str())], durations);
    }
    let mut restarts = histogram(
        "restart_duration_seconds",
        "From the end of a run that promised a restart to its ready successor.",
    );
    for (service, durations) in &counts.restart_durations {
        restarts.add_durations(&[("service", service)], durations);
    }
    [workers, endings, asks, agents, steps, promises, streams, amendments, shutdowns, restarts]
        .into_iter()
        .map(Family::done)
        .collect()
}

fn of_collector(published: &Published, counters: &Counters, waiting_kib: usize) -> Vec<MetricFamily> {
    let mut rejected = counter("collector_rejected_total", "What was refused at the door, by code.");
    for code in Code::ALL {
        rejected.add(&[("code", code.as_str())], float(counters.rejected(*code)));
    }
    let mut build = gauge("collector_build_info", "The collector's version; always 1.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let mut queue = gauge("collector_queue_bytes", "What waits for the journal, by its size on the wire.");
    queue.add(&[], float(waiting_kib as u64 * 1024));
    let mut recovering =
        gauge("collector_recovering", "1 while the collector is just back and does not judge silence.");
    recovering.add(&[], flag(published.is_recovering()));
    let mut appends = histogram(
        "collector_journal_append_seconds",
        "How long an append to the journal took, with its commit.",
    );
    let (under, count, sum_us) = counters.journal_appends.get();
    let bounds = LATENCY_BOUNDS_US.map(|bound_us| float(bound_us) / 1e6);
    appends.add_histogram(&[], bounds.into_iter().zip(under), count, float(sum_us) / 1e6);
    let mut broken = gauge("collector_journal_read_only", "1 when the journal cannot be written any more.");
    broken.add(&[], flag(published.snapshot.journal_broken));
    let plain = [
        (
            "collector_unknown_fields_total",
            "Fields of a newer version that were kept.",
            &counters.unknown_fields,
        ),
        ("collector_spool_facts_total", "Facts delivered from spool files.", &counters.spool_facts),
        ("collector_spool_damaged_total", "Spool files that were set aside.", &counters.spool_damaged),
        (
            "collector_unreadable_rows_total",
            "Rows of the journal that were skipped.",
            &counters.unreadable_rows,
        ),
        (
            "collector_journal_failures_total",
            "Batches that the journal did not take.",
            &counters.journal_failures,
        ),
        (
            "collector_connections_refused_total",
            "Connections closed because too many were open.",
            &counters.connections_refused,
        ),
        (
            "collector_mailboxes_refused_total",
            "Runs that cannot be asked to stop because too many can.",
            &counters.mailboxes_refused,
        ),
    ]
    .map(|(name, help, count)| {
        let mut family = counter(name, help);
        family.add(&[], float(count.get()));
        family
    });
    [rejected, build, queue, recovering, appends, broken].into_iter().chain(plain).map(Family::done).collect()
}

/// A family as it is filled.
struct Family {
    family: MetricFamily,
    kind: MetricType,
    series: Vec<Metric>,
}

fn family(name: &str, help: &str, kind: MetricType) -> Family {
    let mut family = MetricFamily::default();
    family.set_name(format!("lastbeat_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    Family { family, kind, series: Vec::new() }
}

fn gauge(name: &str, help: &str) -> Family {
    family(name, help, MetricType::GAUGE)
}

fn counter(name: &str, help: &str) -> Family {
    family(name, help, MetricType::COUNTER)
}

fn histogram(name: &str, help: &str) -> Family {
    family(name, help, MetricType::HISTOGRAM)
}

impl Family {
    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.series.push(metric);
    }

    fn add_durations(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let buckets = DURATION_BUCKETS_MS.map(seconds).into_iter().zip(durations.under);
        self.add_histogram(labels, buckets, durations.count, seconds(durations.sum_ms));
    }

    fn add_histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let buckets = buckets.map(|(bound, under)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(under);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.series.push(metric);
    }

    fn done(mut self) -> MetricFamily {
        self.family.set_metric(self.series);
        self.family
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    labels
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect()
}

fn of<K: Ord>(counts: &std::collections::BTreeMap<K, u64>, key: &K) -> f64 {
    counts.get(key).copied().map_or(0.0, float)
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats; whole below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

fn seconds(ms: u64) -> f64 {
    float(ms) / 1_000.0
}

fn wall_seconds(published: &Published, moment: Moment) -> f64 {
    seconds(published.at(moment).as_millisecond().max(0).cast_unsigned())
}
