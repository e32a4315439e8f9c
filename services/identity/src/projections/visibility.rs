//! Turns what a list shows, as `policy` says it, into SQL, for collections that are in no workspace: users,
//! organizations and memberships.

use diesel::sql_types::{Array, BigInt};
use event_store::Sql;
use policy::{Predicate, Relation};

/// How a collection says in SQL what a predicate speaks of.
pub trait Collection {
    /// Appends whether a row belongs to one of these organizations.
    fn in_organizations(sql: &mut Sql, ids: &[i64]);
    /// Appends whether the caller has this relation to a row; one that cannot be said is one that nobody has.
    fn related(sql: &mut Sql, relation: Relation, caller: i64);
}

/// Appends ` AND (…)` for what the caller may see.
pub fn push<C: Collection>(sql: &mut Sql, predicate: &Predicate, caller: i64) {
    sql.push(" AND ");
    condition::<C>(sql, predicate, caller);
}

fn condition<C: Collection>(sql: &mut Sql, predicate: &Predicate, caller: i64) {
    match predicate {
        // A person is in no workspace: the personal one shows what the rest of the predicate allows.
        Predicate::Everything | Predicate::NoOrganization => {
            sql.push("TRUE");
        }
        Predicate::Nothing | Predicate::AnyOrganization => {
            sql.push("FALSE");
        }
        Predicate::And(parts) => joined::<C>(sql, parts, " AND ", caller),
        Predicate::Or(parts) => joined::<C>(sql, parts, " OR ", caller),
        Predicate::Organization(id) => C::in_organizations(sql, &[*id]),
        Predicate::OrganizationIn(ids) => C::in_organizations(sql, ids),
        Predicate::Related(relation) => C::related(sql, *relation, caller),
    }
}

fn joined<C: Collection>(sql: &mut Sql, parts: &[Predicate], word: &str, caller: i64) {
    sql.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(word);
        }
        condition::<C>(sql, part, caller);
    }
    sql.push(")");
}

/// Appends an array of ids.
pub fn push_ids<'a>(sql: &'a mut Sql, ids: &[i64]) -> &'a mut Sql {
    sql.push_bind::<Array<BigInt>>(ids.to_vec())
}
