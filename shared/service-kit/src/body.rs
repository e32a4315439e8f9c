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
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if !bytes.is_empty() && !essence.is_empty() && !is_json {
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
    // Serde takes a list for a struct, field by field in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Refusal::field("non_field_errors", "Invalid data. Expected a dictionary, but got list."));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // Only a body that does not fit is read again, to find out where: that costs as much as reading it.
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(error) => explain(&error),
            // It fits, and something follows.
            Ok(_) => Refusal::bad_request(format!("JSON parse error - {error}")),
        }
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
        return Refusal::field("non_field_errors", "Invalid data. Expected a dictionary.");
    }
    if let Some(value) = named("unknown variant `") {
        return Refusal::field(&path, format!("\"{value}\" is not a valid choice."));
    }
    if message.starts_with("invalid type: null") {
        return Refusal::field(&path, "This field may not be null.");
    }
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => Refusal::field(&path, expectation(found, expected)),
        None => Refusal::field(&path, format!("{}.", capitalised(message))),
    }
}

/// What a field must be, without Rust's names for it.
fn expectation(found: &str, expected: &str) -> String {
    let integer =
        |name: &str| name.len() > 1 && name.starts_with(['i', 'u']) && name[1..].parse::<u8>().is_ok();
    match expected {
        "a string" | "a borrowed string" => "Not a valid string.".to_owned(),
        "a boolean" => "Must be a valid boolean.".to_owned(),
        "a sequence" => "Expected a list of items.".to_owned(),
        "f32" | "f64" => "A valid number is required.".to_owned(),
        name if integer(name) => "A valid integer is required.".to_owned(),
        name if name.starts_with("struct ") || name == "a map" => {
            "Invalid data. Expected a dictionary.".to_owned()
        }
        _ => format!("{}.", capitalised(found)),
    }
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

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "count", default)]
        _count: i64,
    }

    fn refusal(content_type: &str, body: &str) -> (u16, String) {
        let request = TestRequest::default().insert_header(("content-type", content_type)).to_http_request();
        let refusal = parse::<Sample>(&request, body.as_bytes()).unwrap_err();
        (refusal.status.as_u16(), refusal.detail())
    }

    #[test]
    fn a_body_is_one_json_object_and_nothing_else() {
        let request = TestRequest::default().to_http_request();
        for fine in [r#"{"name":"a"}"#, " {\"name\":\"a\",\"count\":7}\n"] {
            parse::<Sample>(&request, fine.as_bytes()).unwrap();
        }
        for (body, text) in [
            (r#"{"name":"a"}xyz"#, "JSON parse error - trailing characters at line 1 column 13"),
            (r#"{"name":"a"}{"name":"b"}"#, "JSON parse error - trailing characters at line 1 column 13"),
            (r#"["a", 7]"#, "non_field_errors: Invalid data. Expected a dictionary, but got list."),
            ("7", "non_field_errors: Invalid data. Expected a dictionary."),
            (r#"{"name":7}"#, "name: Not a valid string."),
            (r#"{"name":null}"#, "name: This field may not be null."),
            (r#"{"name":"a","count":"b"}"#, "count: A valid integer is required."),
            (r#"{"count":7}"#, "name: This field is required."),
        ] {
            assert_eq!(refusal("application/json", body), (400, text.to_owned()), "{body}");
        }
    }

    #[test]
    fn only_json_is_taken_for_json() {
        for fine in ["application/json", "application/json; charset=utf-8", "application/vnd.cvat+json"] {
            assert_eq!(refusal(fine, "{").0, 400, "{fine}");
        }
        for other in ["application/notjson", "json", "text/plain", "application/x-www-form-urlencoded"] {
            assert_eq!(refusal(other, "{").0, 415, "{other}");
        }
    }
}
