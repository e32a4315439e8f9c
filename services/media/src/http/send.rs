//! `POST /api/tasks/{id}/data`: CVAT's five ways to send data, told apart by their headers.
//!
//! | header | what it does | answer |
//! |---|---|---|
//! | `Upload-Start` | begins anew | 202 |
//! | `Upload-Multiple` | sends files in a form | 200 |
//! | `Upload-Length` | begins a file that is sent piece by piece (tus) | 201 |
//! | `Upload-Finish` | says that everything was sent, and how to use it | 202, `{"rq_id"}` |
//! | none, or both start and finish | all of it in one request | 202, `{"rq_id"}` |

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use service_kit::{Answer, Caller, Kit, Refusal, Write};
use utoipa::ToSchema;

use super::finish::{DataRequest, finish};
use super::receive::receive;
use super::{access, start, tus};
use crate::media::Media;
use crate::projections::known_tasks::KnownTask;

/// What may be done with a task's data to send some.
pub const SCOPE: &str = "upload:data";
/// The largest body in JSON, in bytes: it may name every file of a task in the order wanted.
const JSON_MAX: usize = 64 * 1024 * 1024;

/// The background request that a client polls.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct RqId {
    pub rq_id: String,
}

/// What handlers of an upload work with.
pub struct Sending {
    pub kit: web::Data<Kit>,
    pub media: Media,
    pub caller: Caller,
    pub task: KnownTask,
}

/// Sends data to a task: pictures, or what to do with those that were sent. See the module for the headers.
#[utoipa::path(
    request_body = DataRequest,
    params(
        ("Upload-Start" = Option<String>, Header),
        ("Upload-Multiple" = Option<String>, Header),
        ("Upload-Length" = Option<i64>, Header),
        ("Upload-Finish" = Option<String>, Header),
    ),
    responses((status = 200), (status = 201), (status = 202, body = RqId)),
    tag = "tasks"
)]
#[post("/api/tasks/{id}/data")]
pub async fn send_task_data(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let task = access::task(&kit, &caller, *id, SCOPE).await?;
    let media = Media::of(&kit)?;
    let sending = Sending { kit, media, caller, task };
    let has = |name: &str| request.headers().contains_key(name);
    match (has("upload-start"), has("upload-finish")) {
        (true, false) => {
            start::begin(&sending).await?;
            Ok(HttpResponse::Accepted().finish())
        }
        (false, true) => {
            let data = match is_form(&request) {
                true => DataRequest::of(receive(&sending, &request, payload).await?)?,
                false => json(&request, payload).await?,
            };
            finish(&sending, data, true).await
        }
        (false, false) if has("upload-multiple") => {
            receive(&sending, &request, form(&request, payload)?).await?;
            Ok(HttpResponse::Ok().finish())
        }
        (false, false) if has("upload-length") => tus::begin(&sending, &request).await,
        (true, true) | (false, false) => {
            let data = match is_form(&request) {
                true => {
                    start::begin(&sending).await?;
                    DataRequest::of(receive(&sending, &request, payload).await?)?
                }
                false => json(&request, payload).await?,
            };
            finish(&sending, data, false).await
        }
    }
}

fn is_form(request: &HttpRequest) -> bool {
    let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    media_type.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}

fn form(request: &HttpRequest, payload: web::Payload) -> Result<web::Payload, Refusal> {
    match is_form(request) {
        true => Ok(payload),
        false => Err(Refusal::new(
            actix_web::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Files are sent as multipart/form-data.",
        )),
    }
}

/// A body in JSON.
async fn json(request: &HttpRequest, payload: web::Payload) -> Result<DataRequest, Refusal> {
    Ok(Write::read(request, payload, JSON_MAX).await?.body)
}
