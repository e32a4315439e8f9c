//! The endpoints. To add one: write its handler with `#[utoipa::path]` and actix's macro in its resource's
//! file, list it here, and run `UPDATE_OPENAPI=1 cargo test -p identity`.

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

pub mod clearml;
pub mod exchange;
pub mod find;
pub mod memberships;
pub mod organizations;
pub mod passwords;
pub mod registration;
pub mod sessions;
pub mod users;

/// The front door.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(sessions::log_in)
        .service(sessions::log_out)
        .service(registration::register_user)
        .service(passwords::change_password)
        // Before `{id}`, which would take `self` for one.
        .service(users::get_self)
        .service(users::list_users)
        .service(users::get_user)
        .service(users::update_user)
        .service(users::delete_user)
        .service(organizations::create_organization)
        .service(organizations::list_organizations)
        .service(organizations::get_organization)
        .service(organizations::update_organization)
        .service(organizations::delete_organization)
        .service(memberships::list_memberships)
        .service(memberships::get_membership)
        .service(memberships::update_membership)
        .service(memberships::delete_membership)
        .service(clearml::ClearMl);
}

/// The mesh port.
pub fn mesh_routes(config: &mut web::ServiceConfig) {
    config
        .route("/internal/exchange", web::post().to(exchange::exchange))
        .route("/internal/jwks", web::get().to(exchange::list_keys));
}
