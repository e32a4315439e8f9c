//! What Prometheus scrapes on the mesh port.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::http::StatusCode;
use prometheus::{Encoder, HistogramVec, IntCounterVec, IntGaugeVec, Registry, TextEncoder};

struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    gauges: IntGaugeVec,
}

static METRICS: LazyLock<Option<Metrics>> = LazyLock::new(|| {
    let registry = Registry::new();
    let requests = IntCounterVec::new(
        prometheus::Opts::new("http_requests_total", "Requests answered"),
        &["service", "status"],
    )
    .ok()?;
    let request_seconds = HistogramVec::new(
        prometheus::HistogramOpts::new("http_request_seconds", "Time to answer a request"),
        &["service"],
    )
    .ok()?;
    let gauges = IntGaugeVec::new(
        prometheus::Opts::new("annomesh", "State of the event machinery"),
        &["service", "measure", "of"],
    )
    .ok()?;
    registry.register(Box::new(requests.clone())).ok()?;
    registry.register(Box::new(request_seconds.clone())).ok()?;
    registry.register(Box::new(gauges.clone())).ok()?;
    Some(Metrics { registry, requests, request_seconds, gauges })
});

/// Counts an answered request.
pub fn observe_request(service: &str, status: StatusCode, took: Duration) {
    if let Some(metrics) = &*METRICS {
        metrics.requests.with_label_values(&[service, status.as_str()]).inc();
        metrics.request_seconds.with_label_values(&[service]).observe(took.as_secs_f64());
    }
}

/// Sets a gauge, such as (`projects`, `log_head`, ``) or (`webhooks`, `consumer_lag`, `webhooks.reactions@1/projects`).
pub fn set(service: &str, measure: &str, of: &str, value: i64) {
    if let Some(metrics) = &*METRICS {
        metrics.gauges.with_label_values(&[service, measure, of]).set(value);
    }
}

/// Everything in Prometheus's text format.
pub fn text() -> String {
    let mut buffer = Vec::new();
    // What the bus counts is in the default registry.
    let mut families = prometheus::gather();
    families.extend(METRICS.iter().flat_map(|metrics| metrics.registry.gather()));
    if let Err(error) = TextEncoder::new().encode(&families, &mut buffer) {
        tracing::warn!("metrics cannot be encoded: {error}");
    }
    String::from_utf8(buffer).unwrap_or_default()
}
