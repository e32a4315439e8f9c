//! The table `reservation`: promised places, each until an event takes it, its owner gives it back, or its time is
//! over and the owner's log says that nobody took it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use rust_decimal::Decimal;
use uuid::Uuid;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub key: String,
    pub amount: Decimal,
    pub owner: String,
    pub log_position: i64,
    pub idempotency_key: String,
    pub ttl_s: i64,
}

/// A promised place.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Held {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub owner: String,
    #[diesel(sql_type = BigInt)]
    pub log_position: i64,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
}

/// What became of a reservation that is asked for again.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Known {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    /// Whether it holds its place, or an event has taken that.
    #[diesel(sql_type = Bool)]
    pub lives: bool,
    /// Whether the same was asked for then.
    #[diesel(sql_type = Bool)]
    pub same: bool,
}

/// What an owner has asked for before under this idempotency key.
pub async fn known(tx: &mut Tx, wish: &Wish) -> Result<Option<Known>, StoreError> {
    let rows: Vec<Known> = Sql::fixed(
        "SELECT id, expires_at, state IN ('held', 'committed') AS lives, key = $3 AND amount = $4::text::numeric AS same \
         FROM reservation WHERE tenant_id = es_tenant() AND owner = $1 AND idempotency_key = $2",
    )
    .bind::<Text>(wish.owner.clone())
    .bind::<Text>(wish.idempotency_key.clone())
    .bind::<Text>(wish.key.clone())
    .bind::<Text>(wish.amount.to_string())
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// Lets an idempotency key stand for a new place, because its old one is gone.
pub async fn forget_key(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE reservation SET idempotency_key = idempotency_key || ' ' || id \
         WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<SqlUuid>(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Promises a place if there is one: the authoritative word, under the lock of the quota's row. The time runs by the
/// database's clock. `None` when the cap does not allow it, there is none, or its idempotency key was used before.
///
/// # Errors
/// A collision when somebody uses the same idempotency key at this moment.
pub async fn promise(tx: &mut Tx, id: Uuid, wish: &Wish) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        counted: bool,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        expires_at: Option<DateTime<Utc>>,
    }
    let row: Row = Sql::fixed(
        "WITH place AS (\
            UPDATE quota SET reserved = reserved + $3::text::numeric FROM entitlement AS e \
            WHERE quota.tenant_id = es_tenant() AND quota.key = $2 \
                AND e.tenant_id = es_tenant() AND e.key = $2 AND e.hard AND e.allowed \
                AND used + reserved + $3::text::numeric <= e.cap \
                AND NOT EXISTS (SELECT 1 FROM reservation AS r WHERE r.tenant_id = es_tenant() \
                    AND r.owner = $4 AND r.idempotency_key = $6) \
            RETURNING quota.key\
         ), promised AS (\
            INSERT INTO reservation \
                (tenant_id, id, key, amount, owner, log_position, idempotency_key, state, expires_at) \
            SELECT es_tenant(), $1, key, $3::text::numeric, $4, $5, $6, 'held', \
                clock_timestamp() + $7 * interval '1 second' FROM place \
            ON CONFLICT (tenant_id, owner, idempotency_key) DO NOTHING RETURNING expires_at\
         ) \
         SELECT EXISTS (SELECT 1 FROM place) AS counted, (SELECT expires_at FROM promised) AS expires_at",
    )
    .bind::<SqlUuid>(id)
    .bind::<Text>(wish.key.clone())
    .bind::<Text>(wish.amount.to_string())
    .bind::<Text>(wish.owner.clone())
    .bind::<BigInt>(wish.log_position)
    .bind::<Text>(wish.idempotency_key.clone())
    .bind::<BigInt>(wish.ttl_s)
    .get_result(&mut **tx)
    .await?;
    match row {
        Row { counted: true, expires_at: None } => Err(StoreError::collided()),
        Row { expires_at, .. } => Ok(expires_at),
    }
}

/// Ends those of these reservations that are still held; returns the key and amount of each. Places are freed with
/// [`super::places::unreserve`], in the same transaction.
pub async fn end(
    tx: &mut Tx,
    ids: BTreeSet<Uuid>,
    state: &'static str,
) -> Result<Vec<(String, String)>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key: String,
        #[diesel(sql_type = Text)]
        amount: String,
    }
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows: Vec<Row> = Sql::fixed(
        "UPDATE reservation SET state = $2 WHERE tenant_id = es_tenant() AND id = ANY ($1) AND state = 'held' \
         RETURNING key, amount::text AS amount",
    )
    .bind::<Array<SqlUuid>>(ids.into_iter().collect::<Vec<_>>())
    .bind::<Text>(state)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.key, row.amount)).collect())
}

/// The key of an owner's reservation, whatever became of it.
pub async fn key_of(tx: &mut Tx, owner: &str, id: Uuid) -> Result<Option<String>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key: String,
    }
    let text = "SELECT key FROM reservation WHERE tenant_id = es_tenant() AND id = $1 AND owner = $2";
    let rows: Vec<Row> =
        Sql::fixed(text).bind::<SqlUuid>(id).bind::<Text>(owner.to_owned()).load(&mut **tx).await?;
    Ok(rows.into_iter().next().map(|row| row.key))
}

/// Held reservations whose time is over by the database's clock, the oldest first.
pub async fn overdue(tx: &mut Tx, limit: i64) -> Result<Vec<Held>, StoreError> {
    let rows = Sql::fixed(
        "SELECT id, owner, log_position, expires_at FROM reservation WHERE tenant_id = es_tenant() \
         AND state = 'held' AND expires_at < clock_timestamp() ORDER BY expires_at LIMIT $1",
    );
    Ok(rows.bind::<BigInt>(limit).load(&mut **tx).await?)
}

/// Seconds until the next held reservation's time is over, or was; `None` when none is held.
pub async fn next_due_in(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        seconds: Option<i64>,
    }
    let row: Row = Sql::fixed(
        "SELECT ceil(extract(epoch FROM min(expires_at) - clock_timestamp()))::bigint AS seconds \
         FROM reservation WHERE tenant_id = es_tenant() AND state = 'held'",
    )
    .get_result(&mut **tx)
    .await?;
    Ok(row.seconds)
}
