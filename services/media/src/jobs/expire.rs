//! An upload that nobody goes on with is forgotten after a day.

use chrono::TimeDelta;
use event_store::{StoreError, Unit};
use service_kit::Kit;

use super::{Claim, JobError};
use crate::domain::task_data::{Action, Stage, TaskData, TaskDataCommand};
use crate::projections::known_tasks;
use crate::uploads;

/// The job's name; its subject is the task.
pub const JOB: &str = "media.expire";

/// How long an upload waits for its client.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

/// Queues the look at an upload that has just begun.
///
/// # Errors
/// When the database does not answer.
pub async fn watch(unit: &mut Unit, task_id: i64) -> Result<(), StoreError> {
    let due_at = unit.store().clock().now() + PATIENCE;
    unit.enqueue(JOB, task_id, due_at).await
}

/// Looks whether somebody went on with it.
pub async fn run(kit: &Kit, claim: &Claim) -> Result<(), JobError> {
    let task_id = claim.subject_id;
    let mut unit = claim.unit(kit).await?;
    let state = unit.load::<TaskData>(task_id).await?.unwrap_or_default();
    let (_, last) = uploads::count(unit.tx(), task_id).await?;
    let now = kit.clock.now();
    let due_at = last.map(|last| last + PATIENCE).filter(|due_at| *due_at > now);
    if let (Stage::Receiving, Some(due_at)) = (state.stage, due_at) {
        claim.again_at(unit.tx(), due_at).await?;
        return Ok(unit.commit().await?);
    }
    if state.stage != Stage::Receiving {
        claim.finish(unit.tx()).await?;
        return Ok(unit.commit().await?);
    }
    let task = known_tasks::find(unit.tx(), task_id).await?;
    let organization_id = task.and_then(|task| task.organization_id);
    let expire = TaskDataCommand { organization_id, at: now, action: Action::Expire };
    unit.execute::<TaskData>(task_id, expire).await?;
    let less = uploads::discard(&mut unit, task_id, None).await?;
    claim.finish(unit.tx()).await?;
    uploads::change_storage(&mut unit, -less, None).await?;
    Ok(unit.commit().await?)
}
