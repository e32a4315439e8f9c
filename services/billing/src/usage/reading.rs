//! What an event says to the meters.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::Envelope;
use event_store::inbox::HandlerError;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::level::Change;
use crate::meters::{At, Dim, FACTS, Fact, LEVELS, Level};

/// So much of a meter was used.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageFact {
    pub id: Uuid,
    pub meter: &'static str,
    /// A JSON object with sorted keys.
    pub dims: String,
    pub source: String,
    pub at: DateTime<Utc>,
    pub value: Decimal,
}

/// A key of a series is at a level from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyChange {
    pub series: &'static str,
    pub key: String,
    pub change: Change,
}

/// Everything that one event says.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    pub facts: Vec<UsageFact>,
    pub changes: Vec<KeyChange>,
}

/// Reads an event by the tables of meters.
///
/// # Errors
/// When it does not hold what the tables say; nothing is guessed.
pub fn read(envelope: &Envelope) -> Result<Said, HandlerError> {
    let data: Value = serde_json::from_str(envelope.data.get())?;
    let mut said = Said::default();
    for fact in FACTS.iter().filter(|fact| fact.event == envelope.event_type) {
        said.facts.extend(fact_of(envelope, &data, fact)?);
    }
    for level in LEVELS.iter().filter(|level| level.event == envelope.event_type) {
        let change = Change {
            at: micros(envelope.time),
            level: level_of(&data, level)?,
            version: envelope.streamversion,
        };
        said.changes.push(KeyChange { series: level.series, key: envelope.subject.clone(), change });
    }
    Ok(said)
}

/// What PostgreSQL keeps of a time.
fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at)
}

fn fact_of(envelope: &Envelope, data: &Value, fact: &Fact) -> Result<Option<UsageFact>, HandlerError> {
    let value = match fact.value {
        Some(path) => Decimal::from(number(data, path)?),
        None => Decimal::ONE,
    };
    if value < Decimal::ZERO {
        return Err(HandlerError::Refused(format!("{} cannot be {value}", fact.meter)));
    }
    if value == Decimal::ZERO {
        return Ok(None);
    }
    let at = match fact.at {
        Some(path) => serde_json::from_value(missing(data.pointer(path), path)?.clone())?,
        None => envelope.time,
    };
    let mut dims = Map::new();
    for (name, dim) in fact.dims {
        let value = match dim {
            Dim::Is(value) => Some((*value).to_owned()),
            Dim::At(path) => data.pointer(path).and_then(text),
        };
        dims.extend(value.map(|value| ((*name).to_owned(), Value::String(value))));
    }
    Ok(Some(UsageFact {
        id: envelope.id,
        meter: fact.meter,
        dims: Value::Object(dims).to_string(),
        source: envelope.source.clone(),
        at: micros(at),
        value,
    }))
}

fn level_of(data: &Value, level: &Level) -> Result<i128, HandlerError> {
    let found = match level.level {
        At::Zero => 0,
        At::Number(path) => number(data, path)?,
        At::Flag(path) => {
            let flag = missing(data.pointer(path), path)?.as_bool();
            i64::from(flag.ok_or_else(|| HandlerError::Refused(format!("{path} is neither true nor false")))?)
        }
    };
    if found < 0 {
        return Err(HandlerError::Refused(format!("{} cannot stand at {found}", level.series)));
    }
    Ok(i128::from(found))
}

fn number(data: &Value, path: &str) -> Result<i64, HandlerError> {
    let found = missing(data.pointer(path), path)?.as_i64();
    found.ok_or_else(|| HandlerError::Refused(format!("{path} is no whole number")))
}

fn missing<'a>(found: Option<&'a Value>, path: &str) -> Result<&'a Value, HandlerError> {
    found.ok_or_else(|| HandlerError::Refused(format!("there is no {path}")))
}

/// A dimension's value; `None` for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use contracts::event::Example;
    use contracts::projects::{AnnotationsChanged, Task, TaskCreated};
    use contracts::{ContractEvent, TenantId};
    use serde_json::json;

    use super::*;

    fn envelope<E: ContractEvent>(event: &E) -> Envelope {
        let id = event_store::new_id();
        serde_json::from_value(json!({
            "specversion": "1.0", "id": id, "source": format!("/mesh/{}", E::SERVICE), "type": E::TYPE,
            "subject": format!("{}/7", E::KIND), "time": "2026-11-21T10:00:00.123456789Z",
            "datacontenttype": "application/json", "dataschema": "", "tenantid": TenantId(id),
            "streamversion": 3, "position": 1, "partitionkey": "", "correlationid": id, "data": event,
        }))
        .unwrap()
    }

    #[test]
    fn a_task_is_counted_by_its_project() {
        let of = |project_id| {
            let said =
                read(&envelope(&TaskCreated { task: Task { project_id, ..Task::example() } })).unwrap();
            (said.facts[0].meter, said.facts[0].dims.clone(), said.facts[0].value, said.changes.len())
        };
        assert_eq!(of(Some(42)), ("tasks", r#"{"project":"42"}"#.into(), Decimal::ONE, 0));
        assert_eq!(of(None).1, "{}");
    }

    #[test]
    fn annotations_are_summed_by_kind_and_none_leave_no_fact() {
        let said = read(&envelope(&AnnotationsChanged::example())).unwrap();
        assert_eq!(said.facts.len(), 1, "twelve shapes, no tags, no tracks");
        assert_eq!(said.facts[0].dims, r#"{"project":"42","type":"shape"}"#);
        assert_eq!(said.facts[0].value, Decimal::from(12));
        assert_eq!(said.facts[0].at.timestamp_subsec_nanos(), 123_456_000);
    }

    #[test]
    fn a_user_is_a_key_of_the_series_of_seats() {
        let said = read(&envelope(&contracts::identity::UserRegistered::example())).unwrap();
        assert_eq!((said.changes[0].series, said.changes[0].key.as_str()), ("seats", "user/7"));
        assert_eq!((said.changes[0].change.level, said.changes[0].change.version), (1, 3));
        let gone = read(&envelope(&contracts::identity::UserDeleted::example())).unwrap();
        assert_eq!(gone.changes[0].change.level, 0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut event = envelope(&contracts::media::StorageChanged { bytes: -1, reservation_id: None });
        assert!(read(&event).is_err());
        event.data = serde_json::value::RawValue::from_string("{}".into()).unwrap();
        assert!(read(&event).is_err());
    }
}
