#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

mod consumers;
mod event;
mod http;
mod sight;

/// The log of everything that arrived, in the order of arrival.
pub(crate) const ARRIVALS: &str = "event";

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Everything that analytics is made of.
pub fn service() -> Service {
    Service::new("analytics")
        .migrations(|| MIGRATIONS)
        .numbered_log(ARRIVALS)
        .consumer(directory::consumer())
        .consumer(consumers::events::consumer())
        .background("numbering", consumers::events::wake_sequencer)
        .routes(http::routes)
}
