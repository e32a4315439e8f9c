//! `/api/tasks/{id}/annotations`: those of the task's jobs, as one document.
//!
//! A write is cut by the jobs' frames. Jobs may overlap: what is on a frame of several is written to each of
//! them, shown once, and changed or deleted together as long as it is the same in all. Tracks that cross jobs
//! stay cut: they are shown as one track for each job.

use actix_web::{HttpRequest, delete, get, patch, put, web};
use event_store::Unit;
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Write};

use super::annotation_writes::{self as writes, Added, BODY_BYTES_MAX, Changed, Target};
use super::annotations::{refuse_export, respond};
use super::tasks::{authorised, permitted};
use crate::domain::annotation_check::COUNT_MAX;
use crate::domain::annotation_data::LabeledData;
use crate::domain::annotation_split::{self, Homes};
use crate::domain::annotations::Action;
use crate::domain::job::Job;
use crate::projections::annotation_documents;
use crate::projections::annotation_jobs::{self, JobFrames};

/// Annotations in one request when they are cut by the jobs' frames, of which neighbours may share half.
const IN_JOBS_MAX: usize = 2 * COUNT_MAX;

/// Shows the annotations of all jobs of a task.
#[utoipa::path(
    params(("id" = i64, Path)),
    responses(
        (status = 200, body = LabeledData, description = "`version` counts the changes of all jobs"),
        (status = 410, description = "Exports are made elsewhere"),
    ),
    tag = "tasks"
)]
#[get("/api/tasks/{id}/annotations")]
pub async fn get_task_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    refuse_export(&request)?;
    authorised(&kit, &caller, *id, &["view:annotations"]).await?;
    let document = kit.read(&caller, async |tx| {
        annotation_documents::freeze(tx).await?;
        let jobs = annotation_jobs::of_task(tx, *id).await?;
        Ok(annotation_documents::of_jobs(tx, &jobs).await?)
    });
    Ok(respond(document.await?))
}

/// Replaces the annotations of all jobs of a task.
#[utoipa::path(
    request_body = LabeledData, params(("id" = i64, Path)),
    responses((status = 200, body = LabeledData, description = "What there is now, with its new ids")), tag = "tasks"
)]
#[put("/api/tasks/{id}/annotations")]
pub async fn replace_task_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    write(&kit, &caller, *id, Action::Replace, (&request, payload)).await
}

/// Creates, updates or deletes annotations of a task, in the jobs that have their frames.
#[utoipa::path(
    request_body = LabeledData,
    params(("id" = i64, Path), ("action" = String, Query, description = "`create`, `update` or `delete`")),
    responses((status = 200, body = LabeledData, description = "What was created, updated or deleted")), tag = "tasks"
)]
#[patch("/api/tasks/{id}/annotations")]
pub async fn update_task_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    write(&kit, &caller, *id, writes::action(&request)?, (&request, payload)).await
}

/// Deletes the annotations of all jobs of a task.
#[utoipa::path(params(("id" = i64, Path)), responses((status = 204)), tag = "tasks")]
#[delete("/api/tasks/{id}/annotations")]
pub async fn delete_task_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write,
) -> Answer {
    kit.write(&caller, &request, async |unit| {
        permitted(unit.tx(), &caller, *id, &["delete:annotations"]).await?;
        for job in locked(unit, *id).await? {
            writes::clear(unit, job.id).await?;
        }
        Ok(Reply::no_content())
    })
    .await
}

async fn write(
    kit: &Kit,
    caller: &Caller,
    id: i64,
    action: Action,
    (request, payload): (&HttpRequest, web::Payload),
) -> Answer {
    let task = authorised(kit, caller, id, &["update:annotations"]).await?;
    let request: Write<LabeledData> = Write::read(request, payload, BODY_BYTES_MAX).await?;
    let data = &request.body;
    if task.size.is_none() && !data.is_empty() {
        return Err(Refusal::bad_request("The task has no data yet."));
    }
    let target = Target { task_id: id, project_id: task.project_id, frames: 0..=task.size.unwrap_or(0) - 1 };
    kit.write(caller, &request, async |unit| {
        // The body may have taken its time.
        permitted(unit.tx(), caller, id, &["update:annotations"]).await?;
        let checked = writes::checked(unit, data, action, &target).await?;
        let jobs = locked(unit, id).await?;
        let named = writes::named(data);
        let homes = match action {
            Action::Create | Action::Delete => Homes::new(),
            Action::Update | Action::Replace => {
                annotation_jobs::of_tracks(unit.tx(), &jobs, named.tracks.clone()).await?
            }
        };
        let parts = parts(&checked, &jobs, &homes)?;
        let ids = annotation_jobs::with_twins(unit.tx(), &jobs, &named).await?;
        let mut all = Vec::with_capacity(jobs.len());
        for (job, part) in jobs.iter().zip(parts) {
            all.push((job, writes::change(unit, job.id, action, part, &ids).await?));
        }
        answer(action, data, &all)
    })
    .await
}

/// What each job gets.
///
/// # Errors
/// 400 when tracks that go on in many jobs make too much of it.
fn parts(data: &LabeledData, jobs: &[JobFrames], homes: &Homes) -> Result<Vec<LabeledData>, Refusal> {
    let (mut parts, mut count) = (Vec::with_capacity(jobs.len()), 0);
    for job in jobs {
        let part = annotation_split::part(data, &(job.start_frame..=job.stop_frame), homes);
        count += part.len();
        if count > IN_JOBS_MAX {
            let text = format!(
                "Cut by the task's jobs these are more than {IN_JOBS_MAX} annotations and keyframes."
            );
            return Err(Refusal::field("non_field_errors", text));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// What a write did, all jobs together; what several jobs got is shown as the first one has it.
fn answer(action: Action, data: &LabeledData, all: &[(&JobFrames, Changed)]) -> Result<Reply, Refusal> {
    let version = all.iter().map(|(_, changed)| changed.version).sum();
    if action == Action::Delete {
        return Reply::ok(&writes::removed(version, data, all.iter().map(|(_, changed)| &changed.removed)));
    }
    let mut added = Added::new(version);
    let mut shown_to = -1;
    for (job, changed) in all {
        added.extend(&changed.added, |item| item.frame > shown_to);
        shown_to = shown_to.max(job.stop_frame);
    }
    Reply::ok(&added)
}

/// The task's jobs, which nobody else changes from here on.
async fn locked(unit: &mut Unit, task_id: i64) -> Result<Vec<JobFrames>, Refusal> {
    let jobs = annotation_jobs::of_task(unit.tx(), task_id).await?;
    let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    unit.lock::<Job>(&ids).await?;
    Ok(jobs)
}
