//! `mesh.txt`: who publishes and who reads what, on one page, reviewed as a diff.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::{root, services};

fn render() -> String {
    let mut readers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let services = services();
    for service in &services {
        for consumer in service.consumers() {
            let name = consumer.full_name(service.name());
            for event in contracts::catalog() {
                let named = consumer.types().contains(&event.name);
                if named || consumer.takes_rest_of(event.service) {
                    readers.entry(event.name).or_default().push(name.clone());
                }
            }
        }
    }
    let mut text = String::from(
        "# Who publishes and who reads what. UPDATE_MESH_MAP=1 cargo test -p mesh-tests mesh_map\n",
    );
    for event in contracts::catalog() {
        let mut names = readers.remove(event.name).unwrap_or_default();
        names.sort();
        names.dedup();
        let to = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        writeln!(text, "{}: {} -> {to}", event.name, event.service).unwrap();
    }
    text
}

#[test]
fn the_map_of_the_mesh_is_committed() {
    let path = root().join("shared/mesh-tests/mesh.txt");
    let fresh = render();
    if std::fs::read_to_string(&path).is_ok_and(|committed| committed == fresh) {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_MESH_MAP").is_some(),
        "mesh.txt is out of date; run UPDATE_MESH_MAP=1 cargo test -p mesh-tests mesh_map"
    );
    std::fs::write(path, fresh).unwrap();
}
