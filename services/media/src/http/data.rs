//! Frames and chunks of a task, and of a job. Frames are numbered within the task, also in a job.

use std::ops::RangeInclusive;
use std::sync::Arc;

use actix_web::{HttpRequest, get, web};
use contracts::TenantId;
use contracts::media::TaskData as Fact;
use serde_json::json;
use service_kit::{Answer, Caller, Kit, Refusal};
use url::form_urlencoded;

use super::serve::{Part, Whole, serve};
use super::zip::{Entry, archive};
use super::{access, previews};
use crate::derived::{self, Form};
use crate::domain::options::CHUNK_FRAMES_MAX;
use crate::domain::task_data::{Stage, TaskData};
use crate::frames::{Frame, Frames};
use crate::media::Media;
use crate::storage::Key;

const SCOPE: &str = "view:data";

/// A task's data with its frames, when it is ready.
pub struct Ready {
    pub state: Arc<TaskData>,
    pub data: Fact,
    pub frames: Arc<Frames>,
}

/// The data of a task.
///
/// # Errors
/// 404 when there is none, or not yet.
pub async fn ready(kit: &Kit, media: &Media, tenant: TenantId, task_id: i64) -> Result<Ready, Refusal> {
    let none = || {
        Refusal::new(actix_web::http::StatusCode::NOT_FOUND, "no_data", "The task has no data, or not yet.")
    };
    let state = kit.store.load::<TaskData>(tenant, task_id).await?.unwrap_or_default();
    let mut data = state.data.clone().filter(|_| state.stage == Stage::Prepared).ok_or_else(none)?;
    // What was stored before there was a limit keeps to it all the same, and says so.
    data.chunk_size = data.chunk_size.clamp(1, CHUNK_FRAMES_MAX);
    let frames = media.frames(kit, tenant, task_id).await?.ok_or_else(none)?;
    Ok(Ready { state: Arc::new(state), data, frames })
}

/// Which bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quality {
    Original,
    Compressed,
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
enum Wanted {
    Frame { number: i64, quality: Quality },
    Chunk { number: ChunkNumber, quality: Quality },
    Preview,
    ContextImage,
}

/// How a chunk is named.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ChunkNumber {
    /// Counted within the task.
    InTask(i64),
    /// Counted within the job.
    InJob(i64),
}

/// A text of CVAT's, in a list as its framework writes it.
fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::body(actix_web::http::StatusCode::BAD_REQUEST, "invalid", json!([text.into()]))
}

fn wanted(query: &str) -> Result<Wanted, Refusal> {
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let number = |name: &str| -> Result<Option<i64>, Refusal> {
        match value(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| invalid(format!("{name}: A valid integer is required.")))
            }
        }
    };
    let quality = match value("quality").as_deref() {
        None | Some("" | "compressed") => Quality::Compressed,
        Some("original") => Quality::Original,
        Some(_) => return Err(invalid("Wrong quality value")),
    };
    let missing = || invalid("Number is not specified");
    match value("type").as_deref() {
        Some("frame") => Ok(Wanted::Frame { number: number("number")?.ok_or_else(missing)?, quality }),
        Some("chunk") => {
            let chunk = match (number("index")?, number("number")?) {
                (Some(index), _) => ChunkNumber::InJob(index),
                (None, Some(number)) => ChunkNumber::InTask(number),
                (None, None) => return Err(missing()),
            };
            Ok(Wanted::Chunk { number: chunk, quality })
        }
        Some("preview") => Ok(Wanted::Preview),
        Some("context_image") => Ok(Wanted::ContextImage),
        _ => Err(invalid("Data type not specified or has wrong value")),
    }
}

/// Gives a frame, a chunk of frames as a zip archive, or a preview of a task.
#[utoipa::path(
    params(
        ("type" = String, Query, description = "`frame`, `chunk` or `preview`"),
        ("number" = Option<i64>, Query, description = "of the frame, or of the chunk"),
        ("quality" = Option<String>, Query, description = "`compressed` or `original`"),
    ),
    responses((status = 200), (status = 206), (status = 304), (status = 404), (status = 416)),
    tag = "tasks"
)]
#[get("/api/tasks/{id}/data")]
pub async fn get_task_data(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    let wanted = wanted(request.query_string())?;
    access::task(&kit, &caller, *id, SCOPE).await?;
    let asked = Asked { kit, media: None, caller, task_id: *id, frames: None };
    asked.answer(&request, wanted).await
}

