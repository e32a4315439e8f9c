//! What leaves identity: private event → contract events. Password hashes, e-mail addresses and digests do
//! not.

use contracts::identity as facts;
use event_store::{Change, Outgoing, before_update};
use serde_json::Map;

use crate::domain::membership::{Membership, MembershipEvent};
use crate::domain::organization::{Organization, OrganizationEvent};
use crate::domain::session::{Session, SessionEvent};
use crate::domain::tenant::{Tenant, TenantEvent};
use crate::domain::user::{User, UserEvent};

/// Publishes the events of tenants.
pub fn tenant(change: &Change<'_, Tenant>) -> Vec<Outgoing> {
    let tenant = tenant_fact(change.after);
    match change.event {
        TenantEvent::Created { .. } => vec![Outgoing::new(&facts::TenantCreated { tenant }, None)],
        TenantEvent::Allowed { .. } => {
            let before_update = before_update(&tenant_fact(change.before), &tenant);
            vec![Outgoing::new(&facts::TenantUpdated { tenant, before_update }, None)]
        }
        // Where people's addresses are is nobody's business but sign-in's.
        TenantEvent::DomainsSet { .. } => vec![],
    }
}

/// A tenant as others know one.
fn tenant_fact(tenant: &Tenant) -> facts::Tenant {
    let allowance = tenant.allowance.clone();
    facts::Tenant {
        name: tenant.name.clone(),
        allowed_users: allowance.allowed_users,
        features: allowance.features,
        exclude_features: allowance.exclude_features,
    }
}

/// Publishes the events of users.
pub fn user(change: &Change<'_, User>) -> Vec<Outgoing> {
    let user = user_fact(change.id, change.after);
    match change.event {
        UserEvent::Registered(new) => {
            let reservation_id = new.reservation_id;
            vec![Outgoing::new(&facts::UserRegistered { user, reservation_id }, None)]
        }
        UserEvent::Updated(update) => {
            let before_update = before_update(&user_fact(change.id, change.before), &user);
            // An e-mail address alone: nobody outside knew the old one.
            if before_update.is_empty() {
                return vec![];
            }
            let reservation_id = update.reservation_id;
            vec![Outgoing::new(&facts::UserUpdated { user, before_update, reservation_id }, None)]
        }
        // Nothing that others see has changed; they must ask again who this is all the same.
        UserEvent::PasswordChanged { .. } | UserEvent::CredentialRevoked { .. } => {
            let before_update = Map::new();
            vec![Outgoing::new(&facts::UserUpdated { user, before_update, reservation_id: None }, None)]
        }
        UserEvent::PrivilegeSet { .. } => {
            let before_update = before_update(&user_fact(change.id, change.before), &user);
            vec![Outgoing::new(&facts::UserUpdated { user, before_update, reservation_id: None }, None)]
        }
        UserEvent::CredentialIssued(_) | UserEvent::CredentialLabeled { .. } => vec![],
        UserEvent::Deleted => vec![Outgoing::new(&facts::UserDeleted { user }, None)],
    }
}

/// Publishes the events of organizations.
pub fn organization(change: &Change<'_, Organization>) -> Vec<Outgoing> {
    let organization = organization_fact(change.id, change.after);
    let outgoing = match change.event {
        OrganizationEvent::Created(_) => {
            Outgoing::new(&facts::OrganizationCreated { organization }, Some(change.id))
        }
        OrganizationEvent::Updated { .. } | OrganizationEvent::OwnerLost { .. } => {
            let before_update = before_update(&organization_fact(change.id, change.before), &organization);
            Outgoing::new(&facts::OrganizationUpdated { organization, before_update }, Some(change.id))
        }
        OrganizationEvent::Deleted => {
            Outgoing::new(&facts::OrganizationDeleted { organization }, Some(change.id))
        }
    };
    vec![outgoing]
}

