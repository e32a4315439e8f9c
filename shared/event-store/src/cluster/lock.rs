//! Locks between processes that the kernel gives back when their owner dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// How long to wait between two tries: the kernel would wake us, but offers no time limit.
const RETRY: Duration = Duration::from_millis(5);

/// How the lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// By one process alone.
    Exclusive,
    /// By any number together.
    Shared,
}

/// A lock on a file (`flock`), released on drop.
#[derive(Debug)]
pub(super) struct FileLock {
    /// Present until the lock is handed on.
    file: Option<File>,
}

/// Why the lock was not had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Somebody else holds it; the text names who, if the file says so.
    Held(String),
    /// The file could not be used.
    Failed(anyhow::Error),
}

impl FileLock {
    /// Takes the lock on `path`, creating file and folders, waiting at most `limit`.
    pub(super) fn take(path: &Path, mode: Mode, limit: Duration) -> Result<Self, LockError> {
        let began = Instant::now();
        loop {
            let mut file = open(path).map_err(LockError::Failed)?;
            let tried = match mode {
                Mode::Exclusive => file.try_lock(),
                Mode::Shared => file.try_lock_shared(),
            };
            match tried {
                // A file that was removed in between locks nothing: begin again with the new one.
                Ok(()) if !is_at(&file, path) => {}
                Ok(()) => {
                    if mode == Mode::Exclusive {
                        sign(&mut file)
                            .with_context(|| format!("cannot write {}", path.display()))
                            .map_err(LockError::Failed)?;
                    }
                    return Ok(Self { file: Some(file) });
                }
                Err(TryLockError::WouldBlock) if began.elapsed() >= limit => {
                    return Err(LockError::Held(owner(&mut file)));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(RETRY),
                Err(TryLockError::Error(error)) => {
                    let error = anyhow::Error::new(error).context(format!("cannot lock {}", path.display()));
                    return Err(LockError::Failed(error));
                }
            }
        }
    }

    /// Hands the lock on: it then belongs to whoever inherits the file, until the last copy is closed.
    pub(super) fn hand_on(mut self) -> Option<File> {
        self.file.take()
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Said outright, because a child between fork and exec still has a copy of the open file.
        if let Some(file) = &self.file {
            let _ = file.unlock();
        }
    }
}

impl From<LockError> for anyhow::Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held(owner) => anyhow::anyhow!("the lock is held by {owner}"),
            LockError::Failed(error) => error,
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Leaves this process's id for the error of whoever comes second.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}
