//! `jobs`: one row a job. What lists and readers see of it is in `job_list.rs`.

use contracts::projects::Job as Fact;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::job::{Job, JobEvent};

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Job>) -> Applied<'a> {
    Box::pin(async move {
        match (change.event, &change.after.current) {
            (JobEvent::Deleted, _) => delete(tx, change.id).await,
            (JobEvent::Created(_), Some(job)) => insert(tx, job).await,
            (
                JobEvent::Updated { .. } | JobEvent::Touched { .. } | JobEvent::LeftOrganization { .. },
                Some(job),
            ) => update(tx, job).await,
            (_, None) => Ok(()),
        }
    })
}

async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM jobs WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert(tx: &mut Tx, job: &Fact) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO jobs (tenant_id, id, task_id, project_id, organization_id, assignee_id, \
         assignee_updated_date, stage, state, status, type, start_frame, stop_frame, created_date, updated_date) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind::<BigInt>(job.id)
    .bind::<BigInt>(job.task_id)
    .bind::<Nullable<BigInt>>(job.project_id)
    .bind::<Nullable<BigInt>>(job.organization_id)
    .bind::<Nullable<BigInt>>(job.assignee_id)
    .bind::<Nullable<Timestamptz>>(job.assignee_updated_date)
    .bind::<Text>(job.stage.clone())
    .bind::<Text>(job.state.clone())
    .bind::<Text>(job.status.clone())
    .bind::<Text>(job.job_type.clone())
    .bind::<BigInt>(job.start_frame)
    .bind::<BigInt>(job.stop_frame)
    .bind::<Timestamptz>(job.created_date)
    .bind::<Timestamptz>(job.updated_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut Tx, job: &Fact) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE jobs SET organization_id = $2, assignee_id = $3, assignee_updated_date = $4, stage = $5, \
         state = $6, status = $7, updated_date = $8 WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(job.id)
    .bind::<Nullable<BigInt>>(job.organization_id)
    .bind::<Nullable<BigInt>>(job.assignee_id)
    .bind::<Nullable<Timestamptz>>(job.assignee_updated_date)
    .bind::<Text>(job.stage.clone())
    .bind::<Text>(job.state.clone())
    .bind::<Text>(job.status.clone())
    .bind::<Timestamptz>(job.updated_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The jobs of a task, by id.
pub async fn ids_of_task(tx: &mut Tx, task_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Id> =
        Sql::fixed("SELECT id FROM jobs WHERE tenant_id = es_tenant() AND task_id = $1 ORDER BY id")
            .bind::<BigInt>(task_id)
            .load(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The jobs of an organization, by id.
pub async fn ids_of_organization(tx: &mut Tx, organization_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Id> =
        Sql::fixed("SELECT id FROM jobs WHERE tenant_id = es_tenant() AND organization_id = $1 ORDER BY id")
            .bind::<BigInt>(organization_id)
            .load(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
