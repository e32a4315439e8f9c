//! What both stories need: an organization of their own, a webhook that is told what happens in it, and patience.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::receiver::Receiver;
use super::{done, id, ms, step};
use crate::progress::shown;
use crate::secrets;

/// How long a change may take to arrive anywhere.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that the webhook is told about.
const EVENTS: [&str; 8] = [
    "create:project",
    "update:project",
    "delete:project",
    "create:task",
    "update:task",
    "delete:task",
    "create:job",
    "update:job",
];

/// A story that is being told.
pub struct Story {
    pub client: Client,
    pub receiver: Receiver,
    webhook: i64,
    organization: i64,
}

/// Something that was asked for and answered.
pub struct Change<'a> {
    what: &'a str,
    began: Instant,
    answered: Instant,
    pub answer: Value,
}

/// What analytics is to have.
pub struct Fact<'a> {
    pub event: &'a str,
    pub subject: String,
    /// How often this has happened by then.
    pub times: usize,
}

impl<'a> Fact<'a> {
    /// A fact that there is once.
    pub fn once(event: &'a str, subject: String) -> Self {
        Self { event, subject, times: 1 }
    }
}

impl Change<'_> {
    /// The same, described when more is known.
    pub fn called(self, what: &str) -> Change<'_> {
        Change { what, began: self.began, answered: self.answered, answer: self.answer }
    }
}

impl Story {
    /// An organization, and a webhook that wants to know about what is in it.
    pub async fn begin(mut client: Client) -> anyhow::Result<Self> {
        let secret = format!("whsec_{}", BASE64_STANDARD.encode(secrets::random::<24>()?));
        let receiver = Receiver::start(&secret)?;
        let slug = format!("demo-{}", hex::encode(secrets::random::<3>()?));
        let body = json!({ "slug": slug, "name": "The first task" });
        let what = format!("create the organization {slug}");
        let organization = id(&step(&client, &what, Method::POST, "/api/organizations", Some(body)).await?)?;
        client.organization = slug;
        let body = json!({
            "target_url": receiver.url,
            "type": "organization",
            "description": "annomesh demo",
            "events": EVENTS,
            "secret": secret,
            "content_type": "application/json",
            "enable_ssl": true,
            "is_active": true,
        });
        let what = format!("create a webhook to {}", receiver.url);
        let webhook = step(&client, &what, Method::POST, "/api/webhooks", Some(body)).await;
        let mut story = Self { client, receiver, webhook: 0, organization };
        match webhook.and_then(|webhook| id(&webhook)) {
            Ok(webhook) => story.webhook = webhook,
            Err(error) => {
                story.clean_up().await?;
                return Err(error);
            }
        }
        Ok(story)
    }

    /// Asks for a change. Nothing is printed until it has arrived.
    pub async fn change<'a>(
        &self,
        what: &'a str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Change<'a>> {
        let began = Instant::now();
        let answer = shown(what, self.client.send(method, path, body)).await;
        let answer = answer.with_context(|| what.to_owned())?;
        Ok(Change { what, began, answered: Instant::now(), answer })
    }

    /// Waits until a change has arrived at the webhook, if that is told of it, and in analytics; and says when.
    pub async fn arrived(
        &mut self,
        change: &Change<'_>,
        call: Option<(&str, i64)>,
        fact: Fact<'_>,
    ) -> anyhow::Result<()> {
        let what = change.what;
        // After the answer, and not before: what was quicker than the answer counts as at once.
        let after = |at: Instant| format!("+{}", ms(at.saturating_duration_since(change.answered)));
        let told = async {
            let Some((event, id)) = call else { return Ok(String::new()) };
            let call = self.receiver.wait_for(event, id, PATIENCE).await;
            let call = call.with_context(|| format!("{what}: {event} at the webhook"))?;
            anyhow::Ok(format!("{}, signed", after(call.at)))
        };
        let arrivals = futures::future::join(told, in_analytics(&self.client, &fact));
        let (told, analytics) = shown(&format!("{what}: waiting for {}", fact.event), arrivals).await;
        let analytics = analytics.with_context(|| format!("{what}: {} in analytics", fact.event))?;
        done(what, change.answered - change.began, &told?, &after(analytics))
    }

    /// Leaves nothing behind.
    pub async fn clean_up(&mut self) -> anyhow::Result<()> {
        if self.webhook != 0 {
            let path = format!("/api/webhooks/{}", self.webhook);
            step(&self.client, "delete the webhook", Method::DELETE, &path, None).await?;
        }
        self.client.organization.clear();
        let path = format!("/api/organizations/{}", self.organization);
        step(&self.client, "delete the organization", Method::DELETE, &path, None).await?;
        self.receiver.stop().await;
        Ok(())
    }
}

/// Waits until analytics has a fact.
async fn in_analytics(client: &Client, fact: &Fact<'_>) -> anyhow::Result<Instant> {
    let Fact { event, subject, times } = fact;
    let path = format!("/v1/events?type={event}&subject={subject}&after=0&limit={times}");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let page = client.send(Method::GET, &path, None).await?;
        if page["items"].as_array().is_some_and(|items| items.len() == *times) {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("not there after {} s", PATIENCE.as_secs())
}
