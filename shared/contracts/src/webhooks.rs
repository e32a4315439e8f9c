//! What webhooks publishes: the endpoints that subscribers keep. Secrets never leave the service.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Example, events};

/// A subscription of an URL to events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    pub id: i64,
    /// `project` or `organization`.
    #[serde(rename = "type")]
    pub webhook_type: String,
    pub target_url: String,
    pub description: String,
    /// CVAT's names, such as `create:project`.
    pub events: Vec<String>,
    pub is_active: bool,
    /// Whether the target's certificate is verified.
    pub enable_ssl: bool,
    pub owner_id: Option<i64>,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

impl Example for Webhook {
    fn example() -> Self {
        let created = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
        Self {
            id: 9,
            webhook_type: "organization".into(),
            target_url: "https://hooks.example.com/annomesh".into(),
            description: String::new(),
            events: vec!["create:project".into()],
            is_active: true,
            enable_ssl: true,
            owner_id: Some(7),
            project_id: None,
            organization_id: Some(3),
            created_date: created,
            updated_date: created,
        }
    }
}

events! { "webhooks";
    /// A webhook was created.
    WebhookCreated on "webhook" as "webhook_created" { webhook: Webhook = Webhook::example() }
    /// A webhook changed.
    WebhookUpdated on "webhook" as "webhook_updated" {
        webhook: Webhook = Webhook::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> =
            Map::from_iter([("is_active".to_owned(), Value::from(false))]),
    }
    /// A webhook was deleted.
    WebhookDeleted on "webhook" as "webhook_deleted" { webhook: Webhook = Webhook::example() }
    /// A subscriber has taken an event; each message once, however many attempts it took.
    MessageDelivered on "message" as "message_delivered" {
        webhook_id: i64 = 9,
        /// CVAT's name of the event.
        event: String = "create:project".into(),
        /// Attempts that it took.
        attempts: i64 = 1,
    }
}
