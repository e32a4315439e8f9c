//! A webhook: an URL that asks to be told of events.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::WebhookType;

/// What is asked of a webhook.
#[derive(Clone, Debug)]
pub enum WebhookCommand {
    Create(Box<CreateWebhook>),
    Update(Box<UpdateWebhook>),
    Delete,
}

/// A new webhook.
#[derive(Clone, Debug)]
pub struct CreateWebhook {
    pub id: i64,
    pub webhook_type: WebhookType,
    pub owner_id: i64,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
    pub settings: Settings,
    /// By service, the log position after which events are this webhook's.
    pub starts: BTreeMap<String, i64>,
    pub at: DateTime<Utc>,
}

/// A change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateWebhook {
    pub target_url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<String>>,
    /// Another one than before, sealed.
    pub sealed_secret: Option<String>,
    pub is_active: Option<bool>,
    pub enable_ssl: Option<bool>,
    pub at: DateTime<Utc>,
}

/// What its owner may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub target_url: String,
    pub description: String,
    /// Sorted, each once.
    pub events: Vec<String>,
    /// Sealed; empty for none. Never leaves this service.
    pub sealed_secret: String,
    pub is_active: bool,
    /// Whether the target's certificate is verified.
    pub enable_ssl: bool,
}

/// A webhook as it was created or is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    pub id: i64,
    #[serde(rename = "type")]
    pub webhook_type: WebhookType,
    pub owner_id: Option<i64>,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
    #[serde(flatten)]
    pub settings: Settings,
    pub starts: BTreeMap<String, i64>,
    pub created_date: DateTime<Utc>,
    pub updated_date: DateTime<Utc>,
}

/// What happened to a webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum WebhookEvent {
    Created(Hook),
    /// All settings as they are afterwards.
    Updated {
        settings: Settings,
        at: DateTime<Utc>,
    },
    Deleted,
}

/// Why a webhook refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum WebhookError {
    #[error("Not found.")]
    NotFound,
    #[error("The webhook exists already.")]
    Exists,
    #[error("Invalid events list for {} webhook", .0.as_str())]
    InvalidEvents(WebhookType),
    #[error("A project webhook needs a project.")]
    NoProject,
    #[error("An organization webhook has no project.")]
    ProjectNotAllowed,
    #[error("An organization webhook needs an organization.")]
    NoOrganization,
}

impl DomainError for WebhookError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "webhook_exists",
            Self::InvalidEvents(_) => "invalid_events",
            Self::NoProject => "no_project",
            Self::ProjectNotAllowed => "project_not_allowed",
            Self::NoOrganization => "no_organization",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Exists => Refused::Conflict,
            Self::InvalidEvents(_) | Self::NoProject | Self::ProjectNotAllowed | Self::NoOrganization => {
                Refused::Invalid
            }
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotFound | Self::Exists => None,
            Self::InvalidEvents(_) | Self::NoOrganization => Some("non_field_errors"),
            Self::NoProject | Self::ProjectNotAllowed => Some("project_id"),
        }
    }
}

/// A webhook's state: nothing before it was created and after it was deleted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Webhook {
    pub current: Option<Hook>,
    pub deleted: bool,
}

impl Webhook {
    fn alive(&self) -> Result<&Hook, WebhookError> {
        self.current.as_ref().filter(|_| !self.deleted).ok_or(WebhookError::NotFound)
    }
}

impl Aggregate for Webhook {
    const KIND: &'static str = "webhook";
    const STATE_REV: i16 = 2;
    const EVENT_REV: i16 = 2;
    type Command = WebhookCommand;
    type Event = WebhookEvent;
    type Error = WebhookError;

