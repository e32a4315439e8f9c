//! Logs and traces. A trace begins at the HTTP request, travels in the event's `traceparent` and goes on in
//! whoever takes the event in.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use event_store::inbox::Handler;
use event_store::store::Context;
use opentelemetry::Key;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Config;

/// How long the end of the process waits for a collector to take what is left.
const LAST_SEND: Duration = Duration::from_secs(2);

/// Keeps the exporter alive; dropping it sends what is left.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_SEND) {
            tracing::warn!("the last traces were not sent: {error}");
        }
    }
}

/// Installs logging and tracing for the process, which traces know by `name`. A second call changes nothing.
///
/// # Errors
/// When the log filter or the exporter's address makes no sense.
pub fn init(config: &Config, name: &'static str) -> anyhow::Result<Telemetry> {
    let mut provider = SdkTracerProvider::builder().with_resource(resource(name));
    if let Some(endpoint) = &config.otlp_endpoint {
        use opentelemetry_otlp::WithExportConfig;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        provider = provider.with_batch_exporter(exporter);
    }
    let provider = provider.build();
    // The filter is the log's alone: traces, and with them the ids in events, do not depend on it.
    let filter = EnvFilter::try_new(&config.log_filter)?;
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("annomesh"))
        .with_filter(LevelFilter::INFO);
    // Colours are for people: a file gets none.
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let log = match config.log_json {
        true => log.json().with_filter(filter).boxed(),
        false => log.with_target(false).with_filter(filter).boxed(),
    };
    // A test process initialises once and for all; whoever comes second uses what is there.
    let _ = tracing_subscriber::registry().with(traces).with(log).try_init();
    Ok(Telemetry { provider })
}

/// What the process is called; OpenTelemetry's own variables come first.
fn resource(name: &'static str) -> Resource {
    let told = Resource::builder().build();
    match told.get(&Key::from_static_str("service.name")) {
        Some(known) if !known.as_str().starts_with("unknown_service") => told,
        _ => Resource::builder().with_service_name(name).build(),
    }
}

/// A handler that goes on with the trace of each event: it runs in a span of its own, and whatever it causes,
/// further events and jobs, comes after that span.
pub fn traced(consumer: &str, handler: Handler) -> Handler {
    let consumer: Arc<str> = consumer.into();
    Arc::new(move |unit, envelope| {
        let span = tracing::info_span!(
            "consume", otel.name = %format_args!("take in {}", envelope.event_type), otel.kind = "consumer",
            otel.status_code = Empty, consumer = &*consumer, event.id = %envelope.id,
        );
        continue_trace(&span, envelope.traceparent.as_deref());
        let (handler, inside) = (handler.clone(), span.clone());
        let work = async move {
            let traceparent = traceparent().or_else(|| envelope.traceparent.clone());
            unit.enter(Context { traceparent, ..unit.context().clone() }).await?;
            let outcome = handler(unit, envelope).await;
            if outcome.is_err() {
                inside.record("otel.status_code", "ERROR");
            }
            outcome
        };
        Box::pin(work.instrument(span))
    })
}

/// The current span as a W3C `traceparent`.
pub fn traceparent() -> Option<String> {
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The current trace's id, for people to quote; empty outside a trace.
pub fn trace_id() -> String {
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() { span.trace_id().to_string() } else { String::new() }
}

/// Gives a span that has begun another name: the field `otel.name` counts at the beginning only.
pub fn rename(span: &tracing::Span, name: String) {
    span.context().span().update_name(name);
}

/// Makes `span` part of the trace that a `traceparent` names.
pub fn continue_trace(span: &tracing::Span, traceparent: Option<&str>) {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    let parse = |text: &str| {
        let mut parts = text.split('-');
        let (_version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(parent).ok()?,
            TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
            true,
            TraceState::default(),
        ))
    };
    if let Some(parent) = traceparent.and_then(parse).filter(SpanContext::is_valid) {
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        if let Err(error) = span.set_parent(context) {
            tracing::debug!("the trace is not continued: {error}");
        }
    }
}
