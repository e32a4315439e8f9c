//! `annomesh status`: the mesh as it is now.

use std::collections::HashMap;

use futures::future::join_all;
use service_kit::status::Status;

use super::Mesh;
use super::text::{columns, row};

/// Prints the status of all services. One that does not answer is a line of it, and makes the command fail.
///
/// # Errors
/// When a service does not answer.
pub async fn status(json: bool) -> anyhow::Result<()> {
    let mesh = Mesh::find()?;
    let asked = Mesh::services().map(async |service| {
        let peer = mesh.peer(service)?;
        let answer = peer.json::<Status>(peer.get("/internal/status")).await;
        answer.map_err(|error| mesh.explain(error))
    });
    let (mut answers, mut silent) = (vec![], vec![]);
    for answer in join_all(asked).await {
        match answer {
            Ok(status) => answers.push(status),
            Err(error) => silent.push(error),
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&answers)?);
    } else if !answers.is_empty() {
        print!("{}", render(&answers));
    }
    let Some(last) = silent.pop() else { return Ok(()) };
    // When nobody answers, once is enough.
    for error in silent.iter().filter(|_| !answers.is_empty()) {
        eprintln!("annomesh: {error:#}");
    }
    Err(last)
}

/// The status of services as text.
pub fn render(services: &[Status]) -> String {
    let heads: HashMap<&str, i64> =
        services.iter().map(|status| (status.service.as_str(), status.head)).collect();
    let mut table =
        vec![row(["SERVICE", "READY", "LOG HEAD", "PENDING", "PUBLISHED", "PARKED", "PROJECTIONS"])];
    let mut readers = vec![row(["CONSUMER", "READS", "AT", "BEHIND"])];
    let mut parked = vec![];
    for status in services {
        table.push(vec![
            status.service.clone(),
            if status.ready { "yes" } else { "no" }.to_owned(),
            status.head.to_string(),
            status.pending.to_string(),
            status.published.map_or_else(|| "-".to_owned(), |position| position.to_string()),
            status.parked.len().to_string(),
            status.projections.join(" "),
        ]);
        for consumer in &status.consumers {
            let behind = heads.get(consumer.source.as_str()).map(|head| (head - consumer.position).max(0));
            readers.push(vec![
                consumer.name.clone(),
                consumer.source.clone(),
                consumer.position.to_string(),
                behind.map_or_else(|| "?".to_owned(), |events| events.to_string()),
            ]);
        }
        parked.extend(&status.parked);
    }
    let mut text = columns(&table);
    text.push('\n');
    text.push_str(&columns(&readers));
    if !parked.is_empty() {
        text.push('\n');
        text.push_str(&super::parked::render(parked));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reader_is_behind_by_what_the_log_has_more() {
        let status = |service, head, consumers| {
            let parts = json!({
                "service": service, "ready": true, "head": head, "pending": 0, "published": null,
                "consumers": consumers, "parked": [], "projections": ["directory"],
            });
            serde_json::from_value::<Status>(parts).unwrap()
        };
        let reader = json!([{ "name": "projects.directory@1", "source": "identity", "position": 5 }]);
        let text = render(&[status("identity", 7, json!([])), status("projects", 0, reader)]);
        assert!(text.contains("projects.directory@1  identity  5   2\n"), "{text}");
    }
}
