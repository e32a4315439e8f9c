//! `?field=value`: equality, several joined with AND.

use std::collections::BTreeMap;

use super::condition::Condition;
use super::value::Value;
use super::{ListError, ListFields};

/// Reads the simple filters among the parameters; all wrong values are reported at once.
///
/// Blanks around a value are dropped and an empty value does not filter: Django's form fields do both.
pub(super) fn parse<'p>(
    parameter: impl Fn(&str) -> &'p str,
    fields: &ListFields,
) -> Result<Vec<Condition>, ListError> {
    let mut conditions = Vec::new();
    let mut errors = BTreeMap::new();
    for field in fields.fields().iter().filter(|field| field.simple) {
        let text = parameter(field.name).trim();
        if text.is_empty() {
            continue;
        }
        match Value::from_text(field.kind, text) {
            Ok(value) => conditions.push(Condition::Compare { column: field.column, operator: "=", value }),
            Err(message) => {
                errors.insert(field.name, message);
            }
        }
    }
    if errors.is_empty() { Ok(conditions) } else { Err(ListError::fields(errors)) }
}
