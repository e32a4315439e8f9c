//! The bodies that create and change webhooks, and what may be in them.

use serde::Deserialize;
use service_kit::body::FieldErrors;
use service_kit::{Kit, Refusal};
use url::Url;
use utoipa::ToSchema;

use crate::domain::events::WebhookType;
use crate::domain::webhook::{Settings, UpdateWebhook};
use crate::jobs::{resolver, targets::Targets};

const TARGET_URL_MAX: usize = 8_192;
const DESCRIPTION_MAX: usize = 128;
const SECRET_MAX: usize = 64;
/// Characters of the events' names with commas between them.
const EVENTS_MAX: usize = 4_096;

/// A new webhook.
#[derive(Deserialize, ToSchema)]
pub struct WebhookWrite {
    /// `organization` or `project`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub webhook_type: WebhookType,
    pub target_url: String,
    pub events: Vec<String>,
    #[serde(default)]
    pub description: String,
    /// Signs what is delivered; cannot be read back.
    #[serde(default)]
    pub secret: String,
    #[serde(default = "yes")]
    pub is_active: bool,
    /// Whether the target's certificate is verified.
    #[serde(default = "yes")]
    pub enable_ssl: bool,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub content_type: ContentType,
    /// For a project webhook.
    pub project_id: Option<i64>,
}

/// A change of a webhook; absent fields stay as they are, and so do its type and its project.
#[derive(Default, Deserialize, ToSchema)]
pub struct PatchedWebhookWrite {
    target_url: Option<String>,
    events: Option<Vec<String>>,
    description: Option<String>,
    secret: Option<String>,
    is_active: Option<bool>,
    enable_ssl: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    content_type: ContentType,
}

/// The only format of deliveries.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum ContentType {
    #[default]
    #[serde(rename = "application/json")]
    Json,
}

fn yes() -> bool {
    true
}

impl WebhookWrite {
    /// The settings of the new webhook, with its secret sealed.
    pub fn settings(&self, sealed_secret: String) -> Settings {
        let ContentType::Json = self.content_type;
        Settings {
            target_url: self.target_url.clone(),
            description: self.description.clone(),
            events: self.events.clone(),
            sealed_secret,
            is_active: self.is_active,
            enable_ssl: self.enable_ssl,
        }
    }

    /// Checks what needs no other service.
    pub async fn check(&self, kit: &Kit) -> Result<(), Refusal> {
        let (url, events) = (Some(self.target_url.as_str()), Some(self.events.as_slice()));
        check(kit, url, events, &self.description, &self.secret).await
    }
}

impl PatchedWebhookWrite {
    /// The secret that it is to have, if it says so.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    /// The command's fields, with what is to become of the secret; it is at no time yet.
    pub fn update(&self, sealed_secret: Option<String>) -> UpdateWebhook {
        let ContentType::Json = self.content_type;
        UpdateWebhook {
            target_url: self.target_url.clone(),
            description: self.description.clone(),
            events: self.events.clone(),
            sealed_secret,
            is_active: self.is_active,
            enable_ssl: self.enable_ssl,
            ..Default::default()
        }
    }

    /// Insists on what a replacement must say.
    pub fn check_complete(&self) -> Result<(), Refusal> {
        let required = "This field is required.";
        FieldErrors::default()
            .check(self.target_url.is_some(), "target_url", required)
            .check(self.events.is_some(), "events", required)
            .finish()
    }

    /// Checks what needs no other service.
    pub async fn check(&self, kit: &Kit) -> Result<(), Refusal> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (description, secret) = (text(&self.description), text(&self.secret));
        check(kit, self.target_url.as_deref(), self.events.as_deref(), &description, &secret).await
    }
}

async fn check(
    kit: &Kit,
    target_url: Option<&str>,
    events: Option<&[String]>,
    description: &str,
    secret: &str,
) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    errors.max("description", description, DESCRIPTION_MAX).max("secret", secret, SECRET_MAX);
    if let Some(events) = events {
        let joined = events.iter().map(|event| event.chars().count() + 1).sum::<usize>().saturating_sub(1);
        let text = format!("Ensure this field has no more than {EVENTS_MAX} characters.");
        errors.check(joined <= EVENTS_MAX, "events", text);
    }
    let mut url = None;
    if let Some(target_url) = target_url {
        errors.text("target_url", target_url, TARGET_URL_MAX);
        url = target(target_url);
        errors.check(url.is_some(), "target_url", "Enter a valid URL.");
    }
    errors.finish()?;
    if let Some(url) = url {
        let allowed = &kit.config.webhooks_allowed_targets;
        let targets = Targets::parse(allowed).map_err(|error| Refusal::unavailable(error.to_string()))?;
        let reachable = resolver::check(&targets, &url).await;
        reachable.map_err(|why| Refusal::field("target_url", format!("{why}.")))?;
    }
    Ok(())
}

/// A target that can be posted to: HTTP with a host, and no user in it, whom logs would show.
fn target(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let fine = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none();
    fine.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn only_urls_that_can_be_posted_to_are_targets() {
        for fine in ["http://example.com/", "https://example.com:8443/a?b=c", "http://127.0.0.1:1/"] {
            assert!(target(fine).is_some(), "{fine}");
        }
        for bad in
            ["", "example.com", "ftp://example.com/", "http://", "file:///etc/passwd", "https://u:p@x.com/"]
        {
            assert!(target(bad).is_none(), "{bad}");
        }
    }
}
