//! What `publish.rs` returns: a contract event on its way out.

use contracts::ContractEvent;

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
