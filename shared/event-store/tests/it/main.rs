//! What the event store must survive: each file breaks it in one way, and a checker compares afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod append;
mod bootstrap;
mod check;
mod concurrency;
mod connections;
mod consumer;
mod crash;
mod cursors;
mod dropped;
mod idempotency;
mod inbox;
mod isolation;
mod jobs;
mod lease;
mod parking;
mod rebuild;
mod sequencer;
mod shapes;
mod world;
