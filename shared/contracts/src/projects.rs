//! What projects publishes: projects with their labels, tasks, jobs, and how annotations change.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Example, events};

/// A set of tasks that share labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    pub id: i64,
    pub name: String,
    /// Absent when the owner was deleted.
    pub owner_id: Option<i64>,
    pub assignee_id: Option<i64>,
    pub assignee_updated_date: Option<DateTime<Utc>>,
    pub bug_tracker: String,
    /// `annotation`, `validation` or `completed`.
    pub status: String,
    /// Absent in a personal workspace.
    pub organization_id: Option<i64>,
    pub labels: Vec<Label>,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

/// A class of things to annotate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    pub id: i64,
    /// At most 64 characters; unique among its siblings.
    pub name: String,
    /// `#rrggbb`.
    pub color: String,
    /// `any`, `tag`, `rectangle`, …, as CVAT's LabelType.
    #[serde(rename = "type")]
    pub label_type: String,
    pub attributes: Vec<Attribute>,
}

/// A property that annotations with a label carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attribute {
    pub id: i64,
    pub name: String,
    /// Whether it may differ from frame to frame of a track.
    pub mutable: bool,
    /// `select`, `checkbox`, `radio`, `number` or `text`.
    pub input_type: String,
    pub default_value: String,
    pub values: Vec<String>,
}

/// Pictures to annotate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    pub id: i64,
    pub name: String,
    /// Absent for a task with labels of its own.
    pub project_id: Option<i64>,
    /// Absent when the owner was deleted.
    pub owner_id: Option<i64>,
    pub assignee_id: Option<i64>,
    pub assignee_updated_date: Option<DateTime<Utc>>,
    pub bug_tracker: String,
    /// `Train`, `Test`, `Validation`, or whatever its project calls it; empty for none.
    pub subset: String,
    /// `annotation`, `validation` or `completed`, as its jobs say.
    pub status: String,
    /// Absent in a personal workspace.
    pub organization_id: Option<i64>,
    /// Its own; empty when it has its project's.
    pub labels: Vec<Label>,
    /// Frames of a job; 0 for one job over all of them.
    pub segment_size: i64,
    /// Frames that neighbouring jobs share; absent until it is known.
    pub overlap: Option<i64>,
    /// Frames; absent until data was attached.
    pub size: Option<i64>,
    /// Absent until data was attached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<AttachedData>,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

/// What readers of a task see of its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedData {
    /// Frames in one chunk.
    pub chunk_size: i64,
    /// JPEG quality of compressed frames, 0 to 100.
    pub image_quality: i64,
    /// `annotation` for pictures, `interpolation` for video.
    pub mode: String,
    /// `2d`.
    pub dimension: String,
}

/// A stretch of a task's frames that one person annotates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    pub id: i64,
    pub task_id: i64,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
    pub assignee_id: Option<i64>,
    pub assignee_updated_date: Option<DateTime<Utc>>,
    /// `annotation`, `validation` or `acceptance`.
    pub stage: String,
    /// `new`, `in progress`, `completed` or `rejected`.
    pub state: String,
    /// `annotation`, `validation` or `completed`, as stage and state say.
    pub status: String,
    /// `annotation` or `ground_truth`.
    #[serde(rename = "type")]
    pub job_type: String,
    /// First frame, counted within the task.
    pub start_frame: i64,
    /// Last frame, included.
    pub stop_frame: i64,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

/// Annotations of one kind: how many there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnnotationCounts {
    pub tags: i64,
    pub shapes: i64,
    pub tracks: i64,
}

fn example_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()
}

impl Example for Task {
    fn example() -> Self {
        Self {
            id: 21,
            name: "crossings".into(),
            project_id: Some(42),
            owner_id: Some(7),
            assignee_id: None,
            assignee_updated_date: None,
            bug_tracker: String::new(),
            subset: "Train".into(),
            status: "annotation".into(),
            organization_id: Some(3),
            labels: vec![],
            segment_size: 100,
            overlap: Some(0),
            size: Some(250),
            data: Some(AttachedData {
                chunk_size: 36,
                image_quality: 70,
                mode: "annotation".into(),
                dimension: "2d".into(),
            }),
            created_date: example_time(),
            updated_date: example_time(),
        }
    }
}

