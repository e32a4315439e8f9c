//! What the event store must survive: each file breaks it in one way, and a checker compares afterwards.

mod account;
mod append;
mod check;
mod concurrency;
mod cursors;
mod idempotency;
mod jobs;
mod lease;
mod sequencer;
mod shapes;
mod world;

mod test_kit;
