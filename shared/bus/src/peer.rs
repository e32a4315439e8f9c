//! Another service's mesh port, as far as events are concerned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::TenantId;
use event_store::inbox::Place;
use event_store::log::{LogFilter, LogPage};
use serde::Deserialize;
use uuid::Uuid;

/// How long a peer may take to restart before a call to it fails, and after which time it is looked for again.
const RESTART: Duration = Duration::from_secs(3);
const RECONNECT: Duration = Duration::from_millis(100);

/// Makes the credential for a call to a service, fresh each time because it is short-lived.
pub type Credential = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A service of the mesh, seen from another.
#[derive(Clone)]
pub struct Peer {
    pub service: String,
    /// Mesh URL without a slash at the end, the service's name included: `http://host:9090/projects`.
    base: String,
    http: reqwest::Client,
    credential: Credential,
}

/// A call to a peer that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("{service} does not answer")]
    Unreachable { service: String, source: reqwest::Error },
    #[error("{service} answered {status}: {body}")]
    Refused { service: String, status: u16, body: String },
}

/// A stream of a peer: its id, and how many contract events it has.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct StreamHead {
    pub id: i64,
    pub contract_version: i64,
}

fn is_broken_off(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_timeout() && !error.is_connect()
}

impl Peer {
    pub fn new(service: &str, base: &str, http: reqwest::Client, credential: Credential) -> Self {
        Self { service: service.to_owned(), base: base.trim_end_matches('/').to_owned(), http, credential }
    }

    /// A GET on the mesh port, with this service's credential.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth((self.credential)(&self.service))
    }

    /// A POST on the mesh port, with this service's credential.
    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth((self.credential)(&self.service))
    }

    /// A DELETE on the mesh port, with this service's credential.
    pub fn delete(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.delete(format!("{}{path}", self.base)).bearer_auth((self.credential)(&self.service))
    }

    /// A request to the peer's front-door endpoints, as its caller made it: without this service's credential
    /// and with time for a long answer.
    pub fn front(&self, method: reqwest::Method, path_and_query: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/front{path_and_query}", self.base);
        self.http.request(method, url).timeout(Duration::from_secs(24 * 3600))
    }

    /// Sends a request; anything but success is an error. A peer that restarts is waited for, as long as nothing
    /// can come of that twice.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, PeerError> {
        let unreachable = |source| PeerError::Unreachable { service: self.service.clone(), source };
        let (client, request) = request.build_split();
        let request = request.map_err(unreachable)?;
        let limit = request.timeout().map_or(RESTART, |own| RESTART.min(*own));
        let deadline = Instant::now() + limit;
        let mut broken_off = false;
        let response = loop {
            let Some(attempt) = request.try_clone() else {
                break client.execute(request).await;
            };
            match client.execute(attempt).await {
                Err(error) if error.is_connect() && Instant::now() < deadline => {
                    tokio::time::sleep(RECONNECT).await;
                }
                // Its connection was closed under it. Once more, in case it was the request that did it.
                Err(error) if !broken_off && request.method().is_safe() && is_broken_off(&error) => {
                    broken_off = true;
                }
                outcome => break outcome,
            }
        };
        let response = response.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body: String = response.text().await.unwrap_or_default().chars().take(500).collect();
        Err(PeerError::Refused { service: self.service.clone(), status, body })
    }

    /// Sends a request and reads the JSON of its answer.
    pub async fn json<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, PeerError> {
        let response = self.send(request).await?;
        response
            .json()
            .await
            .map_err(|source| PeerError::Unreachable { service: self.service.clone(), source })
    }

    /// A page of the peer's contract log; waits up to `wait` for the first event after `after`.
    pub async fn log(
        &self,
        after: i64,
        limit: i64,
        wait: Duration,
        filter: &LogFilter,
    ) -> Result<LogPage, PeerError> {
        let mut query = vec![
            ("after", after.to_string()),
            ("limit", limit.to_string()),
            ("wait_ms", wait.as_millis().to_string()),
        ];
        if !filter.types.is_empty() {
            query.push(("types", filter.types.join(",")));
        }
        if let Some(tenant) = filter.tenant {
            query.push(("tenant", tenant.to_string()));
        }
        let request = self.get("/internal/log").query(&query).timeout(wait + Duration::from_secs(10));
        self.json(request).await
    }

    /// Whether the peer's log has an event at a position, and that event if its id is known.
    pub async fn has(&self, position: i64, id: Option<Uuid>) -> Result<bool, PeerError> {
        if position < 1 {
            return Ok(false);
        }
        let page = self.log(position - 1, 1, Duration::ZERO, &LogFilter::default()).await?;
        let found = page.events.first().filter(|event| event.position == position);
        Ok(found.is_some_and(|event| id.is_none_or(|id| event.id == id)))
    }

    /// Whether the peer's log is the one in which `place` is; before the first event all logs are alike.
    pub async fn is_known_at(&self, place: &Place) -> Result<bool, PeerError> {
        Ok(place.position == 0 || self.has(place.position, place.event_id).await?)
    }

    /// A stream by its id, after the peer has numbered everything that it has committed; `None` when there is
    /// no such stream.
    pub async fn stream(
        &self,
        tenant: TenantId,
        kind: &str,
        id: i64,
    ) -> Result<Option<StreamHead>, PeerError> {
        self.find_stream(tenant, kind, ("id", &id.to_string())).await
    }

    /// A stream by its natural key, such as a user's name.
    pub async fn named_stream(
        &self,
        tenant: TenantId,
        kind: &str,
        name: &str,
    ) -> Result<Option<StreamHead>, PeerError> {
        self.find_stream(tenant, kind, ("name", name)).await
    }

    async fn find_stream(
        &self,
        tenant: TenantId,
        kind: &str,
        key: (&str, &str),
    ) -> Result<Option<StreamHead>, PeerError> {
        let tenant = tenant.to_string();
        let query = [("tenant", tenant.as_str()), ("kind", kind), key];
        let request = self.get("/internal/stream").query(&query).timeout(Duration::from_secs(2));
        match self.json(request).await {
            Ok(head) => Ok(Some(head)),
            Err(PeerError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
