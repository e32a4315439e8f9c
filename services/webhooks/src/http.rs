//! The endpoints on the front door.
//!
//! # Add an endpoint
//! 1. Write its handler with `#[utoipa::path]` in the file of its resource.
//! 2. Add a `.service(…)` line here.
//! 3. Run `UPDATE_OPENAPI=1 cargo test -p webhooks` and commit `openapi.json`.

use utoipa_actix_web::service_config::ServiceConfig;

mod deliveries;
mod events;
mod ping;
mod webhooks;
mod write;

/// Every endpoint of this service. `events` comes before `{id}`, which would match it too.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(events::list_events)
        .service(webhooks::create_webhook)
        .service(webhooks::list_webhooks)
        .service(webhooks::get_webhook)
        .service(webhooks::replace_webhook)
        .service(webhooks::update_webhook)
        .service(webhooks::delete_webhook)
        .service(ping::ping_webhook)
        .service(deliveries::list_deliveries)
        .service(deliveries::get_delivery)
        .service(deliveries::redeliver);
}
