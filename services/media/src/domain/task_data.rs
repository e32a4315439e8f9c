//! A task's data: from the first byte that a client sends until the task is gone.
//!
//! ```text
//! none ─▶ receiving ─▶ submitted ─▶ prepared ─▶ removed
//!  ▲          │ │          └─▶ failed ─▶ receiving …
//!  └─expired──┘ └─ (started anew)
//! ```
//! Frames are not in here but in the table `frame_index`: a task may have more of them than an event may have bytes.

use chrono::{DateTime, Utc};
use contracts::media::TaskData as Fact;
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::options::Options;

/// What is asked of a task's data. `organization_id` is the task's, and becomes its events'.
#[derive(Clone, Debug)]
pub struct TaskDataCommand {
    pub organization_id: Option<i64>,
    pub at: DateTime<Utc>,
    pub action: Action,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// A client begins to send, perhaps not for the first time.
    Begin,
    /// Something arrived.
    Receive,
    /// Everything was sent.
    Submit { request_id: String, options: Options },
    /// Pictures were looked at.
    Progress { request_id: String, done: i64, total: i64 },
    /// All pictures are fine.
    Prepare { request_id: String, data: Box<Fact> },
    /// One is not.
    Fail { request_id: String, message: String },
    /// The client has gone away.
    Expire,
    /// These frames, and no others, are marked as deleted.
    DeleteFrames { frames: Vec<i64> },
    /// The task is gone.
    Remove,
}

/// What happened to a task's data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Occurred {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organization_id: Option<i64>,
    pub at: DateTime<Utc>,
}

/// What happened to a task's data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TaskDataEvent {
    Begun {
        occurred: Occurred,
    },
    Submitted {
        occurred: Occurred,
        request_id: String,
        options: Options,
    },
    Progressed {
        occurred: Occurred,
        done: i64,
        total: i64,
    },
    Prepared {
        occurred: Occurred,
        data: Box<Fact>,
    },
    Failed {
        occurred: Occurred,
        message: String,
    },
    Expired {
        occurred: Occurred,
    },
    FramesDeleted {
        occurred: Occurred,
        /// First and last of each run.
        ranges: Vec<(i64, i64)>,
    },
    Removed {
        occurred: Occurred,
    },
}

/// Why it refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TaskDataError {
    #[error("Adding more data is not supported.")]
    Exists,
    #[error("The data of this task is being imported.")]
    Busy,
    #[error("No data was sent for this task.")]
    NothingSent,
    #[error("Not found.")]
    NotFound,
    #[error("The frame number should be in the [0, {0}] range")]
    OutOfRange(i64),
    #[error("The import is not the one that is under way.")]
    Superseded,
}

impl DomainError for TaskDataError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "data_exists",
            Self::Busy => "import_running",
            Self::NothingSent => "no_data",
            Self::NotFound => "not_found",
            Self::OutOfRange(_) => "frame_out_of_range",
            Self::Superseded => "import_superseded",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Busy | Self::Superseded => Refused::Conflict,
            Self::Exists | Self::NothingSent | Self::OutOfRange(_) => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::OutOfRange(_) => Some("deleted_frames"),
            _ => None,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    None,
    Receiving,
    Submitted,
    Prepared,
    Failed,
    Removed,
}

/// A task's data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskData {
    pub stage: Stage,
    /// The newest import.
    pub request_id: Option<String>,
    pub options: Option<Options>,
    /// How many pictures were looked at, and of how many.
    pub progress: (i64, i64),
    /// Why the newest import failed.
    pub failure: Option<String>,
    pub data: Option<Fact>,
    pub prepared_at: Option<DateTime<Utc>>,
    /// Runs of frames that are marked as deleted.
    pub deleted: Vec<(i64, i64)>,
}

impl TaskData {
    /// The frames that are marked as deleted, rising.
    pub fn deleted_frames(&self) -> impl Iterator<Item = i64> {
        self.deleted.iter().flat_map(|(first, last)| *first..=*last)
    }

    fn at_work(&self, request_id: &str) -> Result<(), TaskDataError> {
        match self.stage == Stage::Submitted && self.request_id.as_deref() == Some(request_id) {
            true => Ok(()),
            false => Err(TaskDataError::Superseded),
        }
    }

