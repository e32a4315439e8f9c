//! `JobRead` of CVAT 2.80.

use std::collections::HashMap;

use contracts::projects::Job;
use serde::Serialize;
use utoipa::ToSchema;

use super::project::{Link, Storage, Summary};
use super::task::chunk_type;
use super::{BasicUser, date};
use crate::directory::User;

/// A job.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobRead {
    pub url: String,
    pub id: i64,
    pub task_id: i64,
    pub task_name: Option<String>,
    pub project_id: Option<i64>,
    pub project_name: Option<String>,
    pub assignee: Option<BasicUser>,
    pub guide_id: Option<i64>,
    pub dimension: String,
    pub mode: String,
    pub media_type: String,
    pub bug_tracker: Option<String>,
    pub status: String,
    pub stage: String,
    pub state: String,
    pub frame_count: i64,
    pub start_frame: i64,
    pub stop_frame: i64,
    pub data_chunk_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_compressed_chunk_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_original_chunk_type: Option<String>,
    pub created_date: String,
    pub updated_date: String,
    pub issues: Summary,
    pub labels: Link,
    #[serde(rename = "type")]
    pub job_type: String,
    /// The organization's id.
    pub organization: Option<i64>,
    pub target_storage: Option<Storage>,
    pub source_storage: Option<Storage>,
    pub assignee_updated_date: Option<String>,
    pub parent_job_id: Option<i64>,
    pub consensus_replicas: i64,
    pub replicas_count: i64,
}

/// What a job shows of its task and its project.
#[derive(Clone, Debug, Default)]
pub struct JobDetails {
    pub task_name: Option<String>,
    pub project_name: Option<String>,
    pub bug_tracker: Option<String>,
    pub chunk_size: Option<i64>,
    /// `annotation`, `interpolation`, or empty where nobody knows.
    pub mode: String,
}

impl JobRead {
    /// `base_url` has no slash at the end; users that are missing are shown as `null`.
    pub fn new(job: &Job, details: &JobDetails, users: &HashMap<i64, User>, base_url: &str) -> Self {
        let id = job.id;
        Self {
            url: format!("{base_url}/api/jobs/{id}"),
            id,
            task_id: job.task_id,
            task_name: details.task_name.clone(),
            project_id: job.project_id,
            project_name: details.project_name.clone(),
            assignee: BasicUser::find(users, job.assignee_id, base_url),
            guide_id: None,
            dimension: "2d".to_owned(),
            mode: details.mode.clone(),
            media_type: "image".to_owned(),
            bug_tracker: details.bug_tracker.clone(),
            status: job.status.clone(),
            stage: job.stage.clone(),
            state: job.state.clone(),
            frame_count: job.stop_frame - job.start_frame + 1,
            start_frame: job.start_frame,
            stop_frame: job.stop_frame,
            data_chunk_size: details.chunk_size,
            data_compressed_chunk_type: chunk_type(&details.mode).map(|_| "imageset".to_owned()),
            data_original_chunk_type: chunk_type(&details.mode),
            created_date: date(job.created_date),
            updated_date: date(job.updated_date),
            issues: Summary { count: 0, url: format!("{base_url}/api/issues?job_id={id}") },
            labels: Link { url: format!("{base_url}/api/labels?job_id={id}") },
            job_type: job.job_type.clone(),
            organization: job.organization_id,
            target_storage: None,
            source_storage: None,
            assignee_updated_date: job.assignee_updated_date.map(date),
            parent_job_id: None,
            consensus_replicas: 0,
            replicas_count: 0,
        }
    }
}
