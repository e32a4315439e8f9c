#![doc = include_str!("../README.md")]

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

use contracts::TenantId;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use service_kit::Service;

use domain::membership::Membership;
use domain::organization::Organization;
use domain::session::Session;
use domain::tenant::Tenant;
use domain::user::User;
use projections::{accounts, directory, sessions, tenants};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The tenant that every deployment starts with: version 5 of `default` in the namespace of the nil UUID.
pub const DEFAULT_TENANT: TenantId =
    TenantId(uuid::Uuid::from_u128(0xc383_e082_c957_5d44_8307_64f6_67cb_0347));
/// Its name.
pub const DEFAULT_TENANT_NAME: &str = "default";

/// Identity: read this and you know the service.
pub fn service() -> Service {
    Service::new("identity")
        .migrations(|| MIGRATIONS)
        .aggregate::<Tenant>(publish::tenant)
        .projection("tenants", tenants::TABLES, tenants::apply)
        .end()
        .aggregate::<User>(publish::user)
        .projection("accounts", accounts::TABLES, accounts::apply)
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
        .find("user", http::find::user)
        .find("organization", http::find::organization)
        .find("membership", http::find::membership)
        .on_start(start::prepare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_tenant_has_a_well_known_id() {
        let expected = uuid::Uuid::new_v5(&uuid::Uuid::nil(), DEFAULT_TENANT_NAME.as_bytes());
        assert_eq!(DEFAULT_TENANT.0, expected);
    }
}
