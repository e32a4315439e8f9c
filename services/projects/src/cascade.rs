//! What a change means for what stands above and below it: a status goes up, a deletion goes down. Each step is
//! an ordinary command, all in the unit of the change itself.
//!
//! Streams are locked from below: jobs, their task, its project.

use chrono::{DateTime, Utc};
use event_store::{ExecuteError, StoreError, Unit};

use crate::domain::annotations::{Annotations, AnnotationsCommand, AnnotationsError};
use crate::domain::job::{Job, JobCommand, JobError};
use crate::domain::project::{Project, ProjectCommand, ProjectError};
use crate::domain::request::{Request, RequestCommand, RequestError};
use crate::domain::task::{Task, TaskCommand, TaskError};
use crate::projections::{jobs, project_tasks, requests, task_jobs, tasks};

/// What an answer to a person and an answer to an event both can say.
pub trait Failure:
    From<StoreError>
    + From<ExecuteError<JobError>>
    + From<ExecuteError<AnnotationsError>>
    + From<ExecuteError<TaskError>>
    + From<ExecuteError<ProjectError>>
    + From<ExecuteError<RequestError>>
{
}

impl<E> Failure for E where
    E: From<StoreError>
        + From<ExecuteError<JobError>>
        + From<ExecuteError<AnnotationsError>>
        + From<ExecuteError<AnnotationsError>>
        + From<ExecuteError<TaskError>>
        + From<ExecuteError<ProjectError>>
        + From<ExecuteError<RequestError>>
{
}

/// A job's stage or state changed: its task, and then the task's project, follow.
pub async fn job_changed<E: Failure>(unit: &mut Unit, task_id: i64, at: DateTime<Utc>) -> Result<(), E> {
    let status = task_jobs::of(unit.tx(), task_id).await?.status().to_owned();
    let before = unit.load::<Task>(task_id).await?.unwrap_or_default();
    let task = unit.execute::<Task>(task_id, TaskCommand::Follow { status, at }).await?.state;
    let unchanged = |task: &Task| task.current.as_ref().map(|fact| fact.status.clone());
    match task.current.as_ref().and_then(|fact| fact.project_id) {
        Some(project_id) if unchanged(&before) != unchanged(&task) => {
            tasks_changed(unit, project_id, at).await
        }
        _ => Ok(()),
    }
}

/// A project's tasks changed: the project follows.
pub async fn tasks_changed<E: Failure>(unit: &mut Unit, project_id: i64, at: DateTime<Utc>) -> Result<(), E> {
    // First, so that of two tasks that change at once the second sees the first.
    unit.load::<Project>(project_id).await?;
    let totals = project_tasks::of(unit.tx(), [project_id]).await?.remove(&project_id).unwrap_or_default();
    let follow = ProjectCommand::Follow { status: totals.status().to_owned(), at };
    unit.execute::<Project>(project_id, follow).await?;
    Ok(())
}

/// Deletes a task and all that is in it; its project follows.
pub async fn delete_task<E: Failure>(unit: &mut Unit, task_id: i64) -> Result<(), E> {
    let at = unit.store().clock().now();
    let task = delete_task_alone::<E>(unit, task_id, at).await?;
    match task.current.and_then(|fact| fact.project_id) {
        Some(project_id) => tasks_changed(unit, project_id, at).await,
        None => Ok(()),
    }
}

/// Deletes a project and all that is in it.
pub async fn delete_project<E: Failure>(unit: &mut Unit, project_id: i64) -> Result<(), E> {
    let at = unit.store().clock().now();
    // First of all, so that nobody puts a task into it meanwhile.
    unit.load::<Project>(project_id).await?;
    for task_id in tasks::ids_of_project(unit.tx(), project_id).await? {
        delete_task_alone::<E>(unit, task_id, at).await?;
    }
    unit.execute::<Project>(project_id, ProjectCommand::Delete).await?;
    Ok(())
}

async fn delete_task_alone<E: Failure>(unit: &mut Unit, task_id: i64, at: DateTime<Utc>) -> Result<Task, E> {
    // First of all, so that nobody cuts it into jobs meanwhile.
    unit.load::<Task>(task_id).await?;
    for job_id in jobs::ids_of_task(unit.tx(), task_id).await? {
        delete_job::<E>(unit, job_id).await?;
    }
    for request in requests::running_of_task(unit.tx(), task_id).await? {
        let fail = RequestCommand::Fail { message: "The task was deleted.".to_owned(), at };
        unit.execute::<Request>(request, fail).await?;
    }
    Ok(unit.execute::<Task>(task_id, TaskCommand::Delete).await?.state)
}

/// Deletes a job and all that is in it. The one place where a job ends.
async fn delete_job<E: Failure>(unit: &mut Unit, job_id: i64) -> Result<(), E> {
    unit.execute::<Job>(job_id, JobCommand::Delete).await?;
    unit.execute::<Annotations>(job_id, AnnotationsCommand::Forget).await?;
    Ok(())
}
