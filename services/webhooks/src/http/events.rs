//! `/api/webhooks/events`.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use service_kit::{Answer, Caller, Refusal};
use utoipa::{IntoParams, ToSchema};

use crate::domain::events::WebhookType;

/// Which webhooks to ask about.
#[derive(Deserialize, IntoParams)]
pub struct EventsQuery {
    /// `all`, `organization` or `project`.
    #[serde(rename = "type")]
    webhook_type: Option<String>,
}

/// The events that a type of webhook may name.
#[derive(Serialize, ToSchema)]
pub struct Events {
    webhook_type: String,
    events: Vec<WebhooksEvent>,
}

/// An event's name and what it is about.
#[derive(Serialize, ToSchema)]
pub struct WebhooksEvent {
    key: String,
    group: EventGroup,
}

/// What an event is about.
#[derive(Serialize, ToSchema)]
pub struct EventGroup {
    display_name: String,
}

/// Lists the events that webhooks may name.
#[utoipa::path(params(EventsQuery), responses((status = 200, body = Events)), tag = "webhooks")]
#[get("/api/webhooks/events")]
pub async fn list_events(_: Caller, query: web::Query<EventsQuery>) -> Answer {
    let wanted = query.into_inner().webhook_type.unwrap_or_else(|| "all".to_owned());
    let types = match (wanted.as_str(), WebhookType::find(&wanted)) {
        ("all", _) => WebhookType::ALL.to_vec(),
        (_, Some(webhook_type)) => vec![webhook_type],
        (_, None) => {
            let body = serde_json::Value::from("Incorrect value of type parameter");
            return Err(Refusal::body(StatusCode::BAD_REQUEST, "invalid", body));
        }
    };
    let mut keys: Vec<String> = types.into_iter().flat_map(WebhookType::events).collect();
    keys.sort_unstable();
    keys.dedup();
    let events =
        keys.into_iter().map(|key| WebhooksEvent { group: EventGroup { display_name: title(&key) }, key });
    Ok(HttpResponse::Ok().json(Events { webhook_type: wanted, events: events.collect() }))
}

/// `Project` of `create:project`.
fn title(key: &str) -> String {
    let resource = key.split_once(':').map_or(key, |(_, resource)| resource);
    let mut letters = resource.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_belongs_to_the_group_of_its_resource() {
        assert_eq!(super::title("create:project"), "Project");
    }
}
