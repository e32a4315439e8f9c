//! What `publish.rs` returns: a contract event on its way out.

use contracts::ContractEvent;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::StoreError;

/// A contract event before it has an id and a version.
pub struct Outgoing {
    pub(crate) event_type: &'static str,
    pub(crate) data: Result<String, StoreError>,
    pub(crate) organization_id: Option<i64>,
}

impl Outgoing {
    /// Of something that belongs to an organization, or to a personal workspace.
    pub fn new<E: ContractEvent>(event: &E, organization_id: Option<i64>) -> Self {
        Self {
            event_type: E::TYPE,
            data: serde_json::to_string(event).map_err(StoreError::from),
            organization_id,
        }
    }
}

/// What an update tells of the state before it: each field that is different now, with its old value.
pub fn before_update<T: Serialize>(before: &T, after: &T) -> Map<String, Value> {
    let fields = |state: &T| match serde_json::to_value(state) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let after = fields(after);
    fields(before).into_iter().filter(|(name, old)| after.get(name) != Some(old)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_told_with_its_old_value() {
        let (before, after) = (json!({ "id": 1, "name": "a", "owner": 7 }), json!({ "id": 1, "name": "b" }));
        assert_eq!(Value::Object(before_update(&before, &after)), json!({ "name": "a", "owner": 7 }));
        assert!(before_update(&after, &after).is_empty());
    }
}
