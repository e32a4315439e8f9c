//! The body of a delivery, as CVAT writes it.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use service_kit::cvat::BasicUser;

/// `{"event", "<resource>", "before_update", "sender", "webhook_id"}`.
pub struct Body<'a> {
    pub event: &'a str,
    pub resource: &'static str,
    pub subject: &'a Value,
    /// Each changed field with its old value; left out when nothing that is shown has changed.
    pub before_update: &'a Map<String, Value>,
    pub sender: &'a Option<BasicUser>,
    pub webhook_id: i64,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("event", self.event)?;
        body.serialize_entry(self.resource, self.subject)?;
        if !self.before_update.is_empty() {
            body.serialize_entry("before_update", self.before_update)?;
        }
        body.serialize_entry("sender", self.sender)?;
        body.serialize_entry("webhook_id", &self.webhook_id)?;
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use event_store::before_update;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_has_cvats_keys_in_cvats_order() {
        let before_update = before_update(&json!({ "name": "a", "id": 1 }), &json!({ "name": "b", "id": 1 }));
        let body = Body {
            event: "update:project",
            resource: "project",
            subject: &json!({ "id": 1, "name": "b" }),
            before_update: &before_update,
            sender: &None,
            webhook_id: 9,
        };
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"event":"update:project","project":{"id":1,"name":"b"},"before_update":{"name":"a"},"sender":null,"webhook_id":9}"#
        );
    }

    #[test]
    fn nothing_changed_is_left_out() {
        let body = Body {
            event: "create:project",
            resource: "project",
            subject: &json!({}),
            before_update: &before_update(&json!({ "id": 1 }), &json!({ "id": 1 })),
            sender: &None,
            webhook_id: 9,
        };
        assert!(!serde_json::to_string(&body).unwrap().contains("before_update"));
    }
}
