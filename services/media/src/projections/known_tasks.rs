//! `known_tasks`: whose a task is and where.

use contracts::projects::Task;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

/// A task, as far as permissions need it.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct KnownTask {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_assignee_id: Option<i64>,
    /// Whether all is here that permissions rest on: the task may have been heard of before its project.
    #[diesel(sql_type = Bool)]
    pub complete: bool,
}

/// A task of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<KnownTask>, StoreError> {
    let rows: Vec<KnownTask> = Sql::fixed(
        "SELECT t.id, t.project_id, t.owner_id, t.assignee_id, t.organization_id, \
         p.owner_id AS project_owner_id, p.assignee_id AS project_assignee_id, \
         t.project_id IS NULL OR p.id IS NOT NULL AS complete FROM known_tasks t \
         LEFT JOIN known_projects p ON p.tenant_id = t.tenant_id AND p.id = t.project_id \
         WHERE t.tenant_id = es_tenant() AND t.id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// The first task of a project that has frames.
pub async fn first_with_frames(tx: &mut Tx, project_id: i64) -> Result<Option<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let rows: Vec<Id> = Sql::fixed(
        "SELECT t.id FROM known_tasks t JOIN frame_index f ON f.tenant_id = t.tenant_id AND f.task_id = t.id \
         WHERE t.tenant_id = es_tenant() AND t.project_id = $1 ORDER BY t.id LIMIT 1",
    )
    .bind::<BigInt>(project_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.id))
}

/// Inserts or replaces one.
pub async fn put(tx: &mut Tx, task: &Task) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO known_tasks (tenant_id, id, project_id, owner_id, assignee_id, organization_id) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         project_id = excluded.project_id, owner_id = excluded.owner_id, \
         assignee_id = excluded.assignee_id, organization_id = excluded.organization_id",
    )
    .bind::<BigInt>(task.id)
    .bind::<Nullable<BigInt>>(task.project_id)
    .bind::<Nullable<BigInt>>(task.owner_id)
    .bind::<Nullable<BigInt>>(task.assignee_id)
    .bind::<Nullable<BigInt>>(task.organization_id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets one, and its jobs.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    for text in [
        "DELETE FROM known_jobs WHERE tenant_id = es_tenant() AND task_id = $1",
        "DELETE FROM known_tasks WHERE tenant_id = es_tenant() AND id = $1",
    ] {
        Sql::fixed(text).bind::<BigInt>(id).execute(&mut **tx).await?;
    }
    Ok(())
}
