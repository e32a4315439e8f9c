//! Projects, as receivers see them.

use std::collections::HashMap;

use contracts::Envelope;
use contracts::projects::Project;
use serde_json::Value;
use service_kit::cvat::project::ProjectRead;
use service_kit::directory::User;

use super::tell::{Place, Subject};

impl Subject for Project {
    const RESOURCE: &'static str = "project";

    /// The organization is the envelope's: a project that leaves one is that one's news.
    fn place(&self, envelope: &Envelope) -> Place {
        Place { organization_id: envelope.organizationid, project_id: Some(self.id) }
    }

    fn people(&self) -> Vec<i64> {
        [self.owner_id, self.assignee_id].into_iter().flatten().collect()
    }

    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value> {
        serde_json::to_value(ProjectRead::new(self, users, base_url))
    }
}
