//! The tables of usage: facts and their sums, levels and their quarters, and what readers ask of them.

pub mod batch;
pub mod facts;
pub mod levels;
pub mod read;
pub mod reading;

/// All of them, for rebuilds.
pub const TABLES: &[&str] = &["usage_fact", "usage_quarter", "level_segment", "level_quarter"];
