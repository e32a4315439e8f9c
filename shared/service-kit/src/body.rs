//! Request bodies: JSON only, bounded, with errors that name the field.

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use crate::Refusal;

/// The largest JSON body, in bytes.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A body that says nothing, for writes without one; whatever is sent is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Nothing {}

/// Parses a body; an empty one counts as `{}`, because clients announce JSON and send nothing.
///
/// # Errors
/// 415 for another media type, 400 with Django REST framework's texts for anything that does not fit.
pub fn parse<T: DeserializeOwned>(request: &HttpRequest, bytes: &[u8]) -> Result<T, Refusal> {
    check_media_type(request, bytes)?;
    read(bytes)
}

/// Refuses what says that it is no JSON.
pub(crate) fn check_media_type(request: &HttpRequest, bytes: &[u8]) -> Result<(), Refusal> {
    let media_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if !bytes.is_empty() && !essence.is_empty() && !essence.ends_with("json") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("Unsupported media type \"{essence}\" in request."),
        ));
    }
    Ok(())
}

/// Reads JSON; nothing counts as `{}`.
///
/// # Errors
/// 400 with Django REST framework's texts.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).or_else(|_| {
        // Only a body that does not fit is read again, to find out where: that costs as much as reading it.
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| explain(&error))
    })
}

/// Turns serde's words into Django REST framework's shapes.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let text = error.inner().to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let path = error.path().to_string();
    let named = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    if error.inner().is_syntax() || error.inner().is_eof() {
        return Refusal::bad_request(format!("JSON parse error - {text}"));
    }
    if let Some(field) = named("missing field `") {
        return Refusal::field(&join(&path, field), "This field is required.");
    }
    if path == "." {
        return Refusal::field("non_field_errors", format!("Invalid data: {message}."));
    }
    if let Some(value) = named("unknown variant `") {
        return Refusal::field(&path, format!("\"{value}\" is not a valid choice."));
    }
    if message.starts_with("invalid type: null") {
        return Refusal::field(&path, "This field may not be null.");
    }
    Refusal::field(&path, format!("{}.", capitalised(message)))
}

fn join(path: &str, field: &str) -> String {
    if path == "." { field.to_owned() } else { format!("{path}.{field}") }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Collects what is wrong with several fields into one answer.
#[derive(Default)]
pub struct FieldErrors(Map<String, serde_json::Value>);

impl FieldErrors {
    /// Notes an error about `field` unless `fine`.
    pub fn check(&mut self, fine: bool, field: &str, text: impl Into<String>) -> &mut Self {
        if !fine && !self.0.contains_key(field) {
            self.0.insert(field.to_owned(), json!([text.into()]));
        }
        self
    }

    /// Notes an error about a text that must not be blank, nor longer than `max` characters.
    pub fn text(&mut self, field: &str, value: &str, max: usize) -> &mut Self {
        self.check(!value.trim().is_empty(), field, "This field may not be blank.").max(field, value, max)
    }

    /// Notes an error about a text that is longer than `max` characters, or holds what no text may.
    pub fn max(&mut self, field: &str, value: &str, max: usize) -> &mut Self {
        self.check(!value.contains('\0'), field, "Null characters are not allowed.").check(
            value.chars().count() <= max,
            field,
            format!("Ensure this field has no more than {max} characters."),
        )
    }

    /// All the errors as one refusal, if there are any.
    pub fn finish(&mut self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut refusal = Refusal::bad_request("");
        refusal.text = crate::refusal::Text::Fields(std::mem::take(&mut self.0));
        Err(refusal)
    }
}
