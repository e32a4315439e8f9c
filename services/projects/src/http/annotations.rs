//! `/api/jobs/{id}/annotations` in CVAT's shapes, at any version, and the versions on the native face.

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, put, web};
use chrono::{DateTime, Utc};
use futures::stream;
use serde::Serialize;
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Write};
use utoipa::ToSchema;

use super::annotation_writes::{self as writes, Added, BODY_BYTES_MAX, Target};
use super::jobs::{authorised, locked, permitted};
use crate::domain::annotation_data::LabeledData;
use crate::domain::annotations::Action;
use crate::projections::annotation_documents::{self, Document};
use crate::projections::annotation_versions::{self, Version};

/// Versions on a page when the reader names no number, and at most.
const PAGE: (i64, i64) = (100, 1_000);

/// Shows a job's annotations, as they are or as they were at a version.
#[utoipa::path(
    params(
        ("id" = i64, Path),
        ("version" = Option<i64>, Query, minimum = 0, description = "As they were after so many changes; see \
            `/v1/jobs/{id}/annotations/versions`. CVAT knows no such parameter"),
    ),
    responses(
        (status = 200, body = LabeledData),
        (status = 404, description = "No such job, or it has no such version"),
        (status = 410, description = "Exports are made elsewhere"),
    ),
    tag = "jobs"
)]
#[get("/api/jobs/{id}/annotations")]
pub async fn get_job_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    let version = number(&request, "version", 0..=i64::MAX)?;
    refuse_export(&request)?;
    authorised(&kit, &caller, *id, &["view:annotations"]).await?;
    let found = kit.read(&caller, async |tx| {
        annotation_documents::freeze(tx).await?;
        Ok(annotation_documents::of_job(tx, *id, version).await?)
    });
    match found.await? {
        Some(document) => Ok(respond(document)),
        None => {
            let version = version.unwrap_or_default();
            let detail = format!("The annotations of the job {} have no version {version}.", *id);
            Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", detail))
        }
    }
}

/// Replaces all of a job's annotations.
#[utoipa::path(
    request_body = LabeledData, params(("id" = i64, Path)),
    responses((status = 200, body = LabeledData, description = "What there is now, with its new ids")), tag = "jobs"
)]
#[put("/api/jobs/{id}/annotations")]
pub async fn replace_job_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    write(&kit, &caller, *id, Action::Replace, (&request, payload)).await
}

/// Creates, updates or deletes some of a job's annotations.
///
/// What is updated gets a new id. Ids that the job does not have are ignored.
#[utoipa::path(
    request_body = LabeledData,
    params(("id" = i64, Path), ("action" = String, Query, description = "`create`, `update` or `delete`")),
    responses((status = 200, body = LabeledData, description = "What was created, updated or deleted")), tag = "jobs"
)]
#[patch("/api/jobs/{id}/annotations")]
pub async fn update_job_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    write(&kit, &caller, *id, writes::action(&request)?, (&request, payload)).await
}

/// Deletes all of a job's annotations.
#[utoipa::path(params(("id" = i64, Path)), responses((status = 204)), tag = "jobs")]
#[delete("/api/jobs/{id}/annotations")]
pub async fn delete_job_annotations(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write,
) -> Answer {
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, *id, &["delete:annotations"]).await?;
        writes::clear(unit, *id).await?;
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
    let job = authorised(kit, caller, id, &["update:annotations"]).await?;
    let request: Write<LabeledData> = Write::read(request, payload, BODY_BYTES_MAX).await?;
    let frames = job.start_frame..=job.stop_frame;
    let target = Target { task_id: job.task_id, project_id: job.project_id, frames };
    let (data, ids) = (&request.body, writes::named(&request.body));
    kit.write(caller, &request, async |unit| {
        // The body may have taken its time.
        permitted(unit.tx(), caller, id, &["update:annotations"]).await?;
        let checked = writes::checked(unit, data, action, &target).await?;
        let changed = writes::change(unit, id, action, checked, &ids).await?;
        match action {
            Action::Delete => Reply::ok(&writes::removed(changed.version, data, [&changed.removed])),
            Action::Create | Action::Update | Action::Replace => {
                let mut added = Added::new(changed.version);
                added.extend(&changed.added, |_| true);
                Reply::ok(&added)
            }
        }
    })
    .await
}

