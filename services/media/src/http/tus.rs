//! CVAT's dialect of tus 1.0.0: a file that is sent piece by piece, and goes on where it was cut off.
//!
//! A piece is stored as soon as it is large enough, and noted by a compare-and-swap of the offset. So a connection, or
//! a process, that dies costs at most one piece, and any replica can go on.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, head, options, patch, web};
use base64::Engine;
use futures::StreamExt;
use service_kit::{Answer, Caller, Kit, Refusal};
use uuid::Uuid;

use super::send::{SCOPE, Sending};
use super::{access, names};
use crate::buffer::{Buffer, Gathered};
use crate::media::Media;
use crate::reserve::reserve_storage;
use crate::storage::Key;
use crate::uploads::{self, Advanced, FILES_MAX, PIECES_MAX, UploadFile};

const VERSION: &str = "1.0.0";
/// The largest file, as CVAT has it: 25 GiB.
const LENGTH_MAX: i64 = 26_843_545_600;
/// Bytes of a piece that is stored on its own. The last one of a request may be shorter.
const PIECE: u64 = 8 * 1024 * 1024;
/// Bytes of a piece that stay in memory: what completes it may go beyond its end.
const PIECE_IN_MEMORY: usize = 9 * 1024 * 1024;

fn headers(builder: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    builder
        .insert_header(("Tus-Resumable", VERSION))
        .insert_header(("Tus-Version", VERSION))
        .insert_header(("Tus-Extension", "creation"))
        .insert_header(("Tus-Max-Size", LENGTH_MAX.to_string()))
        .insert_header(("Cache-Control", "no-store"))
}

/// What the server can do, for clients of tus.
#[utoipa::path(responses((status = 204)), tag = "tasks")]
#[options("/api/tasks/{id}/data")]
pub async fn tus_options(_: web::Path<i64>) -> HttpResponse {
    headers(&mut HttpResponse::NoContent()).finish()
}

/// What the server can do, for clients of tus.
#[utoipa::path(responses((status = 204)), tag = "tasks")]
#[options("/api/tasks/{id}/data/{file}")]
pub async fn tus_file_options(_: web::Path<(i64, Uuid)>) -> HttpResponse {
    headers(&mut HttpResponse::NoContent()).finish()
}

/// Begins a file.
///
/// # Errors
/// 400 for a name or a length that is not allowed, 409 when the name is taken, 413 for a file that is too long.
pub async fn begin(sending: &Sending, request: &HttpRequest) -> Answer {
    let length: i64 = number(request, "upload-length")?;
    let name = names::relative(&file_name(request)?)?;
    if length == 0 {
        return Err(Refusal::field("client_files", format!("{name}: the file is empty.")));
    }
    if length > LENGTH_MAX {
        let detail = format!("{name}: a file may have at most {LENGTH_MAX} bytes.");
        return Err(too_large(detail));
    }
    sending.media.storage.check_room(length.unsigned_abs())?;
    let tenant = sending.caller.tenant();
    let place = reserve_storage(&sending.kit, tenant, length.unsigned_abs()).await?;
    let upload = event_store::new_id();
    let outcome = sending
        .kit
        .store
        .transact(&sending.caller.context(), async |unit| {
            sending.touch(unit).await?;
            let old = uploads::by_name(unit.tx(), sending.task.id, &name).await?;
            if old.is_some_and(|old| old.blob_id.is_some() || old.received == old.length) {
                let detail = format!("File with same name already exists: {name}");
                return Err(Refusal::new(StatusCode::CONFLICT, "file_exists", detail));
            }
            // One that was begun and cut off gives way.
            let replaced = uploads::discard(unit, sending.task.id, Some(&name)).await?;
            if uploads::count(unit.tx(), sending.task.id).await?.0 >= FILES_MAX {
                let text = format!("A task may have at most {FILES_MAX} files.");
                return Err(Refusal::field("client_files", text));
            }
            let now = unit.store().clock().now();
            uploads::begin(unit.tx(), sending.task.id, (upload, &name), length, now).await?;
            let reservation_id = place.take(unit.tx()).await?;
            uploads::change_storage(unit, length - replaced, reservation_id).await?;
            Ok(())
        })
        .await;
    if let Err(refusal) = outcome {
        place.release_after(&sending.kit, &refusal).await;
        return Err(refusal);
    }
    let location = format!("{}/api/tasks/{}/data/{upload}", sending.caller.base_url, sending.task.id);
    Ok(headers(&mut HttpResponse::Created())
        .insert_header(("Location", location))
        .insert_header(("Upload-Filename", header_text(&name)))
        .finish())
}

/// Says how much of a file is here.
#[utoipa::path(responses((status = 200), (status = 404)), tag = "tasks")]
#[head("/api/tasks/{id}/data/{file}")]
pub async fn get_tus_offset(kit: web::Data<Kit>, caller: Caller, path: web::Path<(i64, Uuid)>) -> Answer {
    let (task_id, upload) = path.into_inner();
    access::task(&kit, &caller, task_id, SCOPE).await?;
    let file = find(&kit, &caller, task_id, upload).await?;
    Ok(headers(&mut HttpResponse::Ok())
        .insert_header(("Upload-Offset", file.received.to_string()))
        .insert_header(("Upload-Length", file.length.to_string()))
        .finish())
}

