//! `?filter=`: the subset of JSON-logic that CVAT understands, with CVAT's texts for what it does not.
//!
//! Meanings: `JsonLogicFilter` in CVAT's `engine/filters.py`. Texts: `reference/cvat-api.md` §1.1, from CVAT
//! 2.15 (2.45 and later word some of them differently, #9703). A shape on which CVAT crashes is answered with
//! the text for the unknown operation; an operand of the wrong type with a text of ours.

use serde_json::Value as Json;

use super::condition::Condition;
use super::fields::Field;
use super::python::{Repr, Str};
use super::value::{Value, text_operand};
use super::{ListError, ListFields};

/// A longer filter is refused.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;

/// Operators nested deeper than this are refused.
pub const MAX_FILTER_DEPTH: usize = 32;

/// Reads `filter`; an empty parameter does not filter.
pub(super) fn parse(text: &str, fields: &ListFields) -> Result<Option<Condition>, ListError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_FILTER_BYTES {
        return Err(ListError::filter(format_args!("more than {MAX_FILTER_BYTES} bytes are not supported")));
    }
    let Ok(rule) = serde_json::from_str(text) else {
        return Err(ListError::filter("Json syntax should be used"));
    };
    if is_empty(&rule) {
        return Err(ListError::message("filter shouldn't be empty"));
    }
    Reader { fields }.condition(&rule, 1).map(Some)
}

/// What Python calls false.
fn is_empty(rule: &Json) -> bool {
    match rule {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
    }
}

struct Reader<'a> {
    fields: &'a ListFields,
}

impl Reader<'_> {
    fn condition(&self, rule: &Json, depth: usize) -> Result<Condition, ListError> {
        if depth > MAX_FILTER_DEPTH {
            return Err(ListError::filter(format_args!(
                "more than {MAX_FILTER_DEPTH} nested operations are not supported"
            )));
        }
        let (operation, arguments) = operation(rule)?;
        match (operation, arguments) {
            ("and", Json::Array(parts)) if !parts.is_empty() => self.parts(parts, depth).map(Condition::All),
            ("or", Json::Array(parts)) if !parts.is_empty() => self.parts(parts, depth).map(Condition::Any),
            ("!", argument) => {
                let inner = self.condition(only(argument), depth + 1)?;
                Ok(Condition::Not(Box::new(inner)))
            }
            ("!!", argument) => self.condition(only(argument), depth + 1),
            ("var", name) => Ok(Condition::IsNotNull { column: self.field(name)?.column }),
            (_, Json::Array(arguments)) => self.comparison(operation, arguments),
            _ => Err(not_implemented(operation, arguments)),
        }
    }

    fn parts(&self, parts: &[Json], depth: usize) -> Result<Vec<Condition>, ListError> {
        parts.iter().map(|part| self.condition(part, depth + 1)).collect()
    }

    fn comparison(&self, operation: &str, arguments: &[Json]) -> Result<Condition, ListError> {
        match (operation, arguments) {
            ("==", [variable @ Json::Object(_), Json::Null]) => {
                Ok(Condition::IsNull { column: self.variable(variable)?.column })
            }
            ("==", [variable @ Json::Object(_), operand]) => self.compare(variable, "=", operand),
            // CVAT crashes here; a condition that never holds would hide the client's mistake.
            ("<" | ">" | "<=" | ">=", [Json::Object(_), Json::Null])
            | ("<=", [Json::Null, Json::Object(_), _] | [_, Json::Object(_), Json::Null]) => {
                Err(not_implemented(operation, &Json::from(arguments)))
            }
            ("<", [variable @ Json::Object(_), operand]) => self.compare(variable, "<", operand),
            (">", [variable @ Json::Object(_), operand]) => self.compare(variable, ">", operand),
            ("<=", [variable @ Json::Object(_), operand]) => self.compare(variable, "<=", operand),
            (">=", [variable @ Json::Object(_), operand]) => self.compare(variable, ">=", operand),
            ("<=", [low, variable @ Json::Object(_), high]) => Ok(Condition::All(vec![
                self.compare(variable, ">=", low)?,
                self.compare(variable, "<=", high)?,
            ])),
            ("in", [variable @ Json::Object(_), Json::Array(operands)]) => self.one_of(variable, operands),
            ("in", [needle, variable @ Json::Object(_)]) if !needle.is_object() => {
                let field = self.variable(variable)?;
                let text = text_operand(needle).map_err(|expected| wrong_type(field, expected, needle))?;
                Ok(Condition::Contains { column: field.as_text(), text })
            }
            _ => Err(not_implemented(operation, &Json::from(arguments))),
        }
    }

    fn compare(
        &self,
        variable: &Json,
        operator: &'static str,
        operand: &Json,
    ) -> Result<Condition, ListError> {
        let field = self.variable(variable)?;
        let value = operand_of(field, operand)?;
        Ok(Condition::Compare { column: field.column, operator, value })
    }

    /// SQL's IN. Django takes null out of the list, since nothing equals it.
    fn one_of(&self, variable: &Json, operands: &[Json]) -> Result<Condition, ListError> {
        let field = self.variable(variable)?;
        let operands = operands.iter().filter(|operand| !operand.is_null());
        let values = operands.map(|operand| operand_of(field, operand)).collect::<Result<_, _>>()?;
        Ok(Condition::OneOf { column: field.column, values })
    }

    /// The field of `{"var": "name"}`; an object without `var` is Python's `KeyError('var')`.
    fn variable(&self, variable: &Json) -> Result<&'static Field, ListError> {
        match variable.get("var") {
            Some(name) => self.field(name),
            None => Err(ListError::filter("'var' term is not supported")),
        }
    }

    fn field(&self, name: &Json) -> Result<&'static Field, ListError> {
        let known = only(name).as_str().and_then(|name| self.fields.filter_field(name));
        known.ok_or_else(|| ListError::filter(format_args!("{} term is not supported", Repr(name))))
    }
}

/// The operation and its arguments. CVAT reads only the first of several operations in one object; which one
/// that is cannot be said of JSON, and a part of a filter that is silently dropped shows too much.
fn operation(rule: &Json) -> Result<(&str, &Json), ListError> {
    let mut members = rule.as_object().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((operation, arguments)), None) => Ok((operation, arguments)),
        _ => Err(ListError::filter(format_args!(
            "an object with one operation is expected instead of {}",
            Repr(rule)
        ))),
    }
}

/// JSON-logic lets an operation of one argument drop the list around it, and CVAT's SDK does.
fn only(argument: &Json) -> &Json {
    match argument.as_array().map(Vec::as_slice) {
        Some([argument]) => argument,
        _ => argument,
    }
}

fn operand_of(field: &Field, operand: &Json) -> Result<Value, ListError> {
    Value::from_json(field.kind, operand).map_err(|expected| wrong_type(field, expected, operand))
}

fn wrong_type(field: &Field, expected: &str, operand: &Json) -> ListError {
    ListError::filter(format_args!("{} must be compared with {expected}, not {}", field.name, Repr(operand)))
}

fn not_implemented(operation: &str, arguments: &Json) -> ListError {
    ListError::filter(format_args!(
        "{operation} operation with {} arguments is not implemented",
        Str(arguments)
    ))
}
