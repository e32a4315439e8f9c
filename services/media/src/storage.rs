//! Where the bytes are: a folder or a bucket, behind the few things that are asked of either.
//!
//! Every key begins with its tenant. What a key names never changes: blobs are named by their digest, everything else
//! by what it was made of, or by a number that is used once.

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::TenantId;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreFault, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use service_kit::config::storage as settings;

mod check;
mod error;
mod folder;
mod large;
mod place;

pub use error::StorageError;

/// Memory for what arrives and is not stored yet, in bytes, of all clients together.
pub const ARRIVING_BYTES: usize = 256 * 1024 * 1024;

/// Objects that one caller writes at the same time.
const AT_ONCE: usize = 8;

/// The SHA-256 of some bytes.
pub type Digest = [u8; 32];

/// The name of something stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Bytes that a tenant sent.
    Blob(TenantId, Digest),
    /// A picture made of a blob.
    Derived(TenantId, Digest, String),
    /// A piece of a file that is still being sent.
    Piece(TenantId, Uuid, String),
}

impl Key {
    /// What tells its bytes from all others.
    pub fn content(&self) -> (&[u8], &str) {
        match self {
            Self::Blob(_, digest) => (digest, ""),
            Self::Derived(_, digest, form) => (digest, form),
            Self::Piece(_, upload, name) => (upload.as_bytes(), name),
        }
    }

    fn path(&self) -> Path {
        Path::from(match self {
            Self::Blob(tenant, digest) => format!("t/{tenant}/blob/{}", hex::encode(digest)),
            Self::Derived(tenant, digest, form) => {
                format!("t/{tenant}/derived/{}/{form}", hex::encode(digest))
            }
            Self::Piece(tenant, upload, name) => format!("t/{tenant}/upload/{upload}/{name}"),
        })
    }
}

/// What is written: a little in memory, or a file that may be taken away.
pub enum Content {
    Memory(Vec<Bytes>),
    File(PathBuf),
}

/// The storage of a deployment. A tenant's own bucket would be another value of this type, opened with its keys and
/// nothing else.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The folder, when it is one.
    folder: Option<PathBuf>,
    /// What to name when the place says no.
    variables: place::Variables,
    /// How long a bucket may keep a request waiting.
    patience: Duration,
    /// Files on their way into a bucket: each takes memory.
    sending: Arc<Semaphore>,
    /// Bytes in memory of what arrives.
    arriving: Arc<Semaphore>,
    /// Where files are kept while they arrive.
    incoming: PathBuf,
    free_bytes_min: u64,
}

impl Storage {
    /// Opens the service's own storage; for a bucket the process's own identity is good enough.
    ///
    /// # Errors
    /// Names the folder or the setting that is at fault.
    pub fn open(data: &FilePath, settings: &settings::Storage) -> anyhow::Result<Self> {
        Self::open_patiently(data, settings, place::PATIENCE)
    }

    fn open_patiently(
        data: &FilePath,
        settings: &settings::Storage,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let incoming = data.join("media").join("incoming");
        folder::make(&incoming)?;
        let place::Opened { store, folder, variables } = place::open(data, &settings.place, patience)?;
        let sending = Arc::new(Semaphore::new(large::AT_ONCE));
        let arriving = Arc::new(Semaphore::new(ARRIVING_BYTES));
        let free_bytes_min = settings.free_bytes_min;
        Ok(Self { store, folder, variables, patience, sending, arriving, incoming, free_bytes_min })
    }

    /// Has a permit for each byte of [`ARRIVING_BYTES`] that nobody uses.
    pub fn arriving(&self) -> &Arc<Semaphore> {
        &self.arriving
    }

    /// A new file for something that arrives.
    pub fn incoming(&self) -> PathBuf {
        self.incoming.join(event_store::new_id().simple().to_string())
    }

