//! Where the database comes from: the server that `DATABASE_URL` names, or a private cluster, run with the
//! programs of this machine or with fetched ones.

#[cfg(feature = "fetch-postgres")]
mod fetch;

use std::path::Path;

use event_store::cluster::{Binaries, Cluster, Options};
use service_kit::Config;

use crate::folder;
use crate::progress::shown;

/// A server, ready to be used.
pub enum Postgres {
    /// Ours, started and stopped by us.
    Private(Cluster),
    /// Somebody else's.
    Elsewhere(String),
}

impl Postgres {
    /// Starts or names the server.
    ///
    /// # Errors
    /// Says what to install when there is no PostgreSQL; for the rest as [`Cluster::start`].
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = &config.database_url {
            return Ok(Self::Elsewhere(url.clone()));
        }
        let binaries = binaries(&config.data).await?;
        let options = Options::durable(config.data.join(folder::POSTGRES), binaries);
        Ok(Self::Private(shown("starting PostgreSQL", Cluster::start(options)).await?))
    }

    /// The URL of a role that may create databases.
    pub fn url(&self) -> String {
        match self {
            Self::Private(cluster) => cluster.url("postgres"),
            Self::Elsewhere(url) => url.clone(),
        }
    }

    /// Stops it if it is ours.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Private(cluster) => cluster.stop().await,
            Self::Elsewhere(_) => Ok(()),
        }
    }
}

/// The programs: those that made the database that is there, else the best of this machine, else fetched ones.
pub async fn binaries(data: &Path) -> anyhow::Result<Binaries> {
    if let Some(found) = present(made_by(&folder::postgres(data))) {
        return Ok(found);
    }
    #[cfg(feature = "fetch-postgres")]
    return fetch::fetch().await;
    #[cfg(not(feature = "fetch-postgres"))]
    anyhow::bail!(Binaries::HOW_TO_INSTALL)
}

fn present(wanted: Option<u32>) -> Option<Binaries> {
    // Looked for last, and only when asked: it starts a program.
    #[cfg(feature = "fetch-postgres")]
    let fetched = std::iter::once_with(fetch::fetched).flatten();
    #[cfg(not(feature = "fetch-postgres"))]
    let fetched = std::iter::empty();
    let mut all = Binaries::installed().chain(fetched).peekable();
    let best = all.peek().cloned();
    match wanted {
        Some(major) => all.find(|binaries| binaries.major() == major).or(best),
        None => best,
    }
}

/// The major version that made the database of a cluster.
fn made_by(cluster: &Path) -> Option<u32> {
    std::fs::read_to_string(cluster.join("data/PG_VERSION")).ok()?.trim().parse().ok()
}
