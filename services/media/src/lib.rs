#![doc = include_str!("../README.md")]

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::{Service, directory};

mod blobs;
mod buffer;
mod derived;
pub mod domain;
mod frames;
mod http;
mod jobs;
mod keeping;
mod media;
pub mod pictures;
mod projections;
mod publish;
mod reactions;
mod remains;
mod reserve;
mod spool;
mod storage;
mod uploads;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service.
pub fn service() -> Service {
    Service::new("media")
        .migrations(|| MIGRATIONS)
        .aggregate::<domain::task_data::TaskData>(publish::task_data)
        .end()
        .aggregate::<domain::storage::Storage>(publish::storage)
        .end()
        .consumer(directory::consumer())
        .consumer(projections::consumer())
        .consumer(reactions::consumer())
        .entitlements()
        .on_start(media::start)
        .background("prepare", jobs::prepare_all)
        .background("release", jobs::release_all)
        .background("expire", jobs::expire_all)
        .background("sweep", jobs::sweep_all)
        .background("incoming", media::sweep_incoming)
        .routes(http::routes)
        .mesh_routes(http::mesh_routes)
}
