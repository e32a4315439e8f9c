//! What is written in a token. Clients read it without checking; here it is known by its digest alone.

use chrono::{DateTime, Utc};
use serde::Serialize;
use service_kit::clearml::API_VERSION;

use crate::domain::role::Role;
use crate::projections::accounts::Account;
use crate::projections::tenants::TenantRow;

/// Whose token it is.
#[derive(Serialize)]
struct Identity {
    user: String,
    company: String,
    role: String,
    user_name: String,
    company_name: String,
}

/// The claims that ClearML's clients know.
#[derive(Serialize)]
pub struct Claims {
    auth_type: &'static str,
    identity: Identity,
    session_id: String,
    iat: i64,
    exp: i64,
    api_version: String,
    server_version: &'static str,
    server_build: &'static str,
    feature_set: &'static str,
}

/// The claims of a token that is made for a user.
pub fn claims(
    account: &Account,
    tenant: &TenantRow,
    role: Role,
    (session_id, from, until): (&str, DateTime<Utc>, DateTime<Utc>),
) -> Claims {
    Claims {
        auth_type: "Bearer",
        identity: Identity {
            user: account.public_id.simple().to_string(),
            company: tenant.tenant().0.simple().to_string(),
            role: role.to_string(),
            user_name: name_of(account),
            company_name: tenant.display_name.clone(),
        },
        session_id: session_id.to_owned(),
        iat: from.timestamp(),
        exp: until.timestamp(),
        api_version: API_VERSION.to_string(),
        server_version: env!("CARGO_PKG_VERSION"),
        server_build: "annomesh",
        feature_set: "basic",
    }
}

/// What ClearML calls a user.
pub fn name_of(account: &Account) -> String {
    let name = format!("{} {}", account.first_name, account.last_name).trim().to_owned();
    if name.is_empty() { account.username.clone() } else { name }
}

/// A user's role.
pub fn role_of(account: &Account) -> Role {
    Role::of(account.privilege(), account.operator)
}
