//! The aggregates; pure and synchronous.

pub mod options;
pub mod storage;
pub mod task_data;
