#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service.
pub fn service() -> Service {
    Service::new("media").migrations(|| MIGRATIONS).consumer(directory::consumer())
}
