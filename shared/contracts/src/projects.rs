//! What projects publishes: projects with their labels.

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
}
