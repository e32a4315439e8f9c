//! Whether the place can be used: at start, so that a wrong setting is named, and whenever somebody asks.

use std::time::Duration;

use anyhow::bail;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectStore, ObjectStoreExt};

use super::{Storage, StorageError};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where nothing is kept.
fn somewhere() -> Path {
    Path::from(format!("check/{}", event_store::new_id().simple()))
}

impl Storage {
    /// Lists, writes and deletes something. A place that says no stops the start; one that does not answer may come
    /// back, and until then uploads are refused.
    ///
    /// # Errors
    /// Names the variable that is wrong.
    pub async fn check_at_start(&self) -> anyhow::Result<()> {
        let Ok(outcome) = tokio::time::timeout(2 * PATIENCE, self.try_everything()).await else {
            tracing::warn!(
                "{}: the storage does not answer; it is asked again when needed",
                self.variables.server
            );
            return Ok(());
        };
        let Err((what, error)) = outcome else { return Ok(()) };
        let variables = self.variables;
        match &error {
            StoreFault::NotFound { .. } => bail!("{}: there is no such place", variables.name),
            StoreFault::PermissionDenied { .. } | StoreFault::Unauthenticated { .. } => {
                bail!("{}: the storage does not let us {what}: {}", variables.identity, reason(&error))
            }
            error if is_another_server(error) => bail!("{}: {}", variables.server, reason(error)),
            error => {
                let error = event_store::chain(error);
                tracing::warn!(%error, "{}: the storage does not answer; it is asked again when needed", variables.server);
                Ok(())
            }
        }
    }

    async fn try_everything(&self) -> Result<(), (&'static str, StoreFault)> {
        let path = somewhere();
        self.list_one(&path).await.map_err(|error| ("list", error))?;
        self.store.put(&path, "annomesh".into()).await.map_err(|error| ("write", error))?;
        self.store.delete(&path).await.map_err(|error| ("delete", error))
    }

    async fn list_one(&self, path: &Path) -> Result<(), StoreFault> {
        self.store.list(Some(path)).try_next().await.map(drop)
    }

    /// Whether pictures can be taken in now. In a folder something is written; a bucket is asked for a list only,
    /// because one with versions would keep whatever is written.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn check_writes(&self) -> Result<(), StorageError> {
        self.check_room(0)?;
        let path = somewhere();
        let asked = async {
            if self.folder.is_some() {
                self.store.put(&path, "annomesh".into()).await?;
                self.store.delete(&path).await?;
                Ok(())
            } else {
                self.list_one(&path).await
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StorageError::Silent),
        }
    }
}

/// Whether the server says that it is not the one we take it for.
fn is_another_server(error: &StoreFault) -> bool {
    let said = event_store::chain(error).to_string();
    ["AuthorizationHeaderMalformed", "PermanentRedirect", "incorrectly configured region"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// The innermost cause, on one line.
fn reason(error: &StoreFault) -> String {
    let said = event_store::chain(error).to_string();
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(400).collect()
}
