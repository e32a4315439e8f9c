//! The endpoints on the front door.

use utoipa_actix_web::service_config::ServiceConfig;

mod assets;
mod documents;
mod mesh;
mod pages;
mod server;

/// Every endpoint. To add one to the API: a handler with `#[utoipa::path]` in its resource's file, a line here,
/// then `UPDATE_OPENAPI=1 cargo test -p gateway`. Pages are no part of the API.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(server::about)
        .service(server::plugins)
        .service(server::formats)
        .service(server::health)
        .service(documents::get_openapi)
        .service(documents::list_documents)
        .service(documents::get_document)
        .service(documents::asyncapi)
        .service(documents::get_schema)
        .map(pages::routes)
        .map(mesh::routes)
        .map(assets::routes);
}
