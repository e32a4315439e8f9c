//! Exchanged credentials that replicas share through Redis.
//!
//! Redis is never the truth: what it holds is identity's signed answer, which is verified like a fresh one;
//! when Redis is slow or gone, identity is asked. The answer is sealed for the credential that it belongs to:
//! whoever reads Redis finds no statement to show around, and whoever writes to it cannot give one caller
//! another's.

use std::time::Duration;

use aws_lc_rs::hmac;
use deadpool_redis::redis::AsyncCommands;
use deadpool_redis::{Config, Pool, Runtime};

use super::ExchangeAnswer;
use crate::mesh_token::MeshSecret;
use crate::sealing::Sealer;

/// Longer than this and asking identity is faster.
const PATIENCE: Duration = Duration::from_millis(100);
/// Names the sealing key among those that `MESH_SECRET` derives.
const PURPOSE: &str = "auth/shared-cache";
const NAMES: &str = "auth/shared-cache-names";

/// A connection to the shared cache.
#[derive(Clone)]
pub(crate) struct SharedCache {
    pool: Pool,
    sealer: Sealer,
    names: hmac::Key,
}

impl SharedCache {
    /// Connects lazily, so a Redis that is away stops nobody.
    ///
    /// # Errors
    /// When `REDIS_URL` is not an URL.
    pub fn new(url: &str, secret: &MeshSecret) -> anyhow::Result<Self> {
        let pool = Config::from_url(url)
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|why| anyhow::anyhow!("REDIS_URL: {why}"))?;
        let names = hmac::Key::new(hmac::HMAC_SHA256, &secret.derive(NAMES));
        Ok(Self { pool, sealer: Sealer::new(secret, PURPOSE), names })
    }

    /// The answer that another replica got for the same credential.
    pub async fn get(&self, key: &[u8; 32]) -> Option<ExchangeAnswer> {
        let name = self.name(key);
        let read = async {
            let mut connection = self.pool.get().await.ok()?;
            let sealed: Option<Vec<u8>> = connection.get(&name).await.ok()?;
            sealed
        };
        let sealed = tokio::time::timeout(PATIENCE, read).await.ok().flatten()?;
        let answer =
            self.sealer.open(&name, &sealed).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if answer.is_none() {
            tracing::debug!("something else lies where an exchanged credential is shared");
        }
        answer
    }

    /// Keeps an answer for the others, for `seconds`.
    pub async fn put(&self, key: &[u8; 32], answer: &ExchangeAnswer, seconds: u64) {
        let name = self.name(key);
        let write = async {
            let sealed = self.sealer.seal(&name, &serde_json::to_vec(answer).ok()?).ok()?;
            let mut connection = self.pool.get().await.ok()?;
            connection.set_ex::<_, _, ()>(&name, sealed, seconds).await.ok()
        };
        if tokio::time::timeout(PATIENCE, write).await.ok().flatten().is_none() {
            tracing::debug!("an exchanged credential was not shared");
        }
    }

    /// Forgets an answer that turned out to be void.
    pub async fn forget(&self, key: &[u8; 32]) {
        let forget = async {
            let mut connection = self.pool.get().await.ok()?;
            connection.del::<_, ()>(self.name(key)).await.ok()
        };
        if tokio::time::timeout(PATIENCE, forget).await.ok().flatten().is_none() {
            tracing::debug!("a void credential is still shared; its statement dies by itself");
        }
    }

    /// Not the credential's digest: a weak password could be guessed from that.
    fn name(&self, key: &[u8; 32]) -> String {
        format!("annomesh:exchange:{}", hex::encode(hmac::sign(&self.names, key)))
    }
}
