#![doc = include_str!("../README.md")]

use bus::Consumer;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

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
        .ids("label")
        .ids("attribute")
        .consumer(directory::consumer())
        .consumer(Consumer::new("reactions", 1).on(reactions::organization_deleted::handle))
        .routes(http::routes)
}
