//! What must hold for every query string, however absurd.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::ListQuery;
use super::tests::{TASKS, where_text};
use event_store::sql::Sql;

/// Every word that a statement may be made of, beside `$n` and the columns of [`TASKS`].
const WORDS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "COALESCE",
    "false",
    "IS",
    "NULL",
    "IN",
    "LIKE",
    "ILIKE",
    "ESCAPE",
    "text",
    "ORDER",
    "BY",
    "ASC",
    "DESC",
    "LIMIT",
    "OFFSET",
    "t",
    "a",
    "id",
    "name",
    "username",
    "status",
    "resolved",
    "updated_at",
    "key",
];

fn is_ours(text: &str) -> bool {
    let words = text.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    let mut words = words.filter(|word| !word.is_empty());
    words.all(|word| WORDS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit()))
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || " ()$,._:<>='!".contains(character))
        && text.matches('\'').count() == text.matches("'!'").count() * 2
}

fn client_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Z]{8}",
        "[\"'; %_!\\\\$,-]{1,8}",
        ".{0,12}",
        Just("'; DROP TABLE t; --".to_owned()),
        Just("2024-01-01".to_owned()),
        Just("a1a2a3a4b1b2c1c2d1d2d3d4d5d6d7d8".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let known = TASKS.fields().iter().map(|field| field.name.to_owned()).collect::<Vec<_>>();
    prop_oneof![5 => prop::sample::select(known), 1 => client_text()]
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        client_text().prop_map(Json::from),
        Just(json!("5")),
    ]
}

fn variable() -> impl Strategy<Value = Json> {
    name().prop_map(|name| json!({ "var": name }))
}

fn one_of(operators: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(operators).prop_map(str::to_owned)
}

/// A field and an operand of its type.
fn fitting() -> impl Strategy<Value = (Json, Json)> {
    let pair = |name: &'static str, operand: Json| (json!({ "var": name }), operand);
    prop_oneof![
        any::<i64>().prop_map(move |number| pair("id", json!(number))),
        client_text().prop_map(move |text| pair("name", json!(text.replace('\0', "")))),
        any::<bool>().prop_map(move |flag| pair("resolved", json!(flag))),
        Just(pair("updated_date", json!("2024-01-01T00:00:00Z"))),
        Just(pair("uuid", json!("a1a2a3a4b1b2c1c2d1d2d3d4d5d6d7d8"))),
    ]
}

/// The conditions without conditions inside, their operands right and wrong.
fn comparison() -> impl Strategy<Value = Json> {
    let list = prop::collection::vec(scalar(), 0..4);
    prop_oneof![
        8 => (one_of(&["==", "<", ">", "<=", ">="]), fitting())
            .prop_map(|(operator, (variable, operand))| json!({ operator: [variable, operand] })),
        4 => fitting().prop_map(|(variable, operand)| json!({ "in": [variable, [operand]] })),
        4 => fitting().prop_map(|(variable, operand)| json!({ "in": [operand, variable] })),
        4 => fitting().prop_map(|(variable, operand)| json!({ "<=": [operand, variable, operand] })),
        1 => (one_of(&["==", "<", ">", "<=", ">="]), variable(), scalar())
            .prop_map(|(operator, variable, operand)| json!({ operator: [variable, operand] })),
        1 => (scalar(), variable(), scalar())
            .prop_map(|(low, variable, high)| json!({ "<=": [low, variable, high] })),
        1 => (variable(), list).prop_map(|(variable, list)| json!({ "in": [variable, list] })),
        1 => (scalar(), variable()).prop_map(|(needle, variable)| json!({ "in": [needle, variable] })),
        2 => prop::sample::select(&["name", "id", "uuid"][..]).prop_map(|name| json!({ "var": name })),
        1 => variable(),
    ]
}

/// JSON that often is a filter: plain noise would seldom pass the first check.
fn rule() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![30 => comparison(), 1 => scalar()];
    leaf.prop_recursive(6, 48, 4, |inner| {
        let known = one_of(&["and", "or", "!", "!!", "var", "==", "<", ">", "<=", ">=", "in", "+"]);
        let operator = prop_oneof![9 => known, 1 => client_text()];
        let parts = prop::collection::vec(inner.clone(), 1..4);
        let arguments = prop_oneof![inner.clone(), parts.clone().prop_map(Json::from)];
        prop_oneof![
            8 => (one_of(&["and", "or"]), parts).prop_map(|(operator, parts)| json!({ operator: parts })),
            4 => (one_of(&["!", "!!"]), inner).prop_map(|(operator, part)| json!({ operator: part })),
            1 => (operator, arguments).prop_map(|(operator, arguments)| json!({ operator: arguments })),
        ]
    })
}

fn parameter() -> impl Strategy<Value = (String, String)> {
    let reserved = one_of(&["page", "page_size", "sort", "search", "filter"]);
    let value = prop_oneof![client_text(), name(), any::<i64>().prop_map(|number| number.to_string())];
    (prop_oneof![name(), reserved], value)
}

fn statement(pairs: &[(&str, &str)]) -> Option<Sql> {
    let query = ListQuery::parse(pairs.iter().copied(), &TASKS).ok()?;
    let mut sql = Sql::composed(where_text(&query));
    query.push_order_and_page(&mut sql, &query.window(1_000_000).ok()?);
    Some(sql)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_filter_panics_or_enters_the_statement(rule in rule()) {
        let text = rule.to_string();
        if let Some(sql) = statement(&[("filter", &text)]) {
            prop_assert!(is_ours(sql.text()), "{}", sql.text());
        }
    }

    #[test]
    fn no_parameter_panics_or_enters_the_statement(pairs in prop::collection::vec(parameter(), 0..6)) {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Some(sql) = statement(&pairs) {
            prop_assert!(is_ours(sql.text()), "{}", sql.text());
        }
    }

    #[test]
    fn text_that_is_not_json_never_panics(text in ".{0,200}") {
        let _ = statement(&[("filter", &text)]);
        let _ = ListQuery::from_query_string(&text, &TASKS);
    }
}

#[test]
fn the_check_itself_notices_foreign_text() {
    assert!(is_ours(" AND NOT COALESCE(t.name LIKE $1 ESCAPE '!', false)"));
    for foreign in [" AND t.name = 'x'", " AND t.name = XYZ", "; --", " AND t.name = ''", "\""] {
        assert!(!is_ours(foreign), "{foreign}");
    }
}
