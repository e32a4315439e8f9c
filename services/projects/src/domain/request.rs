//! Something that runs in the background for a person, who polls it by its id: here, the import of a task's
//! data, which media carries out and tells of.

use chrono::{DateTime, Utc};
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

/// What is told of a request, or asked of it.
#[derive(Clone, Debug)]
pub enum RequestCommand {
    Submit(Submitted),
    /// It goes on; `progress` is from 0 to 1.
    Progress {
        progress: f64,
        at: DateTime<Utc>,
    },
    Finish {
        at: DateTime<Utc>,
    },
    Fail {
        message: String,
        at: DateTime<Utc>,
    },
    /// Its owner does not want it any more.
    Cancel,
}

/// What was asked for, by whom, about what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// What is polled; begins with the name of the service that gave it out.
    pub request_id: String,
    /// `create`.
    pub action: String,
    /// `task`.
    pub target: String,
    pub project_id: Option<i64>,
    pub task_id: Option<i64>,
    /// Absent when the mesh asked by itself.
    pub owner_id: Option<i64>,
    pub at: DateTime<Utc>,
}

/// What happened to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum RequestEvent {
    Submitted(Submitted),
    Progressed { progress: f64, at: DateTime<Utc> },
    Finished { at: DateTime<Utc> },
    Failed { message: String, at: DateTime<Utc> },
    CancelWished,
}

/// Why a request refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("Not found.")]
    NotFound,
    #[error("The request exists already.")]
    Exists,
    #[error("Only requests that have not yet been started can be cancelled")]
    Started,
}

impl DomainError for RequestError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "request_exists",
            Self::Started => "request_started",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Exists => Refused::Conflict,
            Self::Started => Refused::Invalid,
        }
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Queued,
    Started,
    Finished,
    Failed,
}

impl Status {
    /// The word that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing can happen to it any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed)
    }
}

/// A request's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    pub submitted: Option<Submitted>,
    pub status: Status,
    pub message: String,
    pub progress: Option<f64>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cancel_wished: bool,
}

impl Aggregate for Request {
    const KIND: &'static str = "request";
    type Command = RequestCommand;
    type Event = RequestEvent;
    type Error = RequestError;

    fn decide(&self, command: RequestCommand) -> Result<Vec<RequestEvent>, RequestError> {
        if let RequestCommand::Submit(submitted) = command {
            return match self.submitted {
                Some(_) => Err(RequestError::Exists),
                None => Ok(vec![RequestEvent::Submitted(submitted)]),
            };
        }
        if self.submitted.is_none() {
            return Err(RequestError::NotFound);
        }
        Ok(match command {
            RequestCommand::Cancel if self.status != Status::Queued => return Err(RequestError::Started),
            RequestCommand::Cancel if self.cancel_wished => vec![],
            RequestCommand::Cancel => vec![RequestEvent::CancelWished],
            // What is over stays as it is.
            _ if self.status.is_over() => vec![],
            RequestCommand::Progress { progress, at } => {
                vec![RequestEvent::Progressed { progress: progress.clamp(0.0, 1.0), at }]
            }
            RequestCommand::Finish { at } => vec![RequestEvent::Finished { at }],
            RequestCommand::Fail { message, at } => vec![RequestEvent::Failed { message, at }],
            RequestCommand::Submit(_) => vec![],
        })
    }

    fn apply(&mut self, event: &RequestEvent) {
        match event {
            RequestEvent::Submitted(submitted) => self.submitted = Some(submitted.clone()),
            RequestEvent::Progressed { progress, at } => {
                self.status = Status::Started;
                self.started_at.get_or_insert(*at);
                self.progress = Some(*progress);
            }
            RequestEvent::Finished { at } => {
                self.status = Status::Finished;
                self.started_at.get_or_insert(*at);
                self.finished_at = Some(*at);
                self.progress = Some(1.0);
            }
            RequestEvent::Failed { message, at } => {
                self.status = Status::Failed;
                self.finished_at = Some(*at);
                self.message.clone_from(message);
            }
            RequestEvent::CancelWished => self.cancel_wished = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
    }

    fn submit() -> RequestCommand {
        RequestCommand::Submit(Submitted {
            request_id: "media.task-data.1.x".into(),
            action: "create".into(),
            target: "task".into(),
            project_id: None,
            task_id: Some(1),
            owner_id: Some(7),
            at: at(0),
        })
    }

    fn progress(progress: f64) -> RequestCommand {
        RequestCommand::Progress { progress, at: at(1) }
    }

    fn fail() -> RequestCommand {
        RequestCommand::Fail { message: "cat.jpg is no picture".into(), at: at(3) }
    }

    fn given(commands: impl IntoIterator<Item = RequestCommand>) -> Request {
        let mut request = Request::default();
        for command in commands {
            for event in request.decide(command).unwrap() {
                request.apply(&serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap());
            }
        }
        request
    }

    #[test]
    fn it_is_queued_then_started_then_finished() {
        assert_eq!(given([submit()]).status, Status::Queued);
        let started = given([submit(), progress(0.25)]);
        assert_eq!((started.status, started.progress), (Status::Started, Some(0.25)));
        let finished = given([submit(), progress(0.5), RequestCommand::Finish { at: at(2) }]);
        assert_eq!((finished.status, finished.progress), (Status::Finished, Some(1.0)));
        assert_eq!((finished.started_at, finished.finished_at), (Some(at(1)), Some(at(2))));
    }

    #[test]
    fn a_failure_says_why_and_is_the_end() {
        let failed = given([submit(), fail(), RequestCommand::Finish { at: at(4) }, progress(0.1)]);
        assert_eq!((failed.status, failed.message.as_str()), (Status::Failed, "cat.jpg is no picture"));
        assert_eq!(failed.finished_at, Some(at(3)));
    }

    #[test]
    fn only_what_has_not_begun_is_cancelled() {
        assert!(given([submit(), RequestCommand::Cancel, RequestCommand::Cancel]).cancel_wished);
        let started = given([submit(), progress(0.1)]);
        assert_eq!(started.decide(RequestCommand::Cancel).unwrap_err(), RequestError::Started);
        let failed = given([submit(), fail()]);
        assert_eq!(failed.decide(RequestCommand::Cancel).unwrap_err(), RequestError::Started);
    }

    #[test]
    fn what_is_not_there_refuses_everything() {
        for command in [progress(0.1), fail(), RequestCommand::Cancel] {
            assert_eq!(Request::default().decide(command).unwrap_err(), RequestError::NotFound);
        }
        assert_eq!(given([submit()]).decide(submit()).unwrap_err(), RequestError::Exists);
    }
}
