//! Bytes that are gathered before they are stored: in memory while there is some to spare, else in a file.
//!
//! However small the parts are that they come in, they lie side by side: a part that is kept as it came costs far more
//! memory than it has bytes, and the client chooses how small the parts are.

use std::path::PathBuf;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::OwnedSemaphorePermit;

use crate::storage::{Content, Storage, StorageError};

/// Bytes that are written to a file together.
const WRITE: usize = 64 * 1024;
/// After so many bytes it is asked again whether there is still room on the disk: others write to it too.
const ROOM_STEP: u64 = 16 * 1024 * 1024;

/// A file that is removed when nobody needs it any more.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "a file that arrived could not be removed");
        }
    }
}

/// Bytes in memory, and the right to have as much of it.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Makes place for `length` bytes in all. Returns whether there is memory to spare: nobody waits for it, because
    /// who waits while he holds some may wait for ever.
    fn grow(&mut self, storage: &Storage, length: usize, most: usize) -> bool {
        let had = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if length <= had {
            return true;
        }
        // What comes in one part is all there is, most of the time.
        let wanted = if had == 0 { length } else { length.next_power_of_two().min(most.max(length)) };
        let more = u32::try_from(wanted - had).ok();
        let Some(more) = more.and_then(|more| storage.arriving().clone().try_acquire_many_owned(more).ok())
        else {
            return false;
        };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        true
    }
}

enum Gathering {
    Memory(Memory),
    /// With the bytes that were written since it was asked whether there is room.
    File(TemporaryFile, BufWriter<File>, u64),
}

/// Bytes that are being gathered.
pub struct Buffer {
    storage: Storage,
    memory_max: usize,
    length: u64,
    gathering: Gathering,
}

impl Buffer {
    /// One that keeps at most `memory_max` bytes in memory.
    pub fn new(storage: &Storage, memory_max: usize) -> Self {
        let gathering = Gathering::Memory(Memory::default());
        Self { storage: storage.clone(), memory_max, length: 0, gathering }
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Adds some.
    ///
    /// # Errors
    /// When there is no room for them.
    pub async fn push(&mut self, part: &[u8]) -> Result<(), StorageError> {
        if let Gathering::Memory(memory) = &mut self.gathering {
            let length = memory.bytes.len() + part.len();
            if length > self.memory_max || !memory.grow(&self.storage, length, self.memory_max) {
                let memory = std::mem::take(memory);
                self.gathering = self.file(&memory.bytes).await?;
            }
        }
        match &mut self.gathering {
            Gathering::Memory(memory) => memory.bytes.extend_from_slice(part),
            Gathering::File(_, file, unchecked) => {
                *unchecked += part.len() as u64;
                if *unchecked >= ROOM_STEP {
                    self.storage.check_room(*unchecked)?;
                    *unchecked = 0;
                }
                file.write_all(part).await?;
            }
        }
        self.length += part.len() as u64;
        Ok(())
    }

    /// A new file that begins with these bytes.
    async fn file(&self, bytes: &[u8]) -> Result<Gathering, StorageError> {
        self.storage.check_room(bytes.len() as u64)?;
        let path = self.storage.incoming();
        let file = File::create_new(&path).await?;
        let (temporary, mut file) = (TemporaryFile(path), BufWriter::with_capacity(WRITE, file));
        file.write_all(bytes).await?;
        Ok(Gathering::File(temporary, file, bytes.len() as u64))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the file cannot be written to its end.
    pub async fn finish(self) -> Result<Gathered, StorageError> {
        let kept = match self.gathering {
            Gathering::Memory(Memory { bytes, permit }) => {
                Kept::Memory { bytes: bytes.into(), _permit: permit }
            }
            Gathering::File(temporary, mut file, _) => {
                file.flush().await?;
                Kept::File(temporary)
            }
        };
        Ok(Gathered(kept))
    }
}

enum Kept {
    Memory { bytes: Bytes, _permit: Option<OwnedSemaphorePermit> },
    File(TemporaryFile),
}

/// Bytes that were gathered.
pub struct Gathered(Kept);

impl Gathered {
    /// Bytes that are in memory.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Kept::Memory { bytes, .. } => bytes.len(),
            Kept::File(_) => 0,
        }
    }

