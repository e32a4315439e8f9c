//! `GET /v1/events/live`: events as they arrive, as a `text/event-stream`.
//!
//! A stream that is cut goes on where it was: each event carries its cursor as `id`, and browsers send the
//! last one back as `Last-Event-ID`. The caller's credential is looked at again every second, and what they may
//! see before anything is read: a revocation ends the stream, a lost membership narrows it.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures::stream;
use service_kit::auth::{self, Credential};
use service_kit::{Answer, Caller, Kit, Refusal, Selection};
use tokio::sync::watch;
use tokio::time::Instant;

use super::places::{Place, Places};
use super::query::{self, EventQuery};
use crate::event::{self, EventView, Filter};
use crate::sight::Sight;

/// Events that are written at once at most.
const PAGE: i64 = 200;
/// How long a stream may be silent: proxies and clients give up on one that says nothing.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The least time between two reads of one stream: what arrives meanwhile comes together.
const PACE: Duration = Duration::from_millis(20);
/// How soon a silent stream notices that its credential was revoked or the service stops.
const GLANCE: Duration = Duration::from_secs(1);

/// Streams events as they arrive (server-sent events).
///
/// Each has its cursor as `id`, its type as `event` and the CloudEvent as `data`. It begins after the header
/// `Last-Event-ID`, else after `after`, else with the next event that arrives.
#[utoipa::path(
    tag = "events",
    operation_id = "tail_events",
    params(
        ("type" = Option<String>, Query, description = "Comma-separated event types; see /asyncapi.json"),
        ("subject" = Option<String>, Query, description = "What the events are about, such as `project/42`"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Cursor to begin after; 0 is the beginning"),
        ("org" = Option<String>, Query, description = "Slug of an organization; empty for the personal workspace"),
        ("org_id" = Option<i64>, Query, description = "Id of an organization"),
        ("X-Organization" = Option<String>, Header, description = "Slug of an organization"),
        ("Last-Event-ID" = Option<i64>, Header, description = "Cursor of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = 400, description = "A parameter makes no sense", content_type = "application/problem+json"),
        (status = 401, description = "Not signed in", content_type = "application/problem+json"),
        (status = 403, description = "No events may be seen there", content_type = "application/problem+json"),
        (status = 429, description = "The user or the tenant has too many live streams", content_type = "application/problem+json"),
    )
)]
#[get("/v1/events/live")]
async fn tail_events(
    request: HttpRequest,
    caller: Caller,
    selection: Selection,
    kit: web::Data<Kit>,
) -> Answer {
    let query = EventQuery::parse(request.query_string())?;
    if query.limit.is_some() {
        return Err(Refusal::field("limit", "A live stream has no limit."));
    }
    let credential = auth::credential(&request)?.ok_or_else(Refusal::unauthenticated)?;
    Sight::of(&kit, &caller, &selection).await?;
    let cursor = begin(&request, &query, &caller, &kit).await?;
    let place = kit.shared::<Places>().take(caller.tenant(), caller.user_id())?;
    let tail = Tail {
        place,
        read_at: Instant::now(),
        grown: kit.store.wake().follow(),
        host: auth::host(&request).to_owned(),
        kit: kit.get_ref().clone(),
        credential,
        caller,
        selection,
        filter: query.filter,
        cursor,
        opened: false,
    };
    let body = stream::unfold(tail, |mut tail| async move {
        match tail.next().await {
            Ok(Some(bytes)) => Some((Ok::<_, actix_web::Error>(bytes), tail)),
            Ok(None) => None,
            // The status is sent already; a client that connects again is told why.
            Err(refusal) => {
                refusal.log();
                None
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(body)))
}

/// The cursor after which a stream begins.
async fn begin(
    request: &HttpRequest,
    query: &EventQuery,
    caller: &Caller,
    kit: &Kit,
) -> Result<i64, Refusal> {
    let last = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    match (last, query.after) {
        (Some(last), _) if !last.is_empty() => query::cursor("Last-Event-ID", last),
        (_, Some(after)) => Ok(after),
        _ => {
            let mut tx = kit.store.database().tenant(caller.tenant()).await?;
            let head = event::head(&mut tx).await?;
            tx.commit().await?;
            Ok(head)
        }
    }
}

/// One open stream.
struct Tail {
    kit: Kit,
    credential: Credential,
    host: String,
    caller: Caller,
    selection: Selection,
    filter: Filter,
    cursor: i64,
    grown: watch::Receiver<u64>,
    opened: bool,
    read_at: Instant,
    #[expect(dead_code, reason = "held as long as the stream is open")]
    place: Place,
}

impl Tail {
    /// What to write next: events, or a comment when there were none for a while; `None` when the service stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if !std::mem::replace(&mut self.opened, true) {
            // Headers alone would wait in a proxy's buffer until the first event.
            return Ok(Some(Bytes::from_static(b"retry: 1000\n: open\n\n")));
        }
        let deadline = Instant::now() + HEARTBEAT;
        loop {
            tokio::time::sleep_until(self.read_at + PACE).await;
            self.read_at = Instant::now();
            self.grown.mark_unchanged();
            let events = self.read().await?;
            if !events.is_empty() {
                return events.iter().map(frame).collect::<Result<String, _>>().map(|text| Some(text.into()));
            }
            if !self.wait(deadline).await? {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                // Without data it is no event, but who connects again begins after it.
                return Ok(Some(format!(": still here\nid: {}\n\n", self.cursor).into()));
            }
        }
    }

    /// Waits until something may have arrived or the deadline; returns whether the service goes on.
    async fn wait(&mut self, deadline: Instant) -> Result<bool, Refusal> {
        while self.kit.is_ready() && Instant::now() < deadline {
            tokio::select! {
                changed = self.grown.changed() => return Ok(changed.is_ok()),
                () = tokio::time::sleep_until(deadline.min(Instant::now() + GLANCE)) => {}
            }
            self.authenticate().await?;
        }
        Ok(self.kit.is_ready())
    }

    /// Looks at the credential again: mostly in the authenticator's cache, which forgets after a minute, and
    /// what was revoked at once.
    async fn authenticate(&mut self) -> Result<(), Refusal> {
        self.caller.principal = self.kit.authenticator.authenticate(&self.credential, &self.host).await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<Vec<EventView>, Refusal> {
        self.authenticate().await?;
        let sight = Sight::of(&self.kit, &self.caller, &self.selection).await?;
        let mut tx = self.kit.store.database().tenant(self.caller.tenant()).await?;
        let listed = event::list(&mut tx, &self.filter, &sight, self.cursor, PAGE).await?;
        tx.commit().await?;
        // Past what did not match too: else each read would look at it again.
        self.cursor = listed.reached;
        Ok(listed.events)
    }
}

/// JSON has no line breaks of its own, so it is one line of `data`.
fn frame(event: &EventView) -> Result<String, Refusal> {
    let json = serde_json::to_string(event).map_err(event_store::StoreError::from)?;
    Ok(format!("id: {}\nevent: {}\ndata: {json}\n\n", event.cursor, event.event_type))
}
