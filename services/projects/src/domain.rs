//! The aggregates: pure and synchronous.

pub mod label;
pub mod project;
