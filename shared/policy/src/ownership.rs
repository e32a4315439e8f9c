//! The relations of a caller to an object.

use crate::caller::Role;
use crate::name::named;

/// One way in which the caller is related to the object asked about.
///
/// `Worker`, `Supervisor` and `Maintainer` are relations to an organization only, to which `Owner` is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    Owner,
    Assignee,
    /// Owns the project that the object belongs to.
    ProjectOwner,
    /// Is assigned to the project that the object belongs to.
    ProjectAssignee,
    /// Owns the task that the object belongs to.
    TaskOwner,
    /// Is assigned to the task that the object belongs to.
    TaskAssignee,
    /// Is the user, or the member, that the object describes.
    SelfUser,
    Worker,
    Supervisor,
    Maintainer,
}

named!(Relation is a "ownership" {
    Owner = "owner",
    Assignee = "assignee",
    ProjectOwner = "project:owner",
    ProjectAssignee = "project:assignee",
    TaskOwner = "task:owner",
    TaskAssignee = "task:assignee",
    SelfUser = "self",
    Worker = "worker",
    Supervisor = "supervisor",
    Maintainer = "maintainer",
});

impl From<Role> for Relation {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Supervisor => Self::Supervisor,
            Role::Maintainer => Self::Maintainer,
            Role::Owner => Self::Owner,
        }
    }
}

/// A set of relations: those that a caller holds, or those that a row is for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ownership(u16);

impl Ownership {
    /// No relation at all.
    pub const NONE: Self = Self(0);

    /// Returns the set with `relation` added if it `holds`, and unchanged if it does not.
    pub const fn with(self, relation: Relation, holds: bool) -> Self {
        Self(self.0 | (holds as u16) << relation as u8)
    }

    /// Returns the caller's relation to an organization, in which the caller has `role`.
    pub fn by_role(role: Option<Role>) -> Self {
        role.map(Relation::from).into_iter().collect()
    }

    /// Tells whether `relation` is in the set.
    pub const fn contains(self, relation: Relation) -> bool {
        self.0 & (1 << relation as u8) != 0
    }

    /// Tells whether the two sets have a relation in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the relations in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Relation> {
        Relation::ALL.iter().copied().filter(move |relation| self.contains(*relation))
    }
}

impl FromIterator<Relation> for Ownership {
    fn from_iter<I: IntoIterator<Item = Relation>>(relations: I) -> Self {
        relations.into_iter().fold(Self::NONE, |set, relation| set.with(relation, true))
    }
}

impl std::fmt::Debug for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
