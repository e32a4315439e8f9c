//! `ProjectRead` of CVAT 2.80.

use std::collections::HashMap;

use contracts::projects::Project;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BasicUser, date};
use crate::directory::User;

/// A project.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProjectRead {
    pub url: String,
    pub id: i64,
    pub name: String,
    pub owner: Option<BasicUser>,
    pub assignee: Option<BasicUser>,
    pub guide_id: Option<i64>,
    pub bug_tracker: String,
    pub task_subsets: Vec<String>,
    pub created_date: String,
    pub updated_date: String,
    pub status: String,
    pub dimension: Option<String>,
    /// The organization's id.
    pub organization: Option<i64>,
    /// The same, under its newer name.
    pub organization_id: Option<i64>,
    pub target_storage: Option<Storage>,
    pub source_storage: Option<Storage>,
    pub tasks: Summary,
    pub labels: Link,
    pub assignee_updated_date: Option<String>,
}

/// Where exports go and imports come from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Storage {
    pub id: i64,
    pub location: String,
    pub cloud_storage_id: Option<i64>,
}

/// How many there are, and where to list them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Summary {
    pub count: i64,
    pub url: String,
}

/// Where to list them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Link {
    pub url: String,
}

impl ProjectRead {
    /// `base_url` has no slash at the end; users that are missing are shown as `null`.
    pub fn new(project: &Project, users: &HashMap<i64, User>, base_url: &str) -> Self {
        let id = project.id;
        Self {
            url: format!("{base_url}/api/projects/{id}"),
            id,
            name: project.name.clone(),
            owner: BasicUser::find(users, project.owner_id, base_url),
            assignee: BasicUser::find(users, project.assignee_id, base_url),
            guide_id: None,
            bug_tracker: project.bug_tracker.clone(),
            task_subsets: vec![],
            created_date: date(project.created_date),
            updated_date: date(project.updated_date),
            status: project.status.clone(),
            dimension: None,
            organization: project.organization_id,
            organization_id: project.organization_id,
            target_storage: None,
            source_storage: None,
            tasks: Summary { count: 0, url: format!("{base_url}/api/tasks?project_id={id}") },
            labels: Link { url: format!("{base_url}/api/labels?project_id={id}") },
            assignee_updated_date: project.assignee_updated_date.map(date),
        }
    }
}
