//! Which events a caller may see.
//!
//! Whether at all is decided by the permission table (`dump:events`). How far is CVAT's rule, which no table
//! states: an admin sees the tenant; a maintainer of an organization with the privilege `user` sees all of
//! it; everybody else sees what they did themselves.

use diesel::sql_types::{Array, BigInt};
use event_store::Sql;
use policy::{LimitInput, Ownership, Privilege, Resource, Role, Subject};
use service_kit::organization::Scope;
use service_kit::{Caller, Kit, Refusal, Selection};

/// What is visible: places, and in them everything or only the caller's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    place: Place,
    /// The user whose own events are seen.
    user_id: i64,
    whole: Whole,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Anywhere,
    Personal,
    Organization(i64),
}

/// Where everybody's events are seen.
#[derive(Clone, Debug, PartialEq)]
enum Whole {
    Everywhere,
    Organizations(Vec<i64>),
}

impl Sight {
    /// What a caller sees who said this about the organization.
    ///
    /// # Errors
    /// 403 when the caller may see no events there at all, and as [`Kit::scope`].
    pub async fn of(kit: &Kit, caller: &Caller, selection: &Selection) -> Result<Self, Refusal> {
        Self::within(&caller.subject(), &kit.scope(caller, selection).await?)
    }

    fn within(subject: &Subject, scope: &Scope) -> Result<Self, Refusal> {
        let decision = policy::table(Resource::Events).decide(
            "dump:events",
            subject,
            &scope.context(),
            Ownership::NONE,
            &LimitInput::NONE,
        );
        if !decision.is_allowed() {
            return Err(Refusal::forbidden());
        }
        let place = match scope {
            Scope::All(_) => Place::Anywhere,
            Scope::Personal => Place::Personal,
            Scope::Organization { organization, .. } => Place::Organization(organization.id),
        };
        let leads =
            |role: Option<Role>| role >= Some(Role::Maintainer) && subject.privilege >= Some(Privilege::User);
        let whole = match scope {
            _ if subject.privilege == Some(Privilege::Admin) => Whole::Everywhere,
            Scope::All(memberships) => Whole::Organizations(
                memberships.iter().filter(|(_, role)| leads(Some(*role))).map(|(id, _)| *id).collect(),
            ),
            Scope::Organization { organization, role } if leads(*role) => {
                Whole::Organizations(vec![organization.id])
            }
            _ => Whole::Organizations(vec![]),
        };
        Ok(Self { place, user_id: subject.user_id, whole })
    }

    /// Appends the condition on the table `event`, called `e`.
    pub fn push(&self, sql: &mut Sql) {
        match self.place {
            Place::Anywhere => {}
            Place::Personal => {
                sql.push(" AND e.organization_id IS NULL");
            }
            Place::Organization(id) => {
                sql.push(" AND e.organization_id = ").push_i64(id);
            }
        }
        if let Whole::Organizations(ids) = &self.whole {
            sql.push(" AND (e.actor_id = ").push_i64(self.user_id);
            if !ids.is_empty() {
                sql.push(" OR e.organization_id = ANY(").push_bind::<Array<BigInt>>(ids.clone()).push(")");
            }
            sql.push(")");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_kit::directory::Organization;

    fn organization(role: Option<Role>) -> Scope {
        let organization = Organization {
            id: 3,
            slug: "wonderland".into(),
            name: "Wonderland".into(),
            description: String::new(),
            contact: "{}".into(),
            owner_id: Some(7),
            created_date: chrono::DateTime::UNIX_EPOCH,
            updated_date: chrono::DateTime::UNIX_EPOCH,
        };
        Scope::Organization { organization, role }
    }

    fn condition(privilege: Option<Privilege>, scope: &Scope) -> Option<String> {
        let sight = Sight::within(&Subject { user_id: 7, privilege }, scope).ok()?;
        let mut sql = Sql::composed("");
        sight.push(&mut sql);
        Some(sql.text().to_owned())
    }

    #[test]
    fn an_admin_sees_the_tenant() {
        let admin = Some(Privilege::Admin);
        assert_eq!(condition(admin, &Scope::All(vec![])).as_deref(), Some(""));
        assert_eq!(condition(admin, &Scope::Personal).as_deref(), Some(" AND e.organization_id IS NULL"));
        assert_eq!(condition(admin, &organization(None)).as_deref(), Some(" AND e.organization_id = $1"));
    }

    #[test]
    fn a_maintainer_with_the_privilege_user_sees_the_organization() {
        let whole = " AND e.organization_id = $1 AND (e.actor_id = $2 OR e.organization_id = ANY($3))";
        let own = " AND e.organization_id = $1 AND (e.actor_id = $2)";
        let maintainer = organization(Some(Role::Maintainer));
        assert_eq!(condition(Some(Privilege::User), &maintainer).as_deref(), Some(whole));
        assert_eq!(condition(Some(Privilege::Worker), &maintainer).as_deref(), Some(own));
        assert_eq!(
            condition(Some(Privilege::User), &organization(Some(Role::Supervisor))).as_deref(),
            Some(own)
        );
    }

    #[test]
    fn others_see_what_they_did() {
        let user = Some(Privilege::User);
        let led = Scope::All(vec![(3, Role::Owner), (4, Role::Worker)]);
        assert_eq!(
            condition(user, &led).as_deref(),
            Some(" AND (e.actor_id = $1 OR e.organization_id = ANY($2))")
        );
        assert_eq!(condition(user, &Scope::All(vec![])).as_deref(), Some(" AND (e.actor_id = $1)"));
        assert_eq!(
            condition(user, &Scope::Personal).as_deref(),
            Some(" AND e.organization_id IS NULL AND (e.actor_id = $1)")
        );
    }

    #[test]
    fn whoever_the_table_does_not_allow_sees_nothing() {
        assert_eq!(condition(None, &Scope::All(vec![])), None);
        assert_eq!(condition(Some(Privilege::User), &organization(None)), None);
    }
}
