//! What a folder does better by itself than through a trait for buckets: files get their names without being copied,
//! and are written to the disk together.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use super::StorageError;

/// So many files are written to the disk one by one.
const FEW: usize = 8;
const BUFFER: usize = 64 * 1024;

/// Makes a folder that only this user may look into.
pub fn make(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Runs something slow on a thread of its own.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(std::io::Error::other(stopped)),
    }
}

/// What is written: its name, a name for the meantime, its bytes.
pub struct New {
    pub target: PathBuf,
    pub temporary: PathBuf,
    pub parts: Vec<Bytes>,
}

/// Writes small files one after the other, all but those that are there. They may not outlive a power cut yet.
pub async fn write(files: Vec<New>) -> Result<(), StorageError> {
    aside(move || files.iter().try_for_each(write_one)).await.map_err(StorageError::from)
}

fn write_one(new: &New) -> std::io::Result<()> {
    let New { target, temporary, parts } = new;
    let written = std::fs::File::create_new(temporary)
        .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)))
        .and_then(|()| name(target, temporary, move_to_free));
    match written {
        // It was moved.
        Ok(true) => Ok(()),
        Ok(false) => std::fs::remove_file(temporary),
        Err(error) => {
            // What went wrong first counts; when the file could not even be made, there is none to remove.
            let _ = std::fs::remove_file(temporary);
            Err(error)
        }
    }
}

/// Gives a finished file its name, unless something has that name. It may not outlive a power cut yet.
pub async fn adopt(target: PathBuf, file: PathBuf) -> Result<(), StorageError> {
    aside(move || name(&target, &file, |file, target| std::fs::hard_link(file, target)).map(drop))
        .await
        .map_err(StorageError::from)
}

/// Lets `give` give a file its name if that is free; returns whether it did.
fn name(target: &Path, file: &Path, give: fn(&Path, &Path) -> std::io::Result<()>) -> std::io::Result<bool> {
    let mut given = give(file, target);
    if given.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        target.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        given = give(file, target);
    }
    match given {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        given => return given.map(|()| true),
    }
    // What has this name has these bytes, unless the power was cut before it was settled.
    if same_bytes(file, target)? {
        return Ok(false);
    }
    tracing::warn!(file = %target.display(), "a damaged file is replaced");
    let beside = target.with_extension(event_store::new_id().simple().to_string());
    std::fs::hard_link(file, &beside)?;
    std::fs::rename(&beside, target).map(|()| false)
}

/// One change of two folders, instead of a link, and then one less.
#[cfg(target_os = "linux")]
fn move_to_free(file: &Path, target: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, file, CWD, target, RenameFlags::NOREPLACE) {
        // Not every file system knows it.
        Err(rustix::io::Errno::INVAL) => link_and_remove(file, target),
        moved => Ok(moved?),
    }
}

#[cfg(not(target_os = "linux"))]
fn move_to_free(file: &Path, target: &Path) -> std::io::Result<()> {
    link_and_remove(file, target)
}

fn link_and_remove(file: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::hard_link(file, target)?;
    std::fs::remove_file(file)
}

fn same_bytes(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (std::fs::File::open(one)?, std::fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Writes files below `root` to the disk, and the folders that name them.
pub async fn settle(root: PathBuf, files: Vec<PathBuf>) -> Result<(), StorageError> {
    aside(move || {
        #[cfg(target_os = "linux")]
        if files.len() > FEW {
            // The whole file system at once: the journal is written once instead of once a file.
            return Ok(rustix::fs::syncfs(std::fs::File::open(&root)?)?);
        }
        for file in &files {
            std::fs::File::open(file)?.sync_all()?;
        }
        settle_folders(&root, &files)
    })
    .await
    .map_err(StorageError::from)
}

/// Writes to the disk that files are gone.
pub async fn settle_removal(root: PathBuf, files: Vec<PathBuf>) -> Result<(), StorageError> {
    aside(move || settle_folders(&root, &files)).await.map_err(StorageError::from)
}

/// All folders on the way, because any of them may be new.
fn settle_folders(root: &Path, files: &[PathBuf]) -> std::io::Result<()> {
    let below = |file: &PathBuf| {
        let above = file.ancestors().skip(1).map(Path::to_owned);
        above.take_while(|folder| folder.starts_with(root)).collect::<Vec<_>>()
    };
    let folders: BTreeSet<PathBuf> = files.iter().flat_map(below).collect();
    for folder in folders {
        match std::fs::File::open(&folder) {
            Ok(folder) => folder.sync_all()?,
            // Nothing of it is left.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a whole file.
pub async fn read(file: PathBuf) -> Result<Bytes, StorageError> {
    let name = file.display().to_string();
    aside(move || std::fs::read(file)).await.map(Bytes::from).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StorageError::Missing(name),
        _ => StorageError::from(error),
    })
}

/// Removes a folder that has nothing in it any more.
pub async fn remove_empty(folder: PathBuf) {
    // One that is not empty has a new piece in it, and one that is gone is fine.
    if let Err(error) = aside(move || std::fs::remove_dir(folder)).await {
        tracing::debug!(%error, "a folder stays");
    }
}

/// Removes files that nobody has written to for a while.
pub async fn forget_old_files(folder: PathBuf, older_than: Duration) {
    let forgotten = aside(move || {
        let mut forgotten = 0;
        for entry in std::fs::read_dir(folder)?.flatten() {
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > older_than {
                std::fs::remove_file(entry.path())?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    });
    match forgotten.await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "files that arrived in part were removed"),
        Err(error) => tracing::warn!(%error, "files that arrived in part could not be removed"),
    }
}
