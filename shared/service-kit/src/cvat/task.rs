//! `TaskRead` of CVAT 2.80.

use std::collections::HashMap;

use contracts::projects::Task;
use serde::Serialize;
use utoipa::ToSchema;

use super::project::{Link, Storage};
use super::{BasicUser, date};
use crate::directory::User;

/// A task.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskRead {
    pub url: String,
    pub id: i64,
    pub name: String,
    pub project_id: Option<i64>,
    pub project_name: Option<String>,
    pub owner: Option<BasicUser>,
    pub assignee: Option<BasicUser>,
    pub bug_tracker: String,
    pub created_date: String,
    pub updated_date: String,
    pub overlap: Option<i64>,
    pub segment_size: i64,
    pub initial_replicas: i64,
    pub status: String,
    pub data_chunk_size: Option<i64>,
    /// Absent until data was attached, like the others of the data that may not be `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_original_chunk_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_compressed_chunk_type: Option<String>,
    pub data_cloud_storage_id: Option<i64>,
    pub guide_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_quality: Option<i64>,
    /// The id of its data: its own.
    pub data: Option<i64>,
    pub dimension: String,
    pub mode: String,
    pub media_type: String,
    pub subset: String,
    /// The organization's id.
    pub organization_id: Option<i64>,
    /// The same, under its older name.
    pub organization: Option<i64>,
    pub target_storage: Option<Storage>,
    pub source_storage: Option<Storage>,
    pub jobs: JobsSummary,
    pub labels: Link,
    pub assignee_updated_date: Option<String>,
    pub validation_mode: Option<String>,
    pub consensus_enabled: bool,
}

/// A task's jobs: how many there are, and how many of them are how far.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobsSummary {
    pub count: i64,
    /// `null` where nobody knows, as in events.
    pub completed: Option<i64>,
    pub validation: Option<i64>,
    pub url: String,
}

/// What the owner of a task knows beyond the contract's fact.
#[derive(Clone, Debug, Default)]
pub struct TaskDetails {
    pub project_name: Option<String>,
    pub jobs: i64,
    pub completed: Option<i64>,
    pub validation: Option<i64>,
}

impl TaskRead {
    /// `base_url` has no slash at the end; users that are missing are shown as `null`.
    pub fn new(task: &Task, details: &TaskDetails, users: &HashMap<i64, User>, base_url: &str) -> Self {
        let (id, data) = (task.id, task.data.as_ref());
        let mode = data.map_or("", |data| &data.mode);
        Self {
            url: format!("{base_url}/api/tasks/{id}"),
            id,
            name: task.name.clone(),
            project_id: task.project_id,
            project_name: details.project_name.clone(),
            owner: BasicUser::find(users, task.owner_id, base_url),
            assignee: BasicUser::find(users, task.assignee_id, base_url),
            bug_tracker: task.bug_tracker.clone(),
            created_date: date(task.created_date),
            updated_date: date(task.updated_date),
            overlap: task.overlap,
            segment_size: task.segment_size,
            initial_replicas: 0,
            status: task.status.clone(),
            data_chunk_size: data.map(|data| data.chunk_size),
            data_original_chunk_type: chunk_type(mode),
            data_compressed_chunk_type: chunk_type(mode).map(|_| "imageset".to_owned()),
            data_cloud_storage_id: None,
            guide_id: None,
            size: task.size,
            image_quality: data.map(|data| data.image_quality),
            data: task.size.map(|_| id),
            dimension: data.map_or("2d", |data| &data.dimension).to_owned(),
            mode: mode.to_owned(),
            media_type: "image".to_owned(),
            subset: task.subset.clone(),
            organization_id: task.organization_id,
            organization: task.organization_id,
            target_storage: None,
            source_storage: None,
            jobs: JobsSummary {
                count: details.jobs,
                completed: details.completed,
                validation: details.validation,
                url: format!("{base_url}/api/jobs?task_id={id}"),
            },
            labels: Link { url: format!("{base_url}/api/labels?task_id={id}") },
            assignee_updated_date: task.assignee_updated_date.map(date),
            validation_mode: None,
            consensus_enabled: false,
        }
    }
}

/// How originals are packed: a video stays one. `None` without data.
pub(super) fn chunk_type(mode: &str) -> Option<String> {
    match mode {
        "" => None,
        "interpolation" => Some("video".to_owned()),
        _ => Some("imageset".to_owned()),
    }
}
