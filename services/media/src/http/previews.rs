//! Previews: the first frame, small.

use actix_web::{HttpRequest, get, web};
use contracts::TenantId;
use service_kit::{Answer, Caller, Kit, Refusal};

use super::access;
use super::serve::{Part, Whole, serve};
use crate::derived::{self, Form};
use crate::media::Media;
use crate::projections::known_tasks;
use crate::storage::Key;

/// A small picture of a task's frame.
///
/// # Errors
/// 404 when the task has no such frame, or not yet.
pub async fn preview(
    kit: &Kit,
    media: &Media,
    tenant: TenantId,
    task_id: i64,
    number: i64,
) -> Result<Whole, Refusal> {
    let frames = media.frames(kit, tenant, task_id).await?.ok_or_else(Refusal::not_found)?;
    let frame = usize::try_from(number).ok().and_then(|number| frames.0.get(number));
    let frame = frame.ok_or_else(Refusal::not_found)?;
    let made = derived::get(kit, media, tenant, frame, Form::Preview).await?;
    let key = Key::Derived(tenant, frame.blob.digest, Form::Preview.name());
    Ok(Whole {
        etag: format!("{}-{}", hex::encode(frame.blob.digest), Form::Preview.name()),
        mime: "image/jpeg",
        parts: vec![Part::of(key, made.size, made.held)],
    })
}

/// A small picture of a task.
#[utoipa::path(responses((status = 200), (status = 304), (status = 404)), tag = "tasks")]
#[get("/api/tasks/{id}/preview")]
pub async fn get_task_preview(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    access::task(&kit, &caller, *id, "view:data").await?;
    let media = Media::of(&kit)?;
    let whole = preview(&kit, &media, caller.tenant(), *id, 0).await?;
    serve(&media, &request, whole).await
}

/// A small picture of a job.
#[utoipa::path(responses((status = 200), (status = 304), (status = 404)), tag = "jobs")]
#[get("/api/jobs/{id}/preview")]
pub async fn get_job_preview(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    let (job, _) = access::job(&kit, &caller, *id, "view:data").await?;
    let media = Media::of(&kit)?;
    let whole = preview(&kit, &media, caller.tenant(), job.task_id, job.start_frame).await?;
    serve(&media, &request, whole).await
}

/// A small picture of a project: of the first of its tasks that has one.
#[utoipa::path(responses((status = 200), (status = 304), (status = 404)), tag = "projects")]
#[get("/api/projects/{id}/preview")]
pub async fn get_project_preview(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    access::project(&kit, &caller, *id).await?;
    let first = kit.read(&caller, async |tx| Ok(known_tasks::first_with_frames(tx, *id).await?)).await?;
    let task_id = first.ok_or_else(Refusal::not_found)?;
    let media = Media::of(&kit)?;
    let whole = preview(&kit, &media, caller.tenant(), task_id, 0).await?;
    serve(&media, &request, whole).await
}
