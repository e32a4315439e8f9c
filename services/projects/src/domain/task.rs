//! A task: pictures to annotate. It has its project's labels or its own, and jobs once it has data.

use chrono::{DateTime, Utc};
use contracts::projects::{AttachedData, Label, Task as Fact};
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::label::{self, LabelError, LabelPatch};
use super::nullable;

/// What is asked of a task.
#[derive(Clone, Debug)]
pub enum TaskCommand {
    Create(Box<CreateTask>),
    Update(Box<UpdateTask>),
    /// Its data is ready.
    AttachData {
        data: Data,
        at: DateTime<Utc>,
    },
    /// Its jobs amount to this status now.
    Follow {
        status: String,
        at: DateTime<Utc>,
    },
    /// Its organization is gone: it becomes its owner's own.
    LeaveOrganization {
        organization_id: i64,
        at: DateTime<Utc>,
    },
    Delete,
}

/// A new task; the labels have their ids already.
#[derive(Clone, Debug)]
pub struct CreateTask {
    pub id: i64,
    pub name: String,
    pub project_id: Option<i64>,
    pub owner_id: i64,
    pub assignee_id: Option<i64>,
    pub bug_tracker: String,
    pub subset: String,
    pub organization_id: Option<i64>,
    pub labels: Vec<Label>,
    pub segment_size: i64,
    pub overlap: Option<i64>,
    pub at: DateTime<Utc>,
}

/// A change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateTask {
    pub name: Option<String>,
    /// Only what it is already: tasks do not move.
    pub project_id: Option<Option<i64>>,
    pub owner_id: Option<Option<i64>>,
    pub assignee_id: Option<Option<i64>>,
    pub bug_tracker: Option<String>,
    pub subset: Option<String>,
    pub labels: Vec<LabelPatch>,
    pub at: DateTime<Utc>,
}

/// What a task knows of its data, and how it was cut into jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub size: i64,
    pub segment_size: i64,
    pub overlap: i64,
    pub attached: AttachedData,
}

/// What happened to a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TaskEvent {
    Created(Fact),
    Updated {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default, with = "nullable")]
        owner_id: Option<Option<i64>>,
        #[serde(skip_serializing_if = "Option::is_none", default, with = "nullable")]
        assignee_id: Option<Option<i64>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        bug_tracker: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        subset: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        labels: Option<Vec<Label>>,
        at: DateTime<Utc>,
    },
    DataAttached {
        data: Data,
        at: DateTime<Utc>,
    },
    Followed {
        status: String,
        at: DateTime<Utc>,
    },
    LeftOrganization {
        at: DateTime<Utc>,
    },
    Deleted,
}

/// Why a task refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TaskError {
    #[error("Not found.")]
    NotFound,
    #[error("The task exists already.")]
    Exists,
    #[error("Label set or project_id must be present")]
    NeitherLabelsNorProject,
    #[error("Project must have only one of Label set or project_id")]
    LabelsAndProject,
    #[error("The task has the labels of its project; change them there.")]
    LabelsOfProject,
    #[error("Moving a task to another project is not supported.")]
    Moves,
    #[error("The task has data already.")]
    HasData,
    #[error(transparent)]
    Labels(#[from] LabelError),
}

impl DomainError for TaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "task_exists",
            Self::NeitherLabelsNorProject => "neither_labels_nor_project",
            Self::LabelsAndProject => "labels_and_project",
            Self::LabelsOfProject => "labels_of_project",
            Self::Moves => "task_moves",
            Self::HasData => "task_has_data",
            Self::Labels(error) => error.code(),
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Exists | Self::HasData => Refused::Conflict,
            Self::NeitherLabelsNorProject | Self::LabelsAndProject | Self::LabelsOfProject | Self::Moves => {
                Refused::Invalid
            }
            Self::Labels(error) => error.kind(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotFound | Self::Exists | Self::HasData => None,
            Self::NeitherLabelsNorProject | Self::LabelsAndProject => Some("non_field_errors"),
            Self::LabelsOfProject => Some("labels"),
            Self::Moves => Some("project_id"),
            Self::Labels(error) => error.field(),
        }
    }
}

/// A task's state: nothing before it was created and after it was deleted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Task {
    pub current: Option<Fact>,
    pub deleted: bool,
}

impl Task {
    /// The task while there is one.
    ///
    /// # Errors
    /// When it was never created, or is deleted.
    pub fn alive(&self) -> Result<&Fact, TaskError> {
        self.current.as_ref().filter(|_| !self.deleted).ok_or(TaskError::NotFound)
    }
}

impl Aggregate for Task {
    const KIND: &'static str = "task";
    type Command = TaskCommand;
    type Event = TaskEvent;
    type Error = TaskError;

