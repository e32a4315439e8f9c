//! Contract events on their way between services: published to Kafka, or read from the producer's log.
//!
//! The only crate that names rdkafka. With brokers, [`publisher`] sends a service's log to its topic and
//! [`kafka`] feeds its consumers; without, [`log_source`] reads the producers' logs over the mesh port. Both
//! hand the same batches to [`consumer`], and what a batch does is in `event_store::inbox`.

pub mod consumer;
pub mod headers;
pub mod kafka;
pub mod log_source;
pub mod partition;
pub mod peer;
pub mod progress;
pub mod publisher;
pub mod rebuild;
mod retry;

pub use consumer::Consumer;
pub use peer::Peer;

/// Where the events travel.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Consumers read the producers' logs.
    Log,
    /// A Kafka cluster.
    Kafka(kafka::Settings),
}
