//! What local mode makes up on its first start and keeps, in a file that only its owner reads: `secrets.env`,
//! lines of `NAME=value`. They lie beneath the environment: what is set there wins.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use service_kit::Config;
use service_kit::config::environment;

use crate::folder::{self, Owned};

/// The settings of the operator's credential.
const SUPERVISOR_KEY: &str = "CLEARML__secure__credentials__supervisor__user_key";
const SUPERVISOR_SECRET: &str = "CLEARML__secure__credentials__supervisor__user_secret";

/// The file in the data folder.
pub const FILE: &str = "secrets.env";

/// The settings of a local mesh that is about to start, and the right to its data folder: makes up what nobody
/// has said, the first time.
///
/// # Errors
/// Names the setting or the file that is at fault, or who has the folder.
pub fn config_to_start() -> anyhow::Result<(Config, Owned)> {
    let said = said();
    let told = Config::from_vars(true, said.clone())?;
    folder::create(&told.data)?;
    // First, because of two first starts at once only one may make up secrets.
    let owned = folder::own(&told.data)?;
    let file = told.data.join(FILE);
    let mut kept = read(&file)?;
    let before = kept.len();
    // An older version knew fewer secrets.
    for (name, value) in make(&said)? {
        kept.entry(name).or_insert(value);
    }
    if kept.len() > before {
        write(&file, &kept)?;
    }
    Ok((Config::from_vars(true, kept.into_iter().chain(said))?, owned))
}

/// The settings of a local mesh that may be running; creates nothing.
///
/// # Errors
/// Names the setting or the file that is at fault.
pub fn config_to_look() -> anyhow::Result<Config> {
    let said = said();
    let told = Config::from_vars(true, said.clone())?;
    Config::from_vars(true, read(&told.data.join(FILE))?.into_iter().chain(said))
}

/// What the environment says.
fn said() -> BTreeMap<String, String> {
    // ClearML's names are good in any case of their letters; here one name must stand for one thing.
    let known = |name: String| {
        let same =
            [SUPERVISOR_KEY, SUPERVISOR_SECRET].into_iter().find(|own| own.eq_ignore_ascii_case(&name));
        same.map_or(name, str::to_owned)
    };
    environment().into_iter().map(|(name, value)| (known(name), value)).collect()
}

/// Makes up what is not said. The admin is kept also when said: the database knows that one from the first
/// start on, and a later start may be without the variables.
fn make(said: &BTreeMap<String, String>) -> anyhow::Result<BTreeMap<String, String>> {
    let of = |name: &str, other: String| said.get(name).cloned().unwrap_or(other);
    Ok(BTreeMap::from([
        ("MESH_SECRET".to_owned(), hex::encode(random::<32>()?)),
        ("ADMIN_USERNAME".to_owned(), of("ADMIN_USERNAME", "admin".to_owned())),
        ("ADMIN_PASSWORD".to_owned(), of("ADMIN_PASSWORD", password(&random::<12>()?))),
        (SUPERVISOR_KEY.to_owned(), key(&random::<30>()?)),
        (SUPERVISOR_SECRET.to_owned(), hex::encode(random::<32>()?)),
    ]))
}

/// A key in the shape of ClearML's: letters and digits.
fn key(random: &[u8; 30]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// A password that can be read out: six groups of two syllables, six bits each.
fn password(random: &[u8; 12]) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let syllable =
        |byte: u8| [CONSONANTS[usize::from(byte & 15)], VOWELS[usize::from(byte >> 4 & 3)]].map(char::from);
    let group = |pair: &[u8]| pair.iter().flat_map(|byte| syllable(*byte)).collect::<String>();
    random.chunks(2).map(group).collect::<Vec<_>>().join("-")
}

/// Random bytes from the system.
///
/// # Errors
/// When the system has none.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes)
}

/// Reads the file; empty if there is none.
///
/// # Errors
/// When it cannot be read, or is not like this.
pub fn read(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => bail!("{}: `{line}` is not like NAME=value", file.display()),
        })
        .collect()
}

/// Writes the file whole or not at all, for its owner only.
fn write(file: &Path, secrets: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let lines: String = secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let new = file.with_extension("new");
    let save = || -> std::io::Result<()> {
        let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        open.set_permissions(Permissions::from_mode(0o600))?;
        open.write_all(lines.as_bytes())?;
        open.sync_all()?;
        std::fs::rename(&new, file)
    };
    save().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_readable_and_long() {
        assert_eq!(password(&[0, 63, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), "bazu-dafa-gaha-jaka-lama-napa");
        assert_ne!(random::<12>().unwrap(), random::<12>().unwrap());
    }

    #[test]
    fn what_is_said_is_kept_except_the_mesh_secret() {
        let said = BTreeMap::from(
            [("ADMIN_USERNAME", "root"), ("MESH_SECRET", "another")]
                .map(|(n, v)| (n.to_owned(), v.to_owned())),
        );
        let made = make(&said).unwrap();
        assert_eq!(made["ADMIN_USERNAME"], "root");
        assert_eq!(made["MESH_SECRET"].len(), 64);
        assert!(made["ADMIN_PASSWORD"].len() >= 16);
        assert_eq!((made[SUPERVISOR_KEY].len(), made[SUPERVISOR_SECRET].len()), (30, 64));
    }
}