/// The same for a job's part of its task.
#[utoipa::path(
    params(
        ("type" = String, Query, description = "`frame`, `chunk` or `preview`"),
        ("number" = Option<i64>, Query, description = "of the frame, or of the chunk, within the task"),
        ("index" = Option<i64>, Query, description = "of the chunk, within the job"),
        ("quality" = Option<String>, Query, description = "`compressed` or `original`"),
    ),
    responses((status = 200), (status = 206), (status = 304), (status = 404), (status = 416)),
    tag = "jobs"
)]
#[get("/api/jobs/{id}/data")]
pub async fn get_job_data(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    let wanted = wanted(request.query_string())?;
    let (job, _) = access::job(&kit, &caller, *id, SCOPE).await?;
    let frames = Some(job.start_frame..=job.stop_frame);
    let asked = Asked { kit, media: None, caller, task_id: job.task_id, frames };
    asked.answer(&request, wanted).await
}

struct Asked {
    kit: web::Data<Kit>,
    media: Option<Media>,
    caller: Caller,
    task_id: i64,
    /// A job's; absent for all of them.
    frames: Option<RangeInclusive<i64>>,
}

impl Asked {
    async fn answer(mut self, request: &HttpRequest, wanted: Wanted) -> Answer {
        let media = Media::of(&self.kit)?;
        self.media = Some(media.clone());
        let whole = match wanted {
            Wanted::Frame { number, quality } => self.frame(&media, number, quality).await?,
            Wanted::Chunk { number, quality } => self.chunk(&media, number, quality).await?,
            Wanted::Preview => {
                let first = self.frames.as_ref().map_or(0, |frames| *frames.start());
                previews::preview(&self.kit, &media, self.caller.tenant(), self.task_id, first).await?
            }
            Wanted::ContextImage => return Err(Refusal::not_found()),
        };
        serve(&media, request, whole).await
    }

    fn range(&self, size: usize) -> RangeInclusive<i64> {
        let last = i64::try_from(size).unwrap_or(i64::MAX) - 1;
        match &self.frames {
            None => 0..=last,
            Some(frames) => *frames.start()..=(*frames.end()).min(last),
        }
    }

    async fn frame(&self, media: &Media, number: i64, quality: Quality) -> Result<Whole, Refusal> {
        let tenant = self.caller.tenant();
        // The original needs no more than the frames, which are in memory as a rule.
        let frames = match media.frames(&self.kit, tenant, self.task_id).await? {
            Some(frames) => frames,
            None => ready(&self.kit, media, tenant, self.task_id).await?.frames,
        };
        let range = self.range(frames.0.len());
        let index = usize::try_from(number).ok().filter(|_| range.contains(&number));
        let frame = index.and_then(|index| frames.0.get(index)).ok_or_else(|| {
            let (first, last) = range.into_inner();
            invalid(format!("The frame number should be in the [{first}, {last}] range"))
        })?;
        if quality == Quality::Original {
            return Ok(original(tenant, frame));
        }
        if derived::passes_through(&frame.blob) {
            return Ok(original(tenant, frame));
        }
        let image_quality = ready(&self.kit, media, tenant, self.task_id).await?.data.image_quality;
        let form = Form::Compressed(u8::try_from(image_quality).unwrap_or(70));
        let made = derived::get(&self.kit, media, tenant, frame, form).await?;
        let key = Key::Derived(tenant, frame.blob.digest, form.name());
        Ok(Whole {
            etag: format!("{}-{}", hex::encode(frame.blob.digest), form.name()),
            mime: "image/jpeg",
            parts: vec![Part::of(key, made.size, made.held)],
        })
    }

    async fn chunk(&self, media: &Media, number: ChunkNumber, quality: Quality) -> Result<Whole, Refusal> {
        let tenant = self.caller.tenant();
        let ready = ready(&self.kit, media, tenant, self.task_id).await?;
        let frames = self.range(ready.frames.0.len());
        let chosen = chunk_of(&frames, ready.data.chunk_size, number)?;
        let chosen = chosen.filter_map(|index| ready.frames.0.get(usize::try_from(index).ok()?));
        let image_quality = u8::try_from(ready.data.image_quality).unwrap_or(70);
        let mut entries = vec![];
        for (place, frame) in chosen.enumerate() {
            entries.push(self.entry(media, place, frame, (quality, image_quality)).await?);
        }
        Ok(archive(entries))
    }

