//! One throwaway cluster for all test processes of a build.
//!
//! No process owns it, so none can stop it in its `Drop`. Each user holds a shared lock on `users.lock`, which
//! the kernel releases when the process ends, however it ends. A small shell script outlives them all: it tries
//! for the exclusive lock, and when it could have had it for a minute it takes it and removes the cluster.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::lock::{FileLock, LockError, Mode};
use super::postmaster::Postmaster;
use super::site::Site;
use super::user::ServerUser;
use super::{Binaries, Durability, Options, url_of};

/// How long the cluster outlives its last user.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// Connections for several test binaries at once, each test with a pool of its own.
const MAX_CONNECTIONS: u16 = 400;

/// Longer than a start takes, which others must wait for.
const LOCK_LIMIT: Duration = Duration::from_secs(90);

/// Held by the watchdog; says its process id.
const WATCHDOG_LOCK: &str = "watchdog.lock";

const WATCHDOG: &str = include_str!("watchdog.sh");

/// The right to use the shared test cluster; it is not stopped as long as one of these exists in any process.
#[derive(Debug)]
pub struct SharedCluster {
    folder: PathBuf,
    socket: PathBuf,
    _use: FileLock,
}

impl SharedCluster {
    /// Returns the URL of a database, as [`super::Cluster::url`] does.
    pub fn url(&self, database: &str) -> String {
        url_of(&self.socket, database)
    }

    /// Returns the folder that the cluster is really in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Registers this process as a user and starts what does not run yet: server, watchdog.
    pub(super) fn join(root: &Path, grace: Duration) -> anyhow::Result<Self> {
        let user = ServerUser::current()?;
        let base = user.place(root)?;
        // One process at a time starts things.
        let _turn = FileLock::take(&base.join("start.lock"), Mode::Exclusive, LOCK_LIMIT)?;
        // Waits for a watchdog that is just removing the cluster; from here on none begins to.
        let users = FileLock::take(&base.join("users.lock"), Mode::Shared, LOCK_LIMIT)?;
        let site = Site::new(base.join("cluster"), user);
        let postmaster = serve(&site)?;
        // The watchdog holds this lock by inheriting it, so whoever gets it knows that there is none.
        match FileLock::take(&base.join(WATCHDOG_LOCK), Mode::Exclusive, Duration::ZERO) {
            Ok(lock) => start_watchdog(&base, &site, lock, grace)?,
            Err(LockError::Held(_)) => {}
            Err(LockError::Failed(error)) => return Err(error),
        }
        Ok(Self { folder: site.folder.clone(), socket: postmaster.socket().to_owned(), _use: users })
    }
}

/// Returns the server that runs, or a new one on a new database: after a crash nothing of the old one can be
/// relied on, because it never waited for the disk.
fn serve(site: &Site) -> anyhow::Result<Postmaster> {
    if let Some(postmaster) = site.adopt()? {
        return Ok(postmaster);
    }
    std::fs::create_dir_all(&site.folder)
        .with_context(|| format!("cannot create {}", site.folder.display()))?;
    site.wipe()?;
    let binaries = Binaries::find().context(Binaries::HOW_TO_INSTALL)?;
    let options = Options {
        folder: site.folder.clone(),
        binaries,
        durability: Durability::Throwaway,
        max_connections: MAX_CONNECTIONS,
    };
    site.start(&options)
}

fn start_watchdog(base: &Path, site: &Site, lock: FileLock, grace: Duration) -> anyhow::Result<()> {
    let lock = lock.hand_on().context("the watchdog's lock is gone")?;
    // Without a way to ask for the lock it would never stop the server.
    let can_lock = Command::new("/bin/sh")
        .args(["-c", "command -v flock || command -v perl"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !can_lock.is_ok_and(|status| status.success()) {
        bail!(
            "the shared test cluster needs `flock` (util-linux) or `perl`, to stop when nobody uses it any more"
        );
    }
    // Detached in every way, else whoever reads the test's output waits for the watchdog too.
    let watchdog = Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "annomesh-test-postgres-watchdog"])
        .args([base, &site.folder, site.data(), site.socket()])
        .arg(grace.as_secs().to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(lock))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run /bin/sh")?;
    // Instead of our own id, which taking the lock left there.
    let path = base.join(WATCHDOG_LOCK);
    std::fs::write(&path, format!("{}\n", watchdog.id()))
        .with_context(|| format!("cannot write {}", path.display()))
}
