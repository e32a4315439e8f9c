//! `tasks`: one row a task. What lists and readers see of it is in `task_list.rs`.

use contracts::projects::Task as Fact;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::task::{Task, TaskEvent};

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Task>) -> Applied<'a> {
    Box::pin(async move {
        match (change.event, &change.after.current) {
            (TaskEvent::Deleted, _) => delete(tx, change.id).await,
            (
                TaskEvent::Created(_)
                | TaskEvent::Updated { .. }
                | TaskEvent::DataAttached { .. }
                | TaskEvent::Followed { .. }
                | TaskEvent::LeftOrganization { .. },
                Some(task),
            ) => put(tx, task).await,
            (_, None) => Ok(()),
        }
    })
}

async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM tasks WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn put(tx: &mut Tx, task: &Fact) -> Result<(), StoreError> {
    let data = task.data.as_ref();
    Sql::fixed(
        "INSERT INTO tasks (tenant_id, id, name, project_id, owner_id, assignee_id, assignee_updated_date, \
         bug_tracker, subset, status, organization_id, labels, segment_size, overlap, size, created_date, \
         updated_date, chunk_size, image_quality, mode, dimension) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, \
         $8, $9, $10, $11::text::json, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, owner_id = excluded.owner_id, \
         assignee_id = excluded.assignee_id, assignee_updated_date = excluded.assignee_updated_date, \
         bug_tracker = excluded.bug_tracker, subset = excluded.subset, status = excluded.status, \
         organization_id = excluded.organization_id, labels = excluded.labels, \
         segment_size = excluded.segment_size, overlap = excluded.overlap, size = excluded.size, \
         updated_date = excluded.updated_date, chunk_size = excluded.chunk_size, \
         image_quality = excluded.image_quality, mode = excluded.mode, dimension = excluded.dimension",
    )
    .bind::<BigInt>(task.id)
    .bind::<Text>(task.name.clone())
    .bind::<Nullable<BigInt>>(task.project_id)
    .bind::<Nullable<BigInt>>(task.owner_id)
    .bind::<Nullable<BigInt>>(task.assignee_id)
    .bind::<Nullable<Timestamptz>>(task.assignee_updated_date)
    .bind::<Text>(task.bug_tracker.clone())
    .bind::<Text>(task.subset.clone())
    .bind::<Text>(task.status.clone())
    .bind::<Nullable<BigInt>>(task.organization_id)
    .bind::<Text>(serde_json::to_string(&task.labels)?)
    .bind::<BigInt>(task.segment_size)
    .bind::<Nullable<BigInt>>(task.overlap)
    .bind::<Nullable<BigInt>>(task.size)
    .bind::<Timestamptz>(task.created_date)
    .bind::<Timestamptz>(task.updated_date)
    .bind::<Nullable<BigInt>>(data.map(|data| data.chunk_size))
    .bind::<Nullable<BigInt>>(data.map(|data| data.image_quality))
    .bind::<Text>(data.map_or("", |data| &data.mode).to_owned())
    .bind::<Text>(data.map_or("2d", |data| &data.dimension).to_owned())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The tasks of a project, by id.
pub async fn ids_of_project(tx: &mut Tx, project_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Id> =
        Sql::fixed("SELECT id FROM tasks WHERE tenant_id = es_tenant() AND project_id = $1 ORDER BY id")
            .bind::<BigInt>(project_id)
            .load(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The tasks of an organization, by id.
pub async fn ids_of_organization(tx: &mut Tx, organization_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Id> =
        Sql::fixed("SELECT id FROM tasks WHERE tenant_id = es_tenant() AND organization_id = $1 ORDER BY id")
            .bind::<BigInt>(organization_id)
            .load(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
