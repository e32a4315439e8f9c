//! Folders and buckets: how each is opened.
//!
//! Keys that a setting gives are used with nothing beside them: a variable such as `AWS_SESSION_TOKEN` that happens to
//! be set for somebody else must not change who asks. Only without any is the process's own identity used.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use service_kit::config::storage::{Azure, Gcs, Place, S3};

use super::folder;

/// How long a bucket may be silent.
pub const PATIENCE: Duration = Duration::from_secs(20);
const TRIES: usize = 3;

/// An open place.
pub struct Opened {
    pub store: Arc<dyn ObjectStore>,
    pub folder: Option<PathBuf>,
    pub variables: Variables,
}

/// The variables that say where a place is and who asks, to be named when it says no.
#[derive(Clone, Copy)]
pub struct Variables {
    pub name: &'static str,
    pub identity: &'static str,
    pub server: &'static str,
}

impl Variables {
    const FOLDER: Self = Self { name: "ANNOMESH_DATA", identity: "ANNOMESH_DATA", server: "ANNOMESH_DATA" };

    fn s3(s3: &S3) -> Self {
        let identity = match s3.keys {
            Some(_) => "STORAGE_AWS_ACCESS_KEY_ID and STORAGE_AWS_SECRET_ACCESS_KEY",
            None => "the process's own role (STORAGE_AWS_ACCESS_KEY_ID is not set)",
        };
        let server = "STORAGE_AWS_REGION_NAME or STORAGE_AWS_ENDPOINT_URL";
        Self { name: "STORAGE_AWS_BUCKET_NAME", identity, server }
    }

    fn gcs(gcs: &Gcs) -> Self {
        let identity = match gcs.credentials_file {
            Some(_) => "GOOGLE_APPLICATION_CREDENTIALS",
            None => "the process's own identity (GOOGLE_APPLICATION_CREDENTIALS is not set)",
        };
        Self { name: "STORAGE_GCS_BUCKET_NAME", identity, server: "STORAGE_GCS_ENDPOINT" }
    }

    fn azure(azure: &Azure) -> Self {
        let identity = match azure.key {
            Some(_) => "STORAGE_AZURE_ACCOUNT_NAME and STORAGE_AZURE_ACCOUNT_KEY",
            None => "the process's own identity (STORAGE_AZURE_ACCOUNT_KEY is not set)",
        };
        let server = "STORAGE_AZURE_ACCOUNT_NAME or STORAGE_AZURE_ENDPOINT_URL";
        Self { name: "STORAGE_AZURE_CONTAINER_NAME", identity, server }
    }
}

/// Opens a place. Nothing is asked of a bucket yet.
pub fn open(data: &Path, place: &Place, patience: Duration) -> anyhow::Result<Opened> {
    let (store, variables) = match place {
        Place::Folder => {
            let folder = data.join("media").join("objects");
            folder::make(&folder)?;
            let folder =
                folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
            let store = LocalFileSystem::new_with_prefix(&folder).context("cannot open the folder")?;
            let (store, variables) = (Arc::new(store), Variables::FOLDER);
            return Ok(Opened { store, folder: Some(folder), variables });
        }
        Place::S3(s3) => (bucket(s3, patience).map(|store| below(&s3.folder, store)), Variables::s3(s3)),
        Place::Gcs(gcs) => {
            (google(gcs, patience).map(|store| below(&gcs.folder, store)), Variables::gcs(gcs))
        }
        Place::Azure(azure) => {
            (container(azure, patience).map(|store| below(&azure.folder, store)), Variables::azure(azure))
        }
    };
    // What can be seen to be wrong by now is a key or a file of keys that is none.
    let store = store.with_context(|| variables.identity)?;
    Ok(Opened { store, folder: None, variables })
}

fn below(folder: &str, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    match folder {
        "" => Arc::new(store),
        folder => Arc::new(PrefixStore::new(store, folder)),
    }
}

fn retry(patience: Duration) -> RetryConfig {
    RetryConfig { max_retries: TRIES, retry_timeout: patience, ..RetryConfig::default() }
}

/// Patience ends with silence, not with a time for all of a body: that is as slow as whoever reads it.
fn client(endpoint: Option<&str>, patience: Duration) -> ClientOptions {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_allow_http(plain).with_timeout_disabled().with_read_timeout(patience)
}

/// Without keys, whatever role the process has: web identity, ECS, EKS or the machine's own.
fn bucket(s3: &S3, patience: Duration) -> object_store::Result<impl ObjectStore> {
    let builder = match &s3.keys {
        Some((id, secret)) => AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder
        .with_bucket_name(&s3.bucket)
        .with_client_options(client(s3.endpoint.as_deref(), patience))
        .with_retry(retry(patience))
        // The guide's policy does not allow it.
        .with_disable_tagging(true);
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build()
}

fn google(gcs: &Gcs, patience: Duration) -> object_store::Result<impl ObjectStore> {
    let builder = match &gcs.credentials_file {
        Some(file) => GoogleCloudStorageBuilder::new().with_application_credentials(file),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    let mut builder = builder
        .with_bucket_name(&gcs.bucket)
        .with_client_options(client(gcs.endpoint.as_deref(), patience))
        .with_retry(retry(patience));
    if let Some(endpoint) = &gcs.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    builder.build()
}

fn container(azure: &Azure, patience: Duration) -> object_store::Result<impl ObjectStore> {
    let builder = match &azure.key {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key),
        None => MicrosoftAzureBuilder::from_env(),
    };
    let mut builder = builder
        .with_account(&azure.account)
        .with_container_name(&azure.container)
        .with_client_options(client(azure.endpoint.as_deref(), patience))
        .with_retry(retry(patience));
    if let Some(endpoint) = &azure.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    builder.build()
}
