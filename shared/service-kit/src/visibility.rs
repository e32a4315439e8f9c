//! What a list shows, as `policy` says it, turned into SQL.

use diesel::sql_types::{Array, BigInt};
use event_store::Sql;
use policy::{Predicate, Relation};

/// How a collection says in SQL what a predicate speaks of.
pub trait Visible {
    /// Appends whether a row belongs to one of these organizations.
    fn in_organizations(&self, sql: &mut Sql, ids: &[i64]);
    /// Appends whether a row belongs to no organization.
    fn in_no_organization(&self, sql: &mut Sql);
    /// Appends whether a row belongs to any organization.
    fn in_any_organization(&self, sql: &mut Sql);
    /// Appends whether the user has this relation to a row; one that cannot be said is one that nobody has.
    fn related(&self, sql: &mut Sql, relation: Relation, user_id: i64);
}

/// Where a table keeps what permissions are about. The texts are SQL expressions of ours.
#[derive(Clone, Copy)]
pub struct Columns {
    pub organization: &'static str,
    pub owner: Option<&'static str>,
    pub assignee: Option<&'static str>,
    pub project_owner: Option<&'static str>,
    pub project_assignee: Option<&'static str>,
    pub task_owner: Option<&'static str>,
    pub task_assignee: Option<&'static str>,
}

impl Columns {
    /// A table that knows its organization and nobody who is related to its rows.
    pub const fn of(organization: &'static str) -> Self {
        Self {
            organization,
            owner: None,
            assignee: None,
            project_owner: None,
            project_assignee: None,
            task_owner: None,
            task_assignee: None,
        }
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self::of("organization_id")
    }
}

impl Visible for Columns {
    fn in_organizations(&self, sql: &mut Sql, ids: &[i64]) {
        sql.push(self.organization);
        match ids {
            [id] => sql.push(" = ").push_i64(*id),
            ids => push_ids(sql.push(" = ANY("), ids).push(")"),
        };
    }

    fn in_no_organization(&self, sql: &mut Sql) {
        sql.push(self.organization).push(" IS NULL");
    }

    fn in_any_organization(&self, sql: &mut Sql) {
        sql.push(self.organization).push(" IS NOT NULL");
    }

    fn related(&self, sql: &mut Sql, relation: Relation, user_id: i64) {
        let column = match relation {
            Relation::Owner => self.owner,
            Relation::Assignee => self.assignee,
            Relation::ProjectOwner => self.project_owner,
            Relation::ProjectAssignee => self.project_assignee,
            Relation::TaskOwner => self.task_owner,
            Relation::TaskAssignee => self.task_assignee,
            Relation::SelfUser | Relation::Worker | Relation::Supervisor | Relation::Maintainer => None,
        };
        // A relation that this table cannot express is one that nobody has: never "no filter".
        match column {
            Some(column) => sql.push(column).push(" = ").push_i64(user_id),
            None => sql.push("FALSE"),
        };
    }
}

/// Appends ` AND (…)` for what the caller may see.
pub fn push_predicate(sql: &mut Sql, predicate: &Predicate, rows: &impl Visible, user_id: i64) {
    sql.push(" AND ");
    condition(sql, predicate, rows, user_id);
}

fn condition(sql: &mut Sql, predicate: &Predicate, rows: &impl Visible, user_id: i64) {
    match predicate {
        Predicate::Everything => {
            sql.push("TRUE");
        }
        Predicate::Nothing => {
            sql.push("FALSE");
        }
        Predicate::And(parts) => joined(sql, parts, " AND ", rows, user_id),
        Predicate::Or(parts) => joined(sql, parts, " OR ", rows, user_id),
        Predicate::Organization(id) => rows.in_organizations(sql, &[*id]),
        Predicate::OrganizationIn(ids) => rows.in_organizations(sql, ids),
        Predicate::NoOrganization => rows.in_no_organization(sql),
        Predicate::AnyOrganization => rows.in_any_organization(sql),
        Predicate::Related(relation) => rows.related(sql, *relation, user_id),
    }
}

fn joined(sql: &mut Sql, parts: &[Predicate], word: &str, rows: &impl Visible, user_id: i64) {
    sql.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(word);
        }
        condition(sql, part, rows, user_id);
    }
    sql.push(")");
}

/// Appends an array of ids.
pub fn push_ids<'a>(sql: &'a mut Sql, ids: &[i64]) -> &'a mut Sql {
    sql.push_bind::<Array<BigInt>>(ids.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(predicate: &Predicate) -> (String, usize) {
        let columns =
            Columns { organization: "t.organization_id", owner: Some("t.owner_id"), ..Columns::default() };
        let mut sql = Sql::composed("WHERE TRUE");
        push_predicate(&mut sql, predicate, &columns, 7);
        (sql.text().trim_start_matches("WHERE TRUE AND ").to_owned(), sql.parameter_count())
    }

    #[test]
    fn a_predicate_becomes_a_condition_with_bound_ids() {
        assert_eq!(text(&Predicate::Everything), ("TRUE".into(), 0));
        let own = Predicate::Related(Relation::Owner);
        let seen = Predicate::any([own.clone(), Predicate::in_organizations(vec![1, 2])]);
        assert_eq!(text(&seen), ("(t.owner_id = $1 OR t.organization_id = ANY($2))".into(), 2));
        let here = Predicate::all([own, Predicate::Organization(3)]);
        assert_eq!(text(&here), ("(t.owner_id = $1 AND t.organization_id = $2)".into(), 2));
        assert_eq!(text(&Predicate::NoOrganization), ("t.organization_id IS NULL".into(), 0));
    }

    #[test]
    fn a_relation_that_a_table_does_not_know_shows_nothing() {
        assert_eq!(text(&Predicate::Related(Relation::Assignee)), ("FALSE".into(), 0));
    }
}
