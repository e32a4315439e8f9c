//! Just enough of a client of CVAT's API.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;
use service_kit::http_client;

const JSON: (&str, &str) = ("content-type", "application/json");

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
        let answer = match body {
            Some(body) => self.exchange(method, path, &[JSON], body.to_string().into()).await?,
            None => self.exchange(method, path, &[], vec![]).await?,
        };
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).with_context(|| format!("{path} answered something else than JSON"))
    }

    /// Sends files by CVAT's protocol, in one request.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn upload<'a>(
        &self,
        path: &str,
        files: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> anyhow::Result<()> {
        // None of the demo's own pictures contains it.
        const BOUNDARY: &str = "annomesh-demo-c1a7e0f3";
        let mut body = vec![];
        for (index, (name, bytes)) in files.enumerate() {
            let head = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"client_files[{index}]\"; \
                 filename=\"{name}\"\r\n\r\n"
            );
            body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
        let form = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = [("upload-multiple", ""), ("content-type", form.as_str())];
        self.exchange(Method::POST, path, &headers, body).await?;
        Ok(())
    }

    /// Sends a request; the answer's body as it came.
    ///
    /// # Errors
    /// When nobody answers, or the answer is no.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Vec<u8>> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Token {}", self.token));
        }
        if !self.organization.is_empty() {
            request = request.header("x-organization", &self.organization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&body).chars().take(500).collect::<String>());
        }
        Ok(body.into())
    }
}