    fn decide(&self, command: TaskCommand) -> Result<Vec<TaskEvent>, TaskError> {
        match command {
            TaskCommand::Create(create) => match self.current {
                Some(_) => Err(TaskError::Exists),
                None => Ok(vec![TaskEvent::Created(created(*create)?)]),
            },
            TaskCommand::Update(update) => updated(self.alive()?, *update),
            TaskCommand::AttachData { data, at } => {
                if self.alive()?.data.is_some() {
                    return Err(TaskError::HasData);
                }
                Ok(vec![TaskEvent::DataAttached { data, at }])
            }
            TaskCommand::Follow { status, at } => {
                let task = self.alive()?;
                if task.status == status {
                    return Ok(vec![]);
                }
                Ok(vec![TaskEvent::Followed { status, at }])
            }
            TaskCommand::LeaveOrganization { organization_id, at } => match self.alive() {
                Ok(task) if task.organization_id == Some(organization_id) => {
                    Ok(vec![TaskEvent::LeftOrganization { at }])
                }
                // Deleted meanwhile, or elsewhere: there is nothing to leave.
                _ => Ok(vec![]),
            },
            TaskCommand::Delete => self.alive().map(|_| vec![TaskEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &TaskEvent) {
        if let TaskEvent::Created(fact) = event {
            self.current = Some(fact.clone());
        }
        let Some(task) = &mut self.current else { return };
        match event {
            TaskEvent::Created(_) => {}
            TaskEvent::Deleted => self.deleted = true,
            TaskEvent::Followed { status, at } => {
                task.status.clone_from(status);
                task.updated_date = *at;
            }
            TaskEvent::LeftOrganization { at } => {
                task.organization_id = None;
                task.updated_date = *at;
            }
            TaskEvent::DataAttached { data, at } => {
                task.size = Some(data.size);
                task.segment_size = data.segment_size;
                task.overlap = Some(data.overlap);
                task.updated_date = *at;
                task.data = Some(data.attached.clone());
            }
            TaskEvent::Updated { name, owner_id, assignee_id, bug_tracker, subset, labels, at } => {
                if let Some(owner_id) = owner_id {
                    task.owner_id = *owner_id;
                }
                if let Some(assignee_id) = assignee_id {
                    task.assignee_id = *assignee_id;
                    task.assignee_updated_date = Some(*at);
                }
                set(&mut task.name, name);
                set(&mut task.bug_tracker, bug_tracker);
                set(&mut task.subset, subset);
                set(&mut task.labels, labels);
                task.updated_date = *at;
            }
        }
    }
}

fn set<T: Clone>(field: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

fn created(create: CreateTask) -> Result<Fact, TaskError> {
    let mut labels = create.labels;
    match (create.project_id, labels.is_empty()) {
        (None, true) => return Err(TaskError::NeitherLabelsNorProject),
        (Some(_), false) => return Err(TaskError::LabelsAndProject),
        _ => label::check(&mut labels)?,
    }
    Ok(Fact {
        id: create.id,
        name: create.name,
        project_id: create.project_id,
        owner_id: Some(create.owner_id),
        assignee_id: create.assignee_id,
        assignee_updated_date: create.assignee_id.map(|_| create.at),
        bug_tracker: create.bug_tracker,
        subset: create.subset,
        status: "annotation".to_owned(),
        organization_id: create.organization_id,
        labels,
        segment_size: create.segment_size,
        overlap: create.overlap,
        size: None,
        data: None,
        created_date: create.at,
        updated_date: create.at,
    })
}

/// Only what really changes goes into the event; nothing changed is no event.
fn updated(task: &Fact, update: UpdateTask) -> Result<Vec<TaskEvent>, TaskError> {
    if update.project_id.is_some_and(|project_id| project_id != task.project_id) {
        return Err(TaskError::Moves);
    }
    if !update.labels.is_empty() && task.project_id.is_some() {
        return Err(TaskError::LabelsOfProject);
    }
    let labels = match update.labels.is_empty() {
        true => None,
        false => Some(label::patch(&task.labels, update.labels)?).filter(|labels| *labels != task.labels),
    };
    if labels.as_ref().is_some_and(Vec::is_empty) {
        return Err(TaskError::NeitherLabelsNorProject);
    }
    let name = update.name.filter(|name| *name != task.name);
    let owner_id = update.owner_id.filter(|owner| *owner != task.owner_id);
    let assignee_id = update.assignee_id.filter(|assignee| *assignee != task.assignee_id);
    let bug_tracker = update.bug_tracker.filter(|tracker| *tracker != task.bug_tracker);
    let subset = update.subset.filter(|subset| *subset != task.subset);
    let unchanged = name.is_none()
        && owner_id.is_none()
        && assignee_id.is_none()
        && bug_tracker.is_none()
        && subset.is_none()
        && labels.is_none();
    if unchanged {
        return Ok(vec![]);
    }
    let at = update.at;
    Ok(vec![TaskEvent::Updated { name, owner_id, assignee_id, bug_tracker, subset, labels, at }])
}

#[cfg(test)]
mod tests;
