//! Requests that change something: body, organization and `Idempotency-Key` in one extractor, and the one
//! way to carry them out.

use std::future::Future;
use std::pin::Pin;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::web::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use aws_lc_rs::hmac;
use event_store::{Key, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::body::{self, BODY_BYTES_MAX, Nothing};
use crate::kit::Node;
use crate::{Answer, Caller, Kit, Refusal, Selection};

/// Names the key of the requests' digests among those that `MESH_SECRET` derives.
const PURPOSE: &str = "idempotency/requests";

/// A parsed write request: an extractor.
pub struct Write<T = Nothing> {
    pub body: T,
    /// The organization that the request names.
    pub selection: Selection,
    key: Option<Key>,
}

impl<T: DeserializeOwned + Send + 'static> FromRequest for Write<T> {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let request = request.clone();
        let payload = Payload::from_request(&request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|_| Refusal::bad_request(UNREADABLE))?;
            Self::read(&request, payload, BODY_BYTES_MAX).await
        })
    }
}

impl<T> Write<T> {
    /// Refuses a key, for a request with a password in it: the key's row would keep a digest of the body, which
    /// is cheap to guess the password by.
    ///
    /// # Errors
    /// 400 when the request has a key.
    pub fn without_key(self) -> Result<Self, Refusal> {
        match self.key {
            None => Ok(self),
            Some(_) => Err(Refusal::bad_request("A request with a password takes no Idempotency-Key.")),
        }
    }
}

/// What is parsed on the thread that serves others too.
const AT_ONCE_BYTES: usize = 256 * 1024;
const UNREADABLE: &str = "The request body could not be read, or is too large.";

impl<T: DeserializeOwned + Send + 'static> Write<T> {
    /// Reads and parses a body of at most `bytes_max`, for endpoints that take more than others; they call it
    /// after they have authorised the caller.
    ///
    /// # Errors
    /// 413 for a larger one, 415 and 400 as [`body::parse`].
    pub async fn read(request: &HttpRequest, payload: Payload, bytes_max: usize) -> Result<Self, Refusal> {
        let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", UNREADABLE);
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > bytes_max) {
            return Err(too_large());
        }
        let bytes = payload.to_bytes_limited(bytes_max).await.map_err(|_| too_large())?;
        let bytes = bytes.map_err(|_| Refusal::bad_request(UNREADABLE))?;
        let (selection, key) = (Selection::of(request)?, key(request, &bytes)?);
        body::check_media_type(request, &bytes)?;
        let body = if bytes.len() <= AT_ONCE_BYTES {
            body::read(&bytes)?
        } else {
            // Others wait for this thread.
            let read = tokio::task::spawn_blocking(move || body::read(&bytes)).await;
            read.map_err(|_| Refusal::unavailable("The service is stopping."))??
        };
        Ok(Self { body, selection, key })
    }
}

fn key(request: &HttpRequest, body: &[u8]) -> Result<Option<Key>, Refusal> {
    let Some(header) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = header.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
        Refusal::bad_request("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    })?;
    let organization =
        request.headers().get("x-organization").map(|value| value.as_bytes()).unwrap_or_default();
    let node = request.app_data::<web::Data<Node>>();
    let node = node.ok_or_else(|| Refusal::unavailable("The service is starting."))?;
    // Under a key of ours: a webhook's secret could be guessed from a digest that anybody can compute.
    let own = hmac::Key::new(hmac::HMAC_SHA256, &node.mesh_secret.derive(PURPOSE));
    let mut context = hmac::Context::with_key(&own);
    let uri = request.uri().to_string();
    for part in [request.method().as_str().as_bytes(), uri.as_bytes(), organization, body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    Ok(Some(Key { key: key.to_owned(), request_hash: context.sign().as_ref().to_vec() }))
}

/// The answer to a write; stored under its idempotency key.
#[derive(Serialize, Deserialize)]
pub struct Reply {
    status: u16,
    body: Option<Box<RawValue>>,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::OK, body)
    }

    /// 201 with a body.
    pub fn created(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::CREATED, body)
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT.as_u16(), body: None }
    }

    pub fn with(status: StatusCode, body: &impl Serialize) -> Result<Self, Refusal> {
        let body = to_raw_value(body).map_err(event_store::StoreError::from)?;
        Ok(Self { status: status.as_u16(), body: Some(body) })
    }

    /// As an HTTP response.
    pub fn response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        match self.body {
            Some(body) => {
                let body = String::from(Box::<str>::from(body));
                HttpResponse::build(status).content_type(ContentType::json()).body(body)
            }
            None => HttpResponse::build(status).finish(),
        }
    }
}

impl Kit {
    /// Carries out a write in one transaction; with an `Idempotency-Key` once and for all. `work` may run
    /// several times and must have no effect but through its unit. Whether the caller may is asked in there
    /// too: a repeated request gets its answer even if it has taken the ground from under itself.
    pub async fn write<T>(
        &self,
        caller: &Caller,
        request: &Write<T>,
        work: impl AsyncFn(&mut Unit) -> Result<Reply, Refusal>,
    ) -> Answer {
        let context = caller.context();
        let once = async || match &request.key {
            Some(key) => self.store.transact_once(&context, key, &work).await,
            None => self.store.transact(&context, &work).await,
        };
        Ok(self.after_news(caller.tenant(), once).await?.response())
    }
}
