//! Queries of memberships; `directory.rs` writes the table.

use chrono::{DateTime, Utc};
use contracts::identity as facts;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use policy::{Predicate, Relation, Role};
use service_kit::Refusal;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::visibility::{Visible, push_ids, push_predicate};

const ROLES: &[&str] = &["worker", "supervisor", "maintainer", "owner"];

/// What clients may name in the list of memberships.
pub const FIELDS: ListFields = ListFields::new(
    "m.id",
    &[
        Field::new("id", "m.id", Kind::Integer).without_simple(),
        Field::new("role", "m.role", Kind::Choice(ROLES)),
        Field::new("user", "u.username", Kind::Text).searchable(),
    ],
);

/// The tables that a list reads.
macro_rules! from {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM directory_memberships m JOIN directory_users u ",
            "ON u.tenant_id = m.tenant_id AND u.id = m.user_id WHERE m.tenant_id = es_tenant()"
        )
    };
}

/// The columns of [`Membership`].
macro_rules! rows {
    () => {
        from!("m.id, m.organization_id, m.user_id, m.role, m.is_active, m.joined_date")
    };
}

/// A membership.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct Membership {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = BigInt)]
    pub organization_id: i64,
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Bool)]
    pub is_active: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub joined_date: Option<DateTime<Utc>>,
}

impl Membership {
    /// The role; a word that is no role gives none, which no rule is satisfied with.
    pub fn role(&self) -> Option<Role> {
        self.role.parse().ok()
    }

    /// The membership, as events know one.
    pub fn fact(self) -> facts::Membership {
        facts::Membership {
            id: self.id,
            organization_id: self.organization_id,
            user_id: self.user_id,
            role: self.role,
            is_active: self.is_active,
            joined_date: self.joined_date,
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// A membership by its id.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<Membership>, StoreError> {
    let sql = Sql::fixed(concat!(
        "SELECT id, organization_id, user_id, role, is_active, joined_date FROM directory_memberships ",
        "WHERE tenant_id = es_tenant() AND id = $1"
    ));
    let rows: Vec<Membership> = sql.bind::<BigInt>(id).load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// The membership of a user in an organization, active or not.
pub async fn find_of(tx: &mut Tx, organization_id: i64, user_id: i64) -> Result<Option<i64>, StoreError> {
    let rows: Vec<Number> = Sql::fixed(
        "SELECT id AS value FROM directory_memberships \
         WHERE tenant_id = es_tenant() AND organization_id = $1 AND user_id = $2",
    )
    .bind::<BigInt>(organization_id)
    .bind::<BigInt>(user_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.value))
}

/// All memberships of an organization.
pub async fn ids_in(tx: &mut Tx, organization_id: i64) -> Result<Vec<i64>, StoreError> {
    let sql = Sql::fixed(
        "SELECT id AS value FROM directory_memberships \
         WHERE tenant_id = es_tenant() AND organization_id = $1 ORDER BY id",
    );
    let rows: Vec<Number> = sql.bind::<BigInt>(organization_id).load(&mut **tx).await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// All memberships of a user.
pub async fn ids_of(tx: &mut Tx, user_id: i64) -> Result<Vec<i64>, StoreError> {
    let sql = Sql::fixed(
        "SELECT id AS value FROM directory_memberships \
         WHERE tenant_id = es_tenant() AND user_id = $1 ORDER BY id",
    );
    let rows: Vec<Number> = sql.bind::<BigInt>(user_id).load(&mut **tx).await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// Who sees memberships that are not active yet.
#[derive(Clone, Debug)]
pub enum Pending {
    /// Everybody's: an admin.
    All,
    /// Those of these organizations: their maintainers and owners.
    In(Vec<i64>),
}

impl Pending {
    /// Of a caller with these memberships.
    pub fn of(is_admin: bool, memberships: &[(i64, Role)]) -> Self {
        if is_admin {
            return Self::All;
        }
        let maintained = memberships.iter().filter(|(_, role)| *role >= Role::Maintainer);
        Self::In(maintained.map(|(id, _)| *id).collect())
    }

    fn push(&self, sql: &mut Sql) {
        if let Self::In(ids) = self {
            sql.push(" AND (m.is_active OR m.organization_id = ANY(");
            push_ids(sql, ids).push("))");
        }
    }
}

/// One page of the memberships that a caller may see.
pub async fn list(
    tx: &mut Tx,
    query: &ListQuery,
    seen: &Predicate,
    pending: &Pending,
    caller: i64,
) -> Result<(Vec<Membership>, Window), Refusal> {
    let narrow = |sql: &mut Sql| {
        query.push_where(sql);
        push_predicate(sql, seen, &Members, caller);
        pending.push(sql);
    };
    let mut total = Sql::composed(from!("count(*) AS value"));
    narrow(&mut total);
    let Number { value: count } = total.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(rows!());
    narrow(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    Ok((rows.load(&mut **tx).await?, window))
}

/// Memberships: each is in its organization and about its user.
struct Members;

impl Visible for Members {
    fn in_organizations(&self, sql: &mut Sql, ids: &[i64]) {
        sql.push("m.organization_id = ANY(");
        push_ids(sql, ids).push(")");
    }

    // The personal workspace shows what the rest of the predicate allows.
    fn in_no_organization(&self, sql: &mut Sql) {
        sql.push("TRUE");
    }

    fn in_any_organization(&self, sql: &mut Sql) {
        sql.push("FALSE");
    }

    fn related(&self, sql: &mut Sql, relation: Relation, caller: i64) {
        match relation {
            Relation::SelfUser => sql.push("m.user_id = ").push_i64(caller),
            _ => sql.push("FALSE"),
        };
    }
}
