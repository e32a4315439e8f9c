#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

mod cascade;
pub mod domain;
mod http;
mod projections;
mod publish;
mod reactions;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service.
pub fn service() -> Service {
    Service::new("projects")
        .migrations(|| MIGRATIONS)
        .aggregate::<domain::project::Project>(publish::project)
        .projection("projects", &["projects"], projections::projects::apply)
        .projection("labels", &["labels"], projections::labels::apply)
        .end()
        .aggregate::<domain::task::Task>(publish::task)
        .projection("tasks", &["tasks"], projections::tasks::apply)
        .projection("task_labels", &["task_labels"], projections::task_labels::apply)
        .projection("project_tasks", &["project_tasks"], projections::project_tasks::apply)
        .end()
        .aggregate::<domain::job::Job>(publish::job)
        .projection("jobs", &["jobs"], projections::jobs::apply)
        .projection("task_jobs", &["task_jobs"], projections::task_jobs::apply)
        .projection("project_jobs", &["project_jobs"], projections::project_jobs::apply)
        .end()
        .aggregate::<domain::annotations::Annotations>(publish::annotations)
        .projection("annotations", &["annotations"], projections::annotations::apply)
        .projection("annotation_versions", &["annotation_versions"], projections::annotation_versions::apply)
        .end()
        .aggregate::<domain::request::Request>(publish::request)
        .projection("requests", &["requests"], projections::requests::apply)
        .end()
        .ids("label")
        .ids("attribute")
        .consumer(directory::consumer())
        .consumer(reactions::consumer())
        .routes(http::routes)
}
