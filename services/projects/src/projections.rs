//! The tables that clients read, one a file.

pub mod labels;
pub mod projects;
