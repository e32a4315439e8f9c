//! What can go wrong with bytes.

use actix_web::http::StatusCode;
use service_kit::Refusal;

/// A failure of the storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No room; reading goes on.
    #[error("the storage is full")]
    Full,
    /// Something that a row speaks of is not there.
    #[error("an object is missing: {0}")]
    Missing(String),
    #[error("a file could not be read or written")]
    Io(#[source] std::io::Error),
    #[error("the storage is not available")]
    Away(#[source] object_store::Error),
    #[error("the storage does not answer")]
    Silent,
}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        if let object_store::Error::NotFound { path, .. } = &error {
            return Self::Missing(path.clone());
        }
        match is_full(&error) {
            true => Self::Full,
            false => Self::Away(error),
        }
    }
}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        match is_full(&error) {
            true => Self::Full,
            false => Self::Io(error),
        }
    }
}

/// Whether a disk or a quota is used up, however deep that is said.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Full => tracing::warn!("the storage is full"),
            error => tracing::error!(error = event_store::chain(error), "the storage failed"),
        }
        match error {
            StorageError::Full => {
                let mut refusal = Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "storage_full",
                    "The storage is full; nothing was kept.",
                );
                refusal.retry_after = Some(60);
                refusal
            }
            _ => Self::unavailable("The storage does not answer at the moment."),
        }
    }
}
