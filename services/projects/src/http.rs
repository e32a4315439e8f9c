//! The endpoints on the front door.
//!
//! # Add an endpoint
//! 1. Write its handler with `#[utoipa::path]` in the file of its resource.
//! 2. Add a `.service(…)` line here.
//! 3. Run `UPDATE_OPENAPI=1 cargo test -p projects` and commit `openapi.json`.

use utoipa_actix_web::service_config::ServiceConfig;

mod labels;
mod projects;

/// Every endpoint of this service.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(projects::create_project)
        .service(projects::list_projects)
        .service(projects::get_project)
        .service(projects::update_project)
        .service(projects::delete_project)
        .service(labels::list_labels)
        .service(labels::get_label)
        .service(labels::update_label)
        .service(labels::delete_label);
}
