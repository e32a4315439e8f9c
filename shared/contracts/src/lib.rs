//! What leaves a service: the envelope, the ids and every contract event of the mesh.
//!
//! Plain data; depends on no other crate of ours and does nothing but describe itself.
//!
//! # Add an event
//! 1. Add it to the `events!` block of its publisher's file here.
//! 2. Emit it in that service's `publish.rs` (an exhaustive match: the compiler asks for it).
//! 3. Run `UPDATE_SCHEMAS=1 cargo test -p contracts` and commit the schema it writes.
//!
//! # Change an event
//! Add optional fields to `v1`, or add `…v2` beside it and publish both until `mesh.txt` shows no reader of
//! `v1`. A published schema is never changed incompatibly: a test compares.

pub mod asyncapi;
pub mod billing;
pub mod envelope;
pub mod event;
pub mod identity;
pub mod media;
pub mod projects;
pub mod tenant;
pub mod webhooks;

pub use envelope::Envelope;
pub use event::{ContractEvent, EventType};
pub use tenant::TenantId;

/// Partitions of every topic. A publisher refuses a topic with another count, because a key would move.
pub const PARTITIONS: i32 = 12;

/// The largest event, private or contract, in bytes of its JSON data; well below a broker's 1 MiB.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// The topic that `service` publishes.
pub fn topic(service: &str) -> String {
    format!("{service}.events")
}

/// Every contract event of the mesh, in the order of publisher and name.
pub fn catalog() -> Vec<EventType> {
    [identity::catalog(), projects::catalog(), media::catalog(), billing::catalog(), webhooks::catalog()]
        .concat()
}
