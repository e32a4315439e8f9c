//! docker-compose.yml with the secrets of infra/docker/env.sh, and the image.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::{Captures, Regex};
use serde_yaml_ng::Value;
use service_kit::Config;
use service_kit::config::SETTINGS;

use super::{PORTS, assert_pinned, assert_same, keys, names, read, storeless, yaml};
use crate::support::{root, unique};

/// What the mesh needs besides its services.
const INFRASTRUCTURE: &[&str] = &["traefik", "postgres", "kafka", "redis"];
/// Settings that compose does not set: the mesh has the cluster for itself.
const UNSET: &[&str] = &["KAFKA_TOPIC_PREFIX"];

fn compose() -> Value {
    yaml("docker-compose.yml")
}

/// The services of ours, by their names.
fn ours(compose: &Value) -> BTreeMap<String, Value> {
    let all = compose["services"].as_mapping().unwrap();
    let named = all.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone()));
    named.filter(|(name, _)| !INFRASTRUCTURE.contains(&name.as_str())).collect()
}

fn env_sh(file: &Path) -> std::process::Output {
    Command::new("bash").arg(root().join("infra/docker/env.sh")).arg(file).output().unwrap()
}

/// What env.sh writes.
fn secrets() -> BTreeMap<String, String> {
    let file = std::env::temp_dir().join(unique("annomesh-env-"));
    assert!(env_sh(&file).status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `${NAME:-default}` and `${NAME:?complaint}`.
fn variables() -> Regex {
    Regex::new(r"\$\{(\w+)(?::([-?])([^}]*))?\}").unwrap()
}

/// A service's variables as compose would give them.
fn environment(service: &Value, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let filled = |text: &str| {
        let fill = |found: &Captures<'_>| match (env.get(&found[1]), found.get(2).map(|kind| kind.as_str())) {
            (Some(value), _) if !value.is_empty() => value.clone(),
            (_, Some("-")) => found[3].to_owned(),
            _ => panic!("{text}: env.sh does not write {}", &found[1]),
        };
        variables().replace_all(text, fill).into_owned()
    };
    let set = service["environment"].as_mapping().unwrap();
    set.iter()
        .map(|(name, value)| (name.as_str().unwrap().to_owned(), filled(value.as_str().unwrap())))
        .collect()
}

/// The settings of a service's process. This build may be one without Kafka's SCRAM; the images' is not.
fn config(vars: &BTreeMap<String, String>) -> Result<Config, String> {
    let tried = Config::from_vars(false, vars.clone()).map_err(|error| format!("{error:#}"));
    match tried {
        Err(error) if error.contains("kafka-tls") => {
            let plain = vars.iter().filter(|(name, _)| !name.starts_with("KAFKA_S"));
            let plain = plain.map(|(name, value)| (name.clone(), value.clone()));
            Config::from_vars(false, plain).map_err(|error| format!("{error:#}"))
        }
        other => other,
    }
}

#[test]
fn compose_runs_every_service_and_nothing_else_of_ours() {
    let compose = compose();
    assert_same("docker-compose.yml", &ours(&compose).into_keys().collect(), &names());
    for (name, service) in ours(&compose) {
        let image = service["image"].as_str().unwrap();
        assert_eq!(image, format!("annomesh/{name}:${{IMAGE_TAG:-{}}}", env!("CARGO_PKG_VERSION")));
        assert_eq!(service["build"]["args"]["SERVICE"].as_str(), Some(name.as_str()));
        assert_eq!(service["build"]["dockerfile"].as_str(), Some("infra/docker/Dockerfile"));
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"), "{name}");
        assert_eq!(service["security_opt"][0].as_str(), Some("no-new-privileges:true"), "{name}");
        assert_eq!(service["healthcheck"]["test"][2].as_str(), Some("health"), "{name}");
    }
    let waited_for = keys(&compose["services"]["traefik"]["depends_on"]);
    assert_same("traefik's depends_on", &waited_for, &names());
}

#[test]
fn only_the_front_door_publishes_a_port() {
    let compose = compose();
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        assert_eq!(service.get("ports").is_some(), name == "traefik", "{name}");
        assert!(service.get("network_mode").is_none(), "{name}");
        let networks = service["networks"].as_sequence().unwrap();
        assert!(name != "traefik" || networks.len() == 1 && networks[0].as_str() == Some("mesh"));
    }
    assert_eq!(compose["networks"]["stores"]["internal"].as_bool(), Some(true));
    let port = compose["services"]["traefik"]["ports"][0].as_str().unwrap().to_owned();
    let inside = port.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(
        yaml("infra/traefik/traefik.yml")["entryPoints"]["web"]["address"].as_str(),
        Some(&*format!(":{inside}"))
    );
}

