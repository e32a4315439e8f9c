//! A client that speaks to the front door as people do.

use serde_json::Value;

/// An HTTP client with a credential.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Response {
    /// The body as JSON; `Null` when there is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Insists on a status and returns the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

impl Client {
    pub fn new(base: &str) -> Self {
        let http = service_kit::http_client::builder().build().unwrap();
        Self { http, base: base.to_owned(), headers: vec![] }
    }

    /// The same client with another header on each request.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same client, which speaks to another address.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The same client signed in by `Authorization: Basic`.
    pub fn basic(&self, username: &str, password: &str) -> Self {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        self.with("authorization", &format!("Basic {value}"))
    }

    /// Signs in and keeps the token.
    pub async fn sign_in(&self, username: &str, password: &str) -> Self {
        let body = serde_json::json!({ "username": username, "password": password });
        let answer = self.post("/api/auth/login", body).await.expect(200);
        self.with("authorization", &format!("Token {}", answer["key"].as_str().unwrap()))
    }

    /// Chooses an organization for each request.
    pub fn organization(&self, slug: &str) -> Self {
        self.with("x-organization", slug)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send("POST", path, Some(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Response {
        self.send("PATCH", path, Some(body.to_string())).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, None).await
    }

    /// The status of a GET; `None` when nobody answers.
    pub async fn try_get(&self, path: &str) -> Option<u16> {
        self.try_send("GET", path, None).await.map(|response| response.status)
    }

    /// Sends anything; somebody must answer.
    pub async fn send(&self, method: &str, path: &str, body: Option<String>) -> Response {
        self.try_send(method, path, body).await.unwrap_or_else(|| panic!("{method} {path}: nobody answers"))
    }

    /// Sends anything; `None` when nobody answers.
    pub async fn try_send(&self, method: &str, path: &str, body: Option<String>) -> Option<Response> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Response { status, headers, text: response.text().await.ok()? })
    }
}
