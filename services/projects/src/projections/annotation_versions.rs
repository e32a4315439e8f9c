//! `annotation_versions`: one row for each version of a job's annotations.

use chrono::{DateTime, Utc};
use contracts::projects::AnnotationCounts;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::annotations::{Annotations, AnnotationsEvent};

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Annotations>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            AnnotationsEvent::Changed { action, created, deleted, .. } => {
                Sql::fixed(
                    "INSERT INTO annotation_versions (tenant_id, job_id, version, action, actor_id, created_date, \
                     created, deleted, total) \
                     VALUES (es_tenant(), $1, $2, $3, $4, $5, $6::text::json, $7::text::json, $8::text::json)",
                )
                .bind::<BigInt>(change.id)
                .bind::<BigInt>(change.after.version)
                .bind::<Text>(action.name())
                .bind::<Nullable<BigInt>>(change.actor)
                .bind::<Timestamptz>(change.at)
                .bind::<Text>(serde_json::to_string(created)?)
                .bind::<Text>(serde_json::to_string(deleted)?)
                .bind::<Text>(serde_json::to_string(&change.after.total)?)
                .execute(&mut **tx)
                .await?;
            }
            AnnotationsEvent::Forgotten => {
                Sql::fixed("DELETE FROM annotation_versions WHERE tenant_id = es_tenant() AND job_id = $1")
                    .bind::<BigInt>(change.id)
                    .execute(&mut **tx)
                    .await?;
            }
            AnnotationsEvent::Cleared
            | AnnotationsEvent::Removed(_)
            | AnnotationsEvent::Added(_)
            | AnnotationsEvent::PartAdded(_) => {}
        }
        Ok(())
    })
}

/// A version of a job's annotations.
pub struct Version {
    pub version: i64,
    pub action: String,
    pub actor_id: Option<i64>,
    pub created_date: DateTime<Utc>,
    pub created: AnnotationCounts,
    pub deleted: AnnotationCounts,
    pub total: AnnotationCounts,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    created_date: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    created: String,
    #[diesel(sql_type = Text)]
    deleted: String,
    #[diesel(sql_type = Text)]
    total: String,
}

/// A job's versions after `after`, oldest first, at most `limit`.
pub async fn list(tx: &mut Tx, job_id: i64, after: i64, limit: i64) -> Result<Vec<Version>, StoreError> {
    let rows: Vec<Row> = Sql::fixed(
        "SELECT version, action, actor_id, created_date, created::text AS created, deleted::text AS deleted, \
         total::text AS total FROM annotation_versions \
         WHERE tenant_id = es_tenant() AND job_id = $1 AND version > $2 ORDER BY version LIMIT $3",
    )
    .bind::<BigInt>(job_id)
    .bind::<BigInt>(after)
    .bind::<BigInt>(limit)
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Version {
                version: row.version,
                action: row.action,
                actor_id: row.actor_id,
                created_date: row.created_date,
                created: serde_json::from_str(&row.created)?,
                deleted: serde_json::from_str(&row.deleted)?,
                total: serde_json::from_str(&row.total)?,
            })
        })
        .collect()
}

/// The newest version of a job's annotations, 0 before the first; of several jobs, all of them together.
pub async fn newest(tx: &mut Tx, jobs: &[i64]) -> Result<i64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Newest {
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    let Newest { version } = Sql::fixed(
        "SELECT coalesce(sum(newest.version), 0)::bigint AS version FROM unnest($1) AS job (id), \
         LATERAL (SELECT version FROM annotation_versions WHERE tenant_id = es_tenant() AND job_id = job.id \
             ORDER BY version DESC LIMIT 1) AS newest",
    )
    .bind::<Array<BigInt>>(jobs.to_vec())
    .get_result(&mut **tx)
    .await?;
    Ok(version)
}
