//! The envelope of a contract event: CloudEvents 1.0.2 with our extension attributes.
//!
//! Its JSON form (CloudEvents' structured mode) is what `/internal/log`, `GET /v1/events` and the live tail
//! carry; Kafka carries the same attributes as `ce_…` headers and `data` as the value (binary mode).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::TenantId;

/// One contract event as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique for ever; the same for every reader, attempt and replay.
    pub id: Uuid,
    /// `/mesh/<service>`.
    pub source: String,
    /// `<service>.<noun>_<participle>.v<n>`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `<kind>/<id>` of the stream, such as `project/42`.
    pub subject: String,
    /// When the command was accepted.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Where the JSON Schema of `data` is served.
    pub dataschema: String,
    /// The tenant whose event it is.
    pub tenantid: TenantId,
    /// Contract version of the stream: contiguous from 1; what consumers deduplicate by.
    pub streamversion: i64,
    /// Position in the publisher's contract log.
    pub position: i64,
    /// `<tenant>/<kind>/<id>`: the Kafka key.
    pub partitionkey: String,
    /// The request that began the chain of causes.
    pub correlationid: Uuid,
    /// The event that a reaction answered, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub causationid: Option<Uuid>,
    /// The user who caused it; absent when the mesh itself did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actorid: Option<i64>,
    /// The user who really called, when they did it as `actorid` (ClearML's impersonate-as and act-as).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub impersonatorid: Option<i64>,
    /// The organization that the subject belongs to; absent in a personal workspace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organizationid: Option<i64>,
    /// W3C trace context of the request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// The fact itself, byte for byte as it was stored.
    pub data: Box<RawValue>,
}

impl Envelope {
    /// The publishing service, from `source`.
    pub fn service(&self) -> &str {
        self.source.strip_prefix("/mesh/").unwrap_or(&self.source)
    }

    /// The stream's kind, from `subject`.
    pub fn kind(&self) -> &str {
        self.subject.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// The stream's id, from `subject`; `None` when the subject is not one of ours.
    pub fn stream_id(&self) -> Option<i64> {
        self.subject.split_once('/').and_then(|(_, id)| id.parse().ok())
    }
}

/// The key that keeps one stream's events in one partition.
pub fn partition_key(tenant: TenantId, kind: &str, stream_id: i64) -> String {
    format!("{tenant}/{kind}/{stream_id}")
}
