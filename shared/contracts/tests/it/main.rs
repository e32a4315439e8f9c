//! The published schemas are committed, compared, and never changed incompatibly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn updating() -> bool {
    std::env::var_os("UPDATE_SCHEMAS").is_some()
}

fn compare(path: &Path, fresh: &Value, compatible: impl Fn(&Value, &Value) -> Result<(), String>) {
    let committed = std::fs::read_to_string(path).ok();
    if let Some(old) = &committed {
        let old: Value = serde_json::from_str(old).unwrap();
        compatible(&old, fresh).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        if &old == fresh {
            return;
        }
    }
    assert!(updating(), "{} is out of date; run UPDATE_SCHEMAS=1 cargo test -p contracts", path.display());
    std::fs::write(path, serde_json::to_string_pretty(fresh).unwrap() + "\n").unwrap();
}

/// A reader of the old schema must understand what the new one allows: nothing disappears, no type changes,
/// nothing required becomes optional.
fn backward_compatible(old: &Value, new: &Value) -> Result<(), String> {
    let empty = Map::new();
    let at = |schema: &Value, key: &str| schema[key].as_object().unwrap_or(&empty).clone();
    for section in ["properties", "$defs"] {
        let fresh = at(new, section);
        for (name, was) in at(old, section) {
            let is = fresh.get(&name).ok_or(format!("{section}.{name} was removed"))?;
            if was.get("type") != is.get("type") || was.get("$ref") != is.get("$ref") {
                return Err(format!("{section}.{name} changed its type"));
            }
            backward_compatible(&was, is).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        schema["required"].as_array().into_iter().flatten().map(|n| n.as_str().unwrap().to_owned()).collect()
    };
    match required(old).difference(&required(new)).next() {
        Some(name) => Err(format!("{name} is no longer required")),
        None => Ok(()),
    }
}

#[test]
fn schemas_are_committed_and_compatible() {
    let mut expected = BTreeSet::new();
    for event in contracts::catalog() {
        let mut schema = serde_json::to_value((event.schema)()).unwrap();
        schema["examples"] = serde_json::json!([(event.example)()]);
        let name = format!("{}.json", event.name);
        compare(&folder().join(&name), &schema, backward_compatible);
        expected.insert(name);
    }
    let present: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "asyncapi.json")
        .collect();
    assert_eq!(present, expected, "a published schema may not disappear");
}

#[test]
fn asyncapi_is_committed() {
    compare(&folder().join("asyncapi.json"), &contracts::asyncapi::document(), |_, _| Ok(()));
}

#[test]
fn an_incompatible_change_is_refused() {
    let old = serde_json::json!({"properties": {"a": {"type": "string"}}, "required": ["a"]});
    let retyped = serde_json::json!({"properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let removed = serde_json::json!({"properties": {}, "required": []});
    let relaxed = serde_json::json!({"properties": {"a": {"type": "string"}}, "required": []});
    for new in [retyped, removed, relaxed] {
        assert!(backward_compatible(&old, &new).is_err());
    }
    let grown = serde_json::json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                                   "required": ["a"]});
    assert!(backward_compatible(&old, &grown).is_ok());
}

#[test]
fn names_follow_the_rule() {
    for event in contracts::catalog() {
        let (service, rest) = event.name.split_once('.').unwrap();
        assert_eq!(service, event.service);
        let (noun, version) = rest.rsplit_once(".v").unwrap();
        assert!(noun.starts_with(event.kind) && version.parse::<u8>().is_ok(), "{}", event.name);
    }
}
