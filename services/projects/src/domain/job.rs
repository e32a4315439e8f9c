//! A job: a stretch of a task's frames, with somebody who annotates it, a stage and a state.

use chrono::{DateTime, Utc};
use contracts::projects::Job as Fact;
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::nullable;

/// What is done with a job, in this order.
pub const STAGES: &[&str] = &["annotation", "validation", "acceptance"];

/// How far that is.
pub const STATES: &[&str] = &["new", "in progress", "completed", "rejected"];

/// What stage and state mean together; also what a task and a project have.
pub const STATUSES: &[&str] = &["annotation", "validation", "completed"];

/// What is asked of a job.
#[derive(Clone, Debug)]
pub enum JobCommand {
    Create(CreateJob),
    Update(UpdateJob),
    /// Its annotations changed.
    Touch {
        at: DateTime<Utc>,
    },
    /// Its task's organization is gone.
    LeaveOrganization {
        organization_id: i64,
        at: DateTime<Utc>,
    },
    Delete,
}

/// A new job.
#[derive(Clone, Debug)]
pub struct CreateJob {
    pub id: i64,
    pub task_id: i64,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
    pub start_frame: i64,
    pub stop_frame: i64,
    pub at: DateTime<Utc>,
}

/// A change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateJob {
    pub assignee_id: Option<Option<i64>>,
    pub stage: Option<String>,
    pub state: Option<String>,
    pub at: DateTime<Utc>,
}

/// What happened to a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum JobEvent {
    Created(Fact),
    Updated {
        #[serde(skip_serializing_if = "Option::is_none", default, with = "nullable")]
        assignee_id: Option<Option<i64>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        stage: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        state: Option<String>,
        at: DateTime<Utc>,
    },
    Touched {
        at: DateTime<Utc>,
    },
    LeftOrganization {
        at: DateTime<Utc>,
    },
    Deleted,
}

/// Why a job refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    #[error("Not found.")]
    NotFound,
    #[error("The job exists already.")]
    Exists,
    #[error("\"{0}\" is not a valid choice.")]
    UnknownStage(String),
    #[error("\"{0}\" is not a valid choice.")]
    UnknownState(String),
}

impl DomainError for JobError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "job_exists",
            Self::UnknownStage(_) => "unknown_stage",
            Self::UnknownState(_) => "unknown_state",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Exists => Refused::Conflict,
            Self::UnknownStage(_) | Self::UnknownState(_) => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotFound | Self::Exists => None,
            Self::UnknownStage(_) => Some("stage"),
            Self::UnknownState(_) => Some("state"),
        }
    }
}

/// What stage and state mean together.
pub fn status(stage: &str, state: &str) -> &'static str {
    match (stage, state) {
        ("annotation", _) => "annotation",
        ("acceptance", "completed") => "completed",
        _ => "validation",
    }
}

/// The status of what consists of `all` parts: as far as the part that is least far.
pub fn status_of_all(all: i64, in_annotation: i64, completed: i64) -> &'static str {
    if all == 0 || in_annotation > 0 {
        "annotation"
    } else if completed == all {
        "completed"
    } else {
        "validation"
    }
}

/// A job's state: nothing before it was created and after it was deleted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Job {
    pub current: Option<Fact>,
    pub deleted: bool,
}

impl Job {
    /// The job while there is one.
    ///
    /// # Errors
    /// When it was never created, or is deleted.
    pub fn alive(&self) -> Result<&Fact, JobError> {
        self.current.as_ref().filter(|_| !self.deleted).ok_or(JobError::NotFound)
    }
}

impl Aggregate for Job {
    const KIND: &'static str = "job";
    type Command = JobCommand;
    type Event = JobEvent;
    type Error = JobError;

    fn decide(&self, command: JobCommand) -> Result<Vec<JobEvent>, JobError> {
        match command {
            JobCommand::Create(create) => match self.current {
                Some(_) => Err(JobError::Exists),
                None => Ok(vec![JobEvent::Created(created(create))]),
            },
            JobCommand::Update(update) => updated(self.alive()?, update),
            JobCommand::Touch { at } => self.alive().map(|_| vec![JobEvent::Touched { at }]),
            JobCommand::LeaveOrganization { organization_id, at } => match self.alive() {
                Ok(job) if job.organization_id == Some(organization_id) => {
                    Ok(vec![JobEvent::LeftOrganization { at }])
                }
                // Deleted meanwhile, or elsewhere: there is nothing to leave.
                _ => Ok(vec![]),
            },
            JobCommand::Delete => self.alive().map(|_| vec![JobEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &JobEvent) {
        if let JobEvent::Created(fact) = event {
            self.current = Some(fact.clone());
        }
        let Some(job) = &mut self.current else { return };
        match event {
            JobEvent::Created(_) => {}
            JobEvent::Deleted => self.deleted = true,
            JobEvent::Touched { at } => job.updated_date = *at,
            JobEvent::LeftOrganization { at } => {
                job.organization_id = None;
                job.updated_date = *at;
            }
            JobEvent::Updated { assignee_id, stage, state, at } => {
                if let Some(assignee_id) = assignee_id {
                    job.assignee_id = *assignee_id;
                    job.assignee_updated_date = Some(*at);
                }
                if let Some(stage) = stage {
                    job.stage.clone_from(stage);
                }
                if let Some(state) = state {
                    job.state.clone_from(state);
                }
                status(&job.stage, &job.state).clone_into(&mut job.status);
                job.updated_date = *at;
            }
        }
    }
}

fn created(create: CreateJob) -> Fact {
    Fact {
        id: create.id,
        task_id: create.task_id,
        project_id: create.project_id,
        organization_id: create.organization_id,
        assignee_id: None,
        assignee_updated_date: None,
        stage: "annotation".to_owned(),
        state: "new".to_owned(),
        status: "annotation".to_owned(),
        job_type: "annotation".to_owned(),
        start_frame: create.start_frame,
        stop_frame: create.stop_frame,
        created_date: create.at,
        updated_date: create.at,
    }
}

/// Only what really changes goes into the event. A new stage begins anew unless the client says otherwise.
fn updated(job: &Fact, update: UpdateJob) -> Result<Vec<JobEvent>, JobError> {
    if let Some(stage) = update.stage.as_deref().filter(|stage| !STAGES.contains(stage)) {
        return Err(JobError::UnknownStage(stage.to_owned()));
    }
    if let Some(state) = update.state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(JobError::UnknownState(state.to_owned()));
    }
    let assignee_id = update.assignee_id.filter(|assignee| *assignee != job.assignee_id);
    let stage = update.stage.filter(|stage| *stage != job.stage);
    let state = update.state.or_else(|| stage.as_ref().map(|_| "new".to_owned()));
    let state = state.filter(|state| *state != job.state);
    if assignee_id.is_none() && stage.is_none() && state.is_none() {
        return Ok(vec![]);
    }
    Ok(vec![JobEvent::Updated { assignee_id, stage, state, at: update.at }])
}

#[cfg(test)]
mod tests;
