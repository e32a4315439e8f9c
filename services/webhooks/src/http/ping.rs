//! `/api/webhooks/{id}/ping`.

use actix_web::{HttpResponse, post, web};
use serde::Serialize;
use service_kit::cvat::BasicUser;
use service_kit::{Answer, Caller, Kit, Refusal, directory, telemetry};

use super::deliveries::WebhookDeliveryRead;
use super::webhooks::{WebhookRead, authorised, render};
use crate::deliveries::attempts::{self, Attempt};
use crate::deliveries::messages::{self, NewMessage, Outcome};
use crate::jobs::sender::{Answer as Sent, Letter, Sender};
use crate::jobs::targets::Targets;
use crate::projections::webhooks::Row;
use crate::secrets::{Secrets, UNREADABLE_SECRET};

const PING: &str = "ping";

#[derive(Serialize)]
struct Body {
    event: &'static str,
    webhook: WebhookRead,
    sender: Option<BasicUser>,
}

/// Sends a test to the target and shows what came of it; 200 also when the target fails.
#[utoipa::path(responses((status = 200, body = WebhookDeliveryRead)), tag = "webhooks")]
#[post("/api/webhooks/{id}/ping")]
pub async fn ping_webhook(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let row = authorised(&kit, &caller, *id, "update").await?;
    let body = body(&kit, &caller, &row).await?;
    let event_id = event_store::new_id();
    // A ping is rare and may be slow; it takes no part in the worker's connections.
    let sender = Targets::parse(&kit.config.webhooks_allowed_targets)
        .and_then(|targets| Sender::new(targets, kit.clock.clone()))
        .map_err(|error| Refusal::unavailable(error.to_string()))?;
    let answer = match Secrets::new(&kit).open(caller.tenant(), row.id, &row.sealed_secret) {
        Ok(secret) => {
            let letter = Letter {
                target_url: &row.target_url,
                enable_ssl: row.enable_ssl,
                secret: &secret,
                event_id,
                sequence: None,
                attempt: 1,
                traceparent: telemetry::traceparent(),
                body: &body,
            };
            sender.send(&letter).await
        }
        Err(error) => {
            tracing::warn!(webhook.id = row.id, "the secret of a webhook: {error}");
            Sent::not_sent(UNREADABLE_SECRET, kit.clock.now())
        }
    };
    let delivery = kit
        .store
        .transact(&caller.context(), async |unit| {
            let message = NewMessage {
                webhook_id: row.id,
                event: PING.to_owned(),
                event_id,
                sequence: None,
                body: body.clone(),
                changed_fields: String::new(),
                redelivery: false,
            };
            let message_id = messages::insert(unit, message).await?.ok_or_else(Refusal::not_found)?;
            let attempt = Attempt {
                message_id,
                webhook_id: row.id,
                attempt: 1,
                status: answer.status,
                response: answer.response.clone(),
                began: answer.began,
                ended: answer.ended,
            };
            let delivery_id = attempts::record(unit, &attempt).await?;
            let succeeded = (200..300).contains(&answer.status);
            let outcome = if succeeded { Outcome::Delivered } else { Outcome::Refused };
            messages::advance(unit.tx(), message_id, 1, Some(outcome)).await?;
            attempts::find(unit.tx(), row.id, delivery_id).await?.ok_or_else(Refusal::not_found)
        })
        .await?;
    Ok(HttpResponse::Ok().json(WebhookDeliveryRead::new(delivery)?))
}

async fn body(kit: &Kit, caller: &Caller, row: &Row) -> Result<String, Refusal> {
    let base_url = &kit.config.public_url;
    let mut tx = kit.store.database().tenant(caller.tenant()).await?;
    let webhook = render(&mut tx, base_url, vec![row.clone()]).await?.pop().ok_or_else(Refusal::not_found)?;
    let users = directory::users(&mut tx, [caller.user_id()]).await?;
    tx.commit().await?;
    let sender = BasicUser::find(&users, Some(caller.user_id()), base_url);
    let body = serde_json::to_string(&Body { event: PING, webhook, sender });
    Ok(body.map_err(event_store::StoreError::from)?)
}
