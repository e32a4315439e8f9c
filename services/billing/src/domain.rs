//! What is decided and computed without a database.

pub mod amount;
pub mod api_usage;
pub mod curve;
pub mod entitlement;
pub mod level;
pub mod quarter;
pub mod windows;
