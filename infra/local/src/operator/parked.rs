//! `annomesh parked`: streams that were set aside, because an event of theirs failed.

use bus::Peer;
use serde_json::Value;
use service_kit::mesh::ParkedCommand;
use service_kit::status::Parked;

use super::Mesh;
use super::text::{columns, row};

/// Prints them.
///
/// # Errors
/// When a service does not answer.
pub async fn list() -> anyhow::Result<()> {
    let found = all(&Mesh::find()?).await?;
    match found.is_empty() {
        true => println!("No stream is parked."),
        false => print!("{}", render(found.iter().map(|(_, parked)| parked))),
    }
    Ok(())
}

/// Tries one or all again.
///
/// # Errors
/// When a service does not answer, or there is no such stream.
pub async fn redrive(name: Option<String>) -> anyhow::Result<()> {
    let mesh = Mesh::find()?;
    let found = chosen(all(&mesh).await?, name.as_deref())?;
    for (peer, parked) in &found {
        let answer = command(&mesh, peer, "/internal/parked/redrive", &parked.name).await?;
        match answer["freed"].as_u64() {
            Some(1..) => println!("freed        {}", parked.name),
            _ => println!("still parked {}", parked.name),
        }
    }
    if found.is_empty() {
        println!("No stream is parked.");
    }
    Ok(())
}

/// Drops the first event of one.
///
/// # Errors
/// When a service does not answer, or there is no such stream.
pub async fn discard(name: String) -> anyhow::Result<()> {
    let mesh = Mesh::find()?;
    for (peer, parked) in chosen(all(&mesh).await?, Some(&name))? {
        command(&mesh, &peer, "/internal/parked/discard", &parked.name).await?;
        println!("discarded version {} of {}: {}", parked.version, parked.subject, parked.error);
    }
    Ok(())
}

/// Parked streams as text.
pub fn render<'a>(parked: impl IntoIterator<Item = &'a Parked>) -> String {
    let mut table = vec![row(["PARKED", "VERSION", "EVENTS", "TRIES", "SINCE", "ERROR"])];
    table.extend(parked.into_iter().map(|parked| {
        vec![
            parked.name.clone(),
            parked.version.to_string(),
            parked.events.to_string(),
            parked.attempts.to_string(),
            parked.parked_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            parked.error.lines().next().unwrap_or_default().to_owned(),
        ]
    }));
    columns(&table)
}

async fn all(mesh: &Mesh) -> anyhow::Result<Vec<(Peer, Parked)>> {
    let mut found = vec![];
    for service in Mesh::services() {
        let peer = mesh.peer(service)?;
        let parked: Vec<Parked> =
            peer.json(peer.get("/internal/parked")).await.map_err(|error| mesh.explain(error))?;
        found.extend(parked.into_iter().map(|parked| (peer.clone(), parked)));
    }
    Ok(found)
}

fn chosen(mut all: Vec<(Peer, Parked)>, name: Option<&str>) -> anyhow::Result<Vec<(Peer, Parked)>> {
    if let Some(name) = name {
        all.retain(|(_, parked)| parked.name == name);
        if all.is_empty() {
            anyhow::bail!("no parked stream is called {name}; `annomesh parked list` shows them");
        }
    }
    Ok(all)
}

async fn command(mesh: &Mesh, peer: &Peer, path: &str, name: &str) -> anyhow::Result<Value> {
    let body = ParkedCommand { name: Some(name.to_owned()) };
    peer.json(peer.post(path).json(&body)).await.map_err(|error| mesh.explain(error))
}
