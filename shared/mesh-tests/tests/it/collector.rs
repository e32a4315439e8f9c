//! What a deployment's OpenTelemetry collector is, as far as traces go: OTLP over HTTP, in protobuf.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span as WireSpan;
use prost::Message;

/// A span that arrived.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub name: String,
    pub kind: i32,
    attributes: Vec<(String, String)>,
}

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn new(service: &str, span: WireSpan) -> Self {
        Self {
            service: service.to_owned(),
            trace: hex::encode(span.trace_id),
            id: hex::encode(span.span_id),
            parent: hex::encode(span.parent_span_id),
            name: span.name,
            kind: span.kind,
            attributes: span.attributes.into_iter().map(text).collect(),
        }
    }
}

fn text(attribute: KeyValue) -> (String, String) {
    let value = match attribute.value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(value)) => value,
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key, value)
}

/// A running collector.
pub struct Collector {
    pub endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
    handle: ServerHandle,
}

impl Collector {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let shared = spans.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::PayloadConfig::new(64 << 20))
                .app_data(web::Data::new(shared.clone()))
                .route("/v1/traces", web::post().to(take))
        })
        .listen(listener)
        .unwrap()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { endpoint, spans, handle }
    }

    /// Everything that arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn take(body: web::Bytes, spans: web::Data<Arc<Mutex<Vec<Span>>>>) -> HttpResponse {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = spans.lock().unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let named = attributes.into_iter().map(text).find(|(name, _)| name == "service.name");
        let service = named.map(|(_, value)| value).unwrap_or_default();
        let arrived = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(arrived.map(|span| Span::new(&service, span)));
    }
    HttpResponse::Ok().content_type("application/x-protobuf").body("")
}
