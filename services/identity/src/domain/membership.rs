//! A user's place in an organization.

use chrono::{DateTime, Utc};
use event_store::{Aggregate, DomainError, Refused};
use policy::Role;
use serde::{Deserialize, Serialize};

use super::Life;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    pub life: Life,
    pub organization_id: i64,
    pub user_id: i64,
    /// Present as soon as the stream exists.
    pub role: Option<Role>,
    pub is_active: bool,
    pub joined_at: Option<DateTime<Utc>>,
}

/// What a new membership is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewMembership {
    pub organization_id: i64,
    pub user_id: i64,
    pub role: Role,
    /// When they joined; absent until an invitation is accepted.
    pub joined_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum MembershipCommand {
    Create(NewMembership),
    ChangeRole {
        role: Role,
    },
    /// The member leaves or is removed; an owner stays.
    Delete,
    /// The organization or the user is being deleted, and every membership with it.
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum MembershipEvent {
    Created(NewMembership),
    RoleChanged { role: Role },
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("the membership exists already")]
    Exists,
    #[error("there is no such membership")]
    NotFound,
    #[error("The user is a member of the organization already.")]
    AlreadyMember,
    #[error("An organization's owner stays its owner.")]
    OwnerStays,
    #[error("Nobody can be made an organization's owner.")]
    OneOwner,
}

impl DomainError for MembershipError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "membership_exists",
            Self::NotFound => "membership_not_found",
            Self::AlreadyMember => "already_member",
            Self::OwnerStays => "owner_stays",
            Self::OneOwner => "one_owner",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists => Refused::Conflict,
            Self::NotFound => Refused::NotFound,
            Self::AlreadyMember | Self::OwnerStays | Self::OneOwner => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::OwnerStays | Self::OneOwner => Some("role"),
            Self::AlreadyMember => Some("user"),
            Self::Exists | Self::NotFound => None,
        }
    }
}

impl Aggregate for Membership {
    const KIND: &'static str = "membership";

    type Command = MembershipCommand;
    type Event = MembershipEvent;
    type Error = MembershipError;

    fn decide(&self, command: MembershipCommand) -> Result<Vec<MembershipEvent>, MembershipError> {
        let is_owner = self.role == Some(Role::Owner);
        match command {
            MembershipCommand::Create(_) if self.life != Life::Unborn => Err(MembershipError::Exists),
            MembershipCommand::Create(new) => Ok(vec![MembershipEvent::Created(new)]),
            _ if self.life != Life::Alive => Err(MembershipError::NotFound),
            MembershipCommand::ChangeRole { role } if self.role == Some(role) => Ok(vec![]),
            MembershipCommand::ChangeRole { .. } if is_owner => Err(MembershipError::OwnerStays),
            MembershipCommand::ChangeRole { role: Role::Owner } => Err(MembershipError::OneOwner),
            MembershipCommand::ChangeRole { role } => Ok(vec![MembershipEvent::RoleChanged { role }]),
            MembershipCommand::Delete if is_owner => Err(MembershipError::OwnerStays),
            MembershipCommand::Delete | MembershipCommand::Close => Ok(vec![MembershipEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &MembershipEvent) {
        match event {
            MembershipEvent::Created(new) => {
                *self = Self {
                    life: Life::Alive,
                    organization_id: new.organization_id,
                    user_id: new.user_id,
                    role: Some(new.role),
                    is_active: new.joined_at.is_some(),
                    joined_at: new.joined_at,
                };
            }
            MembershipEvent::RoleChanged { role } => self.role = Some(*role),
            MembershipEvent::Deleted => self.life = Life::Gone,
        }
    }

    fn taken(constraint: &str) -> Option<MembershipError> {
        (constraint == "directory_memberships_tenant_id_organization_id_user_id_key")
            .then_some(MembershipError::AlreadyMember)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::given;

    fn new(role: Role) -> NewMembership {
        NewMembership { organization_id: 3, user_id: 7, role, joined_at: Some(DateTime::default()) }
    }

    fn member(role: Role) -> Membership {
        given(&[MembershipEvent::Created(new(role))])
    }

    #[test]
    fn a_membership_is_created_once() {
        let create = || MembershipCommand::Create(new(Role::Worker));
        let created = MembershipEvent::Created(new(Role::Worker));
        assert_eq!(Membership::default().decide(create()), Ok(vec![created]));
        assert_eq!(member(Role::Worker).decide(create()), Err(MembershipError::Exists));
    }

    #[test]
    fn a_role_changes_but_neither_from_owner_nor_to_owner() {
        let change = |role| MembershipCommand::ChangeRole { role };
        let changed = MembershipEvent::RoleChanged { role: Role::Supervisor };
        assert_eq!(member(Role::Worker).decide(change(Role::Supervisor)), Ok(vec![changed]));
        assert_eq!(member(Role::Worker).decide(change(Role::Worker)), Ok(vec![]));
        assert_eq!(member(Role::Owner).decide(change(Role::Worker)), Err(MembershipError::OwnerStays));
        assert_eq!(member(Role::Worker).decide(change(Role::Owner)), Err(MembershipError::OneOwner));
        assert_eq!(Membership::default().decide(change(Role::Worker)), Err(MembershipError::NotFound));
    }

    #[test]
    fn a_member_leaves_and_an_owner_only_with_the_organization() {
        let deleted = || vec![MembershipEvent::Deleted];
        assert_eq!(member(Role::Worker).decide(MembershipCommand::Delete), Ok(deleted()));
        assert_eq!(member(Role::Owner).decide(MembershipCommand::Delete), Err(MembershipError::OwnerStays));
        assert_eq!(member(Role::Owner).decide(MembershipCommand::Close), Ok(deleted()));
        assert_eq!(Membership::default().decide(MembershipCommand::Close), Err(MembershipError::NotFound));
    }
}
