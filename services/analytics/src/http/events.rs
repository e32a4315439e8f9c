//! `GET /v1/events`: pages of events in the order of arrival.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use service_kit::{Answer, Caller, Kit, Selection};
use utoipa::ToSchema;

use super::query::EventQuery;
use crate::event::{self, EventView, Listed};
use crate::sight::Sight;

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct EventPage {
    items: Vec<EventView>,
    /// Where to read on at once; `null` at the end.
    next: Option<i64>,
    /// Everything up to this cursor was looked at: where to read on later. Beyond the last item when what came
    /// after it did not match.
    reached: i64,
}

/// Lists events in the order of arrival.
///
/// Arrival numbers are given after commit: reading on from where one was never skips an event. An admin sees
/// the tenant, a maintainer the organization, everybody else what they did themselves.
#[utoipa::path(
    tag = "events",
    operation_id = "list_events",
    params(
        ("type" = Option<String>, Query, description = "Comma-separated event types; see /asyncapi.json"),
        ("subject" = Option<String>, Query, description = "What the events are about, such as `project/42`"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Cursor to read on from; 0 is the beginning"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "100 if absent"),
        ("org" = Option<String>, Query, description = "Slug of an organization; empty for the personal workspace"),
        ("org_id" = Option<i64>, Query, description = "Id of an organization"),
        ("X-Organization" = Option<String>, Header, description = "Slug of an organization"),
    ),
    responses(
        (status = 200, body = EventPage),
        (status = 400, description = "A parameter makes no sense", content_type = "application/problem+json"),
        (status = 401, description = "Not signed in", content_type = "application/problem+json"),
        (status = 403, description = "No events may be seen there", content_type = "application/problem+json"),
    )
)]
#[get("/v1/events")]
async fn list_events(
    request: HttpRequest,
    caller: Caller,
    selection: Selection,
    kit: web::Data<Kit>,
) -> Answer {
    let query = EventQuery::parse(request.query_string())?;
    let sight = Sight::of(&kit, &caller, &selection).await?;
    let mut tx = kit.store.database().tenant(caller.tenant()).await?;
    let Listed { events: items, more, reached } =
        event::list(&mut tx, &query.filter, &sight, query.after.unwrap_or(0), query.limit()).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(EventPage { items, next: more.then_some(reached), reached }))
}