/// A version of a job's annotations.
#[derive(Serialize, ToSchema)]
pub struct VersionRead {
    version: i64,
    /// `create`, `update`, `delete` or `replace`.
    action: String,
    /// The user who made it.
    actor_id: Option<i64>,
    created_date: DateTime<Utc>,
    created: Counts,
    deleted: Counts,
    /// What the job had then.
    total: Counts,
}

/// How many annotations of each kind.
#[derive(Serialize, ToSchema)]
#[schema(as = AnnotationCounts)]
pub struct Counts {
    tags: i64,
    shapes: i64,
    tracks: i64,
}

impl From<contracts::projects::AnnotationCounts> for Counts {
    fn from(counts: contracts::projects::AnnotationCounts) -> Self {
        let contracts::projects::AnnotationCounts { tags, shapes, tracks } = counts;
        Self { tags, shapes, tracks }
    }
}

impl From<Version> for VersionRead {
    fn from(version: Version) -> Self {
        let Version { version, action, actor_id, created_date, created, deleted, total } = version;
        let (created, deleted, total) = (created.into(), deleted.into(), total.into());
        Self { version, action, actor_id, created_date, created, deleted, total }
    }
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub struct VersionPage {
    items: Vec<VersionRead>,
    /// Where to read on; `null` at the end.
    next: Option<i64>,
}

/// Lists the versions of a job's annotations, oldest first.
#[utoipa::path(
    params(
        ("id" = i64, Path),
        ("after" = Option<i64>, Query, minimum = 0, description = "Version to read on from"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "100 if absent"),
    ),
    responses((status = 200, body = VersionPage)),
    tag = "jobs"
)]
#[get("/v1/jobs/{id}/annotations/versions")]
pub async fn list_annotation_versions(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    let after = number(&request, "after", 0..=i64::MAX)?.unwrap_or(0);
    let limit = number(&request, "limit", 1..=PAGE.1)?.unwrap_or(PAGE.0);
    authorised(&kit, &caller, *id, &["view:annotations"]).await?;
    let mut versions =
        kit.read(&caller, async |tx| Ok(annotation_versions::list(tx, *id, after, limit + 1).await?)).await?;
    let more = versions.len() as i64 > limit;
    versions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = versions.last().filter(|_| more).map(|version| version.version);
    let items = versions.into_iter().map(VersionRead::from).collect();
    Ok(HttpResponse::Ok().json(VersionPage { items, next }))
}

/// A document as an answer.
pub fn respond(document: Document) -> HttpResponse {
    let (pieces, length) = document.finish();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
    HttpResponse::Ok().content_type(ContentType::json()).body(SizedStream::new(length, pieces))
}

/// CVAT once exported from here, and says so.
pub fn refuse_export(request: &HttpRequest) -> Result<(), Refusal> {
    let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    if parameters.any(|(name, value)| name == "format" && !value.is_empty()) {
        let detail = "This endpoint no longer handles dataset exporting.";
        return Err(Refusal::new(StatusCode::GONE, "gone", detail));
    }
    Ok(())
}

/// A number in the query.
fn number(
    request: &HttpRequest,
    name: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, Refusal> {
    let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    let Some((_, value)) = parameters.find(|(found, _)| found == name) else { return Ok(None) };
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ if *range.end() == i64::MAX => {
            Err(Refusal::field(name, format!("Give a whole number from {} on.", range.start())))
        }
        _ => {
            let (start, end) = (range.start(), range.end());
            Err(Refusal::field(name, format!("Give a whole number from {start} to {end}.")))
        }
    }
}
