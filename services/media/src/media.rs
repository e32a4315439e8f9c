//! What handlers and jobs hold besides the kit: the storage, and what is kept in memory of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use contracts::TenantId;
use event_store::StoreError;
use moka::future::Cache;
use service_kit::{Kit, Node, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::derived::{Form, Made};
use crate::frames::{self, Frames};
use crate::storage::{Key, Storage, StorageError};

/// Memory for blobs that are asked for again and again, in bytes.
const HOT_BYTES: u64 = 96 * 1024 * 1024;
/// The largest blob that is kept in memory.
pub const HOT_BLOB_MAX: u64 = 1024 * 1024;
/// Memory for frame indexes, in bytes.
const INDEX_BYTES: u64 = 64 * 1024 * 1024;
/// How long what nobody asks for stays in memory.
const IDLE: Duration = Duration::from_secs(600);
/// How old a file must be that arrived in part before nobody can be at it any more.
const INCOMING_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often such files are looked for.
const SWEEP: Duration = Duration::from_secs(3600);
/// Memory for pictures that are being decoded, in MiB: a plain JPEG of about 119 million pixels, or many small ones.
const DECODING_MIB: u32 = 1024;

/// The service's storage with what is kept in memory. Every key names its tenant, and nothing under a key changes.
#[derive(Clone)]
pub struct Media {
    pub storage: Storage,
    hot: Cache<Key, Bytes>,
    indexes: Cache<(TenantId, i64), Arc<Frames>>,
    /// Derived pictures that are being made, so that many askers wait for one; and those that cannot be made, so that
    /// it is not tried for everybody who asks.
    pub(crate) making: Cache<(TenantId, i64, Form), Made>,
    decoders: Arc<Semaphore>,
    /// In MiB.
    memory: Arc<Semaphore>,
}

impl Media {
    fn open(kit: &Kit) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            storage: Storage::open(&kit.config.data, &kit.config.storage)?,
            hot: Cache::builder()
                .max_capacity(HOT_BYTES)
                .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + 128).unwrap_or(u32::MAX))
                .time_to_idle(IDLE)
                .build(),
            indexes: Cache::builder()
                .max_capacity(INDEX_BYTES)
                .weigher(|_, frames: &Arc<Frames>| u32::try_from(frames.weight() + 128).unwrap_or(u32::MAX))
                .time_to_idle(IDLE)
                .build(),
            making: Cache::builder().max_capacity(100_000).time_to_idle(IDLE).build(),
            decoders: Arc::new(Semaphore::new(cores)),
            memory: Arc::new(Semaphore::new(DECODING_MIB as usize)),
        })
    }

    /// The service's own.
    ///
    /// # Errors
    /// 503 before the service has started.
    pub fn of(node: &Node) -> Result<Self, Refusal> {
        let shared = node.shared::<OnceLock<Self>>();
        shared.get().cloned().ok_or_else(|| Refusal::unavailable("The service is starting."))
    }

    /// A blob of at most [`HOT_BLOB_MAX`] bytes, from memory if it was asked for before.
    ///
    /// # Errors
    /// When the storage does not have it, or is away.
    pub async fn small(&self, key: Key) -> Result<Bytes, StorageError> {
        if let Some(bytes) = self.hot.get(&key).await {
            return Ok(bytes);
        }
        let bytes = self.storage.read(&key).await?;
        self.hot.insert(key, bytes.clone()).await;
        Ok(bytes)
    }

    /// The frames of a task whose data is prepared.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn frames(
        &self,
        kit: &Kit,
        tenant: TenantId,
        task_id: i64,
    ) -> Result<Option<Arc<Frames>>, StoreError> {
        if let Some(frames) = self.indexes.get(&(tenant, task_id)).await {
            return Ok(Some(frames));
        }
        let mut tx = kit.store.database().tenant(tenant).await?;
        let found = frames::find(&mut tx, task_id).await?;
        tx.commit().await?;
        let Some(frames) = found.map(Arc::new) else { return Ok(None) };
        self.indexes.insert((tenant, task_id), frames.clone()).await;
        Ok(Some(frames))
    }

    /// A place to decode, with so many bytes of memory; there are no more places than cores. None when there is never
    /// so much memory.
    ///
    /// # Errors
    /// When the process stops.
    pub async fn decoder(&self, bytes: u64) -> Result<Option<Decoder>, Refusal> {
        let Some(mib) = mib(bytes) else { return Ok(None) };
        // The memory first: who waits for it keeps no core from work.
        let memory = self.memory.clone().acquire_many_owned(mib).await.map_err(|_| stopping())?;
        let place = self.decoders.clone().acquire_owned().await.map_err(|_| stopping())?;
        Ok(Some(Decoder(memory, place)))
    }
}

/// Bytes of memory in MiB; none when they are more than a decode may have.
fn mib(bytes: u64) -> Option<u32> {
    u32::try_from(bytes.div_ceil(1024 * 1024)).ok().filter(|mib| *mib <= DECODING_MIB)
}

/// A place to decode, and memory for it.
pub struct Decoder(OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Decoder {
    /// Runs a decode on a thread of its own.
    ///
    /// # Errors
    /// When the process stops.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let Self(memory, place) = self;
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((memory, place));
            outcome
        });
        outcome.await.map_err(|_| stopping())
    }
}

fn stopping() -> Refusal {
    Refusal::unavailable("The service is stopping.")
}

/// Opens the storage and tries it; refuses to start when a setting is wrong.
///
/// # Errors
/// Names the setting or the folder.
pub async fn start(kit: Kit) -> anyhow::Result<()> {
    let media = Media::open(&kit)?;
    media.storage.check_at_start().await?;
    kit.shared::<OnceLock<Media>>().get_or_init(|| media);
    Ok(())
}

/// Removes what arrived in part and nobody goes on with; runs until it is dropped.
pub async fn sweep_incoming(kit: Kit) {
    loop {
        if let Ok(media) = Media::of(&kit) {
            media.storage.forget_incoming(INCOMING_AGE).await;
        }
        tokio::time::sleep(SWEEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{Kind, Picture, convert};

    #[test]
    fn a_decode_takes_as_much_memory_as_its_picture_needs() {
        let needs = |plain, width, height| {
            let picture = Picture { kind: Kind::Jpeg, width, height, orientation: 1, plain };
            mib(convert::memory(&picture, 20 * 1024 * 1024))
        };
        assert_eq!(needs(true, 64, 48), Some(41));
        // Cameras of 45 and 100 million pixels.
        assert_eq!(needs(false, 8_192, 5_464), Some(553));
        assert_eq!(needs(true, 11_648, 8_736), Some(914));
        assert_eq!(needs(false, 16_384, 16_384), None);
    }
}
