//! What this service reads, one table a file.

pub mod known_projects;
pub mod webhooks;
