//! Work outside the database: queued in the transaction that wants it, run after commit, at least once.
//!
//! A row in `es_job` is a pointer (tenant, name, subject), so a worker can look for due work across tenants
//! and enter the tenant only to do it. A claim is a later `due_at`: if the worker dies the job comes due again.
//! That time is also the claim's name: who comes late, or works on what was queued anew meanwhile, changes nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::TenantId;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

/// A claimed job.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct Job {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = SqlUuid)]
    pub tenant_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub subject_id: i64,
    /// This attempt's number, from 1.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// When the claim ends.
    #[diesel(sql_type = Timestamptz)]
    pub claimed_until: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
}

impl Job {
    pub fn tenant(&self) -> TenantId {
        TenantId(self.tenant_id)
    }
}

/// Claims at most `limit` due jobs for `claim` long, passing over those of the tenants `but_of`: who has many must not
/// keep the others waiting.
pub async fn claim(
    store: &Store,
    name: &'static str,
    limit: i64,
    claim: Duration,
    but_of: &[TenantId],
) -> Result<Vec<Job>, StoreError> {
    let now = store.clock().now();
    let until = now + TimeDelta::from_std(claim).unwrap_or(TimeDelta::seconds(60));
    let mut tx = store.database().kernel().await?;
    let jobs = Sql::fixed(
        // The commit does not wait for the disk: a claim that a power cut takes back only ends sooner.
        // Materialized: a plan that asked the inner query twice would lock more than the limit.
        "WITH due AS MATERIALIZED (\
            SELECT id FROM es_job WHERE name = $1 AND due_at <= $2 AND tenant_id <> ALL ($5) \
            ORDER BY due_at LIMIT $4 \
            FOR UPDATE SKIP LOCKED) \
         UPDATE es_job SET due_at = $3, attempts = attempts + 1 WHERE id IN (SELECT id FROM due) \
         RETURNING id, tenant_id, subject_id, attempts, due_at AS claimed_until, traceparent, \
         set_config('synchronous_commit', 'off', true)",
    )
    .bind::<Text>(name)
    .bind::<Timestamptz>(now)
    .bind::<Timestamptz>(until)
    .bind::<BigInt>(limit)
    .bind::<Array<SqlUuid>>(but_of.iter().map(|tenant| tenant.0).collect::<Vec<_>>())
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(jobs)
}

/// Removes a job that is done. Call it in the transaction that records the result.
pub async fn finish(tx: &mut crate::Tx, job: &Job) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM es_job WHERE id = $1 AND due_at = $2")
        .bind::<BigInt>(job.id)
        .bind::<Timestamptz>(job.claimed_until)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Lets a job come due again at `due_at`.
pub async fn retry(tx: &mut crate::Tx, job: &Job, due_at: DateTime<Utc>) -> Result<(), StoreError> {
    Sql::fixed("UPDATE es_job SET due_at = $3 WHERE id = $1 AND due_at = $2")
        .bind::<BigInt>(job.id)
        .bind::<Timestamptz>(job.claimed_until)
        .bind::<Timestamptz>(due_at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How long until the next job of this name is due; `None` when there is none.
pub async fn next_due_in(store: &Store, name: &'static str) -> Result<Option<Duration>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Double>)]
        seconds: Option<f64>,
    }
    let mut tx = store.database().kernel().await?;
    let row: Row = Sql::fixed(
        "SELECT EXTRACT(EPOCH FROM min(due_at) - $2)::double precision AS seconds FROM es_job WHERE name = $1",
    )
    .bind::<Text>(name)
    .bind::<Timestamptz>(store.clock().now())
    .get_result(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
}
