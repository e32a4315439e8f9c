//! Who asks, and where: privilege in the tenant, role in an organization.

use serde::{Deserialize, Serialize};

use crate::name::named;

/// What a user may do in the whole tenant, from least to most (CVAT's system roles).
///
/// Of two, the greater may do all that the lesser may. `None` of an `Option<Privilege>` is the least: a user
/// who has signed in and was given nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    Worker,
    User,
    Business,
    Admin,
}

named!(Privilege is a "privilege" {
    Worker = "worker",
    User = "user",
    Business = "business",
    Admin = "admin",
});

/// What a member may do in an organization, from least to most.
///
/// `None` of an `Option<Role>` is the least: not an active member. An invitation that is not yet accepted
/// gives no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Worker,
    Supervisor,
    Maintainer,
    Owner,
}

named!(Role is a "role" {
    Worker = "worker",
    Supervisor = "supervisor",
    Maintainer = "maintainer",
    Owner = "owner",
});

/// The user who asks.
///
/// The rules look at the privilege only; the id is for those who work out the caller's relations and turn a
/// [`Predicate`](crate::Predicate) into SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub user_id: i64,
    pub privilege: Option<Privilege>,
}

/// Where the thing asked about belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// In no organization: it is somebody's own.
    Sandbox,
    /// In an organization, where the caller has this role.
    Organization { id: i64, role: Option<Role> },
}

impl Context {
    /// Returns the caller's role here; a sandbox has no members.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Sandbox => None,
            Self::Organization { role, .. } => *role,
        }
    }
}
