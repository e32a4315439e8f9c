mod exhaustive;
mod facts;
mod reference;
mod refusals;

use crate::{Context, Ownership, Privilege, Relation, Resource, Role};

const PRIVILEGES: [Option<Privilege>; 5] =
    [None, Some(Privilege::Worker), Some(Privilege::User), Some(Privilege::Business), Some(Privilege::Admin)];

const ROLES: [Option<Role>; 5] =
    [None, Some(Role::Worker), Some(Role::Supervisor), Some(Role::Maintainer), Some(Role::Owner)];

/// The sandbox, and an organization in each role.
fn contexts() -> impl Iterator<Item = Context> {
    std::iter::once(Context::Sandbox).chain(ROLES.map(|role| Context::Organization { id: 1, role }))
}

/// Every set of the relations that the table of `resource` names.
fn ownerships(resource: Resource) -> Vec<Ownership> {
    let text = resource.text().to_lowercase();
    let named: Vec<Relation> =
        Relation::ALL.iter().copied().filter(|relation| text.contains(relation.as_str())).collect();
    (0..1_u32 << named.len())
        .map(|bits| (0..named.len()).filter(|bit| bits >> bit & 1 == 1).map(|bit| named[bit]).collect())
        .collect()
}
