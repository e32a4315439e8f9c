//! The services' OpenAPI documents, fetched from them and kept for a while, and all of them as one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use service_kit::start::SERVICES;
use service_kit::{Node, Refusal};

/// A document changes only when its service is deployed anew.
const KEEP: Duration = Duration::from_secs(30);

/// The documents that were fetched, by service.
#[derive(Default)]
pub struct Documents {
    kept: Mutex<HashMap<&'static str, (Instant, Arc<Value>)>>,
}

/// A service's document; an old one when the service does not answer.
///
/// # Errors
/// 404 for a service that there is not, 503 when it does not answer and never did.
pub async fn of(node: &Node, name: &str) -> Result<Arc<Value>, Refusal> {
    let service = *SERVICES.iter().find(|service| **service == name).ok_or_else(Refusal::not_found)?;
    let documents = node.shared::<Documents>();
    let kept = documents.lock().get(service).cloned();
    if let Some((since, document)) = &kept
        && since.elapsed() < KEEP
    {
        return Ok(document.clone());
    }
    let peer = node.peer(service)?;
    let call = peer.get("/internal/openapi").timeout(Duration::from_secs(3));
    match (peer.json::<Value>(call).await, kept) {
        (Ok(fresh), _) => {
            let fresh = Arc::new(fresh);
            documents.lock().insert(service, (Instant::now(), fresh.clone()));
            Ok(fresh)
        }
        (Err(_), Some((_, old))) => Ok(old),
        (Err(error), None) => {
            tracing::warn!(service, error = event_store::chain(&error), "cannot fetch a document");
            Err(Refusal::unavailable(format!("{service} does not answer.")))
        }
    }
}

impl Documents {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, (Instant, Arc<Value>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One document of all services.
///
/// # Errors
/// 503 when one is missing: half a document would look like a smaller API.
pub async fn all(node: &Node) -> Result<Value, Refusal> {
    let documents = try_join_all(
        SERVICES.iter().map(async |service| Ok::<_, Refusal>((*service, of(node, service).await?))),
    )
    .await?;
    Ok(merge(documents.iter().map(|(service, document)| (*service, document.as_ref()))))
}

/// Puts documents together. A schema's name that two services use for different things gets the later service's
/// name in front, in its own document's references too.
fn merge<'a>(documents: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    let (mut version, mut paths, mut schemas) = (json!("3.1.0"), Map::new(), Map::new());
    for (service, document) in documents {
        version = document["openapi"].clone();
        let empty = Map::new();
        let own = document["components"]["schemas"].as_object().unwrap_or(&empty);
        let taken: Vec<&String> = own
            .iter()
            .filter(|(name, schema)| schemas.get(*name).is_some_and(|other| other != *schema))
            .map(|(name, _)| name)
            .collect();
        let renamed = |name: &str| {
            if taken.iter().any(|other| *other == name) {
                format!("{service}.{name}")
            } else {
                name.to_owned()
            }
        };
        for (name, schema) in own {
            schemas.insert(renamed(name), with_references(schema, &renamed));
        }
        for (path, item) in document["paths"].as_object().unwrap_or(&empty) {
            paths.insert(path.clone(), with_references(item, &renamed));
        }
    }
    json!({
        "openapi": version,
        "info": { "title": "Annomesh", "version": "1" },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// The same value with its references to schemas renamed.
fn with_references(value: &Value, renamed: &dyn Fn(&str) -> String) -> Value {
    const PREFIX: &str = "#/components/schemas/";
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| match field.as_str().and_then(|text| text.strip_prefix(PREFIX)) {
                Some(schema) if name == "$ref" => {
                    (name.clone(), format!("{PREFIX}{}", renamed(schema)).into())
                }
                _ => (name.clone(), with_references(field, renamed)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| with_references(item, renamed)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, kind: &str) -> Value {
        json!({
            "openapi": "3.1.0",
            "paths": { path: { "get": { "schema": { "$ref": "#/components/schemas/Thing" } } } },
            "components": { "schemas": { "Thing": { "type": kind }, "Same": { "type": "null" } } }
        })
    }

    #[test]
    fn documents_become_one_and_names_stay_apart() {
        let (a, b) = (document("/a", "string"), document("/b", "integer"));
        let merged = merge([("one", &a), ("two", &b)].into_iter());
        assert_eq!(merged["paths"]["/a"]["get"]["schema"]["$ref"], "#/components/schemas/Thing");
        assert_eq!(merged["paths"]["/b"]["get"]["schema"]["$ref"], "#/components/schemas/two.Thing");
        let schemas = merged["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.keys().collect::<Vec<_>>(), ["Same", "Thing", "two.Thing"]);
        assert_eq!(schemas["two.Thing"]["type"], "integer");
    }
}
