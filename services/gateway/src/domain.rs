//! What the gateway makes of the events that pass: pure.

pub mod task_way;
pub mod task_ways;
