//! One row of a table: whom it allows, and which objects of a list it shows them.

use std::str::FromStr;

use crate::caller::{Context, Privilege, Role, Subject};
use crate::csv::{Defect, Row};
use crate::name::{UnknownName, named};
use crate::ownership::Ownership;
use crate::predicate::Predicate;
use crate::table::{ListScope, VIEW};

/// What a row's `Limit` may look at, beside the caller's relations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitInput {
    /// The role that the resource carries: of a membership, its own.
    pub role: Option<Role>,
    /// The role of the user asked about in the organization of the context; none if not an active member.
    pub membership_role: Option<Role>,
}

impl LimitInput {
    /// For resources that no rule limits.
    pub const NONE: Self = Self { role: None, membership_role: None };
}

/// The limits that CVAT's tables know, each by its text there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    NotOwner,
    NeitherMaintainerNorOwner,
    Member,
}

named!(Limit is a "limit" {
    NotOwner = r#"resource["role"] != "owner""#,
    NeitherMaintainerNorOwner = r#"resource["role"] not in ["maintainer", "owner"]"#,
    Member = r#"resource["membership"]["role"] != None"#,
});

impl Limit {
    /// Tells whether the resource satisfies the limit; one that does not say its role satisfies none.
    fn is_met_by(self, resource: &LimitInput) -> bool {
        match self {
            Self::NotOwner => resource.role.is_some_and(|role| role < Role::Owner),
            Self::NeitherMaintainerNorOwner => resource.role.is_some_and(|role| role < Role::Maintainer),
            Self::Member => resource.membership_role.is_some(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Sandbox,
    Organization,
}

named!(Place is a "context" {
    Anywhere = "n/a",
    Sandbox = "sandbox",
    Organization = "organization",
});

/// A row: allows whoever satisfies all of it. A `None` asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    place: Place,
    ownership: Option<Ownership>,
    limit: Option<Limit>,
    privilege: Option<Privilege>,
    /// Whether more than `privilege` is too much: CVAT's `Strict_Privilege`.
    exactly: bool,
    membership: Option<Role>,
}

impl Rule {
    /// The row that CVAT adds in thought to every scope.
    pub(crate) const ADMIN: Self = Self {
        place: Place::Anywhere,
        ownership: None,
        limit: None,
        privilege: Some(Privilege::Admin),
        exactly: false,
        membership: None,
    };

    /// Returns the scope and the rule that `row` states.
    pub(crate) fn parse(row: &Row) -> Result<(String, Self), Defect> {
        let [scope, context, ownership, limit, privilege, membership] =
            row.each_ref().map(|cell| cell.trim());
        let privilege = privilege.to_lowercase();
        let only = privilege.strip_prefix("only ");
        let rule = Self {
            place: context.to_lowercase().parse()?,
            ownership: parse_ownership(&ownership.to_lowercase())?,
            limit: unless("", limit)?,
            privilege: unless("none", only.unwrap_or(&privilege))?,
            exactly: only.is_some(),
            membership: unless("n/a", &membership.to_lowercase())?,
        };
        if scope.is_empty() {
            return Err(Defect::NoScope);
        }
        if rule.place == Place::Sandbox && rule.membership.is_some() {
            return Err(Defect::SandboxMembership);
        }
        if scope == VIEW && !rule.is_listable() {
            return Err(Defect::Unlistable);
        }
        Ok((scope.to_owned(), rule))
    }

    /// Tells whether the row allows this caller this request.
    pub(crate) fn allows(
        &self,
        subject: &Subject,
        context: &Context,
        ownership: Ownership,
        limit_input: &LimitInput,
    ) -> bool {
        self.reaches(subject, context)
            && self.ownership.is_none_or(|needed| needed.intersects(ownership))
            && self.limit.is_none_or(|limit| limit.is_met_by(limit_input))
    }

    /// Returns the objects that the row, of the scope `view`, shows this caller among those in `list`.
    pub(crate) fn shows(&self, subject: &Subject, list: &ListScope<'_>) -> Predicate {
        let related = match self.ownership {
            None => Predicate::Everything,
            Some(needed) => Predicate::any(needed.iter().map(Predicate::Related)),
        };
        Predicate::all([self.shown_places(subject, list), related])
    }

    /// Tells whether the row treats a sandbox and an organization alike.
    pub(crate) fn ignores_context(&self) -> bool {
        self.place == Place::Anywhere && self.membership.is_none()
    }

    fn is_for(&self, subject: &Subject) -> bool {
        if self.exactly { subject.privilege == self.privilege } else { subject.privilege >= self.privilege }
    }

    /// Tells whether the caller, and where the object is, suit the row.
    fn reaches(&self, subject: &Subject, context: &Context) -> bool {
        let in_place = match self.place {
            Place::Anywhere => true,
            Place::Sandbox => matches!(context, Context::Sandbox),
            Place::Organization => matches!(context, Context::Organization { .. }),
        };
        in_place && self.is_for(subject) && context.role() >= self.membership
    }

    /// Returns where, among the places of `list`, the row reaches; a `Limit` adds nothing, see `is_listable`.
    fn shown_places(&self, subject: &Subject, list: &ListScope<'_>) -> Predicate {
        let holds = |reached| if reached { Predicate::Everything } else { Predicate::Nothing };
        match list {
            ListScope::Within(context) => holds(self.reaches(subject, context)),
            ListScope::All { .. } if !self.is_for(subject) => Predicate::Nothing,
            ListScope::All { .. } if self.ignores_context() => Predicate::Everything,
            ListScope::All { .. } if self.place == Place::Sandbox => Predicate::NoOrganization,
            ListScope::All { .. } if self.membership.is_none() => Predicate::AnyOrganization,
            ListScope::All { memberships } => {
                let suffices = |(_, role): &&(i64, Role)| Some(*role) >= self.membership;
                Predicate::in_organizations(memberships.iter().filter(suffices).map(|(id, _)| *id).collect())
            }
        }
    }

    /// Tells whether a [`Predicate`] can express the row.
    ///
    /// Of the limits it can say only that the user shown is a member, which is what "in an organization" means
    /// of a user.
    fn is_listable(&self) -> bool {
        let for_members = self.place == Place::Organization && self.membership.is_some();
        match self.limit {
            None => true,
            Some(limit) => for_members && limit == Limit::Member,
        }
    }
}

/// Returns the relations that a list names, or none if the row is for everybody too.
fn parse_ownership(cell: &str) -> Result<Option<Ownership>, UnknownName> {
    let mut needed = Some(Ownership::NONE);
    for name in cell.split(',').map(str::trim) {
        needed = match name {
            "none" | "n/a" => None,
            name => {
                let relation = name.parse()?;
                needed.map(|others| others.with(relation, true))
            }
        };
    }
    Ok(needed)
}

fn unless<T: FromStr<Err = UnknownName>>(nothing: &str, cell: &str) -> Result<Option<T>, UnknownName> {
    if cell == nothing { Ok(None) } else { cell.parse().map(Some) }
}
