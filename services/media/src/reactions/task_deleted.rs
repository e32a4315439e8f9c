//! A task is gone: so is its data. What it used is given back by a job, because that may take a while.

use contracts::Envelope;
use contracts::projects::TaskDeleted;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::task_data::{Action, TaskData, TaskDataCommand};
use crate::jobs::release;

/// Removes the task's data.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TaskDeleted) -> Handled<'a> {
    Box::pin(async move {
        let organization_id = event.task.organization_id;
        let remove = TaskDataCommand { organization_id, at: envelope.time, action: Action::Remove };
        unit.execute::<TaskData>(event.task.id, remove).await?;
        let now = unit.store().clock().now();
        unit.enqueue(release::JOB, event.task.id, now).await?;
        Ok(())
    })
}
