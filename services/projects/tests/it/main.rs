//! Projects alone, among services that say what a test tells them; and what one of its consumers must not do
//! behind another's back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contracts;
mod jobs;
mod labels;
mod organization_ends;
mod saga;
mod sight;
mod tasks;
mod world;
