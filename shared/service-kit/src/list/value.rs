//! Operands: what a client wrote, checked against the field's type before PostgreSQL sees it.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::sql_types;
use event_store::sql::Sql;
use serde_json::Value as Json;
use uuid::Uuid;

use super::ListError;
use super::fields::Kind;

/// A typed operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Timestamp(DateTime<Utc>),
    Uuid(Uuid),
}

impl Value {
    /// Reads an operand of the JSON-logic `filter`, as leniently as a Django model field does: `"5"` is an
    /// integer, `5` a text. The error says what was expected.
    pub fn from_json(kind: Kind, operand: &Json) -> Result<Self, &'static str> {
        match (kind, operand) {
            (Kind::Text | Kind::Choice(_), _) => text_operand(operand).map(Self::Text),
            (Kind::Integer, Json::Number(number)) => integer(number).map(Self::Integer).ok_or("an integer"),
            (Kind::Integer, Json::String(text)) => {
                text.trim().parse().ok().map(Self::Integer).ok_or("an integer")
            }
            (Kind::Integer, _) => Err("an integer"),
            (Kind::Boolean, Json::Bool(value)) => Ok(Self::Boolean(*value)),
            (Kind::Boolean, Json::String(text)) => boolean(text).map(Self::Boolean).ok_or("a boolean"),
            (Kind::Boolean, Json::Number(number)) => match number.as_i64() {
                Some(0) => Ok(Self::Boolean(false)),
                Some(1) => Ok(Self::Boolean(true)),
                _ => Err("a boolean"),
            },
            (Kind::Boolean, _) => Err("a boolean"),
            (Kind::Timestamp, Json::String(text)) => {
                timestamp(text).map(Self::Timestamp).ok_or("a date and time")
            }
            (Kind::Timestamp, _) => Err("a date and time"),
            (Kind::Uuid, Json::String(text)) => uuid(text).map(Self::Uuid).ok_or("a UUID"),
            (Kind::Uuid, _) => Err("a UUID"),
        }
    }

    /// Reads the value of a simple filter. The errors are the texts of Django's form fields, except for a
    /// boolean, which CVAT ignores when it cannot read it: a filter that silently does nothing is worse.
    pub fn from_text(kind: Kind, text: &str) -> Result<Self, String> {
        match kind {
            Kind::Text | Kind::Choice(_) if text.contains('\0') => Err(ListError::NULL_CHARACTERS.to_owned()),
            Kind::Choice(choices) if !choices.contains(&text) => {
                Err(format!("Select a valid choice. {text} is not one of the available choices."))
            }
            Kind::Text | Kind::Choice(_) => Ok(Self::Text(text.to_owned())),
            Kind::Integer => text.parse().map(Self::Integer).map_err(|error| integer_message(text, &error)),
            Kind::Boolean => boolean(text).map(Self::Boolean).ok_or("Must be a valid boolean.".to_owned()),
            Kind::Timestamp => {
                timestamp(text).map(Self::Timestamp).ok_or("Enter a valid date/time.".to_owned())
            }
            Kind::Uuid => uuid(text).map(Self::Uuid).ok_or("Enter a valid UUID.".to_owned()),
        }
    }

    /// Appends the placeholder and binds the value.
    pub fn push(&self, sql: &mut Sql) {
        match self {
            Self::Text(value) => sql.push_text(value),
            Self::Integer(value) => sql.push_i64(*value),
            Self::Boolean(value) => sql.push_bind::<sql_types::Bool>(*value),
            Self::Timestamp(value) => sql.push_bind::<sql_types::Timestamptz>(*value),
            Self::Uuid(value) => sql.push_bind::<sql_types::Uuid>(*value),
        };
    }
}

/// A JSON scalar as the text that Python's `str` makes of it, which is what Django compares with.
pub(super) fn text_operand(operand: &Json) -> Result<String, &'static str> {
    match operand {
        Json::String(text) if text.contains('\0') => Err("a text without null characters"),
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Bool(true) => Ok("True".to_owned()),
        Json::Bool(false) => Ok("False".to_owned()),
        Json::Null | Json::Array(_) | Json::Object(_) => Err("a text"),
    }
}

/// `5.0` is an integer too: JavaScript does not know the difference.
fn integer(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it a float is no longer one integer
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

fn integer_message(text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match error.kind() {
        PosOverflow => format!("Ensure this value is less than or equal to {}.", i64::MAX),
        NegOverflow => format!("Ensure this value is greater than or equal to {}.", i64::MIN),
        _ if text.parse::<f64>().is_ok_and(f64::is_finite) => "Enter a whole number.".to_owned(),
        _ => "Enter a number.".to_owned(),
    }
}

/// Python clients send `True`, browsers `true`, forms `1`.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn uuid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok()
}

/// Reads ISO 8601 as Django does: a `T` or a blank, seconds and zone optional (then UTC), a date is its
/// midnight. The years are Python's, 1 to 9999, which PostgreSQL can hold.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    const WITH_ZONE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    const WITHOUT_ZONE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let text = &text.trim().replacen(' ', "T", 1);
    let with_zone =
        || WITH_ZONE.iter().find_map(|format| Some(DateTime::parse_from_str(text, format).ok()?.to_utc()));
    let without_zone = || {
        WITHOUT_ZONE
            .iter()
            .find_map(|format| Some(NaiveDateTime::parse_from_str(text, format).ok()?.and_utc()))
    };
    let date = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN).and_utc());
    with_zone().or_else(without_zone).or_else(date).filter(|time| (1..=9999).contains(&time.year()))
}
