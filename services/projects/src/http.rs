//! The endpoints on the front door.
//!
//! # Add an endpoint
//! 1. Write its handler with `#[utoipa::path]` in the file of its resource.
//! 2. Add a `.service(…)` line here.
//! 3. Run `UPDATE_OPENAPI=1 cargo test -p projects` and commit `openapi.json`.

use utoipa_actix_web::service_config::ServiceConfig;

mod annotation_writes;
mod annotations;
mod fields;
mod jobs;
mod label_writes;
mod labels;
mod projects;
mod requests;
mod task_annotations;
mod tasks;

/// Every endpoint of this service.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(projects::create_project)
        .service(projects::list_projects)
        .service(projects::get_project)
        .service(projects::update_project)
        .service(projects::delete_project)
        .service(tasks::create_task)
        .service(tasks::list_tasks)
        .service(tasks::get_task)
        .service(tasks::update_task)
        .service(tasks::delete_task)
        .service(jobs::list_jobs)
        .service(jobs::get_job)
        .service(jobs::update_job)
        .service(annotations::get_job_annotations)
        .service(annotations::replace_job_annotations)
        .service(annotations::update_job_annotations)
        .service(annotations::delete_job_annotations)
        .service(annotations::list_annotation_versions)
        .service(task_annotations::get_task_annotations)
        .service(task_annotations::replace_task_annotations)
        .service(task_annotations::update_task_annotations)
        .service(task_annotations::delete_task_annotations)
        .service(requests::list_requests)
        .service(requests::get_request)
        .service(requests::cancel_request)
        .service(labels::list_labels)
        .service(labels::get_label)
        .service(labels::update_label)
        .service(labels::delete_label);
}
