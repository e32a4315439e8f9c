//! A private PostgreSQL cluster in a folder: what the launcher stores everything in, and what tests run on.
//!
//! It listens on a Unix socket that only its own account (and root) can reach, never on TCP; so it needs no
//! password and is in nobody's way. One process at a time owns a folder, by a lock that the kernel releases
//! when that process dies. A server that outlived its launcher (`kill -9`) is taken over by the next one.
//!
//! A folder holds `data` (the database), `socket`, `postgres.log` and `launcher.lock`. Root's cluster runs as
//! another account and may therefore have to live elsewhere: [`Cluster::folder`] says where it is.
//!
//! Everything waits on processes and files; it is done on tokio's blocking threads.

mod binaries;
mod lock;
mod postmaster;
mod shared;
mod site;
mod user;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

pub use binaries::Binaries;
pub use shared::SharedCluster;

use lock::{FileLock, LockError, Mode};
use postmaster::{Postmaster, SUPERUSER, Shutdown};
use site::Site;
use user::ServerUser;

/// The lock of the process that owns the folder.
const LOCK: &str = "launcher.lock";

/// Marks a folder whose contents may be removed without asking.
const THROWAWAY: &str = "throwaway";

/// How long to wait for the owner's lock. Not zero, because a child that the last owner was just starting
/// keeps a copy of it for some milliseconds.
const LOCK_LIMIT: Duration = Duration::from_millis(500);

/// What the data must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything: a transaction that was committed is on the disk.
    Durable,
    /// Nothing: faster, removed when the [`Cluster`] is dropped, and for tests only.
    Throwaway,
}

/// Which cluster to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's own folder; created if need be. A throwaway cluster's must be new or empty.
    pub folder: PathBuf,
    /// The server's programs. If another version made the database, that one is looked for.
    pub binaries: Binaries,
    /// What the data must survive.
    pub durability: Durability,
    /// How many connections the server allows; each costs some tens of kilobytes even when unused.
    pub max_connections: u16,
}

impl Options {
    /// Returns options for a durable cluster in `folder` with 200 connections.
    pub fn durable(folder: impl Into<PathBuf>, binaries: Binaries) -> Self {
        Self { folder: folder.into(), binaries, durability: Durability::Durable, max_connections: 200 }
    }

    /// Returns options for a throwaway cluster in `folder` with 200 connections.
    pub fn throwaway(folder: impl Into<PathBuf>, binaries: Binaries) -> Self {
        Self { durability: Durability::Throwaway, ..Self::durable(folder, binaries) }
    }
}

/// A running cluster, owned by this process.
///
/// Dropped without [`Cluster::stop`], a throwaway cluster is ended and removed (this takes some 50 ms); a durable
/// one is told to shut down, and nobody waits for it.
#[derive(Debug)]
pub struct Cluster {
    site: Site,
    durability: Durability,
    /// Present until it is stopped.
    postmaster: Option<Postmaster>,
    /// Released after everything else: fields are dropped in order, and this after [`Drop::drop`].
    _lock: FileLock,
}

impl Cluster {
    /// Starts the cluster of a folder, or takes over the server that still runs there; creates the database the
    /// first time. Returns when the server takes connections: some 30 ms for a folder that exists, a second for a new one.
    ///
    /// # Errors
    /// When another process owns the folder; when it holds the other kind of cluster, or a throwaway cluster's
    /// folder holds anything else; when the programs cannot be run, or no version fits the database; when the
    /// server does not serve within 60 s (the error quotes the end of its log).
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    /// Returns the cluster that all test processes of a build share, in the folder `root` (such as
    /// `target/test-postgres`): the first process starts it, and it ends, removing its databases, when no process
    /// has held a [`SharedCluster`] for 60 s. The databases of an earlier process may still be there: name them
    /// so that they cannot be mistaken.
    ///
    /// # Errors
    /// When there is no PostgreSQL; for the rest as [`Cluster::start`].
    pub async fn shared_for_tests(root: &Path) -> anyhow::Result<SharedCluster> {
        let root = root.to_owned();
        tokio::task::spawn_blocking(move || Self::shared_for_tests_blocking(&root)).await?
    }

    /// Does what [`Cluster::shared_for_tests`] does, for a `OnceLock` that outlives each test's runtime.
    ///
    /// # Errors
    /// As [`Cluster::shared_for_tests`].
    pub fn shared_for_tests_blocking(root: &Path) -> anyhow::Result<SharedCluster> {
        SharedCluster::join(root, shared::GRACE)
    }

    /// Returns the URL of a database of this cluster, for its superuser. The socket's folder stands where a host
    /// would (`postgresql://annomesh@%2Ftmp%2Fx/projects`): tokio-postgres, libpq and the `url` crate all read it.
    pub fn url(&self, database: &str) -> String {
        url_of(self.postmaster.as_ref().map_or(self.site.socket(), Postmaster::socket), database)
    }

