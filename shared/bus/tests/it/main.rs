//! The bus against real PostgreSQL and real Kafka.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod child;
mod kafka_broker;
mod kafka_consumer;
mod kafka_crash;
mod kafka_faults;
mod kafka_foreign;
mod kafka_publisher;
#[cfg(feature = "kafka-tls")]
mod kafka_scram;
mod kafka_world;
mod log_source;
mod logged;
mod peer;
