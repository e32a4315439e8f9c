//! What every contract event says about itself.

use schemars::{JsonSchema, Schema};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A fact that leaves its service. Implemented by the `events!` macro only.
pub trait ContractEvent: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The publishing service.
    const SERVICE: &'static str;
    /// The kind of the stream that it is about.
    const KIND: &'static str;
    /// `<service>.<noun>_<participle>.v<n>`.
    const TYPE: &'static str;
}

/// A row of the catalog.
#[derive(Clone)]
pub struct EventType {
    pub service: &'static str,
    pub kind: &'static str,
    pub name: &'static str,
    /// First line of the Rust type's documentation.
    pub summary: &'static str,
    pub schema: fn() -> Schema,
    pub example: fn() -> Value,
}

/// A value to show in schemas and documents.
pub trait Example {
    fn example() -> Self;
}

/// Declares the contract events of one publisher: the structs, their names and the catalog.
macro_rules! events {
    ($service:literal; $( #[doc = $doc:literal] $name:ident on $kind:literal as $noun:literal
        { $( $(#[$meta:meta])* $field:ident : $type:ty = $example:expr ),* $(,)? } )*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            pub struct $name { $( $(#[$meta])* pub $field: $type ),* }

            impl $crate::event::ContractEvent for $name {
                const SERVICE: &'static str = $service;
                const KIND: &'static str = $kind;
                const TYPE: &'static str = concat!($service, ".", $noun, ".v1");
            }

            impl $crate::event::Example for $name {
                fn example() -> Self { Self { $( $field: $example ),* } }
            }
        )*

        /// The events that this service publishes.
        pub fn catalog() -> Vec<$crate::event::EventType> {
            vec![ $( $crate::event::EventType {
                service: $service,
                kind: $kind,
                name: <$name as $crate::event::ContractEvent>::TYPE,
                summary: $doc.trim_ascii(),
                schema: || schemars::schema_for!($name),
                example: || serde_json::to_value(<$name as $crate::event::Example>::example())
                    .unwrap_or_default(),
            } ),* ]
        }
    };
}
pub(crate) use events;
