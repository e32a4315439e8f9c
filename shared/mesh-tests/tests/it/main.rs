//! Stories across services, the shape of the house, and the map of the mesh: one test binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod annotations;
mod bad_input;
mod billing;
mod first_story;
mod freshness;
mod isolation;
mod media;
mod mesh_map;
mod processes;
mod sessions;
mod shape;
mod support;
mod tenants;
mod under_load;
