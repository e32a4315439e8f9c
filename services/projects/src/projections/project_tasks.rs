//! `project_tasks`: what a project's tasks amount to, subset by subset, so that nobody counts them on reading.

use std::collections::HashMap;

use contracts::projects::Task as Fact;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::job::status_of_all;
use crate::domain::task::{Task, TaskEvent};

/// Keeps the table: takes away what the task was and adds what it is.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Task>) -> Applied<'a> {
    Box::pin(async move {
        let gone = matches!(change.event, TaskEvent::Deleted);
        let before = change.before.current.as_ref();
        let after = change.after.current.as_ref().filter(|_| !gone);
        if let (Some(before), Some(after)) = (before, after)
            && (&before.subset, &before.status) == (&after.subset, &after.status)
        {
            return Ok(());
        }
        if let Some(task) = before {
            add(tx, task, -1).await?;
        }
        if let Some(task) = after {
            add(tx, task, 1).await?;
        }
        if let Some(project_id) = before.and_then(|task| task.project_id) {
            Sql::fixed(
                "DELETE FROM project_tasks WHERE tenant_id = es_tenant() AND project_id = $1 AND tasks = 0",
            )
            .bind::<BigInt>(project_id)
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    })
}

async fn add(tx: &mut Tx, task: &Fact, times: i64) -> Result<(), StoreError> {
    let Some(project_id) = task.project_id else { return Ok(()) };
    let count = |fits: bool| if fits { times } else { 0 };
    Sql::fixed(
        "INSERT INTO project_tasks AS p (tenant_id, project_id, subset, tasks, in_annotation, completed) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5) ON CONFLICT (tenant_id, project_id, subset) DO UPDATE SET \
         tasks = p.tasks + excluded.tasks, in_annotation = p.in_annotation + excluded.in_annotation, \
         completed = p.completed + excluded.completed",
    )
    .bind::<BigInt>(project_id)
    .bind::<Text>(task.subset.clone())
    .bind::<BigInt>(times)
    .bind::<BigInt>(count(task.status == "annotation"))
    .bind::<BigInt>(count(task.status == "completed"))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    project_id: i64,
    #[diesel(sql_type = Text)]
    subset: String,
    #[diesel(sql_type = BigInt)]
    tasks: i64,
    #[diesel(sql_type = BigInt)]
    in_annotation: i64,
    #[diesel(sql_type = BigInt)]
    completed: i64,
}

/// A project's totals.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub tasks: i64,
    in_annotation: i64,
    completed: i64,
    /// The names that its tasks give to their subsets.
    pub subsets: Vec<String>,
}

impl Totals {
    /// The status that the project has by its tasks.
    pub fn status(&self) -> &'static str {
        status_of_all(self.tasks, self.in_annotation, self.completed)
    }
}

/// The totals of projects; those without tasks are missing.
pub async fn of(
    tx: &mut Tx,
    projects: impl IntoIterator<Item = i64>,
) -> Result<HashMap<i64, Totals>, StoreError> {
    let rows: Vec<Row> = Sql::fixed(
        "SELECT project_id, subset, tasks, in_annotation, completed FROM project_tasks \
         WHERE tenant_id = es_tenant() AND project_id = ANY($1) ORDER BY project_id, subset",
    )
    .bind::<Array<BigInt>>(projects.into_iter().collect::<Vec<_>>())
    .load(&mut **tx)
    .await?;
    let mut found: HashMap<i64, Totals> = HashMap::new();
    for row in rows {
        let totals = found.entry(row.project_id).or_default();
        totals.tasks += row.tasks;
        totals.in_annotation += row.in_annotation;
        totals.completed += row.completed;
        if !row.subset.is_empty() {
            totals.subsets.push(row.subset);
        }
    }
    Ok(found)
}
