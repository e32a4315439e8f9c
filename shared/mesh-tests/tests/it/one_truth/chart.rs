//! The Helm chart, as far as it can be held against the code without Helm.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value as Json;
use serde_yaml_ng::Value;
use service_kit::config::SETTINGS;

use super::{PORTS, assert_pinned, assert_same, keys, names, read, storeless, yaml};
use crate::support::root;

/// Variables that only stand in others, and are no settings.
const PARTS: &[&str] = &["DATABASE_PASSWORD", "REDIS_PASSWORD"];

fn values() -> Value {
    yaml("k8s/values.yaml")
}

/// All templates in one text.
fn templates() -> String {
    let folder = std::fs::read_dir(root().join("k8s/templates")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn the_chart_has_every_service_and_no_other() {
    assert_same("services in k8s/values.yaml", &keys(&values()["services"]), &names());
    let schema: Json = serde_json::from_str(&read("k8s/values.schema.json")).unwrap();
    let services = &schema["properties"]["services"];
    let known = services["properties"].as_object().unwrap().keys().cloned().collect();
    assert_same("services in k8s/values.schema.json", &known, &names());
    let required =
        services["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    assert_same("required services in k8s/values.schema.json", &required.collect(), &names());
    let helpers = read("k8s/templates/_helpers.tpl");
    let found = Regex::new(r#"define "annomesh.storeless" -\}\}([a-z, ]*)\{\{"#).unwrap();
    let found = found.captures(&helpers).unwrap()[1].split(", ").map(str::to_owned).collect();
    assert_same("annomesh.storeless in _helpers.tpl", &found, &storeless());
}

#[test]
fn every_variable_of_the_chart_is_a_setting_and_every_setting_is_in_it() {
    let text = read("k8s/templates/_env.tpl");
    let names = Regex::new(r#"(?:- name: |"name" ")([A-Z][A-Za-z0-9_]+)"#).unwrap();
    let found: BTreeSet<String> = names.captures_iter(&text).map(|name| name[1].to_owned()).collect();
    let settings = SETTINGS.iter().map(|setting| setting.name);
    let wanted = settings.chain(PARTS.iter().copied()).map(str::to_owned).collect();
    assert_same("variables in k8s/templates/_env.tpl", &found, &wanted);
    // What is a part of another is not refused as a setting that nobody knows.
    let parts = PARTS.iter().map(|name| ((*name).to_owned(), "x".to_owned()));
    assert!(service_kit::Config::from_vars(true, parts).is_ok());
}

#[test]
fn the_chart_asks_the_mesh_port_for_what_it_answers() {
    let deployments = read("k8s/templates/deployments.yaml");
    let probes = Regex::new(r"httpGet: \{ path: /\{\{ \$service \}\}(/\S+), port: (\w+) \}").unwrap();
    let mesh = read("shared/service-kit/src/mesh.rs");
    let mut found = 0;
    for probe in probes.captures_iter(&deployments) {
        found += 1;
        assert_eq!(&probe[2], "mesh");
        assert!(mesh.contains(&format!(".route(\"{}\"", &probe[1])), "nobody answers {}", &probe[1]);
    }
    assert_eq!(found, deployments.matches("httpGet").count());
    assert_eq!(found, 3);
    let services = read("k8s/templates/services.yaml");
    for (name, port) in ["http", "mesh"].iter().zip(PORTS) {
        assert!(deployments.contains(&format!("- name: {name}\n              containerPort: {port}\n")));
        assert!(
            services.contains(&format!("- name: {name}\n      port: {port}\n      targetPort: {name}\n"))
        );
    }
    assert!(
        read("k8s/templates/_env.tpl")
            .contains(&format!("http://{{{{ $full }}}}-{{{{ $name }}}}:{}", PORTS[1]))
    );
    let ingress = read("k8s/templates/ingress.yaml");
    assert!(
        ingress.contains("name: http\n") && !ingress.contains("mesh\n"),
        "the mesh port is on the ingress"
    );
}

#[test]
fn what_runs_in_both_is_the_same_in_both() {
    for (ours, charts) in [
        ("infra/kafka/container.sh", "k8s/files/kafka.sh"),
        ("infra/postgres/init.sh", "k8s/files/postgres.sh"),
    ] {
        assert!(read(ours) == read(charts), "{charts} is another than {ours}: copy it");
    }
    let compose = yaml("docker-compose.yml");
    for (store, service) in [("postgresql", "postgres"), ("kafka", "kafka"), ("redis", "redis")] {
        let image = values()[store]["image"].as_str().unwrap().to_owned();
        assert_pinned(&image);
        assert_eq!(compose["services"][service]["image"].as_str(), Some(image.as_str()));
    }
    let chart = yaml("k8s/Chart.yaml");
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key].as_str(), Some(env!("CARGO_PKG_VERSION")), "{key} of k8s/Chart.yaml");
    }
}

/// The keys of a mapping, and what is below them, as `a.b.c`; not into what Kubernetes defines.
fn paths(value: &Value, before: &str, found: &mut Vec<String>) {
    let Some(mapping) = value.as_mapping() else { return };
    for (key, value) in mapping {
        let path = format!("{before}.{}", key.as_str().unwrap());
        let foreign = ["resources", "annotations", "ingressFrom"].iter().any(|end| path.ends_with(end));
        if !foreign && !path.starts_with(".services.") {
            paths(value, &path, found);
        }
        found.push(path);
    }
}

#[test]
fn every_key_of_the_values_is_read_and_no_other_is_taken() {
    let values = values();
    let mut found = vec![];
    paths(&values, "", &mut found);
    let (text, schema) =
        (templates(), serde_json::from_str::<Json>(&read("k8s/values.schema.json")).unwrap());
    for path in &found {
        let key = path.rsplit('.').next().unwrap();
        let is_read =
            path.starts_with(".services.") || Regex::new(&format!(r"\.{key}\b")).unwrap().is_match(&text);
        assert!(is_read, "{path}: no template reads it");
        assert!(schema_of(&schema, path).is_some(), "{path}: values.schema.json does not know it");
    }
    closed(&schema, &schema, &values, "");
}

fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    match schema["$ref"].as_str() {
        Some(name) => &root["definitions"][name.rsplit('/').next().unwrap()],
        None => schema,
    }
}

fn schema_of<'a>(root: &'a Json, path: &str) -> Option<&'a Json> {
    let mut schema = root;
    for key in path.split('.').skip(1) {
        schema = resolved(root, schema).get("properties")?.get(key)?;
    }
    Some(schema)
}

/// Every mapping of the values with keys of ours takes those and no others.
fn closed(root: &Json, schema: &Json, values: &Value, path: &str) {
    let schema = resolved(root, schema);
    let (Some(known), Some(mapping)) = (schema["properties"].as_object(), values.as_mapping()) else {
        return;
    };
    assert_eq!(schema["additionalProperties"], Json::Bool(false), "{path}: unknown keys are taken");
    if !path.starts_with(".services.") && !path.ends_with(".resources") {
        assert_same(path, &keys(values), &known.keys().cloned().collect());
    }
    for (key, value) in mapping {
        let key = key.as_str().unwrap();
        closed(root, &known[key], value, &format!("{path}.{key}"));
    }
}
