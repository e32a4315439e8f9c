//! From files that have arrived to blobs that somebody uses.

use chrono::{DateTime, Utc};
use contracts::TenantId;
use event_store::{StoreError, Unit};
use futures::{StreamExt, TryStreamExt};
use service_kit::Kit;

use crate::blobs;
use crate::jobs::sweep;
use crate::media::Media;
use crate::spool::Spooled;
use crate::storage::{Content, Key, Storage, StorageError};

/// Objects that are written at the same time.
const AT_ONCE: usize = 8;

/// Why files were not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("not noted")]
    Store(#[from] StoreError),
    #[error("not stored")]
    Storage(#[from] StorageError),
}

impl From<KeepError> for service_kit::Refusal {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Store(error) => error.into(),
            KeepError::Storage(error) => error.into(),
        }
    }
}

/// Blobs that were declared and put, and that somebody must take hold of or give up.
pub struct Kept {
    tenant: TenantId,
    /// When blobs were declared, and which.
    declared: Vec<(DateTime<Utc>, Vec<i64>)>,
    /// What was put and may not outlive a power cut yet.
    unsettled: Vec<Key>,
    /// One for each file, in order.
    ids: Vec<i64>,
}

impl Kept {
    pub fn new(tenant: TenantId) -> Self {
        Self { tenant, declared: vec![], unsettled: vec![], ids: vec![] }
    }

    /// Declares files and puts those whose bytes are not there yet.
    ///
    /// # Errors
    /// When the database or the storage does not take them.
    pub async fn add(&mut self, kit: &Kit, media: &Media, files: &[Spooled]) -> Result<(), KeepError> {
        if files.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = files.iter().map(|file| file.blob.clone()).collect();
        // From now on they are left alone for a while, and swept if nobody takes hold of them.
        let wanted_at = kit.clock.now();
        let mut unit = kit.store.begin(event_store::Context::mesh(self.tenant)).await?;
        let declared = blobs::declare(unit.tx(), &all, wanted_at).await?;
        unit.enqueue(sweep::JOB, sweep::SUBJECT, wanted_at + blobs::GRACE).await?;
        unit.commit().await?;
        self.declared.push((wanted_at, declared.values().map(|known| known.id).collect()));
        let mut seen = std::collections::BTreeSet::new();
        let missing: Vec<&Spooled> = files
            .iter()
            .filter(|file| declared.get(&file.blob.digest).is_some_and(|known| !known.present))
            .filter(|file| seen.insert(file.blob.digest))
            .collect();
        self.ids
            .extend(files.iter().filter_map(|file| declared.get(&file.blob.digest).map(|known| known.id)));
        event_store::fail_point!("media.keep.declared");
        self.unsettled.extend(missing.iter().map(|file| Key::Blob(self.tenant, file.blob.digest)));
        let puts: Vec<_> = missing
            .iter()
            .map(|file| put(media.storage.clone(), Key::Blob(self.tenant, file.blob.digest), file.content()))
            .collect();
        futures::stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        event_store::fail_point!("media.keep.stored");
        Ok(())
    }

    /// Makes sure that all of it outlives a power cut, and returns the blobs that may be used from now on: one for
    /// each file, in order.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn settle(&mut self, media: &Media) -> Result<&[i64], StorageError> {
        let unsettled = std::mem::take(&mut self.unsettled);
        media.storage.settle(&unsettled).await?;
        Ok(&self.ids)
    }

    /// Says that nothing of it is wanted, so that it is swept at once.
    pub async fn give_up(self, kit: &Kit) {
        if self.declared.is_empty() {
            return;
        }
        let given_up = async {
            let mut unit = kit.store.begin(event_store::Context::mesh(self.tenant)).await?;
            for (wanted_at, ids) in &self.declared {
                blobs::give_up(unit.tx(), ids, *wanted_at).await?;
            }
            sweep_now(&mut unit).await?;
            unit.commit().await
        };
        if let Err(error) = given_up.await {
            // They are swept when their time of grace is over.
            tracing::warn!(error = event_store::chain(&error), "files that were refused stay for a while");
        }
    }
}

/// Writes one object; owns what it needs, so that several can be under way.
async fn put(storage: Storage, key: Key, content: Content) -> Result<(), StorageError> {
    storage.put_unsettled(&key, content).await
}

/// Queues a sweep of what nobody uses any more.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep_now(unit: &mut Unit) -> Result<(), StoreError> {
    let now = unit.store().clock().now();
    unit.enqueue(sweep::JOB, sweep::SUBJECT, now).await
}