#[test]
fn images_are_pinned() {
    for name in INFRASTRUCTURE {
        assert_pinned(compose()["services"][*name]["image"].as_str().unwrap());
    }
    let dockerfile = read("infra/docker/Dockerfile");
    let stages: BTreeSet<&str> = dockerfile.lines().filter_map(|line| line.split(" AS ").nth(1)).collect();
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    for base in bases.filter(|base| !stages.contains(base)) {
        assert_pinned(base);
    }
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{}-", channel.trim_matches('"'))), "the image's Rust");
}

#[test]
fn every_variable_of_compose_is_a_setting_that_the_service_takes() {
    let (compose, env) = (compose(), secrets());
    let mut set = BTreeSet::new();
    for (name, service) in ours(&compose) {
        let vars = environment(&service, &env);
        for variable in vars.keys() {
            assert!(
                SETTINGS.iter().any(|setting| setting.name == variable),
                "{name}: {variable} is no setting"
            );
        }
        let config = config(&vars).unwrap_or_else(|error| panic!("{name} would not start: {error}"));
        assert_same(&format!("MESH_PEERS of {name}"), &config.mesh_peers.keys().cloned().collect(), &names());
        for (peer, url) in &config.mesh_peers {
            assert_eq!(url, &format!("http://{peer}:{}", PORTS[1]));
        }
        let ports = [config.http_address, config.mesh_address].map(|address| address.port().to_string());
        assert_eq!(ports, PORTS, "{name}");
        let has_store = !storeless().contains(&name);
        assert_eq!(config.database_url.is_some(), has_store, "DATABASE_URL of {name}");
        assert_eq!(config.kafka.is_some(), has_store, "KAFKA_BROKERS of {name}");
        assert_eq!(vars.contains_key("KAFKA_SASL_PASSWORD"), has_store, "KAFKA_SASL_PASSWORD of {name}");
        assert!(config.redis_url.is_some(), "REDIS_URL of {name}");
        assert_eq!(config.admin.is_some(), name == "identity", "ADMIN_PASSWORD of {name}");
        assert_eq!(config.supervisor.is_some(), name == "identity", "the operator's key at {name}");
        set.extend(vars.into_keys());
    }
    set.extend(UNSET.iter().map(|name| (*name).to_owned()));
    let documented = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_same("variables in docker-compose.yml", &set, &documented);
}

#[test]
fn nothing_starts_without_the_secrets_of_env_sh_and_it_writes_no_other() {
    let text = read("docker-compose.yml");
    let written = secrets();
    let mut wanted = BTreeSet::new();
    for found in variables().captures_iter(&text) {
        if found.get(2).is_some_and(|kind| kind.as_str() == "?") {
            wanted.insert(found[1].to_owned());
        }
        let secret =
            ["_PASSWORD", "MESH_SECRET", "USER_KEY", "USER_SECRET"].iter().any(|end| found[1].ends_with(end));
        assert!(!secret || &found[2] == "?", "{} may be missing", &found[1]);
    }
    for name in written.keys() {
        assert!(text.contains(&format!("${{{name}:")), "env.sh writes {name}, which compose does not read");
    }
    let random: BTreeMap<_, _> = written.iter().filter(|(_, value)| value.len() == 64).collect();
    assert_same("random secrets of env.sh", &random.keys().map(|name| (*name).clone()).collect(), &wanted);
    let different: BTreeSet<_> = random.values().collect();
    assert_eq!(different.len(), random.len(), "two secrets are the same");
}

#[test]
fn env_sh_writes_for_its_owner_only_and_never_twice() {
    let file: PathBuf = std::env::temp_dir().join(unique("annomesh-env-"));
    assert!(env_sh(&file).status.success());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    let again = env_sh(&file);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(
        before
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() < 32 || !said.contains(&*String::from_utf8_lossy(line)))
    );
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_image_runs_as_nobody_on_the_ports_of_compose() {
    let dockerfile = read("infra/docker/Dockerfile");
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "{user}");
    assert!(dockerfile.contains(&format!("EXPOSE {} {}\n", PORTS[0], PORTS[1])));
    assert!(dockerfile.contains("--features service-kit/kafka-tls"), "compose's Kafka wants SCRAM");
    let env = dockerfile.lines().find_map(|line| line.strip_prefix("ENV HTTP_ADDRESS=")).unwrap();
    for (name, _) in format!("HTTP_ADDRESS={env}").split(' ').map(|pair| pair.split_once('=').unwrap()) {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is no setting");
    }
}
