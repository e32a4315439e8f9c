//! The files of one cluster, and bringing a server up on them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::binaries::Binaries;
use super::postmaster::{Answer, PORT, Postmaster, SUPERUSER, Shutdown};
use super::user::{ServerUser, hash_of};
use super::{Durability, Options};

/// The longest folder that leaves room for the socket's name in the 104 bytes (macOS) of a socket's address.
const LONGEST_SOCKET_FOLDER: usize = 104 - 1 - "/.s.PGSQL.5432".len();

/// How long a server may take to serve; recovery after a crash takes the most of it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a server that was found running may stay silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait for the children of a killed server, which still hold its shared memory.
const SHARED_MEMORY_LIMIT: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(5);

/// From this size on the log is put aside at the next start.
const LARGEST_LOG_BYTES: u64 = 10 << 20;

/// Where the parts of one cluster are.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) user: ServerUser,
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Site {
    /// Describes a cluster in `folder`, which `user` can enter. Changes nothing.
    pub(super) fn new(folder: PathBuf, user: ServerUser) -> Self {
        let name = format!("annomesh-{}", hash_of(&folder));
        let fits = |socket: &Path| socket.as_os_str().len() <= LONGEST_SOCKET_FOLDER;
        let socket = Some(folder.join("socket"))
            .filter(|socket| fits(socket))
            .or_else(|| {
                let parent = std::env::temp_dir();
                user.can_enter(&parent).then(|| parent.join(&name)).filter(|socket| fits(socket))
            })
            .unwrap_or_else(|| Path::new("/tmp").join(&name));
        Self { data: folder.join("data"), log: folder.join("postgres.log"), socket, folder, user }
    }

    /// Says whether there is a database in the folder.
    pub(super) fn is_initialised(&self) -> bool {
        self.data.join("PG_VERSION").exists()
    }

    /// Returns the server that runs here already, once it serves. One that stays silent is stopped, and one
    /// that is shutting down is waited for.
    pub(super) fn adopt(&self) -> anyhow::Result<Option<Postmaster>> {
        let began = Instant::now();
        // Looked up each time, because a server that has just begun fills its pid file bit by bit.
        while let Some(mut postmaster) = Postmaster::running_on(&self.data) {
            let limit = match postmaster.ask() {
                Answer::Ready => return Ok(Some(postmaster)),
                Answer::Refused(why) => bail!(
                    "the PostgreSQL that runs on {} (process {}) refuses us: {why}",
                    self.data.display(),
                    postmaster.pid()
                ),
                Answer::NotNow => START_LIMIT,
                Answer::Silence => SILENCE_LIMIT,
            };
            if began.elapsed() >= limit {
                tracing::warn!("PostgreSQL (process {}) does not answer: stopping it", postmaster.pid());
                postmaster.stop(Shutdown::Immediate)?;
            }
            std::thread::sleep(POLL);
        }
        Ok(None)
    }

    /// Says whether the running server was started with the arguments that we would give.
    pub(super) fn is_as_wanted(&self, options: &Options) -> bool {
        let wanted: Vec<String> =
            self.arguments(options).iter().map(|argument| format!("\"{argument}\"")).collect();
        std::fs::read_to_string(self.data.join("postmaster.opts"))
            .is_ok_and(|given| given.trim_end().ends_with(&wanted.join(" ")))
    }

    /// Creates the database if there is none, starts a server and waits until it serves.
    pub(super) fn start(&self, options: &Options) -> anyhow::Result<Postmaster> {
        if !self.is_initialised() {
            self.initialise(options)?;
        }
        let binaries = self.matching(&options.binaries)?;
        self.user.create_private_folder(&self.socket)?;
        // Left by a killed server; it would believe them if a stranger's process had its old id by now.
        for stale in [
            self.data.join("postmaster.pid"),
            self.socket.join(format!(".s.PGSQL.{PORT}.lock")),
            self.socket.join(format!(".s.PGSQL.{PORT}")),
        ] {
            match std::fs::remove_file(&stale) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", stale.display()));
                }
                _ => {}
            }
        }
        let began = Instant::now();
        loop {
            let from = std::fs::metadata(&self.log).map_or(0, |log| log.len());
            let from = if from > LARGEST_LOG_BYTES && self.set_log_aside() { 0 } else { from };
            let mut postmaster = self.spawn(&binaries, options)?;
            let Err(error) = self.wait_until_ready(&mut postmaster) else {
                return Ok(postmaster);
            };
            let log = self.log_since(from);
            if log.contains("pre-existing shared memory block") && began.elapsed() < SHARED_MEMORY_LIMIT {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            return Err(error.context(format!(
                "the last lines of {}:\n{}",
                self.log.display(),
                last_lines(&log)
            )));
        }
    }

    /// Stops the server, if one runs here, and removes the database, so that the next start makes a new one.
    pub(super) fn wipe(&self) -> anyhow::Result<()> {
        if let Some(mut postmaster) = Postmaster::running_on(&self.data) {
            postmaster.stop(Shutdown::Immediate)?;
        }
        remove_folder(&self.socket)?;
        remove_folder(&self.data)
    }

    /// The same for everything in the folder, and the folder itself.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        self.wipe()?;
        remove_folder(&self.folder)
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes the database under another name and renames it when done, so that one which was cut short is
    /// never taken for a whole one.
    fn initialise(&self, options: &Options) -> anyhow::Result<()> {
        const UNFINISHED: &str = "data-new-";
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                // Its maker is dead, for we hold the folder's lock; but its initdb may still be writing.
                if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                    tracing::warn!("cannot remove {}: {error}", entry.path().display());
                }
            }
        }
        let new = self.folder.join(format!("{UNFINISHED}{}", std::process::id()));
        self.user.create_private_folder(&new)?;
        let mut initdb = self.user.command(&options.binaries.folder().join("initdb"));
        initdb.args(["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"]);
        initdb.args(["--username", SUPERUSER, "--no-instructions", "--pgdata"]).arg(&new);
        if options.durability == Durability::Throwaway {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().context("cannot run initdb")?;
        if !output.status.success() {
            let _ = std::fs::remove_dir_all(&new);
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            bail!("initdb failed ({}):\n{}", output.status, last_lines(&text));
        }
        std::fs::rename(&new, &self.data).with_context(|| {
            format!("cannot create {}: is there something that is no database?", self.data.display())
        })
    }

    /// Returns installed programs of the major version that made the database; no other can read it.
    fn matching(&self, wanted: &Binaries) -> anyhow::Result<Binaries> {
        let path = self.data.join("PG_VERSION");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let major: u32 = text.trim().parse().with_context(|| format!("{} holds {text:?}", path.display()))?;
        if wanted.major() == major {
            return Ok(wanted.clone());
        }
        Binaries::installed().find(|binaries| binaries.major() == major).with_context(|| {
            format!(
                "{} was made by PostgreSQL {major}, and {} holds {}: install {major}, or move the folder away",
                self.data.display(),
                wanted.folder().display(),
                wanted.major()
            )
        })
    }

    /// Returns what the server is started with. Given as arguments rather than written into postgresql.conf,
    /// so that a folder made by an older release gets today's options.
    fn arguments(&self, options: &Options) -> Vec<String> {
        // Quoted, because the setting is a list: a comma or space in the path would end the entry.
        let socket = self.socket.display().to_string().replace('"', "\"\"");
        let mut pairs = vec![
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories=\"{socket}\""),
            "unix_socket_permissions=0700".to_owned(),
            format!("max_connections={}", options.max_connections),
            "shared_buffers=64MB".to_owned(),
            // A query whose client is gone ends soon, instead of holding its locks to the end.
            "client_connection_check_interval=100ms".to_owned(),
            // Compiling a query costs more than our short ones take.
            "jit=off".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "log_destination=stderr".to_owned(),
            "logging_collector=off".to_owned(),
            "log_line_prefix=%m [%p] %q%d ".to_owned(),
        ];
        match options.durability {
            // `replica` keeps pg_basebackup possible; `minimal` would gain nothing for small transactions.
            Durability::Durable => {
                pairs.extend(
                    ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "wal_level=replica"]
                        .map(str::to_owned),
                );
            }
            Durability::Throwaway => pairs.extend(
                // Autovacuum would visit hundreds of databases that live for seconds, and its visit is in the way
                // of cloning and dropping them.
                [
                    "fsync=off",
                    "synchronous_commit=off",
                    "full_page_writes=off",
                    "wal_level=minimal",
                    "max_wal_senders=0",
                    "autovacuum=off",
                ]
                .map(str::to_owned),
            ),
        }
        let mut arguments = vec!["-D".to_owned(), self.data.display().to_string()];
        arguments.extend(pairs.into_iter().flat_map(|pair| ["-c".to_owned(), pair]));
        arguments
    }

    fn spawn(&self, binaries: &Binaries, options: &Options) -> anyhow::Result<Postmaster> {
        let mut log = OpenOptions::new();
        log.create(true).append(true).mode(0o600);
        let log = log.open(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = self
            .user
            .command(&binaries.folder().join("postgres"))
            .args(self.arguments(options))
            // A group of its own: Ctrl-C in the launcher's terminal is for the launcher, which stops the server last.
            .process_group(0)
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .context("cannot run postgres")?;
        Ok(Postmaster::started(child, &self.data, &self.socket))
    }

    fn wait_until_ready(&self, postmaster: &mut Postmaster) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            match postmaster.ask() {
                Answer::Ready => {
                    postmaster.learn_pid();
                    return Ok(());
                }
                Answer::Refused(why) => {
                    postmaster.stop(Shutdown::Immediate)?;
                    bail!("PostgreSQL on {} refuses us: {why}", self.data.display());
                }
                Answer::NotNow | Answer::Silence => {}
            }
            if !postmaster.is_alive() {
                bail!("PostgreSQL on {} ended while starting", self.data.display());
            }
            if began.elapsed() >= START_LIMIT {
                postmaster.stop(Shutdown::Immediate)?;
                bail!("PostgreSQL on {} did not serve within {START_LIMIT:?}", self.data.display());
            }
            std::thread::sleep(POLL);
        }
    }

    fn set_log_aside(&self) -> bool {
        std::fs::rename(&self.log, self.folder.join("postgres.log.1")).is_ok()
    }

    /// Returns what the log says from byte `from` on, at most the last 64 KiB.
    fn log_since(&self, from: u64) -> String {
        let read = || -> std::io::Result<String> {
            let mut log = File::open(&self.log)?;
            let end = log.metadata()?.len();
            log.seek(SeekFrom::Start(from.max(end.saturating_sub(65_536))))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
    }
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the last 15 lines, indented.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
