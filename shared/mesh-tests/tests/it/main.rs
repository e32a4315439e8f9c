//! Stories across services, the shape of the house, and the map of the mesh: one test binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod first_story;
mod freshness;
mod isolation;
mod mesh_map;
mod processes;
mod sessions;
mod shape;
mod support;
mod under_load;
