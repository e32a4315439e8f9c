//! A second reading of the tables, on words alone, in the manner of CVAT's generator of tests for its policies.

use crate::{Context, LimitInput, Ownership, Privilege, Resource, Role, csv};

const PRIVILEGES: [&str; 5] = ["none", "worker", "user", "business", "admin"];
const ROLES: [&str; 5] = ["n/a", "worker", "supervisor", "maintainer", "owner"];

/// One row of a table, for one relation.
#[derive(Clone, Debug)]
pub struct Line {
    pub scope: String,
    pub context: String,
    pub ownership: String,
    pub limit: String,
    pub privilege: String,
    pub membership: String,
}

/// What is asked, but for the scope.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub privilege: Option<Privilege>,
    pub context: Context,
    pub ownership: Ownership,
    pub limit_input: LimitInput,
}

pub fn lines(resource: Resource) -> Vec<Line> {
    let mut lines = Vec::new();
    for (_, row) in csv::rows(resource.text()) {
        let [scope, context, ownership, limit, privilege, membership] =
            row.unwrap().map(|cell| cell.to_lowercase());
        for ownership in ownership.split(',') {
            lines.push(Line {
                scope: scope.clone(),
                context: context.clone(),
                ownership: ownership.trim().to_owned(),
                limit: limit.clone(),
                privilege: privilege.clone(),
                membership: membership.clone(),
            });
        }
    }
    lines
}

impl Line {
    pub fn allows(&self, asked: &Question) -> bool {
        let (context, role) = match asked.context {
            Context::Sandbox => ("sandbox", None),
            Context::Organization { role, .. } => ("organization", role),
        };
        let limit_input = asked.limit_input;
        ["n/a", context].contains(&self.context.as_str())
            && (["none", "n/a"].contains(&self.ownership.as_str())
                || asked.ownership.iter().any(|relation| relation.as_str() == self.ownership))
            && match (asked.privilege.map_or("none", Privilege::as_str), self.privilege.strip_prefix("only "))
            {
                (privilege, Some(only)) => privilege == only,
                (privilege, None) => rank(&PRIVILEGES, privilege) >= rank(&PRIVILEGES, &self.privilege),
            }
            && rank(&ROLES, role.map_or("n/a", Role::as_str)) >= rank(&ROLES, &self.membership)
            && match self.limit.as_str() {
                "" => true,
                r#"resource["role"] != "owner""# => {
                    limit_input.role.is_some() && limit_input.role != Some(Role::Owner)
                }
                r#"resource["role"] not in ["maintainer", "owner"]"# => {
                    [Some(Role::Worker), Some(Role::Supervisor)].contains(&limit_input.role)
                }
                r#"resource["membership"]["role"] != none"# => limit_input.membership_role.is_some(),
                other => panic!("{other}"),
            }
    }
}

pub fn allows(lines: &[Line], scope: &str, asked: &Question) -> bool {
    let mut of_scope = lines.iter().filter(|line| line.scope == scope).peekable();
    let is_known = of_scope.peek().is_some();
    (is_known && asked.privilege == Some(Privilege::Admin)) || of_scope.any(|line| line.allows(asked))
}

fn rank(names: &[&str], name: &str) -> usize {
    names.iter().position(|other| *other == name).unwrap()
}
