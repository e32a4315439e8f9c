//! A removed task gives back what its frames and files used.

use service_kit::Kit;

use super::{Claim, JobError};
use crate::domain::task_data::{Stage, TaskData};
use crate::keeping::sweep_now;
use crate::{blobs, frames, uploads};

/// The job's name; its subject is the task.
pub const JOB: &str = "media.release";

/// Gives back.
pub async fn run(kit: &Kit, claim: &Claim) -> Result<(), JobError> {
    let task_id = claim.subject_id;
    let mut unit = claim.unit(kit).await?;
    let state = unit.load::<TaskData>(task_id).await?.unwrap_or_default();
    if state.stage != Stage::Removed {
        claim.finish(unit.tx()).await?;
        return Ok(unit.commit().await?);
    }
    let frames = frames::take(unit.tx(), task_id).await?;
    let freed = blobs::release(unit.tx(), frames.0.iter().map(|frame| frame.blob_id)).await?;
    let discarded = uploads::discard(&mut unit, task_id, None).await?;
    sweep_now(&mut unit).await?;
    claim.finish(unit.tx()).await?;
    uploads::change_storage(&mut unit, -(freed + discarded), None).await?;
    Ok(unit.commit().await?)
}
