//! Stories across services, the shape of the house, and the map of the mesh: one test binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod annotations;
mod bad_input;
mod billing;
mod collector;
mod first_story;
mod freshness;
mod isolation;
mod labels;
mod media;
mod media_isolation;
mod mesh_map;
mod one_trace;
mod organization_ends;
mod processes;
mod redis;
mod repeats;
mod secrets_at_rest;
mod sessions;
mod shape;
mod stopping;
mod support;
mod tenants;
mod under_load;
