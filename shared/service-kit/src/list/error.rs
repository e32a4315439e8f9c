//! Why a list was refused, in the shapes of Django REST framework.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A refusal that the HTTP layer sends as it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("list refused with {status}: {body}")]
pub struct ListError {
    /// 400 or 404.
    pub status: u16,
    /// The whole response body.
    pub body: Value,
}

impl ListError {
    /// 404 `{"detail":"Invalid page."}`: DRF's answer to a page that is not a number or out of range.
    pub fn invalid_page() -> Self {
        Self { status: 404, body: json!({ "detail": "Invalid page." }) }
    }

    /// 400 with a JSON list of one text: what DRF makes of `ValidationError("…")`.
    pub fn message(text: impl Into<String>) -> Self {
        Self { status: 400, body: json!([text.into()]) }
    }

    /// 400 `{"field":["…"]}`, all wrong fields at once, as django-filter reports its form's errors.
    pub fn fields(errors: BTreeMap<&str, String>) -> Self {
        let body = errors.into_iter().map(|(name, text)| (name.to_owned(), json!([text]))).collect();
        Self { status: 400, body: Value::Object(body) }
    }

    /// A refusal of the JSON-logic `filter`: a list of one text that begins with `filter: `.
    pub(super) fn filter(text: impl std::fmt::Display) -> Self {
        Self::message(format!("filter: {text}"))
    }

    /// DRF's answer to U+0000, which PostgreSQL cannot store in a text and would refuse as an error of ours.
    pub(super) const NULL_CHARACTERS: &str = "Null characters are not allowed.";
}
