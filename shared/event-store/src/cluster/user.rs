//! The account the server runs as, and where that account can keep files.
//!
//! PostgreSQL and initdb refuse to run as root. Root is what one is in a container and on a build machine, so
//! there the server gets another account, and every path must be reachable for it.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Where root keeps a cluster whose wanted folder the server's account cannot enter.
const ROOTS_FOLDER: &str = "/var/lib/annomesh";

/// Accounts that fit, the best first; `_postgres` is what macOS calls it.
const ACCOUNTS: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The account that runs the server's programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUser {
    uid: u32,
    gid: u32,
    /// Whether these differ from this process's own, which is then root.
    switched: bool,
}

impl ServerUser {
    /// Returns this process's own account or, for root, the first of [`ACCOUNTS`] that exists.
    pub(super) fn current() -> anyhow::Result<Self> {
        let (uid, gid) = own_ids()?;
        if uid != 0 {
            return Ok(Self { uid, gid, switched: false });
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        match ACCOUNTS.iter().find_map(|name| ids_of(name, &accounts)) {
            Some((uid, gid)) => Ok(Self { uid, gid, switched: true }),
            None => bail!(
                "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody` to run it as: \
                 create one, or start this program as an ordinary user"
            ),
        }
    }

    /// Returns a command that runs as this account, without a terminal, and unaffected by the caller's
    /// current folder and `PG…` variables (the server itself would obey `PGPORT`).
    #[expect(clippy::disallowed_methods, reason = "read to be kept from a child, not as settings")]
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Creates a folder that only this account (and root) can enter; one that exists must already be its own.
    pub(super) fn create_private_folder(self, folder: &Path) -> anyhow::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) if self.switched => chown(folder, Some(self.uid), Some(self.gid))
                .with_context(|| format!("cannot give {} to the server's account", folder.display())),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                // A stranger could have put a folder, or a link, at a guessable place such as /tmp.
                let found = std::fs::symlink_metadata(folder)?;
                if !found.is_dir() || found.uid() != self.uid || found.mode() & 0o077 != 0 {
                    bail!("{} exists, but is not a private folder of the server's account", folder.display());
                }
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot create {}", folder.display())),
        }
    }

    /// Says whether this account can enter `folder`. Tried rather than computed, so that access lists and
    /// read-only mounts count too; always true when the account is this process's own.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        if !self.switched {
            return true;
        }
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", "cd \"$1\"", "sh"]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }

    /// Returns the absolute folder to use for `wanted`, created: `wanted` itself or, where this account cannot
    /// enter it (everything below root's home), a folder of [`ROOTS_FOLDER`] whose name is a hash of `wanted`.
    /// The file `moved-to` in `wanted` then says where to look.
    pub(super) fn place(self, wanted: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(wanted).with_context(|| format!("cannot create {}", wanted.display()))?;
        let wanted = wanted.canonicalize().with_context(|| format!("cannot find {}", wanted.display()))?;
        if wanted.to_str().is_none() {
            bail!("{} is not UTF-8: PostgreSQL's settings cannot name it", wanted.display());
        }
        if self.can_enter(&wanted) {
            return Ok(wanted);
        }
        let folder = Path::new(ROOTS_FOLDER).join(hash_of(&wanted));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if !self.can_enter(&folder) {
            bail!(
                "PostgreSQL refuses to run as root, and the account it gets instead can enter neither {} nor {}",
                wanted.display(),
                folder.display()
            );
        }
        if let Ok(mut note) = std::fs::File::create(wanted.join("moved-to")) {
            // Only a help for people: the place is computed anew at each start.
            let _ = writeln!(note, "{}", folder.display());
        }
        tracing::info!(
            "keeping the PostgreSQL cluster in {}: its account cannot enter {}",
            folder.display(),
            wanted.display()
        );
        Ok(folder)
    }
}

/// Returns 16 hexadecimal digits that stand for a path: FNV-1a, because the name must stay the same from one
/// release to the next, which the standard library's hasher does not promise.
pub(super) fn hash_of(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Returns the user and group id of this process.
fn own_ids() -> anyhow::Result<(u32, u32)> {
    // The owner of /proc/self is the effective user; systems without /proc have `id`.
    if let Ok(own) = std::fs::metadata("/proc/self") {
        return Ok((own.uid(), own.gid()));
    }
    let ask = |option: &str| -> anyhow::Result<u32> {
        let id =
            Command::new("id").arg(option).output().with_context(|| format!("cannot run `id {option}`"))?;
        Ok(String::from_utf8_lossy(&id.stdout).trim().parse()?)
    };
    Ok((ask("-u")?, ask("-g")?))
}

/// Finds an account's user and group id in the text of /etc/passwd.
fn ids_of(name: &str, accounts: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:PG,,,:/:/bin/sh\n";
        assert_eq!(ids_of("postgres", accounts), Some((101, 104)));
        assert_eq!(ids_of("nobody", accounts), None);
        assert_eq!(ids_of("nobody", "nobody:*:-2:-2:macOS:/:/usr/bin/false"), None);
    }

    #[test]
    fn the_hash_of_a_path_never_changes() {
        assert_eq!(hash_of(Path::new("")), "cbf29ce484222325");
        assert_eq!(hash_of(Path::new("a")), "af63dc4c8601ec8c");
    }
}