impl Example for Job {
    fn example() -> Self {
        Self {
            id: 33,
            task_id: 21,
            project_id: Some(42),
            organization_id: Some(3),
            assignee_id: Some(7),
            assignee_updated_date: Some(example_time()),
            stage: "annotation".into(),
            state: "in progress".into(),
            status: "annotation".into(),
            job_type: "annotation".into(),
            start_frame: 0,
            stop_frame: 99,
            created_date: example_time(),
            updated_date: example_time(),
        }
    }
}

fn example_change(field: &str, old: &str) -> Map<String, Value> {
    Map::from_iter([(field.to_owned(), Value::from(old))])
}

impl Example for Project {
    fn example() -> Self {
        let created = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
        Self {
            id: 42,
            name: "street scenes".into(),
            owner_id: Some(7),
            assignee_id: None,
            assignee_updated_date: None,
            bug_tracker: String::new(),
            status: "annotation".into(),
            organization_id: Some(3),
            labels: vec![Label {
                id: 1,
                name: "car".into(),
                color: "#2080c0".into(),
                label_type: "any".into(),
                attributes: vec![],
            }],
            created_date: created,
            updated_date: created,
        }
    }
}

events! { "projects";
    /// A project was created.
    ProjectCreated on "project" as "project_created" { project: Project = Project::example() }
    /// A project or its labels changed.
    ProjectUpdated on "project" as "project_updated" {
        project: Project = Project::example(),
        /// Each changed field with its old value, but for the labels: twice they might not fit into an event.
        before_update: Map<String, Value> =
            Map::from_iter([("name".to_owned(), Value::from("street"))]),
    }
    /// A project was deleted; `project` is its last state.
    ProjectDeleted on "project" as "project_deleted" { project: Project = Project::example() }
    /// A task was created, without data yet.
    TaskCreated on "task" as "task_created" { task: Task = Task { size: None, overlap: None, data: None, ..Task::example() } }
    /// A task changed: what people say of it, its data, or its status.
    TaskUpdated on "task" as "task_updated" {
        task: Task = Task::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("name", "crossing"),
    }
    /// A task was deleted, and its jobs and annotations with it; `task` is its last state.
    TaskDeleted on "task" as "task_deleted" { task: Task = Task::example() }
    /// A job was created.
    JobCreated on "job" as "job_created" { job: Job = Job::example() }
    /// A job's assignee, stage or state changed.
    JobUpdated on "job" as "job_updated" {
        job: Job = Job::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("state", "new"),
    }
    /// A job was deleted; `job` is its last state.
    JobDeleted on "job" as "job_deleted" { job: Job = Job::example() }
    /// A background request is not wanted any more; whoever carries it out may stop, and tells what becomes of it.
    RequestCancelled on "request" as "request_cancelled" {
        request_id: String = "media.task-data.21.0198c0de-0000-7000-8000-000000000000".into(),
        task_id: Option<i64> = Some(21),
    }
    /// Annotations of a job were created, changed or deleted, in one request. The stream's id is the job's.
    AnnotationsChanged on "annotations" as "annotations_changed" {
        job_id: i64 = 33,
        task_id: i64 = 21,
        project_id: Option<i64> = Some(42),
        /// `create`, `update`, `delete` or `replace`.
        action: String = "create".into(),
        /// Counted once for each request that made them.
        created: AnnotationCounts = AnnotationCounts { shapes: 12, ..Default::default() },
        deleted: AnnotationCounts = AnnotationCounts::default(),
        /// What the job has now.
        total: AnnotationCounts = AnnotationCounts { tags: 1, shapes: 112, tracks: 2 },
    }
}
