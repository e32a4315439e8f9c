//! Passes requests on to the services that answer them, where no ingress does.
//!
//! What arrives is passed on as it is: host, credential, body; only what belongs to one connection is left out.
//! Bodies stream both ways, so uploads and live tails cost no memory here.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, rt, web};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use service_kit::{Answer, Node, Refusal, auth, routes, telemetry};
use tokio::sync::mpsc;

/// Pieces of a request's body that wait for the service at most.
const PIECES: usize = 8;
/// How long a service may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Headers that belong to one connection (RFC 9110 §7.6.1), and what the body is framed by anew.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Everything that belongs to another service.
pub fn routes(config: &mut web::ServiceConfig) {
    config.default_service(web::to(forward));
}

async fn forward(request: HttpRequest, payload: web::Payload, node: web::Data<Node>) -> Answer {
    let service = routes::service_of(request.path()).ok_or_else(Refusal::not_found)?;
    let peer = node.peer(service)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
    let method = method.map_err(|_| Refusal::bad_request("The method is not one."))?;
    let mut outgoing = peer.front(method, path).headers(request_headers(&request));
    if has_body(&request) {
        outgoing = outgoing.body(reqwest::Body::wrap_stream(detached(payload)));
    }
    let answer = match tokio::time::timeout(PATIENCE, outgoing.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(service, error = event_store::chain(&error), "cannot pass a request on");
            return Err(Refusal::unavailable(format!("{service} does not answer at the moment.")));
        }
        Err(_) => {
            let detail = format!("{service} did not answer in {} s.", PATIENCE.as_secs());
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail));
        }
    };
    Ok(response(answer))
}

fn has_body(request: &HttpRequest) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    // HTTP/2 may send a body without announcing it.
    chunked
        || length.is_some_and(|length| length != "0")
        || (length.is_none() && request.version() == Version::HTTP_2)
}

/// What `Connection` names belongs to the connection too.
fn passes(name: &HeaderName, connection: &[String]) -> bool {
    !HOP_BY_HOP.contains(&name.as_str())
        && !connection.iter().any(|named| name.as_str().eq_ignore_ascii_case(named))
}

fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect()
}

fn request_headers(request: &HttpRequest) -> reqwest::header::HeaderMap {
    let connection = named_by_connection(request.headers());
    let mut headers = reqwest::header::HeaderMap::new();
    for (name, value) in request.headers() {
        if passes(name, &connection) {
            add(&mut headers, name.as_str(), value.as_bytes());
        }
    }
    let host = auth::host(request).to_owned();
    headers.remove("host");
    add(&mut headers, "host", host.as_bytes());
    let forwarded_for =
        headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let client = request.peer_addr().map(|address| address.ip().to_string()).unwrap_or_default();
    let forwarded_for = if forwarded_for.is_empty() { client } else { format!("{forwarded_for}, {client}") };
    for (name, value) in [
        ("x-forwarded-for", forwarded_for),
        ("x-forwarded-proto", request.connection_info().scheme().to_owned()),
        ("x-forwarded-host", host),
    ] {
        headers.remove(name);
        add(&mut headers, name, value.as_bytes());
    }
    if let Some(traceparent) = telemetry::traceparent() {
        headers.remove("traceparent");
        add(&mut headers, "traceparent", traceparent.as_bytes());
    }
    headers
}

/// actix-web and reqwest have a header type each.
fn add(headers: &mut reqwest::header::HeaderMap, name: &str, value: &[u8]) {
    let name = reqwest::header::HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, reqwest::header::HeaderValue::from_bytes(value)) {
        headers.append(name, value);
    }
}

/// A request's body as a stream that may be read on another thread: the client's connections belong to whoever
/// opened them.
fn detached(
    mut payload: web::Payload,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    // Ends with the request: when the payload ends, or when nobody reads any more.
    rt::spawn(async move {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|error| std::io::Error::other(error.to_string()));
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) },
    )
}

fn response(answer: reqwest::Response) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes()))
            && passes(&name, &[])
            && name != header::CONTENT_LENGTH
        {
            response.append_header((name, value));
        }
    }
    // These answers have no body, and a chunked one of no length would be one.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || answer.content_length() == Some(0)
    {
        return response.finish();
    }
    if let Some(length) = answer.content_length() {
        response.no_chunking(length);
    }
    response
        .streaming(answer.bytes_stream().map_err(|error| std::io::Error::other(event_store::chain(&error))))
}
