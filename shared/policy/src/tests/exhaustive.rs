//! Every row, and every question that the tables tell apart.

use std::collections::BTreeSet;

use super::reference::{self, Line, Question};
use super::{PRIVILEGES, ROLES, contexts, ownerships};
use crate::{
    Context, LimitInput, ListScope, Object, Ownership, Predicate, Privilege, Relation, Resource, Role,
    Subject, table, validate_all,
};

fn decides(resource: Resource, scope: &str, asked: &Question) -> bool {
    let subject = Subject { user_id: 7, privilege: asked.privilege };
    table(resource).decide(scope, &subject, &asked.context, asked.ownership, &asked.limit_input).is_allowed()
}

#[test]
fn all_tables_are_valid() {
    validate_all().unwrap();
    let rows = |resource: &Resource| resource.text().lines().count() - 1;
    assert_eq!(Resource::ALL.iter().map(rows).collect::<Vec<_>>(), [8, 45, 82, 73, 10, 20, 3, 10, 9, 2]);
}

#[test]
fn each_row_allows_at_its_minimum_and_no_less() {
    for &resource in Resource::ALL {
        let lines = reference::lines(resource);
        for (index, line) in lines.iter().enumerate() {
            let others: Vec<Line> = lines
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, line)| line.clone())
                .collect();
            let minimum = minimum(line);
            assert!(decides(resource, &line.scope, &minimum), "{resource} {line:?}");
            for less in steps_below(&minimum) {
                if !line.allows(&less) {
                    assert_eq!(
                        decides(resource, &line.scope, &less),
                        reference::allows(&others, &line.scope, &less),
                        "{resource} {line:?} {less:?}"
                    );
                }
            }
        }
    }
}

/// Returns the question that the row just allows.
fn minimum(line: &Line) -> Question {
    let role = line.membership.parse().ok();
    Question {
        privilege: line.privilege.trim_start_matches("only ").parse().ok(),
        context: match line.context.as_str() {
            "sandbox" => Context::Sandbox,
            _ => Context::Organization { id: 1, role },
        },
        ownership: line.ownership.parse::<Relation>().into_iter().collect(),
        limit_input: LimitInput { role: Some(Role::Worker), membership_role: Some(Role::Worker) },
    }
}

/// Returns the question with one thing less: privilege, role, place, relation or limit.
fn steps_below(asked: &Question) -> Vec<Question> {
    let mut steps = vec![
        Question { ownership: Ownership::NONE, ..*asked },
        Question { limit_input: LimitInput::NONE, ..*asked },
        Question { limit_input: LimitInput { role: Some(Role::Owner), membership_role: None }, ..*asked },
    ];
    if let Some(place) = PRIVILEGES.iter().position(|privilege| *privilege == asked.privilege)
        && place > 0
    {
        steps.push(Question { privilege: PRIVILEGES[place - 1], ..*asked });
    }
    match asked.context {
        Context::Sandbox => {
            steps.push(Question { context: Context::Organization { id: 1, role: None }, ..*asked });
        }
        Context::Organization { id, role } => {
            steps.push(Question { context: Context::Sandbox, ..*asked });
            let below = ROLES.into_iter().rev().find(|lower| *lower < role);
            steps
                .extend(below.map(|role| Question { context: Context::Organization { id, role }, ..*asked }));
        }
    }
    steps
}

#[test]
fn every_decision_is_what_the_rows_say() {
    for &resource in Resource::ALL {
        let lines = reference::lines(resource);
        let mut scopes: BTreeSet<&str> = lines.iter().map(|line| line.scope.as_str()).collect();
        scopes.insert("an unknown scope");
        for privilege in PRIVILEGES {
            for context in contexts() {
                for ownership in ownerships(resource) {
                    for limit_input in limit_inputs(resource) {
                        let asked = Question { privilege, context, ownership, limit_input };
                        for scope in &scopes {
                            assert_eq!(
                                decides(resource, scope, &asked),
                                reference::allows(&lines, scope, &asked),
                                "{resource} {scope} {asked:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Every input of a limit, where the table of `resource` has any.
fn limit_inputs(resource: Resource) -> Vec<LimitInput> {
    if !resource.text().contains("resource[") {
        return vec![LimitInput::NONE];
    }
    ROLES
        .into_iter()
        .flat_map(|role| ROLES.map(|membership_role| LimitInput { role, membership_role }))
        .collect()
}

/// The caller's organizations, one in each role; there is a fifth, 5, of others.
const MEMBERSHIPS: [(i64, Role); 4] =
    [(1, Role::Worker), (2, Role::Supervisor), (3, Role::Maintainer), (4, Role::Owner)];

fn context_of(organization_id: Option<i64>) -> Context {
    let role_in = |id| MEMBERSHIPS.iter().find(|(other, _)| *other == id).map(|(_, role)| *role);
    organization_id.map_or(Context::Sandbox, |id| Context::Organization { id, role: role_in(id) })
}

#[test]
fn a_list_shows_what_may_be_viewed() {
    let places = [None, Some(1), Some(2), Some(3), Some(4), Some(5)];
    for &resource in Resource::ALL {
        for privilege in PRIVILEGES {
            for organization_id in places {
                let within = context_of(organization_id);
                shows_what_may_be_viewed(
                    resource,
                    privilege,
                    &ListScope::Within(within),
                    within,
                    &[organization_id],
                );
            }
            for memberships in [&MEMBERSHIPS[..], &[]] {
                let list = ListScope::All { memberships };
                let places = if memberships.is_empty() { &places[..1] } else { &places[..] };
                shows_what_may_be_viewed(resource, privilege, &list, Context::Sandbox, places);
            }
        }
    }
}

fn shows_what_may_be_viewed(
    resource: Resource,
    privilege: Option<Privilege>,
    list: &ListScope<'_>,
    asked_in: Context,
    places: &[Option<i64>],
) {
    let visible = table(resource).visible(&Subject { user_id: 7, privilege }, list);
    let limit_input = LimitInput::NONE;
    let may_list = Question { privilege, context: asked_in, ownership: Ownership::NONE, limit_input };
    if !decides(resource, "list", &may_list) {
        assert_eq!(visible, Predicate::Nothing, "{resource} {privilege:?} {list:?}");
        return;
    }
    for &organization_id in places {
        for relations in ownerships(resource) {
            let context = context_of(organization_id);
            // A user belongs to an organization by being a member of it.
            let membership_role = organization_id.map(|_| Role::Worker);
            let limit_input = LimitInput { role: None, membership_role };
            let asked = Question { privilege, context, ownership: relations, limit_input };
            assert_eq!(
                visible.holds(&Object { organization_id, relations }),
                decides(resource, "view", &asked),
                "{resource} {list:?} {asked:?} {visible:?}"
            );
        }
    }
}

#[test]
fn a_list_of_one_place_shows_nothing_from_elsewhere() {
    for &resource in Resource::ALL {
        for privilege in PRIVILEGES {
            for (here, elsewhere) in [(None, Some(3)), (Some(3), None), (Some(3), Some(4))] {
                let list = ListScope::Within(context_of(here));
                let visible = table(resource).visible(&Subject { user_id: 7, privilege }, &list);
                for relations in ownerships(resource) {
                    let shown = visible.holds(&Object { organization_id: elsewhere, relations });
                    assert!(
                        !shown || resource == Resource::Organizations,
                        "{resource} {list:?} {relations:?}"
                    );
                }
            }
        }
    }
}
