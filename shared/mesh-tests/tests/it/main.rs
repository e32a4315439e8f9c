//! Stories across services, the shape of the house, and the map of the mesh: one test binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod annotations;
mod bad_input;
mod billing;
mod caps;
mod collector;
mod first_story;
mod fleet;
mod freshness;
mod isolation;
mod labels;
mod media;
mod media_isolation;
mod mesh_map;
mod one_trace;
mod one_truth;
mod organization_ends;
mod outages;
mod processes;
mod redis;
mod repeats;
mod saga;
mod secrets_at_rest;
mod sender;
mod sessions;
mod shape;
mod stopping;
mod support;
mod tenants;
mod under_load;
