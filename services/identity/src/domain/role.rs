//! ClearML's roles, and the privileges of CVAT's that they are the same as: one user, two faces, one truth.

use std::fmt;

use policy::Privilege;

/// What ClearML calls somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The deployment's own credential.
    System,
    /// A person who operates the deployment.
    Root,
    Admin,
    Superuser,
    User,
    Annotator,
    Guest,
}

/// Those that somebody may be given.
const GIVEN: &[Role] = &[Role::Admin, Role::Superuser, Role::User, Role::Annotator, Role::Guest];

impl Role {
    /// The role of a user.
    pub fn of(privilege: Option<Privilege>, operator: bool) -> Self {
        match (operator, privilege) {
            (true, None) => Self::System,
            (true, Some(_)) => Self::Root,
            (false, Some(Privilege::Admin)) => Self::Admin,
            (false, Some(Privilege::Business)) => Self::Superuser,
            (false, Some(Privilege::User)) => Self::User,
            (false, Some(Privilege::Worker)) => Self::Annotator,
            (false, None) => Self::Guest,
        }
    }

    /// A role by its name; none for a name of no role, and for those that nobody can be given.
    pub fn given(name: &str) -> Option<Self> {
        GIVEN.iter().copied().find(|role| role.to_string() == name)
    }

    /// The privilege that goes with it.
    pub fn privilege(self) -> Option<Privilege> {
        match self {
            Self::System | Self::Guest => None,
            Self::Root | Self::Admin => Some(Privilege::Admin),
            Self::Superuser => Some(Privilege::Business),
            Self::User => Some(Privilege::User),
            Self::Annotator => Some(Privilege::Worker),
        }
    }

    /// Whether it operates the deployment.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::System | Self::Root)
    }

    /// Whether it administers its company, or all of them.
    pub fn is_admin(self) -> bool {
        self.is_operator() || self == Self::Admin
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Root => "root",
            Self::Admin => "admin",
            Self::Superuser => "superuser",
            Self::User => "user",
            Self::Annotator => "annotator",
            Self::Guest => "guest",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_and_its_privilege_are_the_same_thing() {
        for role in GIVEN {
            assert_eq!(Role::of(role.privilege(), false), *role);
            assert_eq!(Role::given(&role.to_string()), Some(*role));
        }
        assert_eq!(Role::of(Role::Root.privilege(), true), Role::Root);
        assert_eq!(Role::of(Role::System.privilege(), true), Role::System);
        for name in ["system", "root", "Admin", ""] {
            assert_eq!(Role::given(name), None, "{name}");
        }
    }
}
