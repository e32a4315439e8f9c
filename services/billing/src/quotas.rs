//! Hard caps: what is taken, what is promised, and the one row for each cap at which all who want a place queue up.

pub mod places;
pub mod reservations;
pub mod taken;

use crate::domain::entitlement::{SEATS, STORAGE_BYTES};

/// Something that can be capped.
pub struct Quota {
    pub key: &'static str,
    pub unit: &'static str,
    pub title: &'static str,
    /// The owner's stream on which it says how much is taken, if it is one: what has just been given back there may be
    /// news here.
    pub level: Option<(&'static str, i64)>,
}

/// Everything that can be capped: what owners reserve before they take it.
pub const QUOTAS: &[Quota] = &[
    Quota { key: SEATS, unit: "users", title: "Users", level: None },
    Quota { key: STORAGE_BYTES, unit: "bytes", title: "Storage", level: Some(("storage", 1)) },
];

/// A quota by its key.
pub fn find(key: &str) -> Option<&'static Quota> {
    QUOTAS.iter().find(|quota| quota.key == key)
}
