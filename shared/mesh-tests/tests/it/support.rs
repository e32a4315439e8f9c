//! What several stories need.

use std::path::{Path, PathBuf};

use service_kit::Service;
use test_kit::TestMesh;

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

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A name that no other test uses, short enough for a slug.
pub fn unique(prefix: &str) -> String {
    let id = event_store::new_id().simple().to_string();
    format!("{prefix}{}", &id[id.len() - 10..])
}
