//! What a call says, wherever it says it: in a JSON body whatever the request's media type, in a form, in the
//! query. Fields that nobody asks for are ignored; texts that are numbers or booleans pass for them.

use serde_json::{Map, Number, Value, json};

use super::fault::{self, Fault};

/// The longest text that is taken.
const TEXT_MAX: usize = 1024;
/// The longest list that is taken.
const LIST_MAX: usize = 1000;
/// How deep a dotted name may go.
const DEPTH_MAX: usize = 8;

/// The fields of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Reads a body and merges the query into it.
    ///
    /// # Errors
    /// 400 for what is no JSON object.
    pub fn parse(bytes: &[u8], media_type: &str, query: &str) -> Result<Self, Fault> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let begins_as_json = bytes.trim_ascii_start().first().is_none_or(|first| b"{[".contains(first));
        let mut fields = if essence == "application/x-www-form-urlencoded" && !begins_as_json {
            let mut fields = Map::new();
            merge(&mut fields, bytes);
            fields
        } else if bytes.trim_ascii().is_empty() {
            Map::new()
        } else {
            match serde_json::from_slice(bytes) {
                Ok(Value::Object(fields)) => fields,
                Ok(_) => return Err(fault::VALIDATION.because("the body must be a JSON object")),
                Err(error) => {
                    return Err(fault::BAD_REQUEST.because(format!("the body is not JSON: {error}")));
                }
            }
        };
        merge(&mut fields, query.as_bytes());
        Ok(Self(fields))
    }

    /// A field; none when it is absent or null.
    fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, trimmed.
    ///
    /// # Errors
    /// 400 for anything else, for U+0000 and for what is too long.
    pub fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        self.field(name).map(|value| text_of(name, value)).transpose()
    }

    /// A text that must be there and say something.
    ///
    /// # Errors
    /// As [`Body::text`], and 400 when there is none.
    pub fn needed_text(&self, name: &str) -> Result<String, Fault> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(fault::MISSING.fault().with("field", name)),
        }
    }

    /// A whole number, perhaps as a text.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(value) = self.field(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong_type(name, "a whole number"))
    }

    /// Texts; one alone passes for a list of it.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.field(name) else { return Ok(None) };
        let items = match value {
            Value::Array(items) if items.len() > LIST_MAX => {
                return Err(fault::VALIDATION
                    .because(format!("a list has at most {LIST_MAX} items"))
                    .with("field", name));
            }
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        items.iter().map(|item| text_of(name, item)).collect::<Result<_, _>>().map(Some)
    }

    /// The fields of a field; empty when it is absent.
    ///
    /// # Errors
    /// 400 for anything but an object.
    pub fn object(&self, name: &str) -> Result<Body, Fault> {
        match self.field(name) {
            None => Ok(Self::default()),
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }
}

fn text_of(name: &str, value: &Value) -> Result<String, Fault> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        // A query cannot say that a number is meant as a text.
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(wrong_type(name, "a text"));
        }
    };
    if text.chars().any(char::is_control) {
        return Err(fault::VALIDATION.because("control characters are not allowed").with("field", name));
    }
    if text.chars().count() > TEXT_MAX {
        let reason = format!("at most {TEXT_MAX} characters are allowed");
        return Err(fault::VALIDATION.because(reason).with("field", name));
    }
    Ok(text)
}

fn wrong_type(name: &str, wanted: &str) -> Fault {
    fault::TYPE.because(format!("{wanted} is wanted")).with("field", name)
}

/// Merges `a=1&b[]=x&c.d=y` into fields: numbers and booleans are recognised, a repeated name or `[]` makes a
/// list, a dot an object in an object.
fn merge(fields: &mut Map<String, Value>, encoded: &[u8]) {
    for (name, value) in url::form_urlencoded::parse(encoded) {
        let value = recognise(&value);
        let (name, listed) = match name.strip_suffix("[]") {
            Some(name) => (name.to_owned(), true),
            None => (name.into_owned(), false),
        };
        let parts: Vec<&str> = name.split('.').collect();
        // What is nested deeper means nothing to anybody.
        if parts.len() <= DEPTH_MAX {
            put(fields, &parts, value, listed);
        }
    }
}

fn put(fields: &mut Map<String, Value>, path: &[&str], value: Value, listed: bool) {
    let (name, rest) = match path {
        [] => return,
        [name, rest @ ..] => (*name, rest),
    };
    let place = fields.entry(name).or_insert(Value::Null);
    if !rest.is_empty() {
        if !place.is_object() {
            *place = json!({});
        }
        if let Value::Object(inner) = place {
            put(inner, rest, value, listed);
        }
        return;
    }
    match place {
        Value::Array(items) => items.push(value),
        Value::Null if listed => *place = json!([value]),
        Value::Null => *place = value,
        first => *first = json!([first.take(), value]),
    }
}

fn recognise(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let plain = |letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-';
    if text.chars().all(plain)
        && let Some(number) = text.parse().ok().and_then(Number::from_f64)
    {
        return number.into();
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &str, query: &str) -> Body {
        Body::parse(bytes.as_bytes(), "application/json", query).unwrap()
    }

    #[test]
    fn nothing_is_an_empty_object_and_the_media_type_does_not_matter() {
        assert_eq!(body("", ""), Body::default());
        assert_eq!(body(" \n", ""), Body::default());
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let one = Body::parse(b"{\"name\":\"x\"}", form, "").unwrap();
        assert_eq!(one.text("name"), Ok(Some("x".into())));
        let other = Body::parse(b"name=x&n=7", form, "").unwrap();
        assert_eq!((other.text("name"), other.integer("n")), (Ok(Some("x".into())), Ok(Some(7))));
        for bad in ["[]", "7", "{\"name\":", "{\"features\":[\"a\", ...]}", "name=x", "\u{0}"] {
            assert_eq!(Body::parse(bad.as_bytes(), "", "").unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn a_query_is_merged_in() {
        let merged = body("{\"a\":{\"b\":1}}", "a.c=2.5&list[]=x&twice=1&twice=true&name=caf%C3%A9");
        let expected = json!({
            "a": { "b": 1, "c": 2.5 }, "list": ["x"], "twice": [1, true], "name": "café",
        });
        assert_eq!(Value::Object(merged.0), expected);
    }

    #[test]
    fn numbers_may_come_as_texts_and_the_other_way_round() {
        let body =
            body("{\"n\":\"10\",\"s\":\"x\",\"f\":[\"a\",7],\"o\":[],\"z\":null,\"c\":\"a\\u0000\"}", "");
        assert_eq!(body.integer("n"), Ok(Some(10)));
        assert_eq!(body.integer("z"), Ok(None));
        assert_eq!(body.integer("s").unwrap_err().subcode, 20);
        assert_eq!(body.texts("f"), Ok(Some(vec!["a".into(), "7".into()])));
        assert_eq!(body.texts("s"), Ok(Some(vec!["x".into()])));
        assert_eq!(body.object("o").unwrap_err().subcode, 20);
        assert_eq!(body.text("c").unwrap_err().subcode, 12);
        assert_eq!(body.needed_text("z").unwrap_err().subcode, 11);
    }
}
