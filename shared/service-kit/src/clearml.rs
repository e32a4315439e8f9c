//! ClearML's face: how its paths are read, and the envelope that every answer comes in, refusals too.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::Refusal;
use crate::refusal::Text;

pub mod body;
pub mod fault;
pub mod path;

pub use body::Body;
pub use fault::Fault;
pub use path::{Address, Version};

/// The version of ClearML's API that is spoken here; a request that names none means this one.
pub const API_VERSION: Version = Version { major: 2, minor: 34 };

/// What of a request goes into its answer's `meta`.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The call's own id.
    pub id: String,
    /// The client's name for the transaction, else the id.
    pub trx: String,
    pub endpoint: String,
    pub requested: Version,
    /// Absent when there is no such endpoint.
    pub actual: Option<Version>,
}

impl Meta {
    /// The beginning of a call: nothing is known of its endpoint yet.
    pub fn new(id: uuid::Uuid, trx: Option<&str>, address: &Address) -> Self {
        let id = id.simple().to_string();
        Self {
            trx: trx.map_or_else(|| id.clone(), str::to_owned),
            id,
            endpoint: address.endpoint.clone(),
            requested: address.version.unwrap_or(API_VERSION),
            actual: None,
        }
    }

    fn envelope(&self, code: u16, subcode: u16, message: &str, data: Value) -> Value {
        // Whoever asks for a version before 2.1 also expects versions to be numbers.
        let as_numbers = self.requested < Version { major: 2, minor: 1 };
        let shown = |version: Version| match as_numbers {
            true => json!(version.to_string().parse::<f64>().unwrap_or_default()),
            false => json!(version.to_string()),
        };
        json!({
            "meta": {
                "id": self.id,
                "trx": self.trx,
                "endpoint": {
                    "name": self.endpoint,
                    "requested_version": shown(self.requested),
                    "actual_version": self.actual.map(shown),
                },
                "result_code": code,
                "result_subcode": subcode,
                "result_msg": message,
                "error_stack": null,
                "error_data": {},
            },
            "data": data,
        })
    }
}

/// An answer; it may hold a secret, so nobody keeps it.
pub fn answer(meta: &Meta, data: Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(meta.envelope(200, 0, "OK", data))
}

/// A refusal.
pub fn refuse(meta: &Meta, fault: &Fault) -> HttpResponse {
    let status = StatusCode::from_u16(fault.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = fault.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.insert_header((header::CACHE_CONTROL, "no-store")).json(meta.envelope(
        fault.code,
        fault.subcode,
        &fault.message,
        json!({}),
    ))
}

impl Fault {
    /// A refusal of the chassis, by its HTTP status; that of an endpoint of ClearML's is a fault from the start.
    pub fn of(refusal: &Refusal) -> Self {
        let said = match &refusal.text {
            Text::Detail(detail) => detail.clone(),
            Text::Fields(fields) => fields
                .iter()
                .map(|(name, texts)| format!("{name}: {}", texts[0].as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("; "),
            Text::Json(body) => body.to_string(),
        };
        let kind = match refusal.status.as_u16() {
            400 => fault::VALIDATION,
            401 => fault::UNAUTHORIZED,
            403 => fault::NOT_PERMITTED,
            404 => fault::ID,
            409 => fault::NOT_UNIQUE,
            413 => fault::TOO_LARGE,
            429 => fault::THROTTLED,
            500 => fault::INTERNAL,
            503 => fault::UNAVAILABLE,
            code => fault::Kind { code, subcode: 0, text: "request refused" },
        };
        Self { retry_after: refusal.retry_after, ..kind.because(said) }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.log();
        Self::of(&refusal)
    }
}

impl From<event_store::StoreError> for Fault {
    fn from(error: event_store::StoreError) -> Self {
        Refusal::from(error).into()
    }
}
