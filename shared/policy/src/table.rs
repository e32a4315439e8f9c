//! The tables, parsed once, and the two questions that they answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::caller::{Context, Role, Subject};
use crate::csv::{self, TableError};
use crate::name::named;
use crate::ownership::Ownership;
use crate::predicate::Predicate;
use crate::rule::{LimitInput, Rule};

/// The scope of asking for a list at all.
const LIST: &str = "list";

/// The scope of seeing one object, and so of seeing it in a list.
pub(crate) const VIEW: &str = "view";

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Organizations,
    Projects,
    Tasks,
    Jobs,
    /// What runs in the background; the rules of this one are ours.
    Requests,
    Webhooks,
    Events,
    Memberships,
    Users,
    Server,
}

named!(Resource is a "resource" {
    Organizations = "organizations",
    Projects = "projects",
    Tasks = "tasks",
    Jobs = "jobs",
    Requests = "requests",
    Webhooks = "webhooks",
    Events = "events",
    Memberships = "memberships",
    Users = "users",
    Server = "server",
});

impl Resource {
    /// Returns the text of the table.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Organizations => include_str!("../tables/organizations.csv"),
            Self::Projects => include_str!("../tables/projects.csv"),
            Self::Tasks => include_str!("../tables/tasks.csv"),
            Self::Jobs => include_str!("../tables/jobs.csv"),
            Self::Requests => include_str!("../tables/requests.csv"),
            Self::Webhooks => include_str!("../tables/webhooks.csv"),
            Self::Events => include_str!("../tables/events.csv"),
            Self::Memberships => include_str!("../tables/memberships.csv"),
            Self::Users => include_str!("../tables/users.csv"),
            Self::Server => include_str!("../tables/server.csv"),
        }
    }
}

static TABLES: LazyLock<Result<BTreeMap<Resource, Table>, TableError>> = LazyLock::new(|| {
    let parse = |resource: &Resource| Ok((*resource, Table::parse(resource.as_str(), resource.text())?));
    Resource::ALL.iter().map(parse).collect()
});

static DENY_ALL: Table = Table { scopes: BTreeMap::new() };

/// Parses every table. Each service calls this at its start and refuses to run on an error.
///
/// # Errors
/// The first row that cannot be read. From then on, every table denies everything.
pub fn validate_all() -> Result<(), TableError> {
    match &*TABLES {
        Ok(_) => Ok(()),
        Err(error) => Err(error.clone()),
    }
}

/// Returns the table of `resource`.
pub fn table(resource: Resource) -> &'static Table {
    match &*TABLES {
        Ok(tables) => tables.get(&resource).unwrap_or(&DENY_ALL),
        Err(_) => &DENY_ALL,
    }
}

/// The answer to "may they?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    Allow,
    Deny,
}

impl Decision {
    /// Tells whether the answer is yes.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// Which objects a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope<'a> {
    /// No organization was named: all that the caller may see, personal or of the organizations where the
    /// caller is an active member.
    All { memberships: &'a [(i64, Role)] },
    /// Only what belongs here.
    Within(Context),
}

/// The rules of one resource.
#[derive(Debug)]
pub struct Table {
    scopes: BTreeMap<String, Vec<Rule>>,
}

impl Table {
    pub(crate) fn parse(file: &'static str, text: &str) -> Result<Self, TableError> {
        let mut scopes = BTreeMap::new();
        for (line, row) in csv::rows(text) {
            let rule = row.and_then(|row| Rule::parse(&row));
            let (scope, rule) = rule.map_err(|defect| TableError { file, line, defect })?;
            scopes.entry(scope).or_insert_with(|| vec![Rule::ADMIN]).push(rule);
        }
        Ok(Self { scopes })
    }

    /// Decides whether `subject`, who has the relations `ownership` to the object, may do `scope` to it.
    ///
    /// `context` is where the object is, or is to be created. `limit_input` matters to memberships and users
    /// only; elsewhere it is [`LimitInput::NONE`].
    pub fn decide(
        &self,
        scope: &str,
        subject: &Subject,
        context: &Context,
        ownership: Ownership,
        limit_input: &LimitInput,
    ) -> Decision {
        let allows = |rule: &Rule| rule.allows(subject, context, ownership, limit_input);
        if self.rules(scope).iter().any(allows) { Decision::Allow } else { Decision::Deny }
    }

    /// Returns what a list shows `subject`: the objects in `list` on which `view` is allowed.
    ///
    /// `Nothing` if the caller may not list at all. Where no view rule looks at the context (organizations),
    /// the objects are in no place, and `list` does not narrow them.
    pub fn visible(&self, subject: &Subject, list: &ListScope<'_>) -> Predicate {
        let (context, place) = match list {
            ListScope::All { .. } => (Context::Sandbox, Predicate::Everything),
            ListScope::Within(Context::Sandbox) => (Context::Sandbox, Predicate::NoOrganization),
            ListScope::Within(context @ Context::Organization { id, .. }) => {
                (*context, Predicate::Organization(*id))
            }
        };
        if !self.decide(LIST, subject, &context, Ownership::NONE, &LimitInput::NONE).is_allowed() {
            return Predicate::Nothing;
        }
        let view = self.rules(VIEW);
        let shown = Predicate::any(view.iter().map(|rule| rule.shows(subject, list)));
        if view.iter().all(Rule::ignores_context) { shown } else { Predicate::all([place, shown]) }
    }

    fn rules(&self, scope: &str) -> &[Rule] {
        self.scopes.get(scope).map_or(&[], Vec::as_slice)
    }
}
