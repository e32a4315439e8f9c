//! The endpoints on the front door.

use utoipa_actix_web::service_config::ServiceConfig;

mod events;
mod live;
mod places;
mod query;

/// Every endpoint. To add one: a handler with `#[utoipa::path]` in its resource's file, a line here, then
/// `UPDATE_OPENAPI=1 cargo test -p analytics`.
pub fn routes(config: &mut ServiceConfig) {
    config.service(events::list_events).service(live::tail_events);
}
