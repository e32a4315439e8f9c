//! What the event store must survive: each file breaks it in one way, and a checker compares afterwards.

mod account;
mod append;
mod check;
mod concurrency;
mod connections;
mod consumer;
mod cursors;
mod dropped;
mod idempotency;
mod inbox;
mod isolation;
mod jobs;
mod lease;
mod parking;
mod sequencer;
mod shapes;
mod world;

mod test_kit;
