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
        match Answer::of(&error) {
            Answer::NotThere => bail!("{}: there is no such place", variables.name),
            Answer::NotAllowed => {
                bail!("{}: the storage does not let us {what}: {}", variables.identity, reason(&error))
            }
            Answer::Elsewhere => bail!("{}: {}", variables.server, reason(&error)),
            Answer::None => {
                let error = event_store::chain(&error);
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

/// What a place said.
enum Answer {
    NotThere,
    NotAllowed,
    /// The bucket is in another region.
    Elsewhere,
    /// Nothing, or nothing that a setting would change.
    None,
}

impl Answer {
    fn of(error: &StoreFault) -> Self {
        // A failed listing has no kind of its own: then the text has to do.
        let said = event_store::chain(error);
        let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
        let elsewhere =
            ["AuthorizationHeaderMalformed", "PermanentRedirect", "incorrectly configured region"];
        match error {
            _ if has(&elsewhere) => Self::Elsewhere,
            StoreFault::PermissionDenied { .. } | StoreFault::Unauthenticated { .. } => Self::NotAllowed,
            _ if has(&["status code: 403", "status code: 401"]) => Self::NotAllowed,
            StoreFault::NotFound { .. } => Self::NotThere,
            _ if has(&["status code: 404"]) => Self::NotThere,
            _ => Self::None,
        }
    }
}

/// What the place said, on one line: the rest of it is about us.
fn reason(error: &StoreFault) -> String {
    let said = event_store::chain(error);
    let said = said.split_once("status code: ").map_or(said.as_str(), |(_, said)| said);
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(160).collect()
}