    fn decide(&self, command: WebhookCommand) -> Result<Vec<WebhookEvent>, WebhookError> {
        match command {
            WebhookCommand::Create(create) => match &self.current {
                Some(_) => Err(WebhookError::Exists),
                None => Ok(vec![WebhookEvent::Created(created(*create)?)]),
            },
            WebhookCommand::Update(update) => updated(self.alive()?, *update),
            WebhookCommand::Delete => self.alive().map(|_| vec![WebhookEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &WebhookEvent) {
        match event {
            WebhookEvent::Created(hook) => self.current = Some(hook.clone()),
            WebhookEvent::Updated { settings, at } => {
                if let Some(hook) = &mut self.current {
                    hook.settings.clone_from(settings);
                    hook.updated_date = *at;
                }
            }
            WebhookEvent::Deleted => self.deleted = true,
        }
    }

    /// Revision 1 called the secret what it was: plain. It stays so in old events and does not open; whoever
    /// set it is told by the deliveries to set it again.
    fn upcast(_: &str, _: i16, mut data: Value) -> Value {
        let settings = if data.get("settings").is_some() { &mut data["settings"] } else { &mut data };
        if let Some(settings) = settings.as_object_mut()
            && let Some(secret) = settings.remove("secret")
        {
            settings.insert("sealed_secret".to_owned(), secret);
        }
        data
    }
}

fn created(create: CreateWebhook) -> Result<Hook, WebhookError> {
    match create.webhook_type {
        WebhookType::Project if create.project_id.is_none() => return Err(WebhookError::NoProject),
        WebhookType::Organization if create.project_id.is_some() => {
            return Err(WebhookError::ProjectNotAllowed);
        }
        WebhookType::Organization if create.organization_id.is_none() => {
            return Err(WebhookError::NoOrganization);
        }
        WebhookType::Project | WebhookType::Organization => {}
    }
    let events = known(create.webhook_type, create.settings.events)?;
    Ok(Hook {
        id: create.id,
        webhook_type: create.webhook_type,
        owner_id: Some(create.owner_id),
        project_id: create.project_id,
        organization_id: create.organization_id,
        settings: Settings { events, ..create.settings },
        starts: create.starts,
        created_date: create.at,
        updated_date: create.at,
    })
}

/// Only what really changes is an event.
fn updated(hook: &Hook, update: UpdateWebhook) -> Result<Vec<WebhookEvent>, WebhookError> {
    let mut settings = hook.settings.clone();
    if let Some(events) = update.events {
        settings.events = known(hook.webhook_type, events)?;
    }
    settings.target_url = update.target_url.unwrap_or(settings.target_url);
    settings.description = update.description.unwrap_or(settings.description);
    settings.sealed_secret = update.sealed_secret.unwrap_or(settings.sealed_secret);
    settings.is_active = update.is_active.unwrap_or(settings.is_active);
    settings.enable_ssl = update.enable_ssl.unwrap_or(settings.enable_ssl);
    if settings == hook.settings {
        return Ok(vec![]);
    }
    Ok(vec![WebhookEvent::Updated { settings, at: update.at }])
}

fn known(webhook_type: WebhookType, mut events: Vec<String>) -> Result<Vec<String>, WebhookError> {
    let allowed = webhook_type.events();
    if !events.iter().all(|event| allowed.contains(event)) {
        return Err(WebhookError::InvalidEvents(webhook_type));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
    }

    fn new(webhook_type: WebhookType, project_id: Option<i64>, events: &[&str]) -> CreateWebhook {
        CreateWebhook {
            id: 1,
            webhook_type,
            owner_id: 7,
            project_id,
            organization_id: Some(3),
            settings: Settings {
                target_url: "https://hooks.example.com/".into(),
                description: String::new(),
                events: events.iter().map(|event| (*event).to_owned()).collect(),
                sealed_secret: "s".into(),
                is_active: true,
                enable_ssl: true,
            },
            starts: BTreeMap::new(),
            at: at(0),
        }
    }

    fn create(new: CreateWebhook) -> WebhookCommand {
        WebhookCommand::Create(Box::new(new))
    }

    fn update(change: impl FnOnce(&mut UpdateWebhook)) -> WebhookCommand {
        let mut update = UpdateWebhook { at: at(1), ..Default::default() };
        change(&mut update);
        WebhookCommand::Update(Box::new(update))
    }

    /// Folds what the commands cause; panics when one is refused.
    fn given(commands: Vec<WebhookCommand>) -> Webhook {
        let mut webhook = Webhook::default();
        for command in commands {
            for event in webhook.decide(command).unwrap() {
                // Through JSON, as the store does.
                let event = serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap();
                webhook.apply(&event);
            }
        }
        webhook
    }

    fn refused(command: WebhookCommand) -> WebhookError {
        Webhook::default().decide(command).unwrap_err()
    }

    #[test]
    fn a_new_webhook_keeps_its_events_sorted_and_once() {
        let events = ["update:project", "create:project", "update:project"];
        let hook = given(vec![create(new(WebhookType::Organization, None, &events))]).current.unwrap();
        assert_eq!(hook.settings.events, ["create:project", "update:project"]);
        assert_eq!((hook.owner_id, hook.created_date), (Some(7), at(0)));
    }

    #[test]
    fn a_webhook_refuses_events_that_its_type_does_not_know() {
        let foreign = create(new(WebhookType::Project, Some(5), &["create:project"]));
        let error = refused(foreign);
        assert_eq!(error.to_string(), "Invalid events list for project webhook");
        let unknown = create(new(WebhookType::Organization, None, &["paint:project"]));
        assert_eq!(refused(unknown), WebhookError::InvalidEvents(WebhookType::Organization));
    }

    #[test]
    fn type_and_project_must_agree() {
        let events = &["update:project"];
        assert_eq!(refused(create(new(WebhookType::Project, None, events))), WebhookError::NoProject);
        let with_project = create(new(WebhookType::Organization, Some(5), events));
        assert_eq!(refused(with_project), WebhookError::ProjectNotAllowed);
        let homeless =
            CreateWebhook { organization_id: None, ..new(WebhookType::Organization, None, events) };
        assert_eq!(refused(create(homeless)), WebhookError::NoOrganization);
        let personal = CreateWebhook { organization_id: None, ..new(WebhookType::Project, Some(5), events) };
        assert_eq!(given(vec![create(personal)]).current.unwrap().project_id, Some(5));
    }

    #[test]
    fn a_webhook_is_created_once() {
        let again = create(new(WebhookType::Organization, None, &[]));
        let webhook = given(vec![again.clone()]);
        assert_eq!(webhook.decide(again).unwrap_err(), WebhookError::Exists);
    }

    #[test]
    fn an_update_changes_what_it_names_and_nothing_else() {
        let hook = given(vec![
            create(new(WebhookType::Organization, None, &["create:project"])),
            update(|u| u.is_active = Some(false)),
        ]);
        let hook = hook.current.unwrap();
        assert!(!hook.settings.is_active);
        assert_eq!((hook.settings.sealed_secret.as_str(), hook.updated_date), ("s", at(1)));
    }

    #[test]
    fn an_update_that_changes_nothing_is_no_event() {
        let webhook = given(vec![create(new(WebhookType::Organization, None, &["create:project"]))]);
        let same = update(|u| u.events = Some(vec!["create:project".into()]));
        assert!(webhook.decide(same).unwrap().is_empty());
    }

    #[test]
    fn an_update_refuses_foreign_events() {
        let webhook = given(vec![create(new(WebhookType::Project, Some(5), &[]))]);
        let foreign = update(|u| u.events = Some(vec!["create:membership".into()]));
        assert_eq!(webhook.decide(foreign).unwrap_err(), WebhookError::InvalidEvents(WebhookType::Project));
    }

    #[test]
    fn a_deleted_webhook_refuses_everything() {
        let webhook = given(vec![create(new(WebhookType::Organization, None, &[])), WebhookCommand::Delete]);
        assert_eq!(webhook.decide(WebhookCommand::Delete).unwrap_err(), WebhookError::NotFound);
        let rename = update(|u| u.description = Some("x".into()));
        assert_eq!(webhook.decide(rename).unwrap_err(), WebhookError::NotFound);
    }

    #[test]
    fn events_from_before_secrets_were_sealed_are_still_read() {
        let WebhookCommand::Create(new) = create(new(WebhookType::Organization, None, &[])) else { return };
        let hook = created(*new).unwrap();
        let today = serde_json::to_value(WebhookEvent::Created(hook.clone())).unwrap()["data"].take();
        let yesterday = |mut data: Value, settings: &str| {
            let fields = if settings.is_empty() { &mut data } else { &mut data[settings] };
            let secret = fields.as_object_mut().unwrap().remove("sealed_secret").unwrap();
            fields["secret"] = secret;
            data
        };
        let old = yesterday(today.clone(), "");
        assert!(serde_json::from_value::<Hook>(old.clone()).is_err());
        assert_eq!(Webhook::upcast("Created", 1, old), today);
        let updated = WebhookEvent::Updated { settings: hook.settings, at: at(1) };
        let today = serde_json::to_value(updated).unwrap()["data"].take();
        assert_eq!(Webhook::upcast("Updated", 1, yesterday(today.clone(), "settings")), today);
        assert_eq!(Webhook::upcast("Deleted", 1, Value::Null), Value::Null);
    }
}
