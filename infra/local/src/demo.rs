//! `annomesh demo`: the first story, played against the running mesh as a client would, with what follows from
//! each change: a signed call to a webhook, and a row in analytics.

mod client;
mod receiver;
mod signature;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::progress::shown;
use crate::{folder, secrets};
use client::Client;
use receiver::Receiver;

/// How long a change may take to arrive anywhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays the story and cleans up after it.
///
/// # Errors
/// Says which step failed, or what did not arrive in time.
pub async fn demo(url: Option<String>) -> anyhow::Result<()> {
    let config = secrets::config_to_look()?;
    let found = folder::running(&config.data).map(|mesh| mesh.url).filter(|url| !url.is_empty());
    let url = url.or(found).unwrap_or_else(|| config.public_url.clone());
    let mut client = Client::new(&url)?;
    if !client.is_answered().await {
        bail!("no mesh answers at {url}: start it with `cargo run` first");
    }
    let Some(admin) = config.admin else {
        bail!("the admin's password is not in {}: set ADMIN_PASSWORD", config.data.display());
    };
    println!("The first story, at {url}\n");
    let credentials = json!({ "username": admin.username, "password": admin.password });
    let answer = step(&client, "sign in", Method::POST, "/api/auth/login", Some(credentials)).await;
    let answer = answer.context("are ADMIN_USERNAME and ADMIN_PASSWORD still those of the admin?")?;
    client.token = text(&answer, "key")?;
    let mut story = Story::begin(client.clone()).await?;
    let played = story.play().await;
    story.clean_up().await?;
    step(&client, "sign out", Method::POST, "/api/auth/logout", None).await?;
    played?;
    println!(
        "\nEach change reached the webhook, signed, and analytics. The page at {url} shows the way they took."
    );
    Ok(())
}

/// A story that is being told.
struct Story {
    client: Client,
    receiver: Receiver,
    secret: String,
    webhook: i64,
    organization: i64,
}

impl Story {
    /// An organization, and a webhook that wants to know about its projects.
    async fn begin(mut client: Client) -> anyhow::Result<Self> {
        let receiver = Receiver::start()?;
        let slug = format!("demo-{}", hex::encode(secrets::random::<3>()?));
        let body = json!({ "slug": slug, "name": "The first story" });
        let what = format!("create the organization {slug}");
        let organization = id(&step(&client, &what, Method::POST, "/api/organizations", Some(body)).await?)?;
        client.organization = slug;
        let secret = format!("whsec_{}", BASE64_STANDARD.encode(secrets::random::<24>()?));
        let body = json!({
            "target_url": receiver.url,
            "type": "organization",
            "description": "annomesh demo",
            "events": ["create:project", "update:project", "delete:project"],
            "secret": secret,
            "content_type": "application/json",
            "enable_ssl": true,
            "is_active": true,
        });
        let what = format!("create a webhook to {}", receiver.url);
        let webhook = step(&client, &what, Method::POST, "/api/webhooks", Some(body)).await;
        let mut story = Self { client, receiver, secret, webhook: 0, organization };
        match webhook.and_then(|webhook| id(&webhook)) {
            Ok(webhook) => story.webhook = webhook,
            Err(error) => {
                story.clean_up().await?;
                return Err(error);
            }
        }
        Ok(story)
    }

    /// The life of a project.
    async fn play(&mut self) -> anyhow::Result<()> {
        println!("\n  {:<50} {:>8}   {:>16}   {:>12}", "", "answer", "webhook", "analytics");
        let body = json!({ "name": "roads", "labels": [{ "name": "car" }, { "name": "bicycle" }] });
        let project = self
            .change("create a project with two labels", Method::POST, "/api/projects", Some(body), 0)
            .await?;
        let path = format!("/api/projects/{project}");
        let body = json!({ "name": "roads of Annecy", "labels": [{ "name": "pedestrian" }] });
        self.change("rename it and add a label", Method::PATCH, &path, Some(body), project).await?;
        self.change("delete it", Method::DELETE, &path, None, project).await?;
        println!();
        Ok(())
    }

    /// One change, and its arrival everywhere; returns the project's id.
    async fn change(
        &mut self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        project: i64,
    ) -> anyhow::Result<i64> {
        let (event, fact) = match method {
            Method::POST => ("create:project", "projects.project_created.v1"),
            Method::PATCH => ("update:project", "projects.project_updated.v1"),
            _ => ("delete:project", "projects.project_deleted.v1"),
        };
        let began = Instant::now();
        let answer = self.client.send(method, path, body).await.with_context(|| what.to_owned())?;
        let answered = Instant::now();
        let project = if project == 0 { id(&answer)? } else { project };
        // After the answer, and not before: what was quicker than the answer counts as at once.
        let after = |arrived: Instant| ms(arrived.saturating_duration_since(answered));
        let arrivals = futures::future::join(
            self.receiver.wait_for(event, project, PATIENCE),
            in_analytics(&self.client, fact, project),
        );
        let (call, analytics) = shown(&format!("waiting for {event}"), arrivals).await;
        let call = call.with_context(|| format!("{what}: {event} did not reach the webhook"))?;
        signature::verify(&self.secret, &call).with_context(|| format!("{what}: the webhook's signature"))?;
        let analytics = analytics.with_context(|| format!("{what}: {fact} did not reach analytics"))?;
        println!(
            "  ✓ {what:<48} {:>8}   {:>16}   {:>12}",
            ms(answered - began),
            format!("+{}, signed", after(call.at)),
            format!("+{}", after(analytics)),
        );
        Ok(project)
    }

    /// Leaves nothing behind.
    async fn clean_up(&mut self) -> anyhow::Result<()> {
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

/// One request, and a line about it.
async fn step(
    client: &Client,
    what: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let began = Instant::now();
    let answer = shown(what, client.send(method, path, body)).await.with_context(|| what.to_owned())?;
    println!("  ✓ {what:<48} {:>8}", ms(began.elapsed()));
    // Also when standard output is a pipe: each step is seen as it happens.
    std::io::stdout().flush()?;
    Ok(answer)
}

/// Waits until analytics has an event of this type about the project.
async fn in_analytics(client: &Client, fact: &str, project: i64) -> anyhow::Result<Instant> {
    let path = format!("/v1/events?type={fact}&subject=project/{project}&after=0&limit=1");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let page = client.send(Method::GET, &path, None).await?;
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("not there after {} s", PATIENCE.as_secs())
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

fn id(answer: &Value) -> anyhow::Result<i64> {
    answer["id"].as_i64().ok_or_else(|| anyhow!("the answer has no id: {answer}"))
}

fn text(answer: &Value, name: &str) -> anyhow::Result<String> {
    answer[name].as_str().map(str::to_owned).ok_or_else(|| anyhow!("the answer has no {name}: {answer}"))
}
