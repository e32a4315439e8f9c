//! What several stories need.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use service_kit::Service;
use test_kit::TestMesh;

/// How long anything may take: what only a hang exceeds.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Every service of the mesh.
pub fn services() -> Vec<Service> {
    vec![
        identity::service(),
        projects::service(),
        media::service(),
        billing::service(),
        webhooks::service(),
        analytics::service(),
        gateway::service(),
    ]
}

/// The whole mesh in this process.
pub async fn mesh() -> TestMesh {
    TestMesh::start(services()).await
}

/// The binary of the whole mesh, built anew if need be.
pub fn annomesh() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let built =
            Command::new(env!("CARGO")).args(["build", "-p", "annomesh"]).current_dir(root()).status();
        assert!(built.unwrap().success());
        std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("annomesh")
    };
    BUILT.get_or_init(build).clone()
}

/// Ports of loopback that were free a moment ago.
pub fn ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A name that no other test uses, short enough for a slug.
pub fn unique(prefix: &str) -> String {
    let id = event_store::new_id().simple().to_string();
    format!("{prefix}{}", &id[id.len() - 10..])
}
