//! The outermost layer of the front door: request ids, traces, and refusals in the shape of the face that
//! was spoken to.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use tracing::Instrument;
use tracing::field::Empty;

use crate::clearml::{self, Address, Fault, Meta};
use crate::documented::{Documented, Heads};
use crate::{Refusal, telemetry};

/// The id of a request; goes into every event that it causes and back to the client as `X-Request-Id`.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub uuid::Uuid);

/// CVAT's media type.
const CVAT_JSON: &str = "application/vnd.cvat+json";
const PROBLEM_JSON: &str = "application/problem+json";

/// What a refusal is rendered for.
struct Spoken {
    face: Face,
    path: String,
    id: RequestId,
}

/// Which face a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Face {
    Cvat,
    ClearMl,
    Native,
}

fn face_of(path: &str) -> Face {
    match crate::routes::is_clearml(path) {
        true => Face::ClearMl,
        false if path.starts_with("/api/") => Face::Cvat,
        false => Face::Native,
    }
}

/// The middleware.
pub async fn layer(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId(event_store::new_id());
    request.extensions_mut().insert(id);
    let method = request.method().clone();
    let knows_head =
        request.app_data::<web::Data<Heads>>().is_some_and(|heads| heads.are_known_at(request.path()));
    if method == Method::HEAD && !knows_head {
        // Every resource that can be read answers it; the server keeps the body back.
        request.head_mut().method = Method::GET;
        // A range has a meaning for GET only (RFC 9110 §14.2).
        request.headers_mut().remove(header::RANGE);
    }
    let span = tracing::info_span!(
        "http", otel.name = %method, otel.kind = "server", otel.status_code = Empty, request.id = %id.0,
        url.path = request.path(), http.route = Empty, http.response.status_code = Empty,
    );
    let parent =
        request.headers().get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    telemetry::continue_trace(&span, parent.as_deref());
    let path = request.path().to_owned();
    let face = face_of(&path);
    let spoken = Spoken { face, path: path.clone(), id };
    let plain_json = wants_plain_json(&request);
    let version_refused = asks_unknown_version(&request);
    let started = std::time::Instant::now();
    let mut response = async {
        let refused_version = || {
            Refusal::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "Invalid version in \"Accept\" header.",
            )
        };
        // The router insists on being the only one who holds the request: no copy of it may be kept here.
        let response = match version_refused && face == Face::Cvat {
            true => request.error_response(refused_version()),
            false => next.call(request).await?.map_into_boxed_body(),
        };
        let refused = response.response().error().map(|error| {
            error.as_error::<Refusal>().map_or_else(|| generic(response.status()), render_later)
        });
        Ok::<_, Error>(match refused {
            None => response,
            Some(refused) => ServiceResponse::new(response.request().clone(), refused(&spoken)),
        })
    }
    .instrument(span.clone())
    .await?;
    let status = response.status();
    if status.is_client_error() && response.response().error().is_none() {
        // A router's own answer has no body of ours.
        let empty = matches!(response.response().body().size(), BodySize::Sized(0) | BodySize::None);
        if empty {
            let rendered = span.in_scope(|| generic(status)(&spoken));
            response = response.into_response(rendered);
        }
    }
    let headers = response.headers_mut();
    let request_id = HeaderName::from_static("x-request-id");
    // A proxied answer has the id that its service gave, which is the one that went into the events.
    if !headers.contains_key(&request_id)
        && let Ok(value) = HeaderValue::from_str(&id.0.to_string())
    {
        headers.insert(request_id, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if face == Face::Cvat
        && !plain_json
        && headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json")
    {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CVAT_JSON));
    }
    // Not the path: there is one for each thing that was ever asked for.
    let documented = response.request().app_data::<web::Data<Documented>>();
    if let Some(template) = documented.and_then(|documented| documented.template(&path)) {
        telemetry::rename(&span, format!("{method} {template}"));
        span.record("http.route", template);
    }
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    if method == Method::HEAD && !knows_head {
        response = response.map_body(|_, body| BoxBody::new(Withheld(body.size())));
    }
    tracing::debug!(
        parent: &span, http.status = status.as_u16(), duration_us = started.elapsed().as_micros() as u64, "{path}"
    );
    crate::metrics::observe_request(
        crate::routes::service_of(&path).unwrap_or("none"),
        status,
        started.elapsed(),
    );
    Ok(response)
}

/// What a body said of its size, without the body, which may have no end.
struct Withheld(BodySize);

impl MessageBody for Withheld {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

type Rendered = Box<dyn FnOnce(&Spoken) -> HttpResponse>;

fn render_later(refusal: &Refusal) -> Rendered {
    refusal.log();
    let (status, retry_after, allow) = (refusal.status, refusal.retry_after, refusal.allow.clone());
    let (cvat, problem) = (refusal.cvat_body(), refusal.problem_body(&telemetry::trace_id()));
    let fault = Fault::of(refusal);
    Box::new(move |spoken| {
        if let (Face::ClearMl, Some(address)) = (spoken.face, Address::of(&spoken.path)) {
            return clearml::refuse(&Meta::new(spoken.id.0, None, &address), &fault);
        }
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = allow {
            response.insert_header((header::ALLOW, methods));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Token"));
        }
        match spoken.face {
            Face::Cvat => response.json(cvat),
            Face::ClearMl | Face::Native => response.content_type(PROBLEM_JSON).body(problem.to_string()),
        }
    })
}

/// What the framework itself refuses: no route, a path that does not parse, a body that is too large.
fn generic(status: StatusCode) -> Rendered {
    let detail = match status {
        StatusCode::NOT_FOUND => "Not found.".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "Method not allowed.".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => "The request body is too large.".to_owned(),
        other => other.canonical_reason().unwrap_or("Refused").to_owned(),
    };
    let code = match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        _ if status.is_server_error() => "internal",
        _ => "invalid",
    };
    render_later(&Refusal::new(status, code, detail))
}

fn wants_plain_json(request: &ServiceRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept.contains("application/json") && !accept.contains(CVAT_JSON)
}

/// CVAT's API has one version, which a client may name in `Accept`.
fn asks_unknown_version(request: &ServiceRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept
        .split([';', ','])
        .filter_map(|part| part.trim().strip_prefix("version="))
        .any(|version| version != "2.0")
}
