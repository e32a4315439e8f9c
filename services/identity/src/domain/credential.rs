//! A user's keys: a public access key and the digest of the secret that goes with it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How many keys one user may have.
pub const KEYS_MAX: usize = 50;

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    pub access_key: String,
    /// HMAC-SHA-256 of key and secret, in hexadecimal.
    pub secret_digest: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    pub at: DateTime<Utc>,
    /// Absent for a key that is good until it is revoked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<DateTime<Utc>>,
}
