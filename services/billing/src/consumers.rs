//! What other services' events become here.

pub mod usage;
