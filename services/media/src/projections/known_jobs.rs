//! `known_jobs`: which frames a job is about, and whose it is.

use contracts::projects::Job;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

/// A job, as far as permissions and its frames need it.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct KnownJob {
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub assignee_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub start_frame: i64,
    #[diesel(sql_type = BigInt)]
    pub stop_frame: i64,
}

/// A job of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<KnownJob>, StoreError> {
    let rows: Vec<KnownJob> = Sql::fixed(
        "SELECT task_id, assignee_id, start_frame, stop_frame FROM known_jobs \
         WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// Inserts or replaces one.
pub async fn put(tx: &mut Tx, job: &Job) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO known_jobs (tenant_id, id, task_id, assignee_id, start_frame, stop_frame) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         assignee_id = excluded.assignee_id, start_frame = excluded.start_frame, \
         stop_frame = excluded.stop_frame",
    )
    .bind::<BigInt>(job.id)
    .bind::<BigInt>(job.task_id)
    .bind::<Nullable<BigInt>>(job.assignee_id)
    .bind::<BigInt>(job.start_frame)
    .bind::<BigInt>(job.stop_frame)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets one.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM known_jobs WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
