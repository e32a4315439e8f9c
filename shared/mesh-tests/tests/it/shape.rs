//! The rules of the house that a machine can keep.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::{root, services};

/// Crates of ours, and which of ours each may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("contracts", &[]),
    ("policy", &[]),
    ("event-store", &["contracts"]),
    ("bus", &["contracts", "event-store"]),
    ("service-kit", &["contracts", "event-store", "bus", "policy"]),
    ("test-kit", &["contracts", "event-store", "bus", "service-kit"]),
];
const SHARED: &[&str] = &["contracts", "policy", "event-store", "bus", "service-kit"];
const SERVICES: &[&str] = &["identity", "projects", "media", "billing", "webhooks", "analytics", "gateway"];

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|known| known == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names under a table of a manifest.
fn dependencies(manifest: &str, table: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            inside = header.trim_end_matches(']') == table;
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            names.insert(name.trim().to_owned());
        }
    }
    names.remove("");
    names
}

fn folder_of(name: &str) -> PathBuf {
    let folder = if SERVICES.contains(&name) { "services" } else { "shared" };
    root().join(folder).join(name)
}

#[test]
fn crates_depend_only_downwards() {
    let ours: BTreeSet<&str> =
        SHARED.iter().chain(SERVICES).copied().chain(["test-kit", "mesh-tests", "annomesh"]).collect();
    let allowed = LAYERS.iter().copied().chain(SERVICES.iter().map(|name| (*name, SHARED)));
    for (name, allowed) in allowed {
        let manifest = text(&folder_of(name).join("Cargo.toml"));
        for dependency in dependencies(&manifest, "dependencies") {
            if ours.contains(dependency.as_str()) {
                assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
            }
        }
        for dependency in dependencies(&manifest, "dev-dependencies") {
            assert!(!SERVICES.contains(&dependency.as_str()), "{name} may not test with {dependency}");
        }
    }
}

#[test]
fn only_bus_names_rdkafka() {
    for manifest in files(&root(), "toml").iter().filter(|path| path.ends_with("Cargo.toml")) {
        let is_bus = manifest.ends_with("shared/bus/Cargo.toml");
        let is_bench = manifest.ends_with("load-tests/Cargo.toml");
        let names = dependencies(&text(manifest), "dependencies").contains("rdkafka");
        assert!(!names || is_bus || is_bench, "{} names rdkafka", manifest.display());
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for manifest in files(&root(), "toml").iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest_text = text(manifest);
        assert!(
            manifest_text.contains("[workspace]") || manifest_text.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            manifest.display()
        );
    }
}

#[test]
fn domains_are_pure() {
    let forbidden =
        ["async ", ".await", "actix", "diesel", "service_kit", "bus::", "tokio", "std::env", "reqwest"];
    for service in SERVICES {
        for file in files(&folder_of(service).join("src/domain"), "rs") {
            let code = text(&file);
            for word in forbidden {
                assert!(!code.contains(word), "{} says `{word}`", file.display());
            }
        }
    }
}

#[test]
fn files_are_short() {
    for folder in ["services", "shared", "infra", "load-tests"] {
        for file in files(&root().join(folder), "rs") {
            let lines = text(&file).lines().count();
            assert!(lines <= 600, "{} has {lines} lines; split it along its concepts", file.display());
            if file.ends_with("src/main.rs") && folder == "services" {
                assert!(lines <= 3, "{} does more than run its service", file.display());
            }
            if file.ends_with("src/lib.rs") && folder == "services" {
                assert!(lines <= 60, "{} is no table of contents any more: {lines} lines", file.display());
            }
        }
    }
}

#[test]
fn every_service_says_what_it_is() {
    for service in SERVICES {
        for file in ["README.md", "openapi.json", "Cargo.toml", "src/lib.rs", "src/main.rs"] {
            assert!(folder_of(service).join(file).exists(), "{service} has no {file}");
        }
    }
}

#[test]
fn every_documented_path_is_routed_to_its_service() {
    for service in services() {
        for path in service.openapi().paths.paths.keys() {
            assert_eq!(
                service_kit::routes::service_of(path),
                Some(service.name()),
                "{path} of {} is not in the route table",
                service.name()
            );
        }
    }
}

#[test]
fn every_setting_is_in_the_readme() {
    let readme = text(&root().join("README.md"));
    for setting in service_kit::config::SETTINGS {
        assert!(
            readme.contains(&format!("`{}`", setting.name)),
            "README.md does not document {}",
            setting.name
        );
    }
}

#[test]
fn the_tree_has_no_unfinished_business() {
    let words = [
        concat!("to", "do!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
    ];
    for folder in ["services", "shared", "infra", "load-tests"] {
        for file in files(&root().join(folder), "rs") {
            let code = text(&file);
            for word in words {
                assert!(!code.contains(word), "{} says {word}", file.display());
            }
        }
    }
}
