//! Forgetting everything.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};
use event_store::cluster::{Cluster, Options};

use crate::{folder, postgres, secrets};

/// Removes what a mesh keeps in its data folder, after asking.
///
/// # Errors
/// When a mesh runs on the folder, the answer is no, or something cannot be removed.
pub async fn reset(yes: bool) -> anyhow::Result<()> {
    let config = secrets::config_to_look()?;
    let data = &config.data;
    if !data.exists() {
        println!("There is nothing in {}.", data.display());
        return Ok(());
    }
    if let Some(mesh) = folder::running(data) {
        bail!("a mesh runs on {} (process {}): stop it first", data.display(), mesh.process);
    }
    let owned = folder::own(data)?;
    let cluster = folder::postgres(data);
    if !yes && !confirmed(data)? {
        bail!("nothing was removed");
    }
    if cluster.join("data/postmaster.pid").exists() {
        // A server that outlived its launcher writes there; it is taken over, and stopped.
        let options = Options::durable(data.join(folder::POSTGRES), postgres::binaries(data).await?);
        Cluster::start(options).await?.stop().await?;
    }
    // Only what is ours, whatever ANNOMESH_DATA names.
    for folder in [&cluster, &data.join(folder::POSTGRES)] {
        gone(std::fs::remove_dir_all(folder))
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    for file in [secrets::FILE, folder::LOCK] {
        gone(std::fs::remove_file(data.join(file))).with_context(|| format!("cannot remove {file}"))?;
    }
    drop(owned);
    match std::fs::remove_dir(data) {
        Ok(()) => println!("Removed {}.", data.display()),
        Err(_) => println!("Emptied {}, where something else is kept too.", data.display()),
    }
    if config.database_url.is_some() {
        println!("The databases of DATABASE_URL are still there: drop them yourself.");
    }
    if config.kafka.is_some() {
        println!(
            "The topics on Kafka still hold the old events: delete them, or the next mesh believes them."
        );
    }
    Ok(())
}

fn confirmed(data: &Path) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("this would remove every project, user and event in {}: say --yes", data.display());
    }
    print!("Remove every project, user and event in {}? [y/N] ", data.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
