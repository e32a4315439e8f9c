//! Sessions by the digests of their secrets.

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Database, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::domain::session::{RealUser, Session, SessionEvent, SessionKind};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["sessions"];

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Session>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            SessionEvent::Started(new) => {
                Sql::fixed(
                    "INSERT INTO sessions (tenant_id, id, user_id, cookie_digest, token_digest, created_at, \
                     expires_at, kind, access_key, real_tenant_id, real_user_id) VALUES (es_tenant(), $1, $2, \
                     decode($3, 'hex'), decode($4, 'hex'), $5, $6, $7, $8, $9, $10)",
                )
                .bind::<BigInt>(change.id)
                .bind::<BigInt>(new.user_id)
                .bind::<Text>(new.cookie_digest.clone())
                .bind::<Text>(new.token_digest.clone())
                .bind::<Timestamptz>(new.at)
                .bind::<Timestamptz>(new.expires_at)
                .bind::<Text>(new.kind.name())
                .bind::<Nullable<Text>>(new.access_key.clone())
                .bind::<Nullable<SqlUuid>>(new.real_user.as_ref().map(|real| real.tenant.0))
                .bind::<Nullable<BigInt>>(new.real_user.as_ref().map(|real| real.user_id))
                .execute(&mut **tx)
                .await?;
            }
            SessionEvent::Ended { at } => {
                Sql::fixed("UPDATE sessions SET ended_at = $2 WHERE tenant_id = es_tenant() AND id = $1")
                    .bind::<BigInt>(change.id)
                    .bind::<Timestamptz>(*at)
                    .execute(&mut **tx)
                    .await?;
            }
        }
        Ok(())
    })
}

/// Which of a session's two secrets was shown.
#[derive(Clone, Copy, Debug)]
pub enum Secret {
    Cookie,
    Token,
}

/// Where a session is.
#[derive(Clone, Debug)]
pub struct Place {
    pub tenant: TenantId,
    pub id: i64,
}

/// The session of a secret's digest; as the kernel role, because the tenant is what is looked for.
pub async fn find_by_digest(
    database: &Database,
    secret: Secret,
    digest: &str,
) -> Result<Option<Place>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        tenant_id: Uuid,
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let text = match secret {
        Secret::Cookie => "SELECT tenant_id, id FROM sessions WHERE cookie_digest = decode($1, 'hex')",
        Secret::Token => "SELECT tenant_id, id FROM sessions WHERE token_digest = decode($1, 'hex')",
    };
    let mut tx = database.kernel().await?;
    let rows: Vec<Row> = Sql::fixed(text).bind::<Text>(digest.to_owned()).load(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| Place { tenant: TenantId(row.tenant_id), id: row.id }))
}

/// A session.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct SessionRow {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    kind: String,
    /// The key that it was begun with; it ends with it.
    #[diesel(sql_type = Nullable<Text>)]
    pub access_key: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    real_tenant_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    real_user_id: Option<i64>,
}

impl SessionRow {
    /// Whether its token is one of ClearML's, for `Bearer`.
    pub fn is_api_token(&self) -> bool {
        self.kind == SessionKind::ApiToken.name()
    }

    /// Who is really behind it, when somebody acts for its user.
    pub fn real_user(&self) -> Option<RealUser> {
        Some(RealUser { tenant: TenantId(self.real_tenant_id?), user_id: self.real_user_id? })
    }

    /// Whether it is still good.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, expires_at, ended_at, kind, access_key, real_tenant_id, real_user_id ",
            "FROM sessions WHERE tenant_id = es_tenant() ",
            $rest
        )
    };
}

/// A session by its id.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<SessionRow>, StoreError> {
    let sql = Sql::fixed(select!("AND id = $1"));
    let rows: Vec<SessionRow> = sql.bind::<BigInt>(id).load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// The sessions of a user that are still good: their own, and those that they began as somebody else of their tenant.
pub async fn open_of(tx: &mut Tx, user_id: i64, now: DateTime<Utc>) -> Result<Vec<SessionRow>, StoreError> {
    let rows = Sql::fixed(select!(
        "AND (user_id = $1 OR (real_tenant_id = es_tenant() AND real_user_id = $1)) \
         AND ended_at IS NULL AND expires_at > $2 ORDER BY id"
    ))
    .bind::<BigInt>(user_id)
    .bind::<Timestamptz>(now)
    .load(&mut **tx)
    .await?;
    Ok(rows)
}
