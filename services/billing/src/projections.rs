//! Read models: what this service shows of its own events, and tenants as operators list them.

pub mod entitlements;
pub mod tenants;
