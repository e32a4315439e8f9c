//! What tests stand on: a private PostgreSQL, running services, clients, receivers. Dev-dependency only;
//! everything here panics when it fails, because that is what a test wants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod client;
pub mod database;
pub mod eventually;
pub mod fake;
pub mod gcs_double;
pub mod isolation;
pub mod mesh;
pub mod openapi;
pub mod receiver;
pub mod redis;
pub mod servers;

pub use client::{Client, Response};
pub use database::TestDatabase;
pub use eventually::eventually;
pub use isolation::{Isolation, assert_tenant_isolation};
pub use mesh::TestMesh;
pub use receiver::Receiver;
pub use redis::Redis;
