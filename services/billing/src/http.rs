//! The endpoints: on the front door, and on the mesh port for peers.

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

mod api_usage;
mod assets;
mod limits;
mod page;
mod reservations;
mod sight;
mod time;
mod usage;

/// Every endpoint. To add one to the API: a handler with `#[utoipa::path]` in its resource's file, a line here,
/// then `UPDATE_OPENAPI=1 cargo test -p billing`. Pages are no part of the API.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(usage::get_usage)
        .service(limits::list_limits)
        .service(limits::put_limit)
        .service(limits::delete_limit)
        .map(page::routes)
        .map(assets::routes);
}

/// What peers call.
pub fn mesh_routes(config: &mut web::ServiceConfig) {
    config
        .route("/internal/reservations", web::post().to(reservations::reserve))
        .route("/internal/reservations/{id}", web::delete().to(reservations::release))
        .route("/internal/api-usage", web::post().to(api_usage::report));
}
