//! What identity publishes: tenants, users, organizations, memberships and sessions.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::{Example, events};

/// A paying company.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    /// Lower-case name, unique in the deployment.
    pub name: String,
    /// How many users it may have; absent for any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allowed_users: Option<i64>,
    /// Features that it has; absent for all that the deployment has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub features: Option<Vec<String>>,
    /// Features that are taken away from it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub exclude_features: Vec<String>,
}

/// A person or program of one tenant. E-mail addresses stay in identity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    /// `admin`, `business`, `user` or `worker`; absent for none.
    pub privilege: Option<String>,
    pub is_active: bool,
}

/// A workspace inside a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Organization {
    pub id: i64,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub contact: Map<String, Value>,
    /// Absent when the owner was deleted.
    pub owner_id: Option<i64>,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

/// A user's place in an organization.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Membership {
    pub id: i64,
    pub organization_id: i64,
    pub user_id: i64,
    /// `owner`, `maintainer`, `supervisor` or `worker`.
    pub role: String,
    pub is_active: bool,
    pub joined_date: Option<DateTime<Utc>>,
}

/// A sign-in: the cookie and the token that one login gave.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    pub id: i64,
    pub user_id: i64,
}

fn example_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()
}

impl Example for Tenant {
    fn example() -> Self {
        Self {
            name: "acme".into(),
            allowed_users: Some(10),
            features: Some(vec!["experiments".into()]),
            exclude_features: vec!["applications".into()],
        }
    }
}

impl Example for User {
    fn example() -> Self {
        Self {
            id: 7,
            username: "alice".into(),
            first_name: "Alice".into(),
            last_name: "Liddell".into(),
            privilege: Some("user".into()),
            is_active: true,
        }
    }
}

impl Example for Organization {
    fn example() -> Self {
        Self {
            id: 3,
            slug: "wonderland".into(),
            name: "Wonderland".into(),
            description: String::new(),
            contact: Map::new(),
            owner_id: Some(7),
            created_date: example_time(),
            updated_date: example_time(),
        }
    }
}

impl Example for Membership {
    fn example() -> Self {
        Self {
            id: 5,
            organization_id: 3,
            user_id: 7,
            role: "owner".into(),
            is_active: true,
            joined_date: Some(example_time()),
        }
    }
}

impl Example for Session {
    fn example() -> Self {
        Self { id: 11, user_id: 7 }
    }
}

fn example_change(field: &str, old: &str) -> Map<String, Value> {
    Map::from_iter([(field.to_owned(), Value::from(old))])
}

events! { "identity";
    /// A tenant was created.
    TenantCreated on "tenant" as "tenant_created" { tenant: Tenant = Tenant::example() }
    /// What a tenant may have changed.
    TenantUpdated on "tenant" as "tenant_updated" {
        tenant: Tenant = Tenant::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("allowed_users", "5"),
    }
    /// A user was registered.
    UserRegistered on "user" as "user_registered" {
        user: User = User::example(),
        /// The seat that this takes, where seats are capped.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reservation_id: Option<Uuid> = None,
    }
    /// A user's names, privilege or activity changed.
    UserUpdated on "user" as "user_updated" {
        user: User = User::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("first_name", "Alicia"),
        /// The seat that this takes, where seats are capped and the user is active again.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reservation_id: Option<Uuid> = None,
    }
    /// A user was deleted.
    UserDeleted on "user" as "user_deleted" { user: User = User::example() }
    /// An organization was created.
    OrganizationCreated on "organization" as "organization_created" {
        organization: Organization = Organization::example(),
    }
    /// An organization changed.
    OrganizationUpdated on "organization" as "organization_updated" {
        organization: Organization = Organization::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("name", "Looking-Glass Land"),
    }
    /// An organization was deleted.
    OrganizationDeleted on "organization" as "organization_deleted" {
        organization: Organization = Organization::example(),
    }
    /// A user became a member of an organization.
    MembershipCreated on "membership" as "membership_created" {
        membership: Membership = Membership::example(),
    }
    /// A member's role or activity changed.
    MembershipUpdated on "membership" as "membership_updated" {
        membership: Membership = Membership::example(),
        /// Each changed field with its old value.
        before_update: Map<String, Value> = example_change("role", "worker"),
    }
    /// A user left an organization.
    MembershipDeleted on "membership" as "membership_deleted" {
        membership: Membership = Membership::example(),
    }
    /// A user signed in.
    SessionStarted on "session" as "session_started" { session: Session = Session::example() }
    /// A session was ended; whatever rests on it is refused from now on.
    SessionEnded on "session" as "session_ended" { session: Session = Session::example() }
}
