//! The endpoints, one file a resource.

use utoipa_actix_web::service_config::ServiceConfig;

mod access;
mod data;
mod deleted_frames;
mod finish;
mod health;
mod meta;
mod names;
mod previews;
mod receive;
mod send;
mod serve;
mod start;
mod status;
mod tus;
mod zip;

pub use health::mesh_routes;

/// All of them.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(meta::get_task_meta)
        .service(meta::update_task_meta)
        .service(meta::get_job_meta)
        .service(meta::update_job_meta)
        .service(data::get_task_data)
        .service(data::get_job_data)
        .service(send::send_task_data)
        .service(tus::tus_options)
        .service(tus::tus_file_options)
        .service(tus::get_tus_offset)
        .service(tus::append_to_tus)
        .service(previews::get_task_preview)
        .service(previews::get_job_preview)
        .service(previews::get_project_preview)
        .service(status::get_task_status);
}
