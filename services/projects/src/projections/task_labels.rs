//! `task_labels`: the labels of tasks that are in no project, one row a label.

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, Tx};

use super::labels::{Holder, insert};
use crate::domain::task::{Task, TaskEvent};

/// Keeps the table: a task's rows are replaced when its labels change.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Task>) -> Applied<'a> {
    Box::pin(async move {
        let labels = match (change.event, &change.after.current) {
            (TaskEvent::Created(_) | TaskEvent::Updated { labels: Some(_), .. }, Some(task)) => &*task.labels,
            (TaskEvent::Deleted, _) => &[],
            (
                TaskEvent::Created(_)
                | TaskEvent::Updated { .. }
                | TaskEvent::DataAttached { .. }
                | TaskEvent::Followed { .. }
                | TaskEvent::LeftOrganization { .. },
                _,
            ) => return Ok(()),
        };
        if change.version > 1 {
            Sql::fixed("DELETE FROM task_labels WHERE tenant_id = es_tenant() AND task_id = $1")
                .bind::<BigInt>(change.id)
                .execute(&mut **tx)
                .await?;
        }
        for label in labels {
            insert(tx, Holder::Task(change.id), label).await?;
        }
        Ok(())
    })
}
