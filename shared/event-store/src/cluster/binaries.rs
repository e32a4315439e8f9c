//! Finding PostgreSQL's server programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::user::ServerUser;

/// The server programs of one PostgreSQL installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// The oldest major version that will do: `client_connection_check_interval` works on every system from 15 on.
    pub const OLDEST_MAJOR: u32 = 15;

    /// What to tell somebody who has no PostgreSQL.
    pub const HOW_TO_INSTALL: &str = "PostgreSQL 15 or newer is needed: \
        `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) \
        or `brew install postgresql@17` (macOS)";

    /// Returns the best installation of this machine: the one in `PATH`, else the newest in the folders that
    /// distributions use; `None` if there is none of at least [`Self::OLDEST_MAJOR`]. Starts a program or two
    /// (10 ms), so ask once.
    pub fn find() -> Option<Self> {
        Self::installed().next()
    }

    /// Returns every usable installation, the best first, each looked at only when it is asked for.
    pub fn installed() -> impl Iterator<Item = Self> {
        candidates().into_iter().filter_map(|folder| Self::in_folder(&folder).ok())
    }

    /// Returns the installation whose programs are in `folder`.
    ///
    /// # Errors
    /// When `initdb` or `postgres` is missing there, cannot be run by the account that the server gets, or is too old.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let folder = real_folder(folder)
            .with_context(|| format!("{} does not hold both initdb and postgres", folder.display()))?;
        // Asked by the server's account, because root can run programs that this account cannot reach.
        let postgres = folder.join("postgres");
        let answer = ServerUser::current()?
            .command(&postgres)
            .arg("--version")
            .output()
            .with_context(|| format!("the server's account cannot run {}", postgres.display()))?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let Some(major) = major_of(&text) else {
            bail!("{} does not say its version: {:?}", postgres.display(), text.trim());
        };
        if major < Self::OLDEST_MAJOR {
            bail!("{} is version {major}; at least {} is needed", postgres.display(), Self::OLDEST_MAJOR);
        }
        Ok(Self { folder, major })
    }

    /// Returns the major version, as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Returns the folder of the programs, links resolved.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Folders worth a look, in order of preference, each once.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |folder: PathBuf| {
        if let Some(folder) = real_folder(&folder)
            && !found.contains(&folder)
        {
            found.push(folder);
        }
    };
    if let Some(path) = std::env::var_os("PATH") {
        std::env::split_paths(&path).for_each(&mut add);
    }
    for (parent, prefix, inner) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        newest_first(Path::new(parent), prefix)
            .into_iter()
            .map(|folder| folder.join(inner))
            .for_each(&mut add);
    }
    for folder in ["/opt/homebrew/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/usr/bin"] {
        add(PathBuf::from(folder));
    }
    found
}

/// Returns the sub-folders named `<prefix><number>`, the highest number first.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Returns the folder that truly holds both programs: links in `/usr/local/bin` and the like are followed,
/// because the server looks for its libraries and its time zones beside itself.
fn real_folder(folder: &Path) -> Option<PathBuf> {
    let holds_both = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let postgres = folder.join("postgres").canonicalize().ok()?;
    let real = postgres.parent()?;
    if holds_both(real) && postgres.file_name() == Some(OsStr::new("postgres")) {
        return Some(real.to_owned());
    }
    // A script that calls the real one: it is all that this folder offers, and it does.
    holds_both(folder).then(|| folder.canonicalize().ok())?
}

/// Reads `15` out of `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_form() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 17"), Some(17));
        assert_eq!(major_of("bash: postgres: not found"), None);
    }

    #[test]
    fn links_lead_to_the_folder_that_holds_both_programs() {
        let found = Binaries::find().expect(Binaries::HOW_TO_INSTALL);
        let links = crate::cluster::tests::Scratch::new("links");
        std::os::unix::fs::symlink(found.folder().join("postgres"), links.join("postgres")).unwrap();
        assert_eq!(Binaries::in_folder(&links).unwrap(), found);
        std::fs::remove_file(links.join("postgres")).unwrap();
        let error = Binaries::in_folder(&links).unwrap_err();
        assert!(error.to_string().contains("does not hold both"), "{error:#}");
    }

    #[test]
    fn a_wrapper_script_is_used_where_it_stands() {
        let found = Binaries::find().expect(Binaries::HOW_TO_INSTALL);
        let folder = crate::cluster::tests::Scratch::new("wrapper");
        for program in ["initdb", "postgres"] {
            // Written by another process: a child that some other test is just starting would inherit our open
            // file, and a program that is open for writing cannot be run.
            let script = format!("#!/bin/sh\nexec {}/{program} \"$@\"\n", found.folder().display());
            let written = std::process::Command::new("/bin/sh")
                .args(["-c", "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"", "sh", &script])
                .arg(folder.join(program))
                .status();
            assert!(written.unwrap().success());
        }
        let wrapped = Binaries::in_folder(&folder).unwrap();
        assert_eq!(
            (wrapped.folder(), wrapped.major()),
            (folder.canonicalize().unwrap().as_path(), found.major())
        );
    }

    #[test]
    fn the_newest_version_comes_first() {
        let parent = crate::cluster::tests::Scratch::new("versions");
        for name in ["postgresql@9", "postgresql@16", "postgresql@15", "postgresql@old", "other@17"] {
            std::fs::create_dir(parent.join(name)).unwrap();
        }
        let names: Vec<_> =
            newest_first(&parent, "postgresql@").iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["postgresql@16", "postgresql@15", "postgresql@9"]);
    }
}