    /// Whether there is room for `bytes` more on the disks that they would be written to.
    ///
    /// # Errors
    /// [`StorageError::Full`] when a disk would have less left than it must keep.
    pub fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        for folder in self.folder.iter().chain([&self.incoming]) {
            let disk = rustix::fs::statvfs(folder).map_err(|error| StorageError::Io(error.into()))?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < self.free_bytes_min.saturating_add(bytes) {
                return Err(StorageError::Full);
            }
        }
        Ok(())
    }

    /// Writes something unless it is there already: what has the same key has the same bytes. When this returns it
    /// outlives a power cut.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is there.
    pub async fn put(&self, key: &Key, content: Content) -> Result<(), StorageError> {
        self.put_unsettled(vec![(key.clone(), content)]).await?;
        self.settle(std::slice::from_ref(key)).await
    }

    /// The same, but in a folder it may not outlive a power cut before [`Storage::settle`] was told of it: to write
    /// many files to the disk together costs far less than doing it one by one. All of them are tried when one fails.
    ///
    /// # Errors
    /// As [`Storage::put`].
    pub async fn put_unsettled(&self, objects: Vec<(Key, Content)>) -> Result<(), StorageError> {
        let Some(folder) = &self.folder else {
            return all_of(objects.into_iter().map(|(key, content)| self.put_object(key, content))).await;
        };
        let (mut small, mut large) = (vec![], vec![]);
        for (key, content) in objects {
            let target = folder.join(key.path().as_ref());
            match content {
                Content::Memory(parts) => {
                    small.push(folder::New { target, temporary: self.incoming(), parts })
                }
                Content::File(file) => large.push(folder::adopt(target, file)),
            }
        }
        let share = small.len().div_ceil(AT_ONCE).max(1);
        let mut shares = vec![];
        while !small.is_empty() {
            shares.push(folder::write(small.split_off(small.len().saturating_sub(share))));
        }
        let (small, large) = tokio::join!(all_of(shares), all_of(large));
        small.and(large)
    }

    async fn put_object(&self, key: Key, content: Content) -> Result<(), StorageError> {
        match content {
            Content::Memory(parts) => self.put_new(&key.path(), parts.into_iter().collect()).await,
            Content::File(file) => self.put_file(&key.path(), &file).await,
        }
    }

    /// Makes sure that what was put outlives a power cut. A bucket has said so already.
    ///
    /// # Errors
    /// When the disk does not take it; then it must not be used.
    pub async fn settle(&self, keys: &[Key]) -> Result<(), StorageError> {
        match &self.folder {
            Some(folder) if !keys.is_empty() => {
                let files = keys.iter().map(|key| folder.join(key.path().as_ref())).collect();
                folder::settle(folder.clone(), files).await
            }
            _ => Ok(()),
        }
    }

    async fn put_new(&self, path: &Path, payload: PutPayload) -> Result<(), StorageError> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(path, payload.clone(), options).await {
            Ok(_) | Err(StoreFault::AlreadyExists { .. }) => Ok(()),
            // A server that knows no conditions: to write the same bytes again does no harm.
            Err(StoreFault::NotImplemented { .. } | StoreFault::NotSupported { .. }) => {
                self.store.put(path, payload).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads all of something small.
    ///
    /// # Errors
    /// When it is not there, or the storage is away.
    pub async fn read(&self, key: &Key) -> Result<Bytes, StorageError> {
        if let Some(folder) = &self.folder {
            return folder::read(folder.join(key.path().as_ref())).await;
        }
        Ok(self.store.get(&key.path()).await?.bytes().await?)
    }

    /// Reads something piece by piece.
    ///
    /// # Errors
    /// When it is not there, or the storage is away.
    pub async fn stream(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
        let found = self.store.get_opts(&key.path(), options).await?;
        Ok(found.into_stream().map_err(StorageError::from).boxed())
    }

    /// Removes things; those that are not there are fine.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn delete(&self, keys: &[Key]) -> Result<(), StorageError> {
        let paths = futures::stream::iter(keys.iter().map(|key| Ok(key.path())).collect::<Vec<_>>());
        self.delete_all(paths.boxed()).await?;
        if let Some(folder) = &self.folder {
            // Or they might come back, and no row would know of them.
            let files = keys.iter().map(|key| folder.join(key.path().as_ref())).collect();
            folder::settle_removal(folder.clone(), files).await?;
        }
        Ok(())
    }

    /// Removes all pieces of a file that was sent piece by piece, also those that nobody noted.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn delete_pieces(&self, tenant: TenantId, upload: Uuid) -> Result<(), StorageError> {
        let prefix = Path::from(format!("t/{tenant}/upload/{upload}"));
        let found = self.store.list(Some(&prefix)).map_ok(|object| object.location);
        self.delete_all(found.boxed()).await?;
        if let Some(folder) = &self.folder {
            folder::remove_empty(folder.join(prefix.as_ref())).await;
        }
        Ok(())
    }

    async fn delete_all(
        &self,
        paths: BoxStream<'static, Result<Path, StoreFault>>,
    ) -> Result<(), StorageError> {
        let mut deleted = self.store.delete_stream(paths);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(StoreFault::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes files that arrived in part and that nobody goes on with, because the process was killed.
    pub async fn forget_incoming(&self, older_than: Duration) {
        folder::forget_old_files(self.incoming.clone(), older_than).await;
    }
}

/// Waits for all of them, also when one fails: a write that has begun on a thread of its own goes on in any case, and
/// must be over before somebody gives up what it writes.
async fn all_of<E>(works: impl IntoIterator<Item = impl Future<Output = Result<(), E>>>) -> Result<(), E> {
    let outcomes = futures::stream::iter(works).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    outcomes.into_iter().collect()
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({})", self.store)
    }
}

#[cfg(test)]
mod tests;
