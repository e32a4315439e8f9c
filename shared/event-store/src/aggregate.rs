//! The shape of an aggregate: pure, synchronous, ignorant of time, ids, SQL and HTTP.
//!
//! `decide` reads everything it needs from its command; whoever builds the command looks it up.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A consistency boundary: its state is the fold of its stream's events.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Singular noun, the stream's kind: `"project"`.
    const KIND: &'static str;
    /// Raised when the shape of the state changes: rows of an older revision are folded anew on load.
    const STATE_REV: i16 = 1;
    /// Raised when the shape of an event changes; see [`Aggregate::upcast`].
    const EVENT_REV: i16 = 1;

    /// What it can be asked; imperative variants.
    type Command: Send;
    /// What happened; past participles, serialized as `{"type": …, "data": …}` by
    /// `#[serde(tag = "type", content = "data")]`.
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Why it refuses.
    type Error: DomainError;

    /// Answers a command with the events that it causes; none means that it was so already.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Takes an event into the state.
    fn apply(&mut self, event: &Self::Event);

    /// Turns the data of an event that was stored by an older revision into today's shape. Stored events
    /// are never edited.
    fn upcast(_event_type: &str, _stored_rev: i16, data: Value) -> Value {
        data
    }

    /// The refusal that a violated unique index stands for, by the index's name.
    fn taken(_constraint: &str) -> Option<Self::Error> {
        None
    }
}

/// A refusal: clear to a person, stable for a program.
pub trait DomainError: std::error::Error + Send + Sync + 'static {
    /// Stable, in snake case: `"slug_taken"`.
    fn code(&self) -> &'static str;
    /// Which sort of refusal, hence the HTTP status.
    fn kind(&self) -> Refused;
    /// The request's field that is at fault, if one is.
    fn field(&self) -> Option<&'static str> {
        None
    }
}

/// The sorts of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The command makes no sense as it is: 400.
    Invalid,
    /// There is no such thing: 404.
    NotFound,
    /// It clashes with what is: 409.
    Conflict,
    /// The caller may not: 403.
    Forbidden,
}

/// Splits a serialized event into its name and its data.
pub(crate) fn split_event(event: &impl Serialize) -> serde_json::Result<(String, Value)> {
    let mut value = serde_json::to_value(event)?;
    let name = match value.get_mut("type").map(Value::take) {
        Some(Value::String(name)) => name,
        _ => {
            return Err(serde::de::Error::custom(
                "an event needs #[serde(tag = \"type\", content = \"data\")]",
            ));
        }
    };
    Ok((name, value.get_mut("data").map(Value::take).unwrap_or(Value::Null)))
}

/// Puts a stored event together again, through the aggregate's upcaster when it is old.
pub(crate) fn join_event<A: Aggregate>(name: &str, rev: i16, data: &str) -> serde_json::Result<A::Event> {
    let mut data: Value = serde_json::from_str(data)?;
    if rev < A::EVENT_REV {
        data = A::upcast(name, rev, data);
    }
    let mut event = serde_json::Map::from_iter([("type".to_owned(), Value::from(name))]);
    if !data.is_null() {
        event.insert("data".to_owned(), data);
    }
    serde_json::from_value(Value::Object(event))
}
