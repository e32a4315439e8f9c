//! Memberships, as receivers see them.

use std::collections::HashMap;

use contracts::Envelope;
use contracts::identity::Membership;
use serde_json::Value;
use service_kit::cvat::membership::MembershipRead;
use service_kit::directory::User;

use super::tell::{Place, Subject};

impl Subject for Membership {
    const RESOURCE: &'static str = "membership";

    fn place(&self, _: &Envelope) -> Place {
        Place { organization_id: Some(self.organization_id), project_id: None }
    }

    fn people(&self) -> Vec<i64> {
        vec![self.user_id]
    }

    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value> {
        serde_json::to_value(MembershipRead::new(self, users, base_url))
    }
}
