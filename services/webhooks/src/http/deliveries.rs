//! `/api/webhooks/{id}/deliveries`.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use service_kit::auth::url_of;
use service_kit::cvat::date;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Write};
use utoipa::ToSchema;

use super::webhooks::{authorised, locked};
use crate::deliveries::attempts;
use crate::deliveries::messages::{NewMessage, queue};

/// One attempt to deliver an event.
#[derive(Serialize, ToSchema)]
pub struct WebhookDeliveryRead {
    id: i64,
    webhook_id: i64,
    event: String,
    /// 502 when there was no connection, 504 when there was no answer in time; `response` says why.
    status_code: i32,
    redelivery: bool,
    attempt: i32,
    /// Milliseconds.
    request_duration: i64,
    created_date: String,
    updated_date: String,
    /// Comma-separated.
    changed_fields: String,
    #[schema(value_type = Object)]
    request: Box<RawValue>,
    /// The first 16 KiB of what the receiver said.
    response: String,
}

impl WebhookDeliveryRead {
    /// # Errors
    /// When the stored body is not JSON, which is never.
    pub fn new(row: attempts::Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.id,
            webhook_id: row.webhook_id,
            event: row.event,
            status_code: row.status_code,
            redelivery: row.redelivery,
            attempt: row.attempt,
            request_duration: row.request_duration,
            created_date: date(row.created_date),
            updated_date: date(row.updated_date),
            changed_fields: row.changed_fields,
            request: RawValue::from_string(row.request).map_err(event_store::StoreError::from)?,
            response: row.response,
        })
    }
}

service_kit::list_params!(DeliveryList, attempts::FIELDS, Place::Thing);

/// Lists a webhook's deliveries, newest first.
#[utoipa::path(params(DeliveryList), responses((status = 200, body = Page<WebhookDeliveryRead>)), tag = "webhooks")]
#[get("/api/webhooks/{id}/deliveries")]
pub async fn list_deliveries(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: HttpRequest,
) -> Answer {
    authorised(&kit, &caller, *id, "view").await?;
    let query = ListQuery::from_query_string(request.query_string(), &attempts::FIELDS)?;
    let (rows, window) = kit.read(&caller, async |tx| attempts::list(tx, *id, &query).await).await?;
    let results = rows.into_iter().map(WebhookDeliveryRead::new).collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a delivery.
#[utoipa::path(responses((status = 200, body = WebhookDeliveryRead)), tag = "webhooks")]
#[get("/api/webhooks/{id}/deliveries/{delivery_id}")]
pub async fn get_delivery(kit: web::Data<Kit>, caller: Caller, path: web::Path<(i64, i64)>) -> Answer {
    let (id, delivery_id) = path.into_inner();
    authorised(&kit, &caller, id, "view").await?;
    let row = kit.read(&caller, async |tx| Ok(attempts::find(tx, id, delivery_id).await?)).await?;
    Ok(HttpResponse::Ok().json(WebhookDeliveryRead::new(row.ok_or_else(Refusal::not_found)?)?))
}

/// Sends a delivery's body again, with the same `webhook-id`.
#[utoipa::path(responses((status = 200)), tag = "webhooks")]
#[post("/api/webhooks/{id}/deliveries/{delivery_id}/redelivery")]
pub async fn redeliver(
    kit: web::Data<Kit>,
    caller: Caller,
    path: web::Path<(i64, i64)>,
    request: Write,
) -> Answer {
    let (id, delivery_id) = path.into_inner();
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, id, "update").await?;
        let row = attempts::find(unit.tx(), id, delivery_id).await?.ok_or_else(Refusal::not_found)?;
        let message = NewMessage {
            webhook_id: id,
            event: row.event,
            event_id: row.event_id,
            sequence: row.sequence,
            body: row.request,
            changed_fields: row.changed_fields,
            redelivery: true,
        };
        queue(unit, message).await?;
        Reply::ok(&json!({}))
    })
    .await
}
