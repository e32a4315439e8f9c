//! The AsyncAPI 3.0 document of the mesh, made from the catalog.

use serde_json::{Map, Value, json};

/// The document: one channel a topic, one message an event type.
pub fn document() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for event in crate::catalog() {
        let topic = crate::topic(event.service);
        let channel = channels.entry(event.service).or_insert_with(|| {
            json!({
                "address": topic,
                "description": format!("Contract events of {}, keyed by `tenant/kind/id`.", event.service),
                "messages": {},
                "bindings": { "kafka": { "partitions": crate::PARTITIONS, "bindingVersion": "0.5.0" } }
            })
        });
        channel["messages"][event.name] = json!({ "$ref": format!("#/components/messages/{}", event.name) });
        operations.entry(event.service).or_insert_with(
            || json!({ "action": "send", "channel": { "$ref": format!("#/channels/{}", event.service) } }),
        );
        messages.insert(
            event.name.to_owned(),
            json!({
                "name": event.name,
                "summary": event.summary,
                "contentType": "application/json",
                "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12",
                             "schema": (event.schema)() },
                "examples": [{ "payload": (event.example)() }],
                "bindings": { "kafka": { "key": { "type": "string" }, "bindingVersion": "0.5.0" } }
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Annomesh events",
            "version": "1",
            "description": "CloudEvents 1.0 in Kafka's binary mode. Deduplicate by `ce_streamversion`, \
                            which is contiguous from 1 in each stream."
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages }
    })
}
