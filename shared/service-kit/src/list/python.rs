//! JSON as Python prints it, because CVAT's error texts quote what `json.loads` made of a filter.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

/// Displays a value as Python's `repr` does: `{'var': 'id'}`, `[1, None, True]`.
pub(super) struct Repr<'a>(pub &'a Value);

/// Displays a value as Python's `str` does: a text without quotes, everything else as [`Repr`].
pub(super) struct Str<'a>(pub &'a Value);

impl Display for Repr<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => out.write_str("None"),
            Value::Bool(true) => out.write_str("True"),
            Value::Bool(false) => out.write_str("False"),
            Value::Number(number) => write!(out, "{number}"),
            Value::String(text) => write_text(out, text),
            Value::Array(items) => {
                out.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    write_comma(out, index)?;
                    write!(out, "{}", Repr(item))?;
                }
                out.write_char(']')
            }
            Value::Object(members) => {
                out.write_char('{')?;
                for (index, (name, member)) in members.iter().enumerate() {
                    write_comma(out, index)?;
                    write_text(out, name)?;
                    write!(out, ": {}", Repr(member))?;
                }
                out.write_char('}')
            }
        }
    }
}

impl Display for Str<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => out.write_str(text),
            other => Repr(other).fmt(out),
        }
    }
}

fn write_comma(out: &mut Formatter<'_>, index: usize) -> fmt::Result {
    if index > 0 { out.write_str(", ") } else { Ok(()) }
}

fn write_text(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\\' => out.write_str(r"\\")?,
            '\n' => out.write_str(r"\n")?,
            '\r' => out.write_str(r"\r")?,
            '\t' => out.write_str(r"\t")?,
            _ if character == quote => write!(out, "\\{character}")?,
            _ if is_printable(character) => out.write_char(character)?,
            '\0'..='\u{ff}' => write!(out, r"\x{:02x}", u32::from(character))?,
            '\u{100}'..='\u{ffff}' => write!(out, r"\u{:04x}", u32::from(character))?,
            _ => write!(out, r"\U{:08x}", u32::from(character))?,
        }
    }
    out.write_char(quote)
}

/// Python's `str.isprintable`, near enough: controls and blanks other than the space are escaped.
fn is_printable(character: char) -> bool {
    character == ' ' || !(character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Repr, Str};

    #[test]
    fn values_look_as_in_python() {
        let table: &[(Value, &str)] = &[
            (json!(null), "None"),
            (json!([true, false]), "[True, False]"),
            (json!([1, -2, 2.5]), "[1, -2, 2.5]"),
            (json!([{"var": "id"}, "x"]), "[{'var': 'id'}, 'x']"),
            (json!({"a": {}, "b": []}), "{'a': {}, 'b': []}"),
            (json!("it's"), r#""it's""#),
            (json!("it's \"x\""), r#"'it\'s "x"'"#),
            (json!("a\\b\n\u{1}\u{7f}\u{2028}é"), r"'a\\b\n\x01\x7f\u2028é'"),
        ];
        for (value, expected) in table {
            assert_eq!(Repr(value).to_string(), *expected);
        }
    }

    #[test]
    fn str_leaves_a_text_bare() {
        assert_eq!(Str(&json!("x'y")).to_string(), "x'y");
        assert_eq!(Str(&json!(["x"])).to_string(), "['x']");
    }
}
