//! The data folder: private, and used by one mesh at a time. Whoever uses it says in `mesh.lock` where it
//! answers, so that other commands find it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Locked as long as a mesh runs on the folder.
pub const LOCK: &str = "mesh.lock";
/// The PostgreSQL cluster's own folder.
pub const POSTGRES: &str = "postgres";

/// How long to wait for the lock: a command that only looks holds it for a moment.
const LOCK_LIMIT: Duration = Duration::from_millis(500);

/// A running mesh, as others find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub process: u32,
    /// Where the front door is; empty until it is open.
    pub url: String,
    /// Where the mesh port is.
    pub mesh_address: String,
}

/// The right to use the folder; the kernel takes it back when the process dies, however it dies.
pub struct Owned {
    lock: File,
}

impl Owned {
    /// Says where the mesh answers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&mut self, url: &str, mesh_address: &str) -> anyhow::Result<()> {
        let running = Running {
            process: std::process::id(),
            url: url.to_owned(),
            mesh_address: mesh_address.to_owned(),
        };
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        Ok(writeln!(self.lock, "{}", serde_json::to_string(&running)?)?)
    }
}

/// Creates the folder, for this account only. One that is there stays as its owner made it.
///
/// # Errors
/// When the system does not let us.
pub fn create(folder: &Path) -> anyhow::Result<()> {
    // Root's PostgreSQL runs as another account, which has to pass through; it still cannot look around.
    let mode = if is_roots() { 0o711 } else { 0o700 };
    let create = || {
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(mode).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            result => result,
        }
    };
    create().with_context(|| format!("ANNOMESH_DATA: cannot create {}", folder.display()))
}

/// Takes the folder for a mesh of this process.
///
/// # Errors
/// When another process has it.
pub fn own(folder: &Path) -> anyhow::Result<Owned> {
    let began = Instant::now();
    let path = folder.join(LOCK);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    loop {
        match lock.try_lock() {
            Ok(()) => {
                let mut owned = Owned { lock };
                owned.announce("", "")?;
                return Ok(owned);
            }
            Err(TryLockError::WouldBlock) if began.elapsed() >= LOCK_LIMIT => {
                let running = read(&mut lock);
                bail!(
                    "another mesh runs on {}{}: stop it, or set ANNOMESH_DATA to another folder",
                    folder.display(),
                    running.map(|mesh| format!(" (process {})", mesh.process)).unwrap_or_default()
                );
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// The mesh that runs on the folder, if one does.
pub fn running(folder: &Path) -> Option<Running> {
    let mut lock = File::open(folder.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Ok(()) => None,
        Err(_) => read(&mut lock),
    }
}

/// The folder that the PostgreSQL cluster is really in: root's may have had to move.
pub fn postgres(folder: &Path) -> PathBuf {
    let wanted = folder.join(POSTGRES);
    match std::fs::read_to_string(wanted.join("moved-to")) {
        Ok(moved) => PathBuf::from(moved.trim()),
        Err(_) => wanted,
    }
}

/// Whether this process is root's. Where there is no `/proc`, nobody runs this as root.
pub fn is_roots() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn read(lock: &mut File) -> Option<Running> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