    /// Returns the folder that the cluster is really in.
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// Returns the server's process id.
    pub fn process_id(&self) -> u32 {
        self.postmaster.as_ref().map_or(0, Postmaster::pid)
    }

    /// Stops the server and waits until it is gone: a fast shutdown (clients are cut off, everything is written
    /// out), made an immediate one after 5 s. A throwaway cluster's folder is removed.
    ///
    /// # Errors
    /// When the server is still there 7 s later, or the folder cannot be removed.
    pub async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.stop_blocking()).await?
    }

    fn start_blocking(options: &Options) -> anyhow::Result<Self> {
        let began = Instant::now();
        let user = ServerUser::current()?;
        let site = Site::new(user.place(&options.folder)?, user);
        let lock = own(&site.folder)?;
        claim(&site, options.durability)?;
        let postmaster = match options.durability {
            Durability::Durable => adopt_or_start(&site, options)?,
            Durability::Throwaway => {
                sweep(&site);
                site.wipe()?;
                site.start(options)?
            }
        };
        tracing::info!(
            "PostgreSQL serves from {} (process {}, {} ms)",
            site.folder.display(),
            postmaster.pid(),
            began.elapsed().as_millis()
        );
        Ok(Self { site, durability: options.durability, postmaster: Some(postmaster), _lock: lock })
    }

    fn stop_blocking(mut self) -> anyhow::Result<()> {
        let Some(mut postmaster) = self.postmaster.take() else {
            return Ok(());
        };
        postmaster.stop(Shutdown::Fast)?;
        match self.durability {
            Durability::Durable => Ok(()),
            Durability::Throwaway => self.site.remove(),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else {
            return;
        };
        let ended = match self.durability {
            Durability::Durable => postmaster.begin_shutdown(Shutdown::Fast),
            Durability::Throwaway => postmaster.stop(Shutdown::Immediate).and_then(|()| self.site.remove()),
        };
        if let Err(error) = ended {
            tracing::warn!("PostgreSQL in {} was not ended: {error:#}", self.site.folder.display());
        }
    }
}

/// Takes the lock of a folder.
fn own(folder: &Path) -> anyhow::Result<FileLock> {
    FileLock::take(&folder.join(LOCK), Mode::Exclusive, LOCK_LIMIT).map_err(|error| match error {
        LockError::Held(owner) => {
            anyhow::anyhow!("the PostgreSQL cluster in {} is in use by {owner}", folder.display())
        }
        LockError::Failed(error) => error,
    })
}

/// Makes sure that the folder's contents may be treated as this kind of cluster: what is thrown away in the end
/// must have been made for it, and what must last must not be thrown away by somebody else.
fn claim(site: &Site, durability: Durability) -> anyhow::Result<()> {
    let marker = site.folder.join(THROWAWAY);
    match (durability, marker.exists()) {
        (Durability::Durable, true) => {
            bail!(
                "{} holds a throwaway cluster, which the next one removes: choose another folder",
                site.folder.display()
            );
        }
        (Durability::Durable, false) | (Durability::Throwaway, true) => Ok(()),
        (Durability::Throwaway, false) => {
            for entry in std::fs::read_dir(&site.folder)? {
                if entry?.file_name() != LOCK {
                    bail!(
                        "{} is not empty: a throwaway cluster would remove what is there",
                        site.folder.display()
                    );
                }
            }
            std::fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
        }
    }
}

/// Takes over the server that an earlier launcher left behind, unless it was started with other settings (it
/// could be one that does not wait for the disk); starts one if there is none.
fn adopt_or_start(site: &Site, options: &Options) -> anyhow::Result<Postmaster> {
    if let Some(mut postmaster) = site.adopt()? {
        if site.is_as_wanted(options) {
            tracing::info!("taking over the PostgreSQL that still runs (process {})", postmaster.pid());
            return Ok(postmaster);
        }
        postmaster.stop(Shutdown::Fast)?;
    }
    site.start(options)
}

/// Ends and removes the throwaway clusters beside this one whose owners are dead, so that killed test runs do
/// not pile up.
fn sweep(site: &Site) {
    let beside = site.folder.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    for folder in beside.into_iter().flatten().flatten().map(|entry| entry.path()) {
        if folder == site.folder || !folder.join(THROWAWAY).exists() {
            continue;
        }
        // Whoever has the lock is alive; whoever wants it must find nothing half removed, so we hold it.
        if let Ok(_lock) = FileLock::take(&folder.join(LOCK), Mode::Exclusive, Duration::ZERO) {
            match Site::new(folder.clone(), site.user).remove() {
                Ok(()) => tracing::info!("removed the abandoned cluster in {}", folder.display()),
                Err(error) => tracing::warn!("cannot remove {}: {error:#}", folder.display()),
            }
        }
    }
}

fn url_of(socket: &Path, database: &str) -> String {
    let socket = percent_encoded(socket.as_os_str().as_encoded_bytes());
    format!("postgresql://{SUPERUSER}@{socket}/{}", percent_encoded(database.as_bytes()))
}

fn percent_encoded(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}
