//! What CVAT's users count on, said once more in words.

use crate::Predicate::{And, Everything, NoOrganization, Nothing, Or, Organization, OrganizationIn, Related};
use crate::{
    Context, LimitInput, ListScope, Ownership, Predicate, Privilege, Relation, Resource, Role, Subject,
    Table, table,
};

const MEMBERSHIPS: [(i64, Role); 2] = [(1, Role::Maintainer), (2, Role::Worker)];
const ALL: ListScope<'_> = ListScope::All { memberships: &MEMBERSHIPS };

const NOTHING: Ownership = Ownership::NONE;
const OWNER: Ownership = NOTHING.with(Relation::Owner, true);
const ASSIGNEE: Ownership = NOTHING.with(Relation::Assignee, true);
const SELF: Ownership = NOTHING.with(Relation::SelfUser, true);

fn having(privilege: Privilege) -> Subject {
    Subject { user_id: 7, privilege: Some(privilege) }
}

fn as_role(role: Role) -> Context {
    Context::Organization { id: 1, role: Some(role) }
}

fn may(
    resource: Resource,
    scope: &str,
    privilege: Privilege,
    context: Context,
    ownership: Ownership,
) -> bool {
    table(resource).decide(scope, &having(privilege), &context, ownership, &LimitInput::NONE).is_allowed()
}

fn list(resource: Resource, privilege: Privilege, scope: ListScope<'_>) -> Predicate {
    table(resource).visible(&having(privilege), &scope)
}

#[test]
fn projects() {
    use Privilege::{Admin, User, Worker};
    use Resource::Projects;

    assert!(may(Projects, "create", User, Context::Sandbox, NOTHING));
    assert!(!may(Projects, "create", Worker, Context::Sandbox, NOTHING));
    assert!(may(Projects, "create", User, as_role(Role::Supervisor), NOTHING));
    assert!(!may(Projects, "create", User, as_role(Role::Worker), NOTHING));

    assert!(may(Projects, "delete", Worker, as_role(Role::Worker), OWNER));
    assert!(!may(Projects, "delete", Worker, as_role(Role::Worker), ASSIGNEE));
    assert!(may(Projects, "delete", User, as_role(Role::Maintainer), ASSIGNEE));
    assert!(!may(Projects, "delete", Worker, Context::Organization { id: 1, role: None }, OWNER));

    assert!(!may(Projects, "update:owner", User, Context::Sandbox, OWNER));
    assert!(may(Projects, "update:owner", Admin, Context::Sandbox, NOTHING));
    assert!(!may(Projects, "no:such:scope", Admin, Context::Sandbox, OWNER));
}

#[test]
fn webhooks() {
    use Resource::Webhooks;
    let project_owner = NOTHING.with(Relation::ProjectOwner, true);

    assert!(may(Webhooks, "create@project", Privilege::Worker, as_role(Role::Worker), project_owner));
    assert!(!may(Webhooks, "create@project", Privilege::Worker, as_role(Role::Supervisor), NOTHING));
    assert!(may(Webhooks, "create@organization", Privilege::Worker, as_role(Role::Maintainer), NOTHING));
    assert!(!may(Webhooks, "create@organization", Privilege::User, Context::Sandbox, NOTHING));
    assert!(may(Webhooks, "update", Privilege::Worker, as_role(Role::Worker), OWNER));
}

#[test]
fn organizations_know_the_caller_by_role() {
    use Resource::Organizations;
    let outsider = Context::Organization { id: 1, role: None };
    let update = |role| may(Organizations, "update", Privilege::Worker, outsider, Ownership::by_role(role));

    assert!(update(Some(Role::Owner)) && update(Some(Role::Maintainer)));
    assert!(!update(Some(Role::Supervisor)) && !update(Some(Role::Worker)) && !update(None));
    assert!(!may(
        Organizations,
        "delete",
        Privilege::User,
        outsider,
        Ownership::by_role(Some(Role::Maintainer))
    ));
}

#[test]
fn no_member_changes_their_own_role() {
    for &role in Role::ALL {
        let own = LimitInput { role: Some(role), membership_role: None };
        let memberships = table(Resource::Memberships);
        let change =
            memberships.decide("change:role", &having(Privilege::Business), &as_role(role), SELF, &own);
        assert!(!change.is_allowed(), "{role}");

        let leave = memberships.decide("delete", &having(Privilege::Worker), &as_role(role), SELF, &own);
        assert_eq!(leave.is_allowed(), role != Role::Owner, "{role}");
    }
}

#[test]
fn a_list_of_projects() {
    use Resource::Projects;
    let related = || Or(vec![Related(Relation::Owner), Related(Relation::Assignee)]);

    assert_eq!(list(Projects, Privilege::Admin, ALL), Everything);
    assert_eq!(
        list(Projects, Privilege::User, ALL),
        Or(vec![
            And(vec![NoOrganization, related()]),
            Organization(1),
            And(vec![OrganizationIn(vec![1, 2]), related()]),
        ])
    );
    assert_eq!(
        list(Projects, Privilege::User, ListScope::Within(Context::Sandbox)),
        And(vec![NoOrganization, related()])
    );
    let within = |role| ListScope::Within(Context::Organization { id: 1, role });
    assert_eq!(list(Projects, Privilege::User, within(Some(Role::Maintainer))), Organization(1));
    assert_eq!(
        list(Projects, Privilege::User, within(Some(Role::Worker))),
        And(vec![Organization(1), related()])
    );
    assert_eq!(list(Projects, Privilege::User, within(None)), Nothing);
    assert_eq!(list(Projects, Privilege::Admin, within(None)), Organization(1));
}

