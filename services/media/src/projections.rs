//! What this service knows of projects' things: one consumer, three tables.

use bus::Consumer;
use contracts::projects::{
    JobCreated, JobDeleted, JobUpdated, ProjectCreated, ProjectDeleted, ProjectUpdated, TaskCreated,
    TaskDeleted, TaskUpdated,
};

pub mod known_jobs;
pub mod known_projects;
pub mod known_tasks;

/// The consumer that keeps the tables.
pub fn consumer() -> Consumer {
    Consumer::new("known", 1)
        .feeds(&["known_projects", "known_tasks", "known_jobs"])
        .on::<ProjectCreated>(|unit, _, event| {
            Box::pin(async move { Ok(known_projects::put(unit.tx(), &event.project).await?) })
        })
        .on::<ProjectUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(known_projects::put(unit.tx(), &event.project).await?) })
        })
        .on::<ProjectDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(known_projects::delete(unit.tx(), event.project.id).await?) })
        })
        .on::<TaskCreated>(|unit, _, event| {
            Box::pin(async move { Ok(known_tasks::put(unit.tx(), &event.task).await?) })
        })
        .on::<TaskUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(known_tasks::put(unit.tx(), &event.task).await?) })
        })
        .on::<TaskDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(known_tasks::delete(unit.tx(), event.task.id).await?) })
        })
        .on::<JobCreated>(|unit, _, event| {
            Box::pin(async move { Ok(known_jobs::put(unit.tx(), &event.job).await?) })
        })
        .on::<JobUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(known_jobs::put(unit.tx(), &event.job).await?) })
        })
        .on::<JobDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(known_jobs::delete(unit.tx(), event.job.id).await?) })
        })
}
