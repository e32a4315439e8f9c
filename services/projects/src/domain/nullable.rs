//! Tells an absent field of an event from one that is set to nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the inner value.
#[expect(clippy::option_option, clippy::ref_option, reason = "absent, null and a value are three things")]
pub fn serialize<S: Serializer>(value: &Option<Option<i64>>, serializer: S) -> Result<S::Ok, S::Error> {
    value.flatten().serialize(serializer)
}

/// Reads what is there as something that was set.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::<i64>::deserialize(deserializer).map(Some)
}
