#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::Service;

mod consumers;
pub mod domain;
mod http;
mod jobs;
pub mod meters;
mod projections;
mod publish;
mod quotas;
mod reactions;
pub mod usage;

use domain::api_usage::ApiUsage;
use domain::entitlement::Entitlement;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service.
pub fn service() -> Service {
    Service::new("billing")
        .migrations(|| MIGRATIONS)
        .aggregate::<Entitlement>(publish::entitlement)
        .projection("entitlements", service_kit::entitlements::TABLES, projections::entitlements::apply)
        .end()
        .aggregate::<ApiUsage>(publish::api_usage)
        .end()
        // First, because whoever asks for a place may have to wait for what it knows of identity.
        .consumer(reactions::consumer())
        .consumer(consumers::usage::consumer())
        .background("expire", jobs::expire::run)
        .routes(http::routes)
        .mesh_routes(http::mesh_routes)
}
