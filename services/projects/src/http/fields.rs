//! Fields that requests about several resources have.

use event_store::Tx;
use serde::{Deserialize, Deserializer};
use service_kit::body::FieldErrors;
use service_kit::news::News;
use service_kit::{Refusal, directory};
use utoipa::ToSchema;

/// Where exports go and imports come from.
#[derive(Deserialize, ToSchema)]
pub struct StorageWrite {
    location: Option<String>,
}

/// Tells an absent field from `null`.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::<i64>::deserialize(deserializer).map(Some)
}

/// Notes errors about what projects and tasks are described by.
pub fn check(
    errors: &mut FieldErrors,
    name: Option<&str>,
    bug_tracker: Option<&str>,
    [source, target]: [&Option<StorageWrite>; 2],
) {
    if let Some(name) = name {
        errors.text("name", name, 256);
    }
    if let Some(bug_tracker) = bug_tracker {
        errors.max("bug_tracker", bug_tracker, 2000);
    }
    for (field, storage) in [("source_storage", source), ("target_storage", target)] {
        let location = storage.as_ref().and_then(|storage| storage.location.as_deref()).unwrap_or("local");
        errors.check(location == "local", field, format!("The location {location:?} is not available."));
    }
}

/// Someone whom a request names must exist.
pub async fn check_user(tx: &mut Tx, field: &str, id: Option<i64>) -> Result<(), Refusal> {
    match id {
        Some(id) if directory::users(tx, [id]).await?.is_empty() => {
            Err(unknown(field, id).unless(News::of("identity", "user", id)))
        }
        _ => Ok(()),
    }
}

/// 400: a field names what is not there.
pub fn unknown(field: &str, id: i64) -> Refusal {
    Refusal::field(field, format!("Invalid pk \"{id}\" - object does not exist."))
}
