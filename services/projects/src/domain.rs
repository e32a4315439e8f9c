//! The aggregates: pure and synchronous.

pub mod annotation_check;
pub mod annotation_data;
pub mod annotation_items;
pub mod annotation_split;
pub mod annotations;
pub mod job;
pub mod label;
mod nullable;
pub mod project;
pub mod request;
pub mod segment;
pub mod task;
