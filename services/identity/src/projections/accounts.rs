//! Users with what only identity knows of them.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Sql, StoreError, Tx};
use policy::{Predicate, Privilege, Relation};
use service_kit::Refusal;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::visibility::{Visible, push_ids, push_predicate};
use uuid::Uuid;

use crate::domain::user::{User, UserEvent};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["accounts"];

/// The longest name or address that is looked up; what is longer cannot be there.
const NAME_BYTES_MAX: usize = 1024;

/// What clients may name in the list of users.
pub const FIELDS: ListFields = ListFields::new(
    "a.id",
    &[
        Field::new("id", "a.id", Kind::Integer).without_simple(),
        Field::new("username", "a.username", Kind::Text).searchable(),
        Field::new("first_name", "a.first_name", Kind::Text).searchable(),
        Field::new("last_name", "a.last_name", Kind::Text).searchable(),
        Field::new("is_active", "a.is_active", Kind::Boolean),
    ],
);

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, User>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            UserEvent::Registered(_)
            | UserEvent::Updated(_)
            | UserEvent::PasswordChanged { .. }
            | UserEvent::PrivilegeSet { .. } => put(tx, change.id, change.after).await,
            UserEvent::CredentialIssued(_)
            | UserEvent::CredentialLabeled { .. }
            | UserEvent::CredentialRevoked { .. } => Ok(()),
            UserEvent::Deleted => {
                Sql::fixed("DELETE FROM accounts WHERE tenant_id = es_tenant() AND id = $1")
                    .bind::<BigInt>(change.id)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }
        }
    })
}

async fn put(tx: &mut Tx, id: i64, user: &User) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO accounts (tenant_id, id, username, email, first_name, last_name, password_hash, privilege, \
         operator, is_active, date_joined) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET username = excluded.username, email = excluded.email, \
         first_name = excluded.first_name, last_name = excluded.last_name, \
         password_hash = excluded.password_hash, privilege = excluded.privilege, \
         operator = excluded.operator, is_active = excluded.is_active",
    )
    .bind::<BigInt>(id)
    .bind::<Text>(user.username.clone())
    .bind::<Text>(user.email.clone())
    .bind::<Text>(user.first_name.clone())
    .bind::<Text>(user.last_name.clone())
    .bind::<Nullable<Text>>(user.password_hash.clone())
    .bind::<Nullable<Text>>(user.privilege.map(|privilege| privilege.to_string()))
    .bind::<Bool>(user.operator)
    .bind::<Bool>(user.is_active)
    .bind::<Timestamptz>(user.date_joined)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An account. No `Debug`: it holds a password hash.
#[derive(Clone, diesel::QueryableByName)]
pub struct Account {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub username: String,
    #[diesel(sql_type = Text)]
    pub email: String,
    #[diesel(sql_type = Text)]
    pub first_name: String,
    #[diesel(sql_type = Text)]
    pub last_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub password_hash: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    privilege: Option<String>,
    #[diesel(sql_type = Bool)]
    pub operator: bool,
    #[diesel(sql_type = Bool)]
    pub is_active: bool,
    #[diesel(sql_type = Timestamptz)]
    pub date_joined: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_login: Option<DateTime<Utc>>,
    /// ClearML's id of them.
    #[diesel(sql_type = SqlUuid)]
    pub public_id: Uuid,
}

impl Account {
    /// What they may do in their tenant; a word that is no privilege gives none.
    pub fn privilege(&self) -> Option<Privilege> {
        self.privilege.as_deref().and_then(|name| name.parse().ok())
    }
}

/// The columns of [`Account`]; the last sign-in is that of the newest session.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.username, a.email, a.first_name, a.last_name, a.password_hash, a.privilege, ",
            "a.operator, a.is_active, a.date_joined, (SELECT max(s.created_at) FROM sessions s ",
            "WHERE s.tenant_id = a.tenant_id AND s.user_id = a.id) AS last_login, i.public_id ",
            "FROM accounts a JOIN public_ids i ON i.tenant_id = a.tenant_id AND i.id = a.id WHERE a.tenant_id = es_tenant()",
            $rest
        )
    };
}

/// An account by its id.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<Account>, StoreError> {
    let rows = Sql::fixed(select!(" AND a.id = $1")).bind::<BigInt>(id).load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// An account by its user name, letter by letter.
pub async fn find_by_username(tx: &mut Tx, username: &str) -> Result<Option<Account>, StoreError> {
    if !can_be_stored(username) {
        return Ok(None);
    }
    let sql = Sql::fixed(select!(" AND a.username = $1")).bind::<Text>(username.to_owned());
    Ok(sql.load(&mut **tx).await?.into_iter().next())
}