    async fn entry(
        &self,
        media: &Media,
        place: usize,
        frame: &Frame,
        (quality, image_quality): (Quality, u8),
    ) -> Result<Entry, Refusal> {
        let tenant = self.caller.tenant();
        let blob = &frame.blob;
        if quality == Quality::Original || derived::passes_through(blob) {
            let extension = match quality {
                Quality::Original => extension(frame),
                Quality::Compressed => "jpeg",
            };
            return Ok(Entry {
                name: format!("{place:06}.{extension}"),
                key: Key::Blob(tenant, blob.digest),
                size: blob.size,
                crc32: blob.crc32,
                held: None,
            });
        }
        let form = Form::Compressed(image_quality);
        let made = derived::get(&self.kit, media, tenant, frame, form).await?;
        Ok(Entry {
            name: format!("{place:06}.jpeg"),
            key: Key::Derived(tenant, blob.digest, form.name()),
            size: made.size,
            crc32: made.crc32,
            held: made.held,
        })
    }
}

fn original(tenant: TenantId, frame: &Frame) -> Whole {
    Whole {
        etag: hex::encode(frame.blob.digest),
        mime: frame.blob.picture.kind.mime(),
        parts: vec![Part::Stored { key: Key::Blob(tenant, frame.blob.digest), size: frame.blob.size }],
    }
}

/// The extension that the client gave, when it is one; else what the bytes say.
fn extension(frame: &Frame) -> &str {
    let given = frame.name.rsplit_once('.').map(|(_, extension)| extension);
    let is_one = |extension: &&str| {
        (1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    given.filter(is_one).unwrap_or_else(|| frame.blob.picture.kind.extension())
}

/// The frames of a chunk.
fn chunk_of(
    frames: &RangeInclusive<i64>,
    chunk_size: i64,
    number: ChunkNumber,
) -> Result<RangeInclusive<i64>, Refusal> {
    let (first, last) = (*frames.start(), *frames.end());
    let chunk_size = chunk_size.clamp(1, CHUNK_FRAMES_MAX);
    let (start, numbers) = match number {
        ChunkNumber::InJob(index) => {
            let numbers = 0..=(last - first) / chunk_size;
            (numbers.contains(&index).then(|| first + index * chunk_size), numbers)
        }
        ChunkNumber::InTask(number) => {
            let numbers = first / chunk_size..=last / chunk_size;
            (numbers.contains(&number).then(|| number * chunk_size), numbers)
        }
    };
    match start {
        Some(start) => Ok(start.max(first)..=(start + chunk_size - 1).min(last)),
        None => {
            let (first, last) = numbers.into_inner();
            Err(invalid(format!("The chunk number should be in the [{first}, {last}] range")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_a_part_of_its_task_or_job() {
        let of = |frames, number| chunk_of(&frames, 10, number).ok();
        assert_eq!(of(0..=24, ChunkNumber::InTask(2)), Some(20..=24));
        assert_eq!(of(0..=24, ChunkNumber::InTask(3)), None);
        assert_eq!(of(0..=24, ChunkNumber::InTask(-1)), None);
        assert_eq!(of(15..=34, ChunkNumber::InTask(1)), Some(15..=19));
        assert_eq!(of(15..=34, ChunkNumber::InTask(0)), None);
        assert_eq!(of(15..=34, ChunkNumber::InJob(0)), Some(15..=24));
        assert_eq!(of(15..=34, ChunkNumber::InJob(1)), Some(25..=34));
        assert_eq!(of(15..=34, ChunkNumber::InJob(i64::MAX)), None);
        let vast = chunk_of(&(0..=199_999), i64::from(i32::MAX), ChunkNumber::InTask(1));
        assert_eq!(vast.ok(), Some(1000..=1999));
    }

    #[test]
    fn a_query_says_what_is_wanted() {
        assert_eq!(
            wanted("type=frame&number=3&quality=original").unwrap(),
            Wanted::Frame { number: 3, quality: Quality::Original }
        );
        assert_eq!(
            wanted("number=0&type=chunk").unwrap(),
            Wanted::Chunk { number: ChunkNumber::InTask(0), quality: Quality::Compressed }
        );
        for query in ["", "type=frame", "type=chunk", "type=x&number=1", "type=frame&number=x"] {
            assert!(wanted(query).is_err(), "{query}");
        }
        assert!(wanted("type=frame&number=1&quality=best").is_err());
    }
}
