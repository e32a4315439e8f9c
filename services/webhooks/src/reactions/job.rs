//! Jobs, as receivers see them.

use std::collections::HashMap;

use contracts::Envelope;
use contracts::projects::Job;
use serde_json::Value;
use service_kit::cvat::job::{JobDetails, JobRead};
use service_kit::directory::User;

use super::tell::{Place, Subject};

impl Subject for Job {
    const RESOURCE: &'static str = "job";

    /// The organization is the envelope's: a job that leaves one is that one's news.
    fn place(&self, envelope: &Envelope) -> Place {
        Place { organization_id: envelope.organizationid, project_id: self.project_id }
    }

    fn people(&self) -> Vec<i64> {
        self.assignee_id.into_iter().collect()
    }

    /// Without the names of its task and project, which are other streams.
    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value> {
        serde_json::to_value(JobRead::new(self, &JobDetails::default(), users, base_url))
    }
}
