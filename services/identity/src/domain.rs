//! What identity decides: pure, synchronous, ignorant of time, ids, SQL and HTTP.

use serde::{Deserialize, Serialize};

pub mod credential;
pub mod membership;
pub mod organization;
pub mod role;
pub mod session;
pub mod tenant;
pub mod user;

/// Where a stream is in its life. What is gone never comes back under the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    #[default]
    Unborn,
    Alive,
    Gone,
}

#[cfg(test)]
pub(crate) fn given<A: event_store::Aggregate>(events: &[A::Event]) -> A {
    events.iter().fold(A::default(), |mut state, event| {
        state.apply(event);
        state
    })
}
