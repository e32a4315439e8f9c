//! `Idempotency-Key`: the same request again gets the first answer again.
//!
//! A key belongs to its tenant and user. The row is inserted before anything else, so of two equal requests
//! at once the second waits for the first. A request that fails leaves no row.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::{Context, Store};

/// A client's key and the digest of the request that it stands for.
#[derive(Clone, Debug)]
pub struct Key {
    pub key: String,
    /// SHA-256 over method, path, organization and body.
    pub request_hash: Vec<u8>,
}

/// Takes the key, or returns the answer that it already has.
pub(crate) async fn claim(tx: &mut Tx, context: &Context, key: &Key) -> Result<Option<String>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        same: bool,
        #[diesel(sql_type = Nullable<Text>)]
        answer: Option<String>,
    }
    let user = context.actor.unwrap_or_default();
    let inserted = Sql::fixed(
        "INSERT INTO es_idempotency (tenant_id, user_id, key, request_hash) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid>(context.tenant.0)
    .bind::<BigInt>(user)
    .bind::<Text>(key.key.clone())
    .bind::<Binary>(key.request_hash.clone())
    .execute(&mut **tx)
    .await?;
    if inserted == 1 {
        return Ok(None);
    }
    let row: Row = Sql::fixed(
        "SELECT request_hash = $4 AS same, answer::text AS answer FROM es_idempotency \
         WHERE tenant_id = $1 AND user_id = $2 AND key = $3",
    )
    .bind::<SqlUuid>(context.tenant.0)
    .bind::<BigInt>(user)
    .bind::<Text>(key.key.clone())
    .bind::<Binary>(key.request_hash.clone())
    .get_result(&mut **tx)
    .await?;
    if !row.same {
        return Err(StoreError::KeyReused);
    }
    // The insert waited for the first request, which either stored an answer or left no row.
    row.answer.map(Some).ok_or_else(|| StoreError::Corrupt("an idempotency key without an answer".to_owned()))
}

/// Keeps the answer for the next time.
pub(crate) async fn settle(
    tx: &mut Tx,
    context: &Context,
    key: &Key,
    answer: String,
) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE es_idempotency SET answer = $4::text::json WHERE tenant_id = $1 AND user_id = $2 AND key = $3",
    )
    .bind::<SqlUuid>(context.tenant.0)
    .bind::<BigInt>(context.actor.unwrap_or_default())
    .bind::<Text>(key.key.clone())
    .bind::<Text>(answer)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets keys that are older than `before`; returns how many.
pub async fn forget(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut tx = store.database().kernel().await?;
    let gone = Sql::fixed("DELETE FROM es_idempotency WHERE created_at < $1")
        .bind::<Timestamptz>(before)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(gone)
}