/// Goes on with a file.
#[utoipa::path(
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses((status = 204), (status = 404), (status = 409)),
    tag = "tasks"
)]
#[patch("/api/tasks/{id}/data/{file}")]
pub async fn append_to_tus(
    kit: web::Data<Kit>,
    caller: Caller,
    path: web::Path<(i64, Uuid)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let (task_id, upload) = path.into_inner();
    access::task(&kit, &caller, task_id, SCOPE).await?;
    let offset: i64 = number(&request, "upload-offset")?;
    let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    if media_type != Some("application/offset+octet-stream") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Pieces are sent as application/offset+octet-stream.",
        ));
    }
    let file = find(&kit, &caller, task_id, upload).await?;
    if file.received != offset {
        return Ok(at_another_offset(file.received));
    }
    let media = Media::of(&kit)?;
    if file.pieces.len() >= PIECES_MAX {
        return Err(in_crumbs(&file.name));
    }
    media.storage.check_room(PIECE)?;
    let appending = Appending { kit: &kit, media: &media, caller: &caller, task_id, upload, file: &file };
    match appending.all(payload).await? {
        Appended::To(offset) => Ok(headers(&mut HttpResponse::NoContent())
            .insert_header(("Upload-Offset", offset.to_string()))
            .finish()),
        Appended::NotFrom => Ok(at_another_offset(find(&kit, &caller, task_id, upload).await?.received)),
    }
}

enum Appended {
    To(i64),
    /// Somebody else sent the same piece.
    NotFrom,
}

struct Appending<'a> {
    kit: &'a Kit,
    media: &'a Media,
    caller: &'a Caller,
    task_id: i64,
    upload: Uuid,
    file: &'a UploadFile,
}

impl Appending<'_> {
    async fn all(&self, mut payload: web::Payload) -> Result<Appended, Refusal> {
        let mut offset = self.file.received;
        let empty = || Buffer::new(&self.media.storage, PIECE_IN_MEMORY);
        let mut piece = empty();
        loop {
            let next = payload.next().await;
            let ended = !matches!(next, Some(Ok(_)));
            if let Some(Ok(bytes)) = next {
                let held = piece.len() + bytes.len() as u64;
                if i64::try_from(held).unwrap_or(i64::MAX) > self.file.length - offset {
                    return Err(too_large(format!("{}: more was sent than its length.", self.file.name)));
                }
                piece.push(&bytes).await?;
            }
            // Also what came before a connection was cut: the client goes on from there.
            if piece.len() > 0 && (ended || piece.len() >= PIECE) {
                let to = offset + i64::try_from(piece.len()).unwrap_or(i64::MAX);
                let whole = std::mem::replace(&mut piece, empty());
                match self.one(whole, offset, to).await? {
                    Advanced::Noted => offset = to,
                    Advanced::NotFrom => return Ok(Appended::NotFrom),
                    Advanced::TooMany => return Err(in_crumbs(&self.file.name)),
                }
            }
            if ended {
                return Ok(Appended::To(offset));
            }
        }
    }

    /// Stores a piece and notes it, if it fits.
    async fn one(&self, piece: Buffer, from: i64, to: i64) -> Result<Advanced, Refusal> {
        // A request may go on for long after its beginning was let in.
        self.media.storage.check_room(piece.len())?;
        let piece: Gathered = piece.finish().await?;
        // Of two that begin at one place each has a name of its own.
        let name = format!("{from:012}-{}", event_store::new_id().simple());
        let key = Key::Piece(self.caller.tenant(), self.upload, name.clone());
        self.media.storage.put(&key, piece.content()).await?;
        event_store::fail_point!("media.tus.stored");
        let mut tx = self.kit.store.database().tenant(self.caller.tenant()).await?;
        let now = self.kit.clock.now();
        let advanced = uploads::advance(&mut tx, (self.task_id, self.upload), from, to, &name, now).await?;
        tx.commit().await?;
        if advanced != Advanced::Noted {
            self.media.storage.delete(&[key]).await?;
        }
        Ok(advanced)
    }
}

/// Each piece is an object and a name in a row: a file may not come byte by byte.
fn in_crumbs(name: &str) -> Refusal {
    too_large(format!("{name}: it came in {PIECES_MAX} pieces; begin again and send larger ones."))
}

fn too_large(detail: String) -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

/// 409 with the offset that is right.
fn at_another_offset(received: i64) -> HttpResponse {
    headers(&mut HttpResponse::Conflict())
        .insert_header(("Upload-Offset", received.to_string()))
        .json(serde_json::json!({ "detail": format!("Upload-Offset must be {received}.") }))
}

async fn find(kit: &Kit, caller: &Caller, task_id: i64, upload: Uuid) -> Result<UploadFile, Refusal> {
    let found = kit.read(caller, async |tx| Ok(uploads::by_upload(tx, task_id, upload).await?)).await?;
    found.filter(|file| file.blob_id.is_none()).ok_or_else(Refusal::not_found)
}

fn number(request: &HttpRequest, name: &str) -> Result<i64, Refusal> {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let value: Option<i64> = value.filter(|value| *value >= 0);
    value.ok_or_else(|| Refusal::bad_request(format!("{name} must be a whole number.")))
}

/// The file's name in `Upload-Metadata`: pairs of a key and a value in base64, separated by commas.
fn file_name(request: &HttpRequest) -> Result<String, Refusal> {
    let metadata = request.headers().get("upload-metadata").and_then(|value| value.to_str().ok());
    let value = |key: &str| {
        metadata?.split(',').find_map(|pair| {
            let (name, value) = pair.trim().split_once(' ')?;
            (name == key).then_some(value.trim())
        })
    };
    let encoded = value("filename").or_else(|| value("name")).unwrap_or_default();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
    let name = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|name| !name.is_empty());
    name.ok_or_else(|| Refusal::bad_request("Upload-Metadata must name the file: filename <base64>."))
}

/// A header's value is ASCII; what is not is written as in a URL.
fn header_text(name: &str) -> String {
    match name.is_ascii() {
        true => name.to_owned(),
        false => url::form_urlencoded::byte_serialize(name.as_bytes()).collect(),
    }
}
