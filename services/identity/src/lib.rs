#![doc = include_str!("../README.md")]

pub mod default_tenant;
pub mod domain;
pub mod http;
pub mod passwords;
pub mod projections;
mod publish;
mod secrets;
mod sign_in;
mod signing_keys;
mod start;
mod steps;

pub use default_tenant::{DEFAULT_TENANT, DEFAULT_TENANT_NAME};

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::Service;

use domain::membership::Membership;
use domain::organization::Organization;
use domain::session::Session;
use domain::tenant::Tenant;
use domain::user::User;
use projections::{accounts, credentials, directory, public_ids, sessions, tenants};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Identity: read this and you know the service.
pub fn service() -> Service {
    Service::new("identity")
        .migrations(|| MIGRATIONS)
        .aggregate::<Tenant>(publish::tenant)
        .projection("tenants", tenants::TABLES, tenants::apply)
        .end()
        .aggregate::<User>(publish::user)
        .projection("accounts", accounts::TABLES, accounts::apply)
        .projection("public_ids", public_ids::TABLES, public_ids::apply)
        .projection("credentials", credentials::TABLES, credentials::apply)
        .projection("directory_users", directory::USERS, directory::apply_user)
        .end()
        .aggregate::<Organization>(publish::organization)
        .projection("directory_organizations", directory::ORGANIZATIONS, directory::apply_organization)
        .end()
        .aggregate::<Membership>(publish::membership)
        .projection("directory_memberships", directory::MEMBERSHIPS, directory::apply_membership)
        .end()
        .aggregate::<Session>(publish::session)
        .projection("sessions", sessions::TABLES, sessions::apply)
        .end()
        .routes(http::routes)
        .mesh_routes(http::mesh_routes)
        .find("tenant", http::find::tenant)
        .find("user", http::find::user)
        .find("organization", http::find::organization)
        .find("membership", http::find::membership)
        .entitlements()
        .on_start(start::prepare)
}
