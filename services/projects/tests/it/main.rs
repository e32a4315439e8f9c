//! Projects alone, among services that say what a test tells them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contracts;
mod jobs;
mod labels;
mod saga;
mod sight;
mod tasks;
mod world;
