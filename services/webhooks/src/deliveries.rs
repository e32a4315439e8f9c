//! What has to be delivered, and every attempt at it. Written by reactions and jobs, never by projections:
//! these rows are facts of the outside world that no event holds.

pub mod attempts;
pub mod messages;
