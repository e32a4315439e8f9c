//! What billing publishes: what a tenant may use.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Example, events};

/// How much of something a tenant may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entitlement {
    /// `seats`, `storage_bytes`, or the name of a feature.
    pub key: String,
    /// Absent for no limit; a decimal in text.
    pub limit: Option<String>,
    /// Whether a place must be reserved before it is taken.
    pub hard: bool,
    /// Whether it may be used at all.
    pub allowed: bool,
}

impl Example for Entitlement {
    fn example() -> Self {
        Self { key: "seats".into(), limit: Some("10".into()), hard: true, allowed: true }
    }
}

events! { "billing";
    /// What a tenant may use changed.
    EntitlementChanged on "entitlement" as "entitlement_changed" {
        entitlement: Entitlement = Entitlement::example(),
    }
    /// A process counted calls of a tenant's people to the API. There is one such stream in each tenant.
    ApiUsageCounted on "api_usage" as "api_usage_counted" {
        /// The service that was called.
        service: String = "projects".into(),
        /// Beginning of the quarter of an hour that they were made in.
        quarter: DateTime<Utc> = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default(),
        /// `GET` and its like.
        reads: i64 = 310,
        writes: i64 = 12,
    }
}
