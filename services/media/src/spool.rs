//! A file that arrives: looked at and hashed while it goes by, kept in memory while it is small and in a file when it
//! is not. Never all of a large file is in memory.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::blobs::Blob;
use crate::buffer::{Buffer, Gathered};
use crate::pictures::Fault;
use crate::pictures::scan::Scan;
use crate::storage::{Content, Storage, StorageError};

/// Bytes of one file that stay in memory.
const MEMORY_MAX: usize = 1024 * 1024;

/// A file on its way in.
pub struct Spool {
    bytes: Buffer,
    hash: Context,
    crc32: crc32fast::Hasher,
    scan: Scan,
}

/// A file that has arrived, and is a picture.
pub struct Spooled {
    pub blob: Blob,
    bytes: Gathered,
}

/// Why a file is not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("not stored")]
    Storage(#[from] StorageError),
}

impl Spool {
    pub fn new(storage: &Storage) -> Self {
        Self {
            bytes: Buffer::new(storage, MEMORY_MAX),
            hash: Context::new(&SHA256),
            crc32: crc32fast::Hasher::new(),
            scan: Scan::default(),
        }
    }

    /// Takes a piece in.
    ///
    /// # Errors
    /// As soon as it is certain that the file is no picture that is taken, or when there is no room for it.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), SpoolError> {
        self.hash.update(&piece);
        self.crc32.update(&piece);
        self.scan.push(&piece);
        if let Some(fault) = self.scan.fault() {
            return Err(fault.clone().into());
        }
        Ok(self.bytes.push(&piece).await?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn finish(self) -> Result<Spooled, SpoolError> {
        let picture = self.scan.finish()?;
        let size = self.bytes.len();
        let bytes = self.bytes.finish().await?;
        let mut digest = [0; 32];
        digest.copy_from_slice(self.hash.finish().as_ref());
        let blob = Blob { digest, size, crc32: self.crc32.finalize(), picture };
        Ok(Spooled { blob, bytes })
    }
}

impl Spooled {
    /// Bytes of it that are in memory.
    pub fn memory(&self) -> usize {
        self.bytes.memory()
    }

    /// What to give to the storage; a file is removed when `self` is dropped.
    pub fn content(&self) -> Content {
        self.bytes.content()
    }
}
