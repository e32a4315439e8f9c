//! What an operator asks the running mesh, on its second port.

pub mod events;
pub mod parked;
pub mod rebuild;
pub mod status;
mod text;

use std::sync::Arc;

use anyhow::{anyhow, bail};
use bus::Peer;
use bus::peer::PeerError;
use event_store::Clock;
use service_kit::mesh_token::MeshSecret;
use service_kit::start::SERVICES;
use service_kit::{Config, http_client};

use crate::{folder, secrets};

/// The service that has no log, no consumers and nothing to rebuild.
const WITHOUT_STORE: &str = "gateway";

/// The running mesh: the one that `MESH_SECRET`, `MESH_PEERS` and `MESH_ADDRESS` name, else the one that runs on
/// the data folder.
pub struct Mesh {
    config: Config,
    secret: MeshSecret,
    http: reqwest::Client,
}

impl Mesh {
    /// Finds it.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub fn find() -> anyhow::Result<Self> {
        let mut config = secrets::config_to_look()?;
        if let Some(running) = folder::running(&config.data) {
            if let Ok(address) = running.mesh_address.parse() {
                config.mesh_address = address;
            }
        } else if config.mesh_secret.is_empty() {
            bail!("no mesh runs on {}: start one with `cargo run`", config.data.display());
        }
        let secret = MeshSecret::new(&config.mesh_secret, Clock::system());
        Ok(Self { config, secret, http: http_client::mesh_client()? })
    }

    /// A service of it.
    ///
    /// # Errors
    /// When there is none of that name with a store.
    pub fn peer(&self, service: &str) -> anyhow::Result<Peer> {
        let known: Vec<&str> = Self::services().collect();
        if !known.contains(&service) {
            bail!("{service}? One of {}", known.join(", "));
        }
        let secret = self.secret.clone();
        let credential = Arc::new(move |to: &str| secret.credential("operator", to));
        Ok(Peer::new(service, &self.config.peer_url(service), self.http.clone(), credential))
    }

    /// The services that have something to tell.
    pub fn services() -> impl Iterator<Item = &'static str> {
        SERVICES.iter().copied().filter(|service| *service != WITHOUT_STORE)
    }

    /// Says in a line what went wrong between us and a service.
    pub fn explain(&self, error: PeerError) -> anyhow::Error {
        match error {
            PeerError::Unreachable { service, source } if source.is_connect() => {
                let url = self.config.peer_url(&service);
                anyhow!("{service} does not answer at {url}: is the mesh up? `cargo run` starts it")
            }
            PeerError::Unreachable { service, source } => {
                anyhow::Error::new(source).context(format!("{service} did not answer in time"))
            }
            PeerError::Refused { service, status: 401, .. } => {
                anyhow!("{service} does not know us: MESH_SECRET is another one there")
            }
            PeerError::Refused { service, status, body } => match detail(&body) {
                Some(detail) => anyhow!("{service}: {detail}"),
                None => anyhow!("{service} answered {status}: {body}"),
            },
        }
    }
}

/// The sentence for people in a problem document.
fn detail(body: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}
