//! The shape of an aggregate: pure, synchronous, ignorant of time, ids, SQL and HTTP.
//!
//! `decide` reads everything it needs from its command; whoever builds the command looks it up.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_json::value::RawValue;

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

/// Splits a serialized event into its name and its data, which is never taken apart: an event may be large.
pub(crate) fn split_event(event: &impl Serialize) -> serde_json::Result<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Tagged<'a> {
        #[serde(rename = "type")]
        name: String,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let text = serde_json::to_string(event)?;
    let Tagged { name, data } = serde_json::from_str(&text).map_err(|_| {
        serde::de::Error::custom("an event needs #[serde(tag = \"type\", content = \"data\")]")
    })?;
    Ok((name, data.map_or("null", RawValue::get).to_owned()))
}

/// Puts a stored event together again, through the aggregate's upcaster when it is old.
pub(crate) fn join_event<A: Aggregate>(name: &str, rev: i16, data: &str) -> serde_json::Result<A::Event> {
    let old;
    let data = if rev < A::EVENT_REV {
        old = A::upcast(name, rev, serde_json::from_str(data)?).to_string();
        &old
    } else {
        data
    };
    let name = Value::from(name);
    // Text, not a `Value`: what an event keeps as raw JSON must come back byte for byte.
    let event = match data.trim() {
        "null" => format!(r#"{{"type":{name}}}"#),
        data => format!(r#"{{"type":{name},"data":{data}}}"#),
    };
    serde_json::from_str(&event)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Event {
        Kept(Box<RawValue>),
        Done,
    }

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Keeper;

    #[derive(Debug, thiserror::Error)]
    #[error("never")]
    struct Never;

    impl DomainError for Never {
        fn code(&self) -> &'static str {
            "never"
        }
        fn kind(&self) -> Refused {
            Refused::Conflict
        }
    }

    impl Aggregate for Keeper {
        const KIND: &'static str = "keeper";
        type Command = ();
        type Event = Event;
        type Error = Never;
        fn decide(&self, (): ()) -> Result<Vec<Event>, Never> {
            Ok(vec![])
        }
        fn apply(&mut self, _: &Event) {}
    }

    #[test]
    fn an_event_is_split_and_joined_byte_for_byte() {
        let text = r#"{"z": 1.50, "a":[1e3,  "\u00e4"]}"#;
        let (name, data) = split_event(&Event::Kept(RawValue::from_string(text.into()).unwrap())).unwrap();
        assert_eq!((name.as_str(), data.as_str()), ("Kept", text));
        let Event::Kept(raw) = join_event::<Keeper>("Kept", 1, &data).unwrap() else { panic!("another") };
        assert_eq!(raw.get(), text);
        let (name, data) = split_event(&Event::Done).unwrap();
        assert_eq!((name.as_str(), data.as_str()), ("Done", "null"));
        assert!(matches!(join_event::<Keeper>("Done", 1, "null").unwrap(), Event::Done));
        split_event(&"no event").unwrap_err();
        assert!(join_event::<Keeper>("Un\"known", 1, "null").is_err());
    }
}
