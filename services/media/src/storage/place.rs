//! Folders and buckets: how each is opened, and what a folder does better by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use service_kit::config::storage::{Azure, Gcs, Place, S3};

use super::StorageError;

/// How long a bucket may keep a request waiting, tries again included.
const PATIENCE: Duration = Duration::from_secs(20);
const TRIES: usize = 3;

type Opened = (Arc<dyn ObjectStore>, Option<PathBuf>);

/// Opens a place.
pub fn open(data: &Path, place: &Place) -> anyhow::Result<Opened> {
    match place {
        Place::Folder => {
            let folder = data.join("media").join("objects");
            make_folder(&folder)?;
            let folder =
                folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
            let store = LocalFileSystem::new_with_prefix(&folder).context("cannot open the folder")?;
            Ok((Arc::new(store), Some(folder)))
        }
        Place::S3(s3) => Ok((below(&s3.folder, bucket(s3).context("the S3 bucket")?), None)),
        Place::Gcs(gcs) => Ok((below(&gcs.folder, google(gcs).context("the Google bucket")?), None)),
        Place::Azure(azure) => {
            Ok((below(&azure.folder, container(azure).context("the Azure container")?), None))
        }
    }
}

fn below(folder: &str, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    match folder {
        "" => Arc::new(store),
        folder => Arc::new(PrefixStore::new(store, folder)),
    }
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: TRIES, retry_timeout: PATIENCE, ..RetryConfig::default() }
}

fn client(endpoint: Option<&str>) -> ClientOptions {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_allow_http(plain).with_timeout(PATIENCE)
}

/// Without keys, whatever role the process has: web identity, ECS, EKS or the machine's own.
fn bucket(s3: &S3) -> object_store::Result<impl ObjectStore> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&s3.bucket)
        .with_client_options(client(s3.endpoint.as_deref()))
        .with_retry(retry())
        // The guide's policy does not allow it.
        .with_disable_tagging(true);
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret)) = &s3.keys {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build()
}

fn google(gcs: &Gcs) -> object_store::Result<impl ObjectStore> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&gcs.bucket)
        .with_client_options(client(gcs.endpoint.as_deref()))
        .with_retry(retry());
    if let Some(file) = &gcs.credentials_file {
        builder = builder.with_application_credentials(file);
    }
    if let Some(endpoint) = &gcs.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    builder.build()
}

fn container(azure: &Azure) -> object_store::Result<impl ObjectStore> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(&azure.account)
        .with_container_name(&azure.container)
        .with_client_options(client(azure.endpoint.as_deref()))
        .with_retry(retry());
    if let Some(key) = &azure.key {
        builder = builder.with_access_key(key);
    }
    if let Some(endpoint) = &azure.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    builder.build()
}

/// Makes a folder that only this user may look into.
pub fn make_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Runs something slow on a thread of its own.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(std::io::Error::other(stopped)),
    }
}

/// Gives a finished file its name, unless something has that name.
pub async fn adopt(target: PathBuf, file: PathBuf) -> Result<(), StorageError> {
    aside(move || {
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match std::fs::hard_link(&file, &target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await
    .map_err(StorageError::from)
}

/// Reads a whole file.
pub async fn read(file: PathBuf) -> Result<Bytes, StorageError> {
    let name = file.display().to_string();
    aside(move || std::fs::read(file)).await.map(Bytes::from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StorageError::Missing(name),
        _ => StorageError::from(error),
    })
}

/// Removes a folder that has nothing in it any more.
pub async fn remove_empty(folder: PathBuf) {
    // One that is not empty has a new piece in it, and one that is gone is fine.
    if let Err(error) = aside(move || std::fs::remove_dir(folder)).await {
        tracing::debug!(%error, "a folder stays");
    }
}

/// Removes files that nobody has written to for a while.
pub async fn forget_old_files(folder: PathBuf, older_than: Duration) {
    let forgotten = aside(move || {
        let mut forgotten = 0;
        for entry in std::fs::read_dir(folder)?.flatten() {
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > older_than {
                std::fs::remove_file(entry.path())?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    });
    match forgotten.await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "files that arrived in part were removed"),
        Err(error) => tracing::warn!(%error, "files that arrived in part could not be removed"),
    }
}
