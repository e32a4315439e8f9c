//! Private events to contract events: what leaves this service. Secrets do not.

use contracts::webhooks::{
    MessageDelivered, Webhook as Fact, WebhookCreated, WebhookDeleted, WebhookUpdated,
};
use event_store::{Change, Outgoing, before_update};

use crate::domain::message::{Message, MessageEvent};
use crate::domain::webhook::{Hook, Webhook, WebhookEvent};

/// A webhook's events.
pub fn webhook(change: &Change<'_, Webhook>) -> Vec<Outgoing> {
    let Some(hook) = &change.after.current else { return vec![] };
    let (webhook, organization) = (fact(hook), hook.organization_id);
    match change.event {
        WebhookEvent::Created(_) => vec![Outgoing::new(&WebhookCreated { webhook }, organization)],
        WebhookEvent::Updated { .. } => {
            match change.before.current.as_ref().map(|before| before_update(&fact(before), &webhook)) {
                // A new secret is nobody else's business: it changes the date and nothing that leaves.
                Some(before_update) if before_update.keys().any(|name| name != "updated_date") => {
                    vec![Outgoing::new(&WebhookUpdated { webhook, before_update }, organization)]
                }
                _ => vec![],
            }
        }
        WebhookEvent::Deleted => vec![Outgoing::new(&WebhookDeleted { webhook }, organization)],
    }
}

/// A message's events.
pub fn message(change: &Change<'_, Message>) -> Vec<Outgoing> {
    match change.event {
        MessageEvent::Delivered(delivered) => {
            let succeeded = MessageDelivered {
                webhook_id: delivered.webhook_id,
                event: delivered.event.clone(),
                attempts: delivered.attempts,
            };
            vec![Outgoing::new(&succeeded, None)]
        }
    }
}

fn fact(hook: &Hook) -> Fact {
    Fact {
        id: hook.id,
        webhook_type: hook.webhook_type.as_str().to_owned(),
        target_url: hook.settings.target_url.clone(),
        description: hook.settings.description.clone(),
        events: hook.settings.events.clone(),
        is_active: hook.settings.is_active,
        enable_ssl: hook.settings.enable_ssl,
        owner_id: hook.owner_id,
        project_id: hook.project_id,
        organization_id: hook.organization_id,
        created_date: hook.created_date,
        updated_date: hook.updated_date,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::events::WebhookType;
    use crate::domain::webhook::Settings;

    #[test]
    fn the_secret_stays() {
        let date = DateTime::from_timestamp(0, 0).unwrap();
        let settings = Settings {
            target_url: "https://example.com/".into(),
            description: "d".into(),
            events: vec![],
            sealed_secret: "very secret".into(),
            is_active: true,
            enable_ssl: true,
        };
        let hook = Hook {
            id: 1,
            webhook_type: WebhookType::Organization,
            owner_id: Some(7),
            project_id: None,
            organization_id: Some(3),
            settings: settings.clone(),
            starts: Default::default(),
            created_date: date,
            updated_date: date,
        };
        let other =
            Hook { settings: Settings { sealed_secret: "another".into(), ..settings }, ..hook.clone() };
        assert!(!serde_json::to_string(&fact(&hook)).unwrap().contains("very secret"));
        assert!(before_update(&fact(&hook), &fact(&other)).is_empty());
    }
}
