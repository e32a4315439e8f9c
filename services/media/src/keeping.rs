//! From files that have arrived to blobs that somebody uses.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contracts::TenantId;
use event_store::{StoreError, Tx, Unit};
use service_kit::Kit;
use tokio::sync::Mutex;

use crate::blobs::{self, Wants};
use crate::jobs::sweep;
use crate::media::Media;
use crate::spool::Spooled;
use crate::storage::{Key, StorageError};

/// How often blobs that are wanted for longer are wanted again. Several attempts fit into the time of grace.
const AGAIN: TimeDelta = TimeDelta::minutes(3);
/// How often it is looked whether that is due, or has failed and is tried again.
const LOOK: Duration = Duration::from_secs(1);

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
    wanted: Wanted,
    /// What was put and may not outlive a power cut yet.
    unsettled: Vec<Key>,
    /// One for each file, in order.
    ids: Vec<i64>,
}

impl Kept {
    pub fn new(tenant: TenantId) -> Self {
        Self { wanted: Wanted { tenant, wants: Arc::default() }, unsettled: vec![], ids: vec![] }
    }

    /// What was declared, also while more is added.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
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
        let tenant = self.wanted.tenant;
        let declared = {
            let mut wants = self.wanted.wants.lock().await;
            let now = kit.clock.now();
            let mut unit = kit.store.begin(event_store::Context::mesh(tenant)).await?;
            let declared = blobs::declare(unit.tx(), &all, &mut wants, now).await?;
            unit.enqueue(sweep::JOB, sweep::SUBJECT, now + blobs::GRACE).await?;
            unit.commit().await?;
            declared
        };
        let mut seen = std::collections::BTreeSet::new();
        let missing: Vec<&Spooled> = files
            .iter()
            .filter(|file| declared.get(&file.blob.digest).is_some_and(|known| !known.present))
            .filter(|file| seen.insert(file.blob.digest))
            .collect();
        self.ids
            .extend(files.iter().filter_map(|file| declared.get(&file.blob.digest).map(|known| known.id)));
        event_store::fail_point!("media.keep.declared");
        self.unsettled.extend(missing.iter().map(|file| Key::Blob(tenant, file.blob.digest)));
        let objects = missing.iter().map(|file| (Key::Blob(tenant, file.blob.digest), file.content()));
        media.storage.put_unsettled(objects.collect()).await?;
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

    /// Uses blobs of it, each as often as it is named. Returns by how many bytes the tenant now stores more.
    ///
    /// # Errors
    /// As [`blobs::hold`].
    pub async fn hold(&self, tx: &mut Tx, ids: impl IntoIterator<Item = i64>) -> Result<i64, StoreError> {
        let wants = self.wanted.wants.lock().await;
        blobs::hold(tx, ids, &wants).await
    }

    /// Says that nothing of it is wanted, so that it is swept at once.
    pub async fn give_up(self, kit: &Kit) {
        let wants = self.wanted.wants.lock().await;
        if wants.is_empty() {
            return;
        }
        let given_up = async {
            let mut unit = kit.store.begin(event_store::Context::mesh(self.wanted.tenant)).await?;
            blobs::give_up(unit.tx(), &wants).await?;
            sweep_now(&mut unit).await?;
            unit.commit().await
        };
        if let Err(error) = given_up.await {
            // They are swept when their time of grace is over.
            tracing::warn!(error = event_store::chain(&error), "files that were refused stay for a while");
        }
    }
}

/// Blobs that were declared. The lock is held while the database is told, so that what is said there and what is known
/// here agree.
#[derive(Clone)]
pub struct Wanted {
    tenant: TenantId,
    wants: Arc<Mutex<Wants>>,
}

impl Wanted {
    /// Does something slow, and says again and again meanwhile that the blobs are wanted: nobody may send or store a
    /// large file for so long that what it needs is swept.
    pub async fn during<T>(&self, kit: &Kit, work: impl Future<Output = T>) -> T {
        let again = async {
            let mut said = kit.clock.now();
            loop {
                tokio::time::sleep(LOOK).await;
                if kit.clock.now() < said + AGAIN {
                    continue;
                }
                match self.say(kit).await {
                    Ok(()) => said = kit.clock.now(),
                    Err(error) => tracing::warn!(
                        error = event_store::chain(&error),
                        "files that arrive slowly could not be wanted again; it is tried again"
                    ),
                }
            }
        };
        tokio::select! {
            outcome = work => outcome,
            never = again => never,
        }
    }

    async fn say(&self, kit: &Kit) -> Result<(), StoreError> {
        let mut wants = self.wants.lock().await;
        if wants.is_empty() {
            return Ok(());
        }
        let now = kit.clock.now();
        let mut tx = kit.store.database().tenant(self.tenant).await?;
        blobs::want_again(&mut tx, &mut wants, now).await?;
        tx.commit().await
    }
}

/// Queues a sweep of what nobody uses any more.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep_now(unit: &mut Unit) -> Result<(), StoreError> {
    let now = unit.store().clock().now();
    unit.enqueue(sweep::JOB, sweep::SUBJECT, now).await
}
