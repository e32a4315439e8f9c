//! What waits for time to pass.

pub mod expire;
