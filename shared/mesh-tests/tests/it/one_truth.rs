//! One truth: what compose, the chart and Traefik say of services, ports, variables, topics, databases, roles and
//! routes is what the code says. Whoever adds a service or a setting is told here where it is missing.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;

use crate::support::{root, services};

mod chart;
mod compose;
mod routes;
mod settings;

/// The port of a service's front and that of the mesh, in a container.
const PORTS: [&str; 2] = ["8080", "8081"];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    let mut value: Value =
        serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Once for each step of what is merged into what is merged.
    for _ in 0..3 {
        value.apply_merge().unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    value
}

/// The names in a mapping.
fn keys(value: &Value) -> BTreeSet<String> {
    let mapping = value.as_mapping().unwrap_or_else(|| panic!("not a mapping: {value:?}"));
    mapping.keys().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn names() -> BTreeSet<String> {
    service_kit::start::SERVICES.iter().map(|name| (*name).to_owned()).collect()
}

/// Services without a database and events.
fn storeless() -> BTreeSet<String> {
    let services = services();
    let without = services.iter().filter(|service| service.schema().is_none());
    without.map(|service| service.name().to_owned()).collect()
}

/// Says which names are missing in `place`, and which are nobody's.
fn assert_same(place: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(found).collect();
    let foreign: Vec<_> = found.difference(wanted).collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "{place}: missing {missing:?}, nobody knows {foreign:?}"
    );
}

#[test]
fn the_services_of_the_code_are_one_list() {
    let declared: BTreeSet<String> = services().iter().map(|service| service.name().to_owned()).collect();
    assert_same("service_kit::start::SERVICES", &names(), &declared);
    let folders = std::fs::read_dir(root().join("services")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_same("services/", &folders, &declared);
    let only = read("infra/local/src/only.rs");
    for name in &declared {
        assert!(only.contains(&format!("{name}::service()")), "annomesh up --only does not know {name}");
    }
}

/// The services create their topics, databases and roles; nobody else may have an opinion of them.
#[test]
fn topics_databases_and_roles_are_made_in_one_place() {
    let places =
        ["docker-compose.yml", "infra/kafka/container.sh", "infra/postgres/init.sh"].map(str::to_owned);
    let templates = std::fs::read_dir(root().join("k8s/templates")).unwrap();
    let templates =
        templates.map(|entry| format!("k8s/templates/{}", entry.unwrap().file_name().into_string().unwrap()));
    for place in places.into_iter().chain(templates) {
        let text = read(&place);
        for name in names() {
            for word in [
                contracts::topic(&name),
                event_store::bootstrap::database_name(&name),
                format!("{name}_owner"),
                format!("{name}_runtime"),
                format!("{name}_kernel"),
            ] {
                assert!(!text.contains(&word), "{place} names {word}, which {name} makes itself");
            }
        }
    }
    assert!(read("infra/kafka/container.sh").contains("\nauto.create.topics.enable=false\n"));
    let made: Vec<String> = read("infra/postgres/init.sh")
        .lines()
        .filter(|line| line.contains("ROLE "))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        made,
        ["CREATE ROLE annomesh LOGIN CREATEDB CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD :'password';"],
        "one role, which may make databases and roles and nothing else"
    );
}

/// A tag that says which version; `latest` and the like move under one's feet.
fn assert_pinned(image: &str) {
    let pinned = image
        .rsplit_once(':')
        .is_some_and(|(_, tag)| tag.contains('.') && tag.contains(|letter: char| letter.is_ascii_digit()));
    assert!(pinned, "{image} is not pinned to a version");
}