/// Publishes the events of memberships.
pub fn membership(change: &Change<'_, Membership>) -> Vec<Outgoing> {
    let membership = membership_fact(change.id, change.after);
    let organization = Some(membership.organization_id);
    let outgoing = match change.event {
        MembershipEvent::Created(_) => Outgoing::new(&facts::MembershipCreated { membership }, organization),
        MembershipEvent::RoleChanged { .. } => {
            let before_update = before_update(&membership_fact(change.id, change.before), &membership);
            Outgoing::new(&facts::MembershipUpdated { membership, before_update }, organization)
        }
        MembershipEvent::Deleted => Outgoing::new(&facts::MembershipDeleted { membership }, organization),
    };
    vec![outgoing]
}

/// Publishes the events of sessions.
pub fn session(change: &Change<'_, Session>) -> Vec<Outgoing> {
    let session = facts::Session { id: change.id, user_id: change.after.user_id };
    let outgoing = match change.event {
        SessionEvent::Started(_) => Outgoing::new(&facts::SessionStarted { session }, None),
        SessionEvent::Ended { .. } => Outgoing::new(&facts::SessionEnded { session }, None),
    };
    vec![outgoing]
}

/// A user as others know one.
pub fn user_fact(id: i64, user: &User) -> facts::User {
    facts::User {
        id,
        username: user.username.clone(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        privilege: user.privilege.map(|privilege| privilege.to_string()),
        is_active: user.is_active,
    }
}

/// An organization as others know one.
pub fn organization_fact(id: i64, organization: &Organization) -> facts::Organization {
    facts::Organization {
        id,
        slug: organization.slug.clone(),
        name: organization.name.clone(),
        description: organization.description.clone(),
        contact: organization.contact.clone(),
        owner_id: organization.owner_id,
        created_date: organization.created_at,
        updated_date: organization.updated_at,
    }
}

/// A membership as others know one.
pub fn membership_fact(id: i64, membership: &Membership) -> facts::Membership {
    facts::Membership {
        id,
        organization_id: membership.organization_id,
        user_id: membership.user_id,
        role: membership.role.map(|role| role.to_string()).unwrap_or_default(),
        is_active: membership.is_active,
        joined_date: membership.joined_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use contracts::TenantId;
    use event_store::Aggregate;

    use crate::domain::user::{NewUser, UserChange};

    fn outgoing(before: &User, event: &UserEvent) -> usize {
        let mut after = before.clone();
        after.apply(event);
        let change = Change {
            tenant: TenantId::DEPLOYMENT,
            id: 7,
            version: 1,
            before,
            event,
            after: &after,
            at: DateTime::default(),
            actor: None,
        };
        user(&change).len()
    }

    fn alice() -> User {
        crate::domain::given(&[UserEvent::Registered(NewUser {
            username: "alice".into(),
            email: "alice@example.com".into(),
            first_name: String::new(),
            last_name: String::new(),
            password_hash: Some("$argon2id$secret".into()),
            privilege: None,
            operator: true,
            at: DateTime::default(),
            reservation_id: None,
        })])
    }

    #[test]
    fn neither_address_nor_hash_leaves() {
        let fact = serde_json::to_string(&user_fact(7, &alice())).unwrap();
        assert!(!fact.contains("example.com") && !fact.contains("argon2") && !fact.contains("operator"));
    }

    #[test]
    fn a_new_address_stays_inside_and_a_new_password_revokes() {
        let address = UserChange { email: Some("new@example.com".into()), ..UserChange::default() };
        assert_eq!(outgoing(&alice(), &UserEvent::Updated(address)), 0);
        assert_eq!(outgoing(&alice(), &UserEvent::PasswordChanged { password_hash: "new".into() }), 1);
        assert_eq!(outgoing(&alice(), &UserEvent::PrivilegeSet { privilege: None, operator: false }), 1);
    }

    #[test]
    fn what_changed_is_told_with_its_old_value() {
        let mut after = alice();
        after.first_name = "Alice".into();
        let before = before_update(&user_fact(7, &alice()), &user_fact(7, &after));
        assert_eq!(serde_json::Value::Object(before), serde_json::json!({ "first_name": "" }));
    }
}
