//! Tasks, as receivers see them.

use std::collections::HashMap;

use contracts::Envelope;
use contracts::projects::Task;
use serde_json::Value;
use service_kit::cvat::task::{TaskDetails, TaskRead};
use service_kit::directory::User;

use super::tell::{Place, Subject};

impl Subject for Task {
    const RESOURCE: &'static str = "task";

    /// The organization is the envelope's: a task that leaves one is that one's news.
    fn place(&self, envelope: &Envelope) -> Place {
        Place { organization_id: envelope.organizationid, project_id: self.project_id }
    }

    fn people(&self) -> Vec<i64> {
        [self.owner_id, self.assignee_id].into_iter().flatten().collect()
    }

    /// Its jobs are not counted: they are other streams, so nobody here knows how many there were then.
    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value> {
        serde_json::to_value(TaskRead::new(self, &TaskDetails::default(), users, base_url))
    }
}
