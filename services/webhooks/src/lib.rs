#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

mod deliveries;
pub mod domain;
mod http;
mod jobs;
mod projections;
mod publish;
mod reactions;
pub mod secrets;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service.
pub fn service() -> Service {
    Service::new("webhooks")
        .migrations(|| MIGRATIONS)
        .aggregate::<domain::webhook::Webhook>(publish::webhook)
        .projection("webhooks", &["webhooks"], projections::webhooks::apply)
        .end()
        .aggregate::<domain::message::Message>(publish::message)
        .end()
        .ids("delivery")
        .consumer(directory::consumer())
        .consumer(projections::known_projects::consumer())
        .consumer(reactions::consumer())
        .on_start(jobs::check_settings)
        .background("deliver", jobs::deliver::run)
        .routes(http::routes)
}