#[test]
fn a_list_of_people() {
    use Resource::{Memberships, Organizations, Users};

    let known = Or(vec![Related(Relation::SelfUser), OrganizationIn(vec![1, 2])]);
    assert_eq!(list(Users, Privilege::Worker, ALL), known);
    assert_eq!(list(Users, Privilege::Worker, ListScope::Within(as_role(Role::Worker))), Organization(1));
    assert_eq!(
        list(Memberships, Privilege::Worker, ListScope::All { memberships: &[] }),
        And(vec![NoOrganization, Related(Relation::SelfUser)])
    );
    let mine = [Relation::Worker, Relation::Supervisor, Relation::Maintainer, Relation::Owner];
    for scope in [ALL, ListScope::Within(Context::Sandbox), ListScope::Within(as_role(Role::Worker))] {
        let Or(shown) = list(Organizations, Privilege::Worker, scope) else { panic!("{scope:?}") };
        assert!(shown.len() == 4 && mine.iter().all(|relation| shown.contains(&Related(*relation))));
    }
}

#[test]
fn what_has_no_list_shows_nothing() {
    assert_eq!(list(Resource::Server, Privilege::Admin, ALL), Nothing);
    assert_eq!(list(Resource::Events, Privilege::Admin, ALL), Nothing);
}

#[test]
fn a_row_for_members_needs_an_organization_whatever_its_context() {
    let text = "Scope,Context,Ownership,Limit,Privilege,Membership
list,N/A,N/A,,None,N/A
view,N/A,N/A,,None,Supervisor";
    let table = Table::parse("things", text).unwrap();
    let worker = having(Privilege::Worker);
    let view = |context| table.decide("view", &worker, &context, NOTHING, &LimitInput::NONE).is_allowed();

    assert!(view(as_role(Role::Supervisor)) && !view(as_role(Role::Worker)) && !view(Context::Sandbox));
    assert_eq!(table.visible(&worker, &ALL), Organization(1));
    assert_eq!(table.visible(&worker, &ListScope::Within(Context::Sandbox)), Nothing);
}

#[test]
fn tasks() {
    use Privilege::{User, Worker};
    use Resource::Tasks;
    let of_project = NOTHING.with(Relation::ProjectAssignee, true);

    assert!(may(Tasks, "create", User, Context::Sandbox, NOTHING));
    assert!(!may(Tasks, "create", Worker, Context::Sandbox, NOTHING));
    assert!(may(Tasks, "create@project", User, as_role(Role::Worker), of_project));
    assert!(!may(Tasks, "create@project", User, as_role(Role::Worker), NOTHING));
    assert!(may(Tasks, "delete", Worker, as_role(Role::Worker), of_project));
    assert!(!may(Tasks, "delete", Worker, as_role(Role::Worker), ASSIGNEE));
    assert!(may(Tasks, "update:desc", Worker, as_role(Role::Worker), ASSIGNEE));
    assert!(may(Tasks, "upload:data", Worker, Context::Sandbox, OWNER));
}

#[test]
fn jobs() {
    use Privilege::{User, Worker};
    use Resource::Jobs;
    let of_task = NOTHING.with(Relation::TaskOwner, true);
    let outside = Context::Organization { id: 9, role: None };

    assert!(may(Jobs, "update:state", Worker, as_role(Role::Worker), ASSIGNEE));
    assert!(!may(Jobs, "update:stage", Worker, as_role(Role::Worker), ASSIGNEE));
    assert!(may(Jobs, "update:stage", Worker, as_role(Role::Worker), of_task));
    assert!(may(Jobs, "update:assignee", User, as_role(Role::Maintainer), NOTHING));
    // Somebody from outside may be given a job; that is for those who are workers and nothing more.
    for scope in ["view", "update:state", "update:annotations", "view:data"] {
        assert!(may(Jobs, scope, Worker, outside, ASSIGNEE), "{scope}");
        assert!(!may(Jobs, scope, User, outside, ASSIGNEE), "{scope}");
        assert!(!may(Jobs, scope, Worker, outside, of_task), "{scope}");
    }
    assert!(!may(Jobs, "export:annotations", Worker, outside, ASSIGNEE));
}

#[test]
fn a_list_of_jobs_holds_those_that_a_worker_was_given_from_outside() {
    let given = And(vec![crate::Predicate::AnyOrganization, Related(Relation::Assignee)]);
    let Or(shown) = list(Resource::Jobs, Privilege::Worker, ListScope::All { memberships: &[] }) else {
        panic!("one way only")
    };
    assert!(shown.contains(&given), "{shown:?}");
    let shown = list(Resource::Jobs, Privilege::User, ListScope::All { memberships: &[] });
    assert!(!format!("{shown:?}").contains("AnyOrganization"), "{shown:?}");
    assert!(list(Resource::Jobs, Privilege::Worker, ALL).needs_relation());
    assert!(!list(Resource::Jobs, Privilege::User, ALL).needs_relation(), "a maintainer sees all there");
}

#[test]
fn requests_are_their_owners_business() {
    use Privilege::{User, Worker};
    use Resource::Requests;
    for scope in ["view", "cancel"] {
        assert!(may(Requests, scope, Worker, Context::Sandbox, OWNER));
        assert!(!may(Requests, scope, User, Context::Sandbox, NOTHING));
        assert!(may(Requests, scope, User, as_role(Role::Maintainer), NOTHING));
        assert!(!may(Requests, scope, User, as_role(Role::Supervisor), NOTHING));
    }
}
