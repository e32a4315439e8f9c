//! Requests that change something: body, organization and `Idempotency-Key` in one extractor, and the one
//! way to carry them out.

use std::future::Future;
use std::pin::Pin;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use aws_lc_rs::hmac;
use event_store::{Key, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::{self, Nothing};
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

impl<T: DeserializeOwned + 'static> FromRequest for Write<T> {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let request = request.clone();
        let bytes = Bytes::from_request(&request, payload);
        Box::pin(async move {
            let bytes = bytes.await.map_err(|error| {
                let status = error.as_response_error().status_code();
                let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "invalid" };
                Refusal::new(status, code, "The request body could not be read, or is too large.")
            })?;
            Ok(Self {
                selection: Selection::of(&request)?,
                key: key(&request, &bytes)?,
                body: body::parse(&request, &bytes)?,
            })
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
    body: Option<Value>,
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
        let body = serde_json::to_value(body).map_err(event_store::StoreError::from)?;
        Ok(Self { status: status.as_u16(), body: Some(body) })
    }

    /// As an HTTP response.
    pub fn response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        match self.body {
            Some(body) => HttpResponse::build(status).json(body),
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
