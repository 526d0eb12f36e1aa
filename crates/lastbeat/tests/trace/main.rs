//! What a host's log and traces hear: the span tree of a run, its stop and its steps as OpenTelemetry exports it, and
//! which events are errors.
//!
//! A test binary of its own, with one test: the subscriber is the process's.

#[path = "../worker/peer.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need all of it")]
mod peer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastbeat::{Plan, Step, events};
use opentelemetry::trace::{SpanId, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use peer::{Peer, builder};

const LONG: Duration = Duration::from_secs(5);

/// An event's name, its level, and the span it stands in.
type Told = (&'static str, Level, Option<&'static str>);

/// Keeps every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Told>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (name, level) = (event.metadata().name(), *event.metadata().level());
        let span = context.event_span(event).map(|span| span.name());
        self.0.lock().expect("no panic").push((name, level, span));
    }
}

impl Log {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
}

fn field(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|each| each.key.as_str() == key).map(|each| each.value.to_string())
}

#[test]
fn a_stop_is_a_tree_of_spans_and_an_expected_cancellation_is_no_error() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let log = Log::default();
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
        .with(log.clone())
        .init();

    let dir = tempfile::tempdir().expect("a directory");
    let peer = Peer::start();
    let worker = builder(&peer.url(), dir.path()).version("4.8.1").environment("paper").connect();
    let run_id = worker.run_id().to_string();
    worker.spawn_thread("price-feed", |agent| {
        while !agent.cancelled_within(LONG) {}
        Ok(())
    });
    worker.stop("the test");
    let plan = Plan::new()
        .step_blocking("cancel-orders", LONG, |step| {
            tracing::info!("a word of the host's own");
            step.items(vec!["o-1"], |order| (*order).to_owned()).one_by_one(|_| Ok(()));
            Ok(())
        })
        .add_blocking(Step::new("notify", LONG).skip_in("paper"), |_| Ok(()));
    worker.run_until_stopped_blocking(plan);
    drop(worker);
    let events = log.take();
    assert!(
        events.iter().all(|(_, level, _)| *level > Level::WARN),
        "a clean stop warns of nothing: {events:?}"
    );
    let heard: BTreeSet<&str> = events.iter().map(|(name, ..)| *name).collect();
    for name in [
        "lastbeat.stop_requested",
        "lastbeat.agent_cancelled",
        "lastbeat.item",
        "lastbeat.step",
        "lastbeat.stopped",
    ] {
        assert!(heard.contains(name), "{name} is told: {heard:?}");
    }
    let in_its_step = |(name, _, span): &Told| {
        name.starts_with("event crates/lastbeat/tests/") && *span == Some("lastbeat.step")
    };
    assert!(events.iter().any(in_its_step), "what a step says stands in its span: {events:?}");

    // A failing stop: the run's and the stop's trees are whole, and what is wrong is marked.
    let worker = builder(&peer.url(), dir.path()).connect();
    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new().step_blocking("flush", LONG, |_| Err("disk full".into())));
    drop(worker);
    let failing = log.take();
    let warned = |name| failing.iter().any(|(told, level, _)| (*told, *level) == (name, Level::WARN));
    assert!(warned("lastbeat.stopped") && warned("lastbeat.step"), "{failing:?}");

    let spans = exporter.get_finished_spans().expect("the exporter lives");
    let (first, second): (Vec<SpanData>, Vec<SpanData>) = {
        let of = |span: &SpanData| span.span_context.trace_id();
        let trace = spans.iter().find(|span| field(span, "service.instance.id").as_ref() == Some(&run_id));
        let trace = of(trace.expect("the run's span is exported when the run is dropped"));
        spans.into_iter().partition(|span| of(span) == trace)
    };
    let run = named(&first, "lastbeat.run");
    assert_eq!(run.parent_span_id, SpanId::INVALID);
    for (key, value) in
        [("service.name", "trader"), ("service.version", "4.8.1"), ("deployment.environment.name", "paper")]
    {
        assert_eq!(field(run, key).as_deref(), Some(value), "{run:#?}");
    }
    let stop = named(&first, "lastbeat.stop");
    assert_eq!(stop.parent_span_id, run.span_context.span_id());
    assert_eq!(field(stop, "lastbeat.cleanup").as_deref(), Some("complete"));
    assert_eq!(stop.status, Status::Unset);
    for (step, outcome) in [("step cancel-orders", "ok"), ("step notify", "skipped")] {
        let step = named(&first, step);
        assert_eq!(step.parent_span_id, stop.span_context.span_id());
        assert_eq!(field(step, "lastbeat.outcome").as_deref(), Some(outcome));
        assert_eq!(step.status, Status::Unset);
    }
    assert_eq!(first.len(), 4, "{first:#?}");
    for name in ["lastbeat.stop", "step flush"] {
        assert!(matches!(named(&second, name).status, Status::Error { .. }), "{name} went wrong");
    }
    let known = |(name, level, _): &Told| {
        events::ALL.iter().any(|event| (event.name, event.level) == (*name, *level))
    };
    let ours = events.into_iter().chain(failing).filter(|(name, ..)| name.starts_with("lastbeat."));
    let unknown: Vec<Told> = ours.filter(|told| !known(told)).collect();
    assert!(unknown.is_empty(), "told otherwise than the table says: {unknown:?}");
}
