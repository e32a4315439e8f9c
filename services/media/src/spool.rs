//! A file that arrives: looked at and hashed while it goes by, kept in memory while it is small and in a file when it
//! is not. Never all of a large file is in memory.

use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::blobs::Blob;
use crate::pictures::Fault;
use crate::pictures::scan::Scan;
use crate::storage::{Content, Storage, StorageError};

/// Bytes of one file that stay in memory.
const MEMORY_MAX: usize = 1024 * 1024;

/// A file that is removed when nobody needs it any more.
pub struct TemporaryFile(pub PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "a file that arrived could not be removed");
        }
    }
}

enum Kept {
    Memory(Vec<Bytes>, usize),
    File(TemporaryFile, tokio::fs::File),
}

/// A file on its way in.
pub struct Spool {
    storage: Storage,
    kept: Kept,
    hash: Context,
    crc32: crc32fast::Hasher,
    scan: Scan,
    size: u64,
}

/// A file that has arrived, and is a picture.
pub struct Spooled {
    pub blob: Blob,
    kept: Kept,
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
            storage: storage.clone(),
            kept: Kept::Memory(vec![], 0),
            hash: Context::new(&SHA256),
            crc32: crc32fast::Hasher::new(),
            scan: Scan::default(),
            size: 0,
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
        self.size += piece.len() as u64;
        if let Some(fault) = self.scan.fault() {
            return Err(fault.clone().into());
        }
        match &mut self.kept {
            Kept::Memory(pieces, length) => {
                *length += piece.len();
                pieces.push(piece);
                if *length > MEMORY_MAX {
                    self.move_to_file().await?;
                }
            }
            Kept::File(_, file) => file.write_all(&piece).await.map_err(StorageError::from)?,
        }
        Ok(())
    }

    async fn move_to_file(&mut self) -> Result<(), StorageError> {
        let path = self.storage.incoming();
        let mut file = tokio::fs::File::create_new(&path).await?;
        let temporary = TemporaryFile(path);
        if let Kept::Memory(pieces, _) = &mut self.kept {
            for piece in std::mem::take(pieces) {
                file.write_all(&piece).await?;
            }
        }
        self.kept = Kept::File(temporary, file);
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        let picture = self.scan.finish()?;
        if let Kept::File(_, file) = &mut self.kept {
            file.flush().await.map_err(StorageError::from)?;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(self.hash.finish().as_ref());
        let blob = Blob { digest, size: self.size, crc32: self.crc32.finalize(), picture };
        Ok(Spooled { blob, kept: self.kept })
    }
}

impl Spooled {
    /// Bytes of it that are in memory.
    pub fn memory(&self) -> usize {
        match &self.kept {
            Kept::Memory(_, length) => *length,
            Kept::File(..) => 0,
        }
    }

    /// What to give to the storage; a file is removed when `self` is dropped.
    pub fn content(&self) -> Content {
        match &self.kept {
            Kept::Memory(pieces, _) => Content::Memory(pieces.clone()),
            Kept::File(file, _) => Content::File(file.0.clone()),
        }
    }
}
