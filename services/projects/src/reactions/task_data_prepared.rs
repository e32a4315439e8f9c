//! A task's data is ready: the task is cut into jobs and its request is finished, in one unit, so that nobody
//! who sees the one misses the other.

use chrono::{DateTime, Utc};
use contracts::Envelope;
use contracts::media::{TaskData, TaskDataPrepared};
use contracts::projects::{AttachedData, Task as Fact};
use event_store::Unit;
use event_store::inbox::{Handled, HandlerError};

use crate::domain::job::{CreateJob, Job, JobCommand};
use crate::domain::request::{Request, RequestCommand};
use crate::domain::segment::cut;
use crate::domain::task::{Data, Task, TaskCommand};
use crate::projections::requests;

/// Cuts the task and finishes the request; or fails it, when there is no task to cut any more.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TaskDataPrepared) -> Handled<'a> {
    Box::pin(async move {
        let at = envelope.time;
        let task = unit.load::<Task>(event.data.task_id).await?.unwrap_or_default();
        let outcome = match task.alive() {
            Err(_) => Err("The task was deleted."),
            Ok(fact) if fact.data.is_some() => Err("The task has data already."),
            Ok(_) if event.data.size <= 0 => Err("There are no frames."),
            Ok(fact) => Ok(fact.clone()),
        };
        let told = match outcome {
            Ok(fact) => {
                attach(unit, &fact, event.data, at).await?;
                RequestCommand::Finish { at }
            }
            Err(message) => RequestCommand::Fail { message: message.to_owned(), at },
        };
        if let Some(id) = requests::stream_of(unit.tx(), &event.request_id).await? {
            unit.execute::<Request>(id, told).await?;
        }
        Ok(())
    })
}

async fn attach(unit: &mut Unit, task: &Fact, data: TaskData, at: DateTime<Utc>) -> Result<(), HandlerError> {
    let cut = cut(data.size, task.segment_size, task.overlap, &data.mode);
    let known = Data {
        size: data.size,
        segment_size: cut.segment_size,
        overlap: cut.overlap,
        attached: AttachedData {
            chunk_size: data.chunk_size,
            image_quality: data.image_quality,
            mode: data.mode,
            dimension: data.dimension,
        },
    };
    unit.execute::<Task>(task.id, TaskCommand::AttachData { data: known, at }).await?;
    let ids = unit.new_ids_of("job", cut.segments.len()).await?;
    for (id, segment) in ids.into_iter().zip(cut.segments) {
        let create = CreateJob {
            id,
            task_id: task.id,
            project_id: task.project_id,
            organization_id: task.organization_id,
            start_frame: segment.start_frame,
            stop_frame: segment.stop_frame,
            at,
        };
        unit.execute::<Job>(id, JobCommand::Create(create)).await?;
    }
    Ok(())
}
