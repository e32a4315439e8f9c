//! Identity's own rows in the directory, the tables that every other service is fed.

use event_store::Applied;
use event_store::{Change, Tx};
use service_kit::directory;

use crate::domain::membership::{Membership, MembershipEvent};
use crate::domain::organization::{Organization, OrganizationEvent};
use crate::domain::user::{User, UserEvent};
use crate::publish;

/// The table of users.
pub const USERS: &[&str] = &["directory_users"];
/// The table of organizations.
pub const ORGANIZATIONS: &[&str] = &["directory_organizations"];
/// The table of memberships.
pub const MEMBERSHIPS: &[&str] = &["directory_memberships"];

/// Takes a user's event in.
pub fn apply_user<'a>(tx: &'a mut Tx, change: &'a Change<'a, User>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            UserEvent::Registered(_) | UserEvent::Updated(_) | UserEvent::PrivilegeSet { .. } => {
                directory::put_user(tx, &publish::user_fact(change.id, change.after)).await
            }
            UserEvent::PasswordChanged { .. }
            | UserEvent::CredentialIssued(_)
            | UserEvent::CredentialLabeled { .. }
            | UserEvent::CredentialRevoked { .. } => Ok(()),
            UserEvent::Deleted => directory::delete(tx, USERS[0], change.id).await,
        }
    })
}

/// Takes an organization's event in.
pub fn apply_organization<'a>(tx: &'a mut Tx, change: &'a Change<'a, Organization>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            OrganizationEvent::Created(_)
            | OrganizationEvent::Updated { .. }
            | OrganizationEvent::OwnerLost { .. } => {
                directory::put_organization(tx, &publish::organization_fact(change.id, change.after)).await
            }
            OrganizationEvent::Deleted => directory::delete(tx, ORGANIZATIONS[0], change.id).await,
        }
    })
}

/// Takes a membership's event in.
pub fn apply_membership<'a>(tx: &'a mut Tx, change: &'a Change<'a, Membership>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            MembershipEvent::Created(_) | MembershipEvent::RoleChanged { .. } => {
                directory::put_membership(tx, &publish::membership_fact(change.id, change.after)).await
            }
            MembershipEvent::Deleted => directory::delete(tx, MEMBERSHIPS[0], change.id).await,
        }
    })
}
