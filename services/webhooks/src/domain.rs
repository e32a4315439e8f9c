//! What a webhook is, and the events that it may name.

pub mod events;
pub mod message;
pub mod webhook;
