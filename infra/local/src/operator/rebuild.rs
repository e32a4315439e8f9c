//! `annomesh rebuild`: projections made anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use service_kit::mesh::RebuildCommand;

use super::Mesh;
use crate::progress::shown;

/// A rebuild reads a whole log.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Rebuilds one projection of a service, or all.
///
/// # Errors
/// When the service does not answer or has no such projection.
pub async fn rebuild(service: &str, projection: Option<String>) -> anyhow::Result<()> {
    let mesh = Mesh::find()?;
    let peer = mesh.peer(service)?;
    let began = Instant::now();
    let body = RebuildCommand { projection };
    let request = peer.post("/internal/rebuild").json(&body).timeout(LIMIT);
    let answer = shown(&format!("rebuilding in {service}"), peer.json(request)).await;
    let rebuilt: BTreeMap<String, u64> = answer.map_err(|error| mesh.explain(error))?;
    for (projection, events) in &rebuilt {
        println!("{service}: {projection} rebuilt from {events} events");
    }
    println!("{} ms", began.elapsed().as_millis());
    Ok(())
}
