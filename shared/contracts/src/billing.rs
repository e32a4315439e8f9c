//! What billing publishes: what a tenant may use.

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
}
