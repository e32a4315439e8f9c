//! Answers to what other services publish, one foreign event a file.

pub mod organization_deleted;
