//! Queries of organizations; `directory.rs` writes the table.

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use policy::{Predicate, Relation};
use service_kit::Refusal;
use service_kit::directory::Organization;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::visibility::{Visible, push_ids, push_predicate};

/// What clients may name in the list of organizations.
pub const FIELDS: ListFields = ListFields::new(
    "o.id",
    &[
        Field::new("id", "o.id", Kind::Integer).without_simple(),
        Field::new("name", "o.name", Kind::Text).searchable(),
        Field::new("slug", "o.slug", Kind::Text).searchable(),
        Field::new("owner", "owner.username", Kind::Text).searchable(),
    ],
);

/// The tables that a list reads.
macro_rules! from {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM directory_organizations o LEFT JOIN directory_users owner ",
            "ON owner.tenant_id = o.tenant_id AND owner.id = o.owner_id WHERE o.tenant_id = es_tenant()"
        )
    };
}

/// The columns of [`Organization`].
macro_rules! rows {
    () => {
        from!(
            "o.id, o.slug, o.name, o.description, o.contact::text AS contact, o.owner_id, o.created_date, \
             o.updated_date"
        )
    };
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// An organization, if the caller may see it.
pub async fn find_visible(
    tx: &mut Tx,
    id: i64,
    seen: &Predicate,
    caller: i64,
) -> Result<Option<Organization>, StoreError> {
    let mut sql = Sql::composed(rows!());
    sql.push(" AND o.id = ").push_i64(id);
    push_predicate(&mut sql, seen, &Workspaces, caller);
    let rows: Vec<Organization> = sql.load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// One page of the organizations that a caller may see.
pub async fn list(
    tx: &mut Tx,
    query: &ListQuery,
    seen: &Predicate,
    caller: i64,
) -> Result<(Vec<Organization>, Window), Refusal> {
    let mut total = Sql::composed(from!("count(*) AS value"));
    query.push_where(&mut total);
    push_predicate(&mut total, seen, &Workspaces, caller);
    let Number { value: count } = total.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(rows!());
    query.push_where(&mut rows);
    push_predicate(&mut rows, seen, &Workspaces, caller);
    query.push_order_and_page(&mut rows, &window);
    Ok((rows.load(&mut **tx).await?, window))
}

/// The organizations that a user owns.
pub async fn owned_by(tx: &mut Tx, user_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Number> = Sql::fixed(
        "SELECT id AS value FROM directory_organizations \
         WHERE tenant_id = es_tenant() AND owner_id = $1 ORDER BY id",
    )
    .bind::<BigInt>(user_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// Organizations: the caller's relation to one is their role in it.
struct Workspaces;

impl Visible for Workspaces {
    fn in_organizations(&self, sql: &mut Sql, ids: &[i64]) {
        sql.push("o.id = ANY(");
        push_ids(sql, ids).push(")");
    }

    // A workspace is in none: the personal one shows what the rest of the predicate allows.
    fn in_no_organization(&self, sql: &mut Sql) {
        sql.push("TRUE");
    }

    fn in_any_organization(&self, sql: &mut Sql) {
        sql.push("FALSE");
    }

    fn related(&self, sql: &mut Sql, relation: Relation, caller: i64) {
        let role = match relation {
            Relation::Worker | Relation::Supervisor | Relation::Maintainer | Relation::Owner => {
                relation.as_str()
            }
            Relation::Assignee
            | Relation::ProjectOwner
            | Relation::ProjectAssignee
            | Relation::TaskOwner
            | Relation::TaskAssignee
            | Relation::SelfUser => {
                sql.push("FALSE");
                return;
            }
        };
        sql.push(
            "EXISTS (SELECT FROM directory_memberships m WHERE m.tenant_id = o.tenant_id \
             AND m.organization_id = o.id AND m.is_active AND m.user_id = ",
        );
        sql.push_i64(caller).push(" AND m.role = ").push_text(role).push(")");
    }
}