    /// What keeps a client from sending.
    fn open(&self) -> Result<(), TaskDataError> {
        match self.stage {
            Stage::None | Stage::Receiving | Stage::Failed => Ok(()),
            Stage::Submitted => Err(TaskDataError::Busy),
            Stage::Prepared => Err(TaskDataError::Exists),
            Stage::Removed => Err(TaskDataError::NotFound),
        }
    }
}

impl Aggregate for TaskData {
    const KIND: &'static str = "task_data";
    type Command = TaskDataCommand;
    type Event = TaskDataEvent;
    type Error = TaskDataError;

    fn decide(&self, command: TaskDataCommand) -> Result<Vec<TaskDataEvent>, TaskDataError> {
        let TaskDataCommand { organization_id, at, action } = command;
        let occurred = Occurred { organization_id, at };
        let event = match action {
            Action::Begin | Action::Receive => {
                self.open()?;
                match self.stage {
                    Stage::Receiving => return Ok(vec![]),
                    _ => TaskDataEvent::Begun { occurred },
                }
            }
            Action::Submit { request_id, options } => match self.stage {
                Stage::Receiving => TaskDataEvent::Submitted { occurred, request_id, options },
                Stage::None | Stage::Failed => return Err(TaskDataError::NothingSent),
                _ => {
                    self.open()?;
                    return Ok(vec![]);
                }
            },
            Action::Progress { request_id, done, total } => {
                self.at_work(&request_id)?;
                match self.progress == (done, total) {
                    true => return Ok(vec![]),
                    false => TaskDataEvent::Progressed { occurred, done, total },
                }
            }
            Action::Prepare { request_id, data } => {
                self.at_work(&request_id)?;
                TaskDataEvent::Prepared { occurred, data }
            }
            Action::Fail { request_id, message } => {
                self.at_work(&request_id)?;
                TaskDataEvent::Failed { occurred, message }
            }
            Action::Expire => match self.stage {
                Stage::Receiving => TaskDataEvent::Expired { occurred },
                _ => return Ok(vec![]),
            },
            Action::DeleteFrames { frames } => {
                let size = self.data.as_ref().filter(|_| self.stage == Stage::Prepared);
                let size = size.ok_or(TaskDataError::NotFound)?.size;
                if frames.iter().any(|frame| !(0..size).contains(frame)) {
                    return Err(TaskDataError::OutOfRange(size - 1));
                }
                let ranges = runs(frames);
                match ranges == self.deleted {
                    true => return Ok(vec![]),
                    false => TaskDataEvent::FramesDeleted { occurred, ranges },
                }
            }
            // Also when nothing was sent: an upload that is under way must not begin it.
            Action::Remove => match self.stage {
                Stage::Removed => return Ok(vec![]),
                _ => TaskDataEvent::Removed { occurred },
            },
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: &TaskDataEvent) {
        match event {
            TaskDataEvent::Begun { .. } => {
                *self = Self { stage: Stage::Receiving, ..Self::default() };
            }
            TaskDataEvent::Submitted { request_id, options, .. } => {
                self.stage = Stage::Submitted;
                self.request_id = Some(request_id.clone());
                self.options = Some(options.clone());
            }
            TaskDataEvent::Progressed { done, total, .. } => self.progress = (*done, *total),
            TaskDataEvent::Prepared { occurred, data } => {
                self.stage = Stage::Prepared;
                self.data = Some((**data).clone());
                self.prepared_at = Some(occurred.at);
            }
            TaskDataEvent::Failed { message, .. } => {
                self.stage = Stage::Failed;
                self.failure = Some(message.clone());
            }
            TaskDataEvent::Expired { .. } => *self = Self::default(),
            TaskDataEvent::FramesDeleted { ranges, .. } => self.deleted.clone_from(ranges),
            TaskDataEvent::Removed { .. } => *self = Self { stage: Stage::Removed, ..Self::default() },
        }
    }
}

/// Sorted numbers as runs of neighbours, so that a long list stays small.
fn runs(mut frames: Vec<i64>) -> Vec<(i64, i64)> {
    frames.sort_unstable();
    frames.dedup();
    let mut runs: Vec<(i64, i64)> = vec![];
    for frame in frames {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == frame => *last = frame,
            _ => runs.push((frame, frame)),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
