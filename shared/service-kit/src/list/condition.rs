//! Conditions on rows, independent of how the client wrote them, and their SQL.

use event_store::sql::Sql;

use super::fields::TextColumn;
use super::value::Value;

/// A condition that holds or does not; `NULL` counts as "does not", as everywhere in a `WHERE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    IsNull {
        column: &'static str,
    },
    IsNotNull {
        column: &'static str,
    },
    Compare {
        column: &'static str,
        operator: &'static str,
        value: Value,
    },
    OneOf {
        column: &'static str,
        values: Vec<Value>,
    },
    /// The column contains the text, letter case included.
    Contains {
        column: TextColumn,
        text: String,
    },
    /// One of the columns contains the text, letter case ignored.
    Mentions {
        columns: Vec<TextColumn>,
        text: String,
    },
}

impl Condition {
    /// Appends a boolean expression that needs no parentheses around it.
    pub fn push(&self, sql: &mut Sql) {
        match self {
            Self::All(parts) => push_joined(sql, parts, " AND "),
            Self::Any(parts) => push_joined(sql, parts, " OR "),
            // Django's `~Q(assignee='bob')` includes the rows without assignee; SQL's NOT alone would not.
            Self::Not(inner) => {
                sql.push("NOT COALESCE(");
                inner.push(sql);
                sql.push(", false)");
            }
            Self::IsNull { column } => {
                sql.push(column).push(" IS NULL");
            }
            Self::IsNotNull { column } => {
                sql.push(column).push(" IS NOT NULL");
            }
            Self::Compare { column, operator, value } => {
                sql.push(column).push(" ").push(operator).push(" ");
                value.push(sql);
            }
            Self::OneOf { values, .. } if values.is_empty() => {
                sql.push("false");
            }
            Self::OneOf { column, values } => {
                sql.push(column).push(" IN ");
                push_list(sql, values, ", ", |sql, value| value.push(sql));
            }
            Self::Contains { column, text } => {
                push_text_column(sql, *column);
                sql.push(" LIKE ").push_text(pattern(text));
                sql.push(ESCAPE);
            }
            Self::Mentions { columns, text } => {
                let mut placeholder = None;
                push_list(sql, columns, " OR ", |sql, column| {
                    push_text_column(sql, *column);
                    sql.push(" ILIKE ");
                    push_once(sql, &mut placeholder, text);
                    sql.push(ESCAPE);
                });
            }
        }
    }
}

fn push_joined(sql: &mut Sql, parts: &[Condition], separator: &str) {
    push_list(sql, parts, separator, |sql, part| part.push(sql));
}

fn push_list<T>(sql: &mut Sql, items: &[T], separator: &str, mut push: impl FnMut(&mut Sql, &T)) {
    sql.push("(");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            sql.push(separator);
        }
        push(sql, item);
    }
    sql.push(")");
}

/// Binds the pattern for the first column and names it again for the others, so that the number of parameters
/// does not grow with the number of columns.
fn push_once(sql: &mut Sql, placeholder: &mut Option<String>, text: &str) {
    match placeholder {
        Some(placeholder) => {
            sql.push(placeholder);
        }
        None => {
            sql.push_text(pattern(text));
            *placeholder = Some(format!("${}", sql.parameter_count()));
        }
    }
}

fn push_text_column(sql: &mut Sql, column: TextColumn) {
    sql.push(column.column);
    if column.cast {
        sql.push("::text");
    }
}

/// Not the usual backslash: its meaning inside quotes depends on a setting of the server.
const ESCAPE: &str = " ESCAPE '!'";

/// A LIKE pattern that finds `text` anywhere, with `%` and `_` meaning themselves.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '!' | '%' | '_') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn pattern_takes_wildcards_literally() {
        for (text, expected) in
            [("abc", "%abc%"), ("50%", "%50!%%"), ("a_b", "%a!_b%"), ("a!b", "%a!!b%"), (r"a\b", r"%a\b%")]
        {
            assert_eq!(pattern(text), expected);
        }
    }
}