/// An account by its e-mail address, whatever the case of its letters.
pub async fn find_by_email(tx: &mut Tx, email: &str) -> Result<Option<Account>, StoreError> {
    if !can_be_stored(email) || email.is_empty() {
        return Ok(None);
    }
    let sql = Sql::fixed(select!(" AND a.email <> '' AND lower(a.email) = lower($1)"))
        .bind::<Text>(email.to_owned());
    Ok(sql.load(&mut **tx).await?.into_iter().next())
}

/// PostgreSQL refuses U+0000 as an error of ours, and nobody's name is that long.
fn can_be_stored(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.contains('\0')
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// Whether the tenant has an admin who can sign in.
pub async fn has_admin(tx: &mut Tx) -> Result<bool, StoreError> {
    let rows: Vec<Number> = Sql::fixed(
        "SELECT id AS value FROM accounts \
         WHERE tenant_id = es_tenant() AND privilege = 'admin' AND is_active LIMIT 1",
    )
    .load(&mut **tx)
    .await?;
    Ok(!rows.is_empty())
}

/// Whether a user is the only active admin; locks the admins, so that two cannot demote one another at once.
pub async fn is_last_admin(tx: &mut Tx, id: i64) -> Result<bool, StoreError> {
    let rows: Vec<Number> = Sql::fixed(
        "SELECT id AS value FROM accounts \
         WHERE tenant_id = es_tenant() AND privilege = 'admin' AND is_active ORDER BY id FOR UPDATE",
    )
    .load(&mut **tx)
    .await?;
    Ok(matches!(rows.as_slice(), [only] if only.value == id))
}

/// Whether a caller may see a user, by what a list would show them.
pub async fn is_visible(tx: &mut Tx, id: i64, seen: &Predicate, caller: i64) -> Result<bool, StoreError> {
    let mut sql =
        Sql::composed("SELECT a.id AS value FROM accounts a WHERE a.tenant_id = es_tenant() AND a.id = ");
    sql.push_i64(id);
    push_predicate(&mut sql, seen, &People, caller);
    let rows: Vec<Number> = sql.load(&mut **tx).await?;
    Ok(!rows.is_empty())
}

/// One page of the users that a caller may see.
pub async fn list(
    tx: &mut Tx,
    query: &ListQuery,
    seen: &Predicate,
    caller: i64,
) -> Result<(Vec<Account>, Window), Refusal> {
    let mut total = Sql::composed("SELECT count(*) AS value FROM accounts a WHERE a.tenant_id = es_tenant()");
    query.push_where(&mut total);
    push_predicate(&mut total, seen, &People, caller);
    let Number { value: count } = total.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(select!(""));
    query.push_where(&mut rows);
    push_predicate(&mut rows, seen, &People, caller);
    query.push_order_and_page(&mut rows, &window);
    Ok((rows.load(&mut **tx).await?, window))
}

/// Users of the tenant for ClearML's face, in the order of their ids: all, or those of some ids of theirs.
pub async fn page(
    tx: &mut Tx,
    only: Option<Vec<Uuid>>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Account>, StoreError> {
    let sql = Sql::fixed(select!(
        " AND ($1::uuid[] IS NULL OR i.public_id = ANY($1)) ORDER BY a.id LIMIT $2 OFFSET $3"
    ));
    let sql = sql.bind::<Nullable<Array<SqlUuid>>>(only).bind::<BigInt>(limit).bind::<BigInt>(offset);
    Ok(sql.load(&mut **tx).await?)
}

/// The supervisor's account, if there is one: an operator of that name, perhaps with a number behind it.
pub async fn find_supervisor(tx: &mut Tx, name: &str) -> Result<Option<Account>, StoreError> {
    let sql = Sql::fixed(select!(" AND a.operator AND a.username ^@ $1 ORDER BY a.id LIMIT 1"));
    Ok(sql.bind::<Text>(name.to_owned()).load(&mut **tx).await?.into_iter().next())
}

/// Users: each is in the organizations of which they are an active member.
struct People;

impl Visible for People {
    fn in_organizations(&self, sql: &mut Sql, ids: &[i64]) {
        sql.push(
            "EXISTS (SELECT FROM directory_memberships m WHERE m.tenant_id = a.tenant_id AND m.user_id = a.id \
             AND m.is_active AND m.organization_id = ANY(",
        );
        push_ids(sql, ids).push("))");
    }

    // A person is in no workspace: the personal one shows what the rest of the predicate allows.
    fn in_no_organization(&self, sql: &mut Sql) {
        sql.push("TRUE");
    }

    fn in_any_organization(&self, sql: &mut Sql) {
        sql.push("FALSE");
    }

    fn related(&self, sql: &mut Sql, relation: Relation, caller: i64) {
        match relation {
            Relation::SelfUser => sql.push("a.id = ").push_i64(caller),
            _ => sql.push("FALSE"),
        };
    }
}
