//! Exchanged credentials that replicas share through Redis.
//!
//! Redis is never the truth: what it holds is identity's signed answer, which is verified like a fresh one;
//! when Redis is slow or gone, identity is asked.

use std::time::Duration;

use deadpool_redis::redis::AsyncCommands;
use deadpool_redis::{Config, Pool, Runtime};

use super::ExchangeAnswer;

/// Longer than this and asking identity is faster.
const PATIENCE: Duration = Duration::from_millis(100);

/// A connection to the shared cache.
#[derive(Clone)]
pub struct SharedCache {
    pool: Pool,
}

impl SharedCache {
    /// Connects lazily, so a Redis that is away stops nobody.
    ///
    /// # Errors
    /// When `REDIS_URL` is not an URL.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let pool = Config::from_url(url)
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|why| anyhow::anyhow!("REDIS_URL: {why}"))?;
        Ok(Self { pool })
    }

    /// The answer that another replica got for the same credential.
    pub async fn get(&self, key: &[u8; 32]) -> Option<ExchangeAnswer> {
        let read = async {
            let mut connection = self.pool.get().await.ok()?;
            let text: Option<String> = connection.get(name(key)).await.ok()?;
            serde_json::from_str(&text?).ok()
        };
        tokio::time::timeout(PATIENCE, read).await.ok().flatten()
    }

    /// Keeps an answer for the others, for `seconds`.
    pub async fn put(&self, key: &[u8; 32], answer: &ExchangeAnswer, seconds: u64) {
        let write = async {
            let mut connection = self.pool.get().await.ok()?;
            let text = serde_json::to_string(answer).ok()?;
            connection.set_ex::<_, _, ()>(name(key), text, seconds).await.ok()
        };
        if tokio::time::timeout(PATIENCE, write).await.ok().flatten().is_none() {
            tracing::debug!("an exchanged credential was not shared");
        }
    }

    /// Forgets an answer that turned out to be void.
    pub async fn forget(&self, key: &[u8; 32]) {
        let forget = async {
            let mut connection = self.pool.get().await.ok()?;
            connection.del::<_, ()>(name(key)).await.ok()
        };
        if tokio::time::timeout(PATIENCE, forget).await.ok().flatten().is_none() {
            tracing::debug!("a void credential is still shared; its statement dies by itself");
        }
    }
}

/// The credential's digest, not the credential.
fn name(key: &[u8; 32]) -> String {
    format!("annomesh:exchange:{}", hex::encode(key))
}
