//! The event store: aggregates, their streams, and everything that rests on one database transaction.
//!
//! Read in this order: [`aggregate`] (what a service writes), [`store`] (how a command travels), [`append`]
//! (the one statement that stores it), [`sequencer`] (how it gets its position), [`log`] (how others read it),
//! [`inbox`] (how it is taken in elsewhere), [`projection`] (how a read model is made anew).

pub mod aggregate;
mod append;
pub mod bootstrap;
pub mod clock;
pub mod cluster;
pub mod db;
pub mod error;
pub mod fail;
pub mod gather;
pub mod idempotency;
pub mod inbox;
pub mod jobs;
pub mod lease;
pub mod log;
pub mod outgoing;
pub mod projection;
pub mod registry;
pub mod sequencer;
pub mod sql;
pub mod store;
mod stream;

pub use aggregate::{Aggregate, DomainError, Refused};
pub use clock::{Clock, new_id};
pub use db::{Database, DatabaseUrls, PoolSizes, Tx};
pub use error::StoreError;
pub use gather::Gathered;
pub use idempotency::Key;
pub use outgoing::{Outgoing, before_update};
pub use registry::{Applied, Apply, Change, Projection, Registration, Registry};
pub use sql::Sql;
pub use store::{Context, ExecuteError, Executed, HasStoreError, Store, Unit};

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
