//! What a list shows, as data that a service turns into SQL.

use crate::ownership::{Ownership, Relation};

/// A condition on an object, about its place and the caller's relations to it.
///
/// Always simplified by those who build it with [`Predicate::all`] and [`Predicate::any`]: `Everything` and
/// `Nothing` stand alone, an `And` or `Or` has at least two different members, none of its own kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    Everything,
    Nothing,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    /// Belongs to this organization; of a user, is an active member of it.
    Organization(i64),
    /// Belongs to one of these organizations; of a user, is an active member of one.
    OrganizationIn(Vec<i64>),
    /// Belongs to an organization, whichever it is.
    AnyOrganization,
    /// Belongs to no organization.
    NoOrganization,
    /// The caller has this relation to the object.
    Related(Relation),
}

/// What a [`Predicate`] needs to know of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The organization that it belongs to; of a user, the one that is asked about and has them as active member.
    pub organization_id: Option<i64>,
    /// The caller's relations to it.
    pub relations: Ownership,
}

impl Predicate {
    /// Returns the predicate that holds where all `parts` hold.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut members = Vec::new();
        for part in parts {
            match part {
                Self::Everything => {}
                Self::Nothing => return Self::Nothing,
                Self::And(inner) => add_new(&mut members, inner),
                other => add_new(&mut members, vec![other]),
            }
        }
        alone(members, Self::Everything, Self::And)
    }

    /// Returns the predicate that holds where one of `parts` holds.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut members = Vec::new();
        for part in parts {
            match part {
                Self::Nothing => {}
                Self::Everything => return Self::Everything,
                Self::Or(inner) => add_new(&mut members, inner),
                other => add_new(&mut members, vec![other]),
            }
        }
        alone(members, Self::Nothing, Self::Or)
    }

    /// Returns the predicate of what belongs to one of the organizations `ids`.
    pub fn in_organizations(ids: Vec<i64>) -> Self {
        match ids[..] {
            [] => Self::Nothing,
            [id] => Self::Organization(id),
            _ => Self::OrganizationIn(ids),
        }
    }

    /// Tells whether nobody sees anything by it without a relation to it, so that a list need look only at what
    /// the caller is related to.
    pub fn needs_relation(&self) -> bool {
        match self {
            Self::Nothing | Self::Related(_) => true,
            Self::And(parts) => parts.iter().any(Self::needs_relation),
            Self::Or(parts) => parts.iter().all(Self::needs_relation),
            Self::Everything
            | Self::Organization(_)
            | Self::OrganizationIn(_)
            | Self::AnyOrganization
            | Self::NoOrganization => false,
        }
    }

    /// Tells whether the condition holds for `object`.
    pub fn holds(&self, object: &Object) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::And(parts) => parts.iter().all(|part| part.holds(object)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(object)),
            Self::Organization(id) => object.organization_id == Some(*id),
            Self::OrganizationIn(ids) => object.organization_id.is_some_and(|id| ids.contains(&id)),
            Self::AnyOrganization => object.organization_id.is_some(),
            Self::NoOrganization => object.organization_id.is_none(),
            Self::Related(relation) => object.relations.contains(*relation),
        }
    }
}

fn add_new(members: &mut Vec<Predicate>, parts: Vec<Predicate>) {
    for part in parts {
        if !members.contains(&part) {
            members.push(part);
        }
    }
}

/// Returns the only member, `empty` if there is none, or `many` of them.
fn alone(
    mut members: Vec<Predicate>,
    empty: Predicate,
    many: impl FnOnce(Vec<Predicate>) -> Predicate,
) -> Predicate {
    match members.len() {
        0 | 1 => members.pop().unwrap_or(empty),
        _ => many(members),
    }
}

#[cfg(test)]
mod tests {
    use super::Predicate::{
        And, Everything, NoOrganization, Nothing, Or, Organization, OrganizationIn, Related,
    };
    use super::*;

    #[test]
    fn predicates_are_simplified() {
        let (owner, assignee) = (Related(Relation::Owner), Related(Relation::Assignee));
        assert_eq!(Predicate::all([]), Everything);
        assert_eq!(Predicate::any([]), Nothing);
        assert_eq!(Predicate::all([Everything, owner.clone(), owner.clone()]), owner);
        assert_eq!(Predicate::any([Nothing, owner.clone(), owner.clone()]), owner);
        assert_eq!(Predicate::all([owner.clone(), Nothing]), Nothing);
        assert_eq!(Predicate::any([owner.clone(), Everything]), Everything);

        let either = Predicate::any([owner.clone(), assignee.clone()]);
        assert_eq!(either, Or(vec![owner.clone(), assignee.clone()]));
        assert_eq!(
            Predicate::any([Predicate::any([owner.clone(), either]), NoOrganization]),
            Or(vec![owner.clone(), assignee.clone(), NoOrganization])
        );
        let both = Predicate::all([owner.clone(), Organization(1)]);
        assert_eq!(Predicate::all([both, assignee.clone()]), And(vec![owner, Organization(1), assignee]));
    }

    #[test]
    fn a_condition_needs_a_relation_if_each_of_its_ways_does() {
        let owner = || Related(Relation::Owner);
        let mine = || Predicate::all([Organization(1), owner()]);
        assert!(mine().needs_relation());
        assert!(Predicate::any([mine(), Predicate::all([NoOrganization, owner()])]).needs_relation());
        assert!(!Predicate::any([mine(), Organization(2)]).needs_relation());
        assert!(!Everything.needs_relation());
    }

    #[test]
    fn organizations_are_simplified() {
        assert_eq!(Predicate::in_organizations(vec![]), Nothing);
        assert_eq!(Predicate::in_organizations(vec![1]), Organization(1));
        assert_eq!(Predicate::in_organizations(vec![1, 2]), OrganizationIn(vec![1, 2]));
    }
}
