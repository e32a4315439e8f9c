//! Bytes on their way out: conditions, ranges, and bodies that are put together from what is stored.

use std::ops::Range;

use actix_web::body::SizedStream;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use service_kit::{Answer, Refusal};

use crate::media::{HOT_BLOB_MAX, Media};
use crate::storage::{Key, StorageError};

/// Parts that are fetched ahead.
const AHEAD: usize = 4;

/// What is about to be served.
pub struct Whole {
    /// Without quotes; changes whenever a byte does.
    pub etag: String,
    pub mime: &'static str,
    pub parts: Vec<Part>,
}

/// A part of a body.
#[derive(Clone)]
pub enum Part {
    Memory(Bytes),
    Stored { key: Key, size: u64 },
}

impl Part {
    /// Something stored, or its bytes when they could not be.
    pub fn of(key: Key, size: u64, held: Option<Bytes>) -> Self {
        match held {
            Some(bytes) => Self::Memory(bytes),
            None => Self::Stored { key, size },
        }
    }

    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }
}

/// Answers with the whole, a range of it, or that the client has it already.
///
/// # Errors
/// 503 when the storage is away.
pub async fn serve(media: &Media, request: &HttpRequest, whole: Whole) -> Answer {
    let size: u64 = whole.parts.iter().map(Part::size).sum();
    let etag = format!("\"{}\"", whole.etag);
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::ETAG, etag.clone()))
        // A browser may keep it but must ask each time whether its user may still see it.
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
    if text(request, header::IF_NONE_MATCH).is_some_and(|known| names(known, &etag)) {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    response.insert_header((header::CONTENT_TYPE, whole.mime));
    let unchanged = text(request, header::IF_RANGE).is_none_or(|known| known == etag);
    let wanted = text(request, header::RANGE).filter(|_| unchanged).map(|range| parse(range, size));
    let range = match wanted {
        None | Some(Asked::All) => 0..size,
        Some(Asked::Part(range)) => {
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            response.status(StatusCode::PARTIAL_CONTENT).insert_header((header::CONTENT_RANGE, shown));
            range
        }
        Some(Asked::Nothing) => {
            return Ok(response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .insert_header((header::CONTENT_RANGE, format!("bytes */{size}")))
                .content_type("application/json")
                .body("{\"detail\":\"The range is beyond the end.\"}"));
        }
    };
    body(media, response, whole.parts, range).await
}

async fn body(
    media: &Media,
    mut response: actix_web::HttpResponseBuilder,
    parts: Vec<Part>,
    range: Range<u64>,
) -> Answer {
    // Most are one small object: then an error still becomes an answer.
    if let [Part::Stored { key, size }] = parts.as_slice()
        && *size <= HOT_BLOB_MAX
    {
        return Ok(response.body(cut(media.small(key.clone()).await?, &range)));
    }
    let size = range.end - range.start;
    let mut pieces = stream_of(media.clone(), parts, range).boxed();
    // The first piece is fetched before the status goes out.
    let first = pieces.next().await.transpose().map_err(Refusal::from)?;
    let pieces = stream::iter(first.map(Ok)).chain(pieces).map_err(|error| {
        tracing::error!(error = event_store::chain(&error), "a body breaks off");
        error
    });
    Ok(response.body(SizedStream::new(size, pieces)))
}

fn stream_of(
    media: Media,
    parts: Vec<Part>,
    range: Range<u64>,
) -> impl futures::Stream<Item = Result<Bytes, StorageError>> {
    let mut at = 0;
    let wanted = parts.into_iter().filter_map(move |part| {
        let here = at..at + part.size();
        at = here.end;
        let (start, end) = (range.start.max(here.start), range.end.min(here.end));
        (start < end).then(|| (part, start - here.start..end - here.start))
    });
    stream::iter(wanted.map(move |(part, range)| fetch(media.clone(), part, range)))
        .buffered(AHEAD)
        .try_flatten()
}

async fn fetch(
    media: Media,
    part: Part,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
    let bytes = match part {
        Part::Memory(bytes) => bytes,
        Part::Stored { key, size } if size <= HOT_BLOB_MAX => media.small(key).await?,
        Part::Stored { key, .. } => return media.storage.stream(&key, Some(range)).await,
    };
    Ok(stream::once(async move { Ok(cut(bytes, &range)) }).boxed())
}

fn cut(bytes: Bytes, range: &Range<u64>) -> Bytes {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(index(range.start)..index(range.end))
}

fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// Whether a list of entity tags names this one; a weak one is good enough to send nothing.
fn names(list: &str, etag: &str) -> bool {
    let tags = list.split(',').map(|tag| tag.trim());
    tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag)).any(|tag| tag == "*" || tag == etag)
}

#[derive(Debug, PartialEq)]
enum Asked {
    /// Everything: also when several ranges are asked for, or something else that is no byte range.
    All,
    Part(Range<u64>),
    /// A range beyond the end.
    Nothing,
}

fn parse(header: &str, size: u64) -> Asked {
    let Some(range) = header.trim().strip_prefix("bytes=").filter(|range| !range.contains(',')) else {
        return Asked::All;
    };
    let Some((first, last)) = range.trim().split_once('-') else { return Asked::All };
    let number = |text: &str| match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => None,
        // More digits than fit are beyond any end.
        false => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Asked::All,
        (Some(first), _) if first >= size => Asked::Nothing,
        (Some(first), Some(last)) => Asked::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Asked::Part(first..size),
        (None, Some(0)) if first.is_empty() => Asked::Nothing,
        (None, Some(_)) if first.is_empty() && size == 0 => Asked::Nothing,
        (None, Some(count)) if first.is_empty() => Asked::Part(size.saturating_sub(count)..size),
        _ => Asked::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, wanted) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=5-500", Asked::Part(5..10)),
            ("bytes=9-99999999999999999999999", Asked::Part(9..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-2", Asked::All),
            ("bytes=0-1,3-4", Asked::All),
            ("bytes=", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=a-b", Asked::All),
            ("items=0-1", Asked::All),
        ] {
            assert_eq!(parse(header, 10), wanted, "{header}");
        }
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list() {
        assert!(names("\"a\", W/\"b\"", "\"b\""));
        assert!(names("*", "\"b\""));
        assert!(!names("\"bb\"", "\"b\""));
    }
}
