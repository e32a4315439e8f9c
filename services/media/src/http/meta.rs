//! `…/data/meta`: what a task's, or a job's, frames are, and which of them are marked as deleted.

use std::ops::RangeInclusive;

use actix_web::{HttpResponse, get, patch, web};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use service_kit::write::Reply;
use service_kit::{Answer, Caller, Kit, Refusal, Write};
use utoipa::ToSchema;

use super::access;
use super::data::{Ready, ready};
use super::deleted_frames::change;
use crate::domain::task_data::TaskData;
use crate::media::Media;

/// CVAT's DataMetaRead.
#[derive(Serialize, ToSchema)]
pub struct DataMetaRead {
    chunks_updated_date: String,
    chunk_size: i64,
    /// Frames; those that are marked as deleted count too.
    size: i64,
    image_quality: i64,
    /// The first picture that is used, counted in all that were sent.
    start_frame: i64,
    stop_frame: i64,
    frame_filter: String,
    frames: Vec<FrameMeta>,
    /// Counted within the task.
    deleted_frames: Vec<i64>,
    included_frames: Option<Vec<i64>>,
    storage: &'static str,
    cloud_storage_id: Option<i64>,
}

/// CVAT's FrameMeta.
#[derive(Serialize, ToSchema)]
pub struct FrameMeta {
    name: String,
    width: u32,
    height: u32,
    related_files: i64,
    has_related_context: bool,
}

/// CVAT's PatchedDataMetaWriteRequest.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct PatchedDataMeta {
    /// All frames that are to be marked as deleted, and no others.
    pub deleted_frames: Option<Vec<i64>>,
    /// Not supported yet.
    cloud_storage_id: Option<i64>,
}

impl DataMetaRead {
    /// Of a task, or of these frames of it.
    fn new(ready: &Ready, state: &TaskData, frames: &RangeInclusive<i64>) -> Self {
        let Ready { data, frames: all, .. } = ready;
        let (first, last) = (*frames.start(), *frames.end());
        let step = match data.size {
            size if size > 1 => (data.stop_frame - data.start_frame) / (size - 1),
            _ => 1,
        };
        let index = |number: i64| usize::try_from(number).unwrap_or(0).min(all.0.len());
        let shown = all.0.get(index(first)..index(last + 1)).unwrap_or_default();
        Self {
            chunks_updated_date: date(state.prepared_at),
            chunk_size: data.chunk_size,
            size: last + 1 - first,
            image_quality: data.image_quality,
            start_frame: data.start_frame + first * step,
            stop_frame: data.start_frame + last * step,
            frame_filter: data.frame_filter.clone(),
            frames: shown
                .iter()
                .map(|frame| {
                    let (width, height) = frame.blob.picture.shown_size();
                    let name = frame.name.clone();
                    FrameMeta { name, width, height, related_files: 0, has_related_context: false }
                })
                .collect(),
            deleted_frames: state.deleted_frames().filter(|frame| frames.contains(frame)).collect(),
            included_frames: None,
            storage: "local",
            cloud_storage_id: None,
        }
    }
}

fn date(at: Option<DateTime<Utc>>) -> String {
    at.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Shows what a task's frames are.
#[utoipa::path(responses((status = 200, body = DataMetaRead), (status = 404)), tag = "tasks")]
#[get("/api/tasks/{id}/data/meta")]
pub async fn get_task_meta(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    access::task(&kit, &caller, *id, "view:metadata").await?;
    let ready = ready(&kit, &Media::of(&kit)?, caller.tenant(), *id).await?;
    let all = 0..=ready.data.size - 1;
    Ok(HttpResponse::Ok().json(DataMetaRead::new(&ready, &ready.state, &all)))
}

/// Shows what a job's frames are.
#[utoipa::path(responses((status = 200, body = DataMetaRead), (status = 404)), tag = "jobs")]
#[get("/api/jobs/{id}/data/meta")]
pub async fn get_job_meta(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let (job, _) = access::job(&kit, &caller, *id, "view:metadata").await?;
    let ready = ready(&kit, &Media::of(&kit)?, caller.tenant(), job.task_id).await?;
    let frames = of_job(&ready, job.start_frame..=job.stop_frame);
    Ok(HttpResponse::Ok().json(DataMetaRead::new(&ready, &ready.state, &frames)))
}

/// Marks frames of a task as deleted, or takes them back.
#[utoipa::path(
    request_body = PatchedDataMeta,
    responses((status = 200, body = DataMetaRead), (status = 404)),
    tag = "tasks"
)]
#[patch("/api/tasks/{id}/data/meta")]
pub async fn update_task_meta(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedDataMeta>,
) -> Answer {
    check(&request.body)?;
    let task = access::task(&kit, &caller, *id, "update:metadata").await?;
    let ready = ready(&kit, &Media::of(&kit)?, caller.tenant(), *id).await?;
    let all = 0..=ready.data.size - 1;
    kit.write(&caller, &request, async |unit| {
        let state = change(unit, &task, &all, request.body.deleted_frames.as_deref()).await?;
        Reply::ok(&DataMetaRead::new(&ready, &state, &all))
    })
    .await
}

/// Marks frames of a job as deleted, or takes them back; other jobs' frames stay as they are.
#[utoipa::path(
    request_body = PatchedDataMeta,
    responses((status = 200, body = DataMetaRead), (status = 404)),
    tag = "jobs"
)]
#[patch("/api/jobs/{id}/data/meta")]
pub async fn update_job_meta(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedDataMeta>,
) -> Answer {
    check(&request.body)?;
    let (job, task) = access::job(&kit, &caller, *id, "update:metadata").await?;
    let ready = ready(&kit, &Media::of(&kit)?, caller.tenant(), job.task_id).await?;
    let frames = of_job(&ready, job.start_frame..=job.stop_frame);
    kit.write(&caller, &request, async |unit| {
        let state = change(unit, &task, &frames, request.body.deleted_frames.as_deref()).await?;
        Reply::ok(&DataMetaRead::new(&ready, &state, &frames))
    })
    .await
}

/// A job's frames, as far as its task has them.
fn of_job(ready: &Ready, frames: RangeInclusive<i64>) -> RangeInclusive<i64> {
    *frames.start()..=(*frames.end()).min(ready.data.size - 1)
}

fn check(body: &PatchedDataMeta) -> Result<(), Refusal> {
    match body.cloud_storage_id {
        None => Ok(()),
        Some(_) => Err(Refusal::field("cloud_storage_id", "Cloud storages are not supported yet.")),
    }
}
