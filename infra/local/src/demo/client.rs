//! Just enough of a client of CVAT's API.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;
use service_kit::http_client;

/// A client; with a token once it has signed in, and an organization once it has chosen one.
#[derive(Clone)]
pub struct Client {
    url: String,
    http: reqwest::Client,
    pub token: String,
    pub organization: String,
}

impl Client {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = http_client::builder().timeout(Duration::from_secs(15)).build()?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, http, token: String::new(), organization: String::new() })
    }

    /// Whether anybody answers there, be it that they are not ready.
    pub async fn is_answered(&self) -> bool {
        self.http.get(format!("{}/api/server/health/", self.url)).send().await.is_ok()
    }

    /// Sends a request; `Null` for an answer without a body.
    ///
    /// # Errors
    /// When nobody answers, or the answer is no.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Token {}", self.token));
        }
        if !self.organization.is_empty() {
            request = request.header("x-organization", &self.organization);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{status}: {}", text.chars().take(500).collect::<String>());
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{path} answered something else than JSON"))
    }
}