    /// What to give to the storage; a file is removed when `self` is dropped.
    pub fn content(&self) -> Content {
        match &self.0 {
            Kept::Memory { bytes, .. } => Content::Memory(vec![bytes.clone()]),
            Kept::File(file) => Content::File(file.0.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use service_kit::config::storage::{Place, Storage as Settings};

    use super::*;
    use crate::storage::ARRIVING_BYTES;

    fn open(free_bytes_min: u64) -> (PathBuf, Storage) {
        let data = std::env::temp_dir().join(format!("annomesh-buffer-{}", event_store::new_id().simple()));
        let storage = Storage::open(&data, &Settings { place: Place::Folder, free_bytes_min }).unwrap();
        (data, storage)
    }

    async fn filled(storage: &Storage, memory_max: usize, parts: &[&[u8]]) -> Gathered {
        let mut buffer = Buffer::new(storage, memory_max);
        for part in parts {
            buffer.push(part).await.unwrap();
        }
        buffer.finish().await.unwrap()
    }

    #[tokio::test]
    async fn many_small_parts_take_no_more_memory_than_their_bytes() {
        let (data, storage) = open(0);
        let mut buffer = Buffer::new(&storage, 1000);
        for _ in 0..1000 {
            buffer.push(b"x").await.unwrap();
        }
        assert_eq!(storage.arriving().available_permits(), ARRIVING_BYTES - 1000);
        let gathered = buffer.finish().await.unwrap();
        let Content::Memory(parts) = gathered.content() else { panic!("it is not in memory") };
        assert_eq!((parts.len(), gathered.memory()), (1, 1000));
        assert_eq!(parts[0], [b'x'; 1000].as_slice());
        drop(gathered);
        assert_eq!(storage.arriving().available_permits(), ARRIVING_BYTES);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn what_is_too_much_for_memory_goes_into_a_file() {
        let (data, storage) = open(0);
        let large = filled(&storage, 5, &[b"012", b"345", b"6"]).await;
        // Others have all the memory.
        let all = u32::try_from(ARRIVING_BYTES).unwrap() - 2;
        let others = storage.arriving().clone().try_acquire_many_owned(all).unwrap();
        let unlucky = filled(&storage, 100, &[b"01", b"23456"]).await;
        let mut files = vec![];
        for gathered in [&large, &unlucky] {
            let Content::File(file) = gathered.content() else { panic!("it is in memory") };
            assert_eq!(std::fs::read(&file).unwrap(), b"0123456");
            files.push(file);
        }
        drop((large, unlucky, others));
        assert!(files.iter().all(|file| !file.exists()));
        assert_eq!(storage.arriving().available_permits(), ARRIVING_BYTES);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_grows_leaves_what_the_disk_must_keep() {
        let (data, storage) = open(u64::MAX);
        let mut buffer = Buffer::new(&storage, 5);
        buffer.push(b"012").await.unwrap();
        assert!(matches!(buffer.push(b"345").await, Err(StorageError::Full)));
        // And one that was begun when there was room.
        let mut buffer = Buffer::new(&storage, 5);
        let path = storage.incoming();
        let file = BufWriter::new(File::create_new(&path).await.unwrap());
        buffer.gathering = Gathering::File(TemporaryFile(path), file, 0);
        let part = vec![0; 1024 * 1024];
        for _ in 0..15 {
            buffer.push(&part).await.unwrap();
        }
        assert!(matches!(buffer.push(&part).await, Err(StorageError::Full)));
        drop(buffer);
        std::fs::remove_dir_all(data).unwrap();
    }
}
