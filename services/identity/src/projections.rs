//! Read models, written in the append transaction.

pub mod accounts;
pub mod credentials;
pub mod directory;
pub mod memberships;
pub mod organizations;
pub mod public_ids;
pub mod sessions;
pub mod tenants;
