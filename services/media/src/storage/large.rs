//! Files on their way into a bucket, part by part: never all of one is in memory.

use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::{Storage, StorageError};

/// A part. A bucket wants at least 5 MiB.
const PART: usize = 8 * 1024 * 1024;
/// Parts of a file that are on their way, besides the one that is being read.
const PARTS_AT_ONCE: usize = 2;
/// Files that are on their way.
pub const AT_ONCE: usize = 2;

impl Storage {
    /// Sends a file. A small one goes in one request.
    pub(super) async fn put_file(&self, path: &Path, file: &FilePath) -> Result<(), StorageError> {
        // Who waits for longer than a bucket may be silent waits for one that is.
        let place = tokio::time::timeout(self.patience, self.sending.acquire()).await;
        let _place = place.map_err(|_| StorageError::Silent)?;
        let mut file = tokio::fs::File::open(file).await.map_err(StorageError::Io)?;
        let first = read_part(&mut file).await?;
        if first.len() < PART {
            return self.put_new(path, first.into()).await;
        }
        let mut upload = self.store.put_multipart(path).await?;
        let sent = send(upload.as_mut(), first, file).await;
        if sent.is_err() {
            // Not everybody who may write may do this: the guide's policy does not allow it. What is left is seen by
            // nobody, and a rule of the bucket's own removes it in time.
            if let Err(error) = upload.abort().await {
                tracing::warn!(error = event_store::chain(&error), "parts of a file stay in the bucket");
            }
        }
        sent
    }
}

async fn send(
    upload: &mut dyn MultipartUpload,
    first: Bytes,
    mut file: tokio::fs::File,
) -> Result<(), StorageError> {
    let (mut parts, mut part) = (JoinSet::new(), first);
    while !part.is_empty() {
        parts.spawn(upload.put_part(part.into()));
        while parts.len() >= PARTS_AT_ONCE {
            one_of(&mut parts).await?;
        }
        part = read_part(&mut file).await?;
    }
    while !parts.is_empty() {
        one_of(&mut parts).await?;
    }
    upload.complete().await?;
    Ok(())
}

async fn one_of(parts: &mut JoinSet<object_store::Result<()>>) -> Result<(), StorageError> {
    match parts.join_next().await {
        Some(Ok(sent)) => Ok(sent?),
        Some(Err(stopped)) => Err(StorageError::Io(std::io::Error::other(stopped))),
        None => Ok(()),
    }
}

async fn read_part(file: &mut tokio::fs::File) -> Result<Bytes, StorageError> {
    let mut part = Vec::with_capacity(PART);
    (&mut *file).take(PART as u64).read_to_end(&mut part).await.map_err(StorageError::Io)?;
    Ok(part.into())
}
