//! Keys of users, by which a request is signed in; and when each was last used.

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Database, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::domain::credential::Credential;
use crate::domain::user::{User, UserEvent};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["credentials"];

/// The longest key that is looked up.
const KEY_BYTES_MAX: usize = 128;

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, User>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            UserEvent::CredentialIssued(new) => put(tx, change.id, new).await,
            UserEvent::CredentialLabeled { access_key, label } => {
                Sql::fixed(
                    "UPDATE credentials SET label = $2 WHERE tenant_id = es_tenant() AND access_key = $1",
                )
                .bind::<Text>(access_key.clone())
                .bind::<Nullable<Text>>(label.clone())
                .execute(&mut **tx)
                .await?;
                Ok(())
            }
            UserEvent::CredentialRevoked { access_key } => {
                Sql::fixed("DELETE FROM credentials WHERE tenant_id = es_tenant() AND access_key = $1")
                    .bind::<Text>(access_key.clone())
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }
            UserEvent::Deleted => {
                Sql::fixed("DELETE FROM credentials WHERE tenant_id = es_tenant() AND user_id = $1")
                    .bind::<BigInt>(change.id)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }
            UserEvent::Registered(_)
            | UserEvent::Updated(_)
            | UserEvent::PasswordChanged { .. }
            | UserEvent::PrivilegeSet { .. } => Ok(()),
        }
    })
}

async fn put(tx: &mut Tx, user_id: i64, new: &Credential) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO credentials (tenant_id, access_key, user_id, secret_digest, label, created_at, expires_at) \
         VALUES (es_tenant(), $1, $2, decode($3, 'hex'), $4, $5, $6)",
    )
    .bind::<Text>(new.access_key.clone())
    .bind::<BigInt>(user_id)
    .bind::<Text>(new.secret_digest.clone())
    .bind::<Nullable<Text>>(new.label.clone())
    .bind::<Timestamptz>(new.at)
    .bind::<Nullable<Timestamptz>>(new.expires_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A key, with the digest of its secret. No `Debug` for that.
#[derive(Clone, diesel::QueryableByName)]
pub struct CredentialRow {
    #[diesel(sql_type = Text)]
    pub access_key: String,
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = Text)]
    pub secret_digest: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub label: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub used_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub used_from: Option<String>,
}

impl CredentialRow {
    /// Whether it is still good.
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.access_key, c.user_id, encode(c.secret_digest, 'hex') AS secret_digest, c.label, ",
            "c.expires_at, u.used_at, u.used_from FROM credentials c LEFT JOIN credential_uses u ",
            "ON u.tenant_id = c.tenant_id AND u.access_key = c.access_key WHERE c.tenant_id = es_tenant() ",
            $rest
        )
    };
}

/// The tenant of a key; as the kernel role, because the tenant is what is looked for.
pub async fn find_tenant(database: &Database, access_key: &str) -> Result<Option<TenantId>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        tenant_id: Uuid,
    }
    if access_key.is_empty() || access_key.len() > KEY_BYTES_MAX || access_key.contains('\0') {
        return Ok(None);
    }
    let mut tx = database.kernel().await?;
    let rows: Vec<Row> = Sql::fixed("SELECT tenant_id FROM credentials WHERE access_key = $1")
        .bind::<Text>(access_key.to_owned())
        .load(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| TenantId(row.tenant_id)))
}

/// A key of the transaction's tenant.
pub async fn find(tx: &mut Tx, access_key: &str) -> Result<Option<CredentialRow>, StoreError> {
    let sql = Sql::fixed(select!("AND c.access_key = $1")).bind::<Text>(access_key.to_owned());
    Ok(sql.load(&mut **tx).await?.into_iter().next())
}

/// The keys of a user, the oldest first.
pub async fn of_user(tx: &mut Tx, user_id: i64) -> Result<Vec<CredentialRow>, StoreError> {
    let sql = Sql::fixed(select!("AND c.user_id = $1 ORDER BY c.created_at, c.access_key"));
    Ok(sql.bind::<BigInt>(user_id).load(&mut **tx).await?)
}

/// Notes that a key was used, at most once a minute from one place.
pub async fn note_use(
    tx: &mut Tx,
    access_key: &str,
    at: DateTime<Utc>,
    from: Option<&str>,
) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO credential_uses AS u (tenant_id, access_key, used_at, used_from) \
         VALUES (es_tenant(), $1, $2, $3) ON CONFLICT (tenant_id, access_key) DO UPDATE \
         SET used_at = excluded.used_at, used_from = coalesce(excluded.used_from, u.used_from) \
         WHERE u.used_at < excluded.used_at - interval '1 minute' \
         OR u.used_from IS DISTINCT FROM coalesce(excluded.used_from, u.used_from)",
    )
    .bind::<Text>(access_key.to_owned())
    .bind::<Timestamptz>(at)
    .bind::<Nullable<Text>>(from.map(str::to_owned))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
