//! Organizations, as receivers see them.

use std::collections::HashMap;

use contracts::Envelope;
use contracts::identity::Organization;
use serde_json::Value;
use service_kit::cvat::organization::OrganizationRead;
use service_kit::directory::User;

use super::tell::{Place, Subject};

impl Subject for Organization {
    const RESOURCE: &'static str = "organization";

    fn place(&self, _: &Envelope) -> Place {
        Place { organization_id: Some(self.id), project_id: None }
    }

    fn people(&self) -> Vec<i64> {
        self.owner_id.into_iter().collect()
    }

    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value> {
        serde_json::to_value(OrganizationRead::new(self, users, base_url))
    }
}
