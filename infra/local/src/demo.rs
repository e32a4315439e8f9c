//! `annomesh demo`: the first story and the first task, played against the running mesh as a client would, with what
//! follows from each change: a signed call to a webhook, a row in analytics, a number in billing.

mod client;
mod pictures;
mod project;
mod receiver;
mod signature;
mod story;
mod task;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::progress::shown;
use crate::{folder, secrets};
use client::Client;
use story::Story;

/// Plays both and cleans up after them.
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
    println!("At {url}\n");
    let credentials = json!({ "username": admin.username, "password": admin.password });
    let answer = step(&client, "sign in", Method::POST, "/api/auth/login", Some(credentials)).await;
    let answer = answer.context("are ADMIN_USERNAME and ADMIN_PASSWORD still those of the admin?")?;
    client.token = text(&answer, "key")?;
    let mut story = Story::begin(client.clone()).await?;
    let played = play(&mut story).await;
    println!("\nCleaning up");
    story.clean_up().await?;
    step(&client, "sign out", Method::POST, "/api/auth/logout", None).await?;
    played?;
    println!(
        "\nEach change reached the webhook, signed, and analytics, and billing counted them. The page at {url} shows\n\
         the way they took, and {url}/usage what was used."
    );
    Ok(())
}

async fn play(story: &mut Story) -> anyhow::Result<()> {
    project::play(story).await?;
    task::play(story).await
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
    done(what, began.elapsed(), "", "")?;
    Ok(answer)
}

/// A heading, and what its columns say.
fn chapter(title: &str) {
    println!("\n{title:<54} {:>8}   {:>16}   {:>12}", "answer", "webhook", "analytics");
}

/// A line about something that is done: how long the answer took, when the webhook was called, when analytics knew.
fn done(what: &str, took: Duration, webhook: &str, analytics: &str) -> anyhow::Result<()> {
    let line = format!("  ✓ {what:<50} {:>8}   {webhook:>16}   {analytics:>12}", ms(took));
    println!("{}", line.trim_end());
    // Also when standard output is a pipe: each step is seen as it happens.
    Ok(std::io::stdout().flush()?)
}

/// A line about something that goes on.
fn noted(what: &str, since: Duration) -> anyhow::Result<()> {
    println!("    · {what:<48} {:>8}", ms(since));
    Ok(std::io::stdout().flush()?)
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
