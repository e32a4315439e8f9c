//! `upload_remains`: uploads that are over, and whose pieces are to be removed.
//!
//! The row is written in the transaction that ends the upload, and goes when its pieces have. Whoever was storing a
//! piece at that moment may have died before it was noted, so they are looked for a second time.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use uuid::Uuid;

use crate::blobs::GRACE;

/// Notes uploads that are over. Queue a sweep, in the same transaction.
pub async fn leave(tx: &mut Tx, uploads: Vec<Uuid>, now: DateTime<Utc>) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO upload_remains (tenant_id, upload_id, gone_at) SELECT es_tenant(), unnest($1), $2 \
         ON CONFLICT (tenant_id, upload_id) DO UPDATE SET gone_at = excluded.gone_at, swept = false",
    )
    .bind::<Array<SqlUuid>>(uploads)
    .bind::<Timestamptz>(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// At most `limit` uploads whose pieces are to be removed now.
pub async fn due(tx: &mut Tx, now: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        upload_id: Uuid,
    }
    let rows: Vec<Row> = Sql::fixed(
        "SELECT upload_id FROM upload_remains WHERE tenant_id = es_tenant() AND (NOT swept OR gone_at < $1) \
         ORDER BY gone_at LIMIT $2",
    )
    .bind::<Timestamptz>(now - GRACE)
    .bind::<BigInt>(limit)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.upload_id).collect())
}

/// Says that the pieces of these uploads were removed, by somebody who began at `now`.
pub async fn swept(tx: &mut Tx, uploads: Vec<Uuid>, now: DateTime<Utc>) -> Result<(), StoreError> {
    for text in [
        "DELETE FROM upload_remains WHERE tenant_id = es_tenant() AND upload_id = ANY($1) AND gone_at < $2",
        "UPDATE upload_remains SET swept = true WHERE tenant_id = es_tenant() AND upload_id = ANY($1) \
         AND gone_at >= $2",
    ] {
        Sql::fixed(text)
            .bind::<Array<SqlUuid>>(uploads.clone())
            .bind::<Timestamptz>(now - GRACE)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// When pieces are to be removed next; none when there are none.
pub async fn next(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        at: Option<DateTime<Utc>>,
    }
    let row: Row = Sql::fixed(
        "SELECT min(CASE WHEN swept THEN gone_at ELSE $1 END) AS at FROM upload_remains \
         WHERE tenant_id = es_tenant()",
    )
    .bind::<Timestamptz>(now - GRACE)
    .get_result(&mut **tx)
    .await?;
    Ok(row.at.map(|at| at + GRACE))
}
