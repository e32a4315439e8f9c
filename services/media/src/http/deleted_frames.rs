//! Which frames are marked as deleted.

use std::ops::RangeInclusive;

use event_store::Unit;
use service_kit::Refusal;

use crate::domain::task_data::{Action, TaskData, TaskDataCommand};
use crate::projections::known_tasks::KnownTask;

/// Marks these frames, of those that the caller is responsible for, and no others of them. Returns what is so now.
///
/// # Errors
/// 400 for a frame that is not one of them.
pub async fn change(
    unit: &mut Unit,
    task: &KnownTask,
    responsible: &RangeInclusive<i64>,
    deleted: Option<&[i64]>,
) -> Result<TaskData, Refusal> {
    let state = unit.load::<TaskData>(task.id).await?.ok_or_else(Refusal::not_found)?;
    let Some(deleted) = deleted else { return Ok(state) };
    if let Some(frame) = deleted.iter().find(|frame| !responsible.contains(frame)) {
        let (first, last) = responsible.clone().into_inner();
        let text = format!("{frame}: The frame number should be in the [{first}, {last}] range");
        return Err(Refusal::field("deleted_frames", text));
    }
    let others = state.deleted_frames().filter(|frame| !responsible.contains(frame));
    let frames = others.chain(deleted.iter().copied()).collect();
    let at = unit.store().clock().now();
    let delete = Action::DeleteFrames { frames };
    let command = TaskDataCommand { organization_id: task.organization_id, at, action: delete };
    Ok(unit.execute::<TaskData>(task.id, command).await?.state)
}
