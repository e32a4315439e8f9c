//! An import is not wanted any more: if it is still going on, it ends as a failed one, and what was sent for it
//! is given back.

use contracts::Envelope;
use contracts::projects::RequestCancelled;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::task_data::{Action, Stage, TaskData, TaskDataCommand};
use crate::projections::known_tasks;
use crate::uploads;

/// Ends the import.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: RequestCancelled) -> Handled<'a> {
    Box::pin(async move {
        let RequestCancelled { request_id, task_id: Some(task_id) } = event else { return Ok(()) };
        let state = unit.load::<TaskData>(task_id).await?.unwrap_or_default();
        // It ended meanwhile, or is another's.
        if state.stage != Stage::Submitted || state.request_id.as_deref() != Some(&request_id) {
            return Ok(());
        }
        let task = known_tasks::find(unit.tx(), task_id).await?;
        let fail = TaskDataCommand {
            organization_id: task.and_then(|task| task.organization_id),
            at: envelope.time,
            action: Action::Fail { request_id, message: "The request was cancelled.".to_owned() },
        };
        unit.execute::<TaskData>(task_id, fail).await?;
        let less = uploads::discard(unit, task_id, None).await?;
        uploads::change_storage(unit, -less, None).await?;
        Ok(())
    })
}
