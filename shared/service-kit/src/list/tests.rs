use chrono::{DateTime, Utc};
use event_store::sql::Sql;
use serde_json::{Value as Json, json};

use super::condition::Condition;
use super::value::Value;
use super::{
    Field, Kind, ListError, ListFields, ListQuery, MAX_PAGE_SIZE, MAX_SEARCH_BYTES, MAX_SEARCH_TERMS, Order,
    Page,
};

pub(super) const TASKS: ListFields = ListFields::new(
    "t.id",
    &[
        Field::new("id", "t.id", Kind::Integer).searchable(),
        Field::new("name", "t.name", Kind::Text).searchable(),
        Field::new("assignee", "a.username", Kind::Text).searchable(),
        Field::new("status", "t.status", Kind::Choice(&["annotation", "completed"])),
        Field::new("resolved", "t.resolved", Kind::Boolean),
        Field::new("updated_date", "t.updated_at", Kind::Timestamp),
        Field::new("uuid", "t.key", Kind::Uuid),
        Field::new("hidden", "t.hidden", Kind::Text).without_filter().without_sort().without_simple(),
    ],
);

fn parse(pairs: &[(&str, &str)]) -> Result<ListQuery, ListError> {
    ListQuery::parse(pairs.iter().copied(), &TASKS)
}

pub(super) fn accepted(pairs: &[(&str, &str)]) -> ListQuery {
    parse(pairs).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

pub(super) fn refused(pairs: &[(&str, &str)]) -> (u16, Json) {
    let error = parse(pairs).expect_err("a refusal");
    (error.status, error.body)
}

pub(super) fn where_text(query: &ListQuery) -> String {
    let mut sql = Sql::composed("");
    query.push_where(&mut sql);
    sql.text().to_owned()
}

fn order_text(query: &ListQuery, count: i64) -> String {
    let mut sql = Sql::composed("");
    query.push_order_and_page(&mut sql, &query.window(count).unwrap());
    sql.text().to_owned()
}

/// The operands in the order of their placeholders.
pub(super) fn values(conditions: &[Condition]) -> Vec<Value> {
    let one = |condition: &Condition| match condition {
        Condition::All(parts) | Condition::Any(parts) => values(parts),
        Condition::Not(inner) => values(std::slice::from_ref(inner)),
        Condition::IsNull { .. } | Condition::IsNotNull { .. } => vec![],
        Condition::Compare { value, .. } => vec![value.clone()],
        Condition::OneOf { values, .. } => values.clone(),
        Condition::Contains { text, .. } | Condition::Mentions { text, .. } => {
            vec![Value::Text(text.clone())]
        }
    };
    conditions.iter().flat_map(one).collect()
}

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(super) fn time(value: &str) -> Value {
    Value::Timestamp(value.parse::<DateTime<Utc>>().unwrap())
}

#[test]
fn simple_filters_compare_typed_values() {
    use Value::{Boolean, Integer};
    let table = [
        ("name", " My task ", "t.name", text("My task")),
        ("id", "12", "t.id", Integer(12)),
        ("status", "completed", "t.status", text("completed")),
        ("resolved", "True", "t.resolved", Boolean(true)),
        ("resolved", "true", "t.resolved", Boolean(true)),
        ("resolved", "1", "t.resolved", Boolean(true)),
        ("resolved", "False", "t.resolved", Boolean(false)),
        ("resolved", "false", "t.resolved", Boolean(false)),
        ("resolved", "0", "t.resolved", Boolean(false)),
        ("updated_date", "2024-01-01", "t.updated_at", time("2024-01-01T00:00:00Z")),
        ("uuid", "00000000000000000000000000000000", "t.key", Value::Uuid(uuid::Uuid::nil())),
    ];
    for (name, written, column, value) in table {
        let query = accepted(&[(name, written)]);
        assert_eq!(where_text(&query), format!(" AND {column} = $1"), "{name}={written}");
        assert_eq!(values(&query.conditions), [value], "{name}={written}");
    }
    for ignored in [("name", ""), ("id", "  "), ("hidden", "x"), ("unknown", "x"), ("org", "x")] {
        assert_eq!(where_text(&accepted(&[ignored])), "", "{ignored:?}");
    }
    let last_wins = accepted(&[("id", "1"), ("name", "n"), ("id", "2")]);
    assert_eq!(where_text(&last_wins), " AND t.id = $1 AND t.name = $2");
    assert_eq!(values(&last_wins.conditions), [Integer(2), text("n")]);
}

#[test]
fn simple_filter_errors_name_every_wrong_field() {
    for (name, written, message) in [
        ("id", "x", "Enter a number."),
        ("id", "1.5", "Enter a whole number."),
        ("id", "9223372036854775808", "Ensure this value is less than or equal to 9223372036854775807."),
        ("id", "-9223372036854775809", "Ensure this value is greater than or equal to -9223372036854775808."),
        ("status", "odd", "Select a valid choice. odd is not one of the available choices."),
        ("resolved", "maybe", "Must be a valid boolean."),
        ("updated_date", "yesterday", "Enter a valid date/time."),
        ("uuid", "x", "Enter a valid UUID."),
        ("name", "a\0b", "Null characters are not allowed."),
    ] {
        assert_eq!(refused(&[(name, written)]), (400, json!({ name: [message] })), "{name}={written}");
    }
    assert_eq!(
        refused(&[("id", "x"), ("resolved", "x"), ("name", "fine"), ("filter", "{"), ("page", "x")]),
        (400, json!({"id": ["Enter a number."], "resolved": ["Must be a valid boolean."]}))
    );
}

#[test]
fn search_looks_for_every_term_in_some_field() {
    let query = accepted(&[("search", "Cat, \"a dog\" Cat"), ("filter", r#"{"==":[{"var":"id"},9]}"#)]);
    let fields = |n: u8| {
        format!(
            "(t.id::text ILIKE ${n} ESCAPE '!' OR t.name ILIKE ${n} ESCAPE '!' \
             OR a.username ILIKE ${n} ESCAPE '!')"
        )
    };
    assert_eq!(where_text(&query), format!(" AND {} AND {} AND t.id = $3", fields(1), fields(2)));
    assert_eq!(values(&query.conditions), [text("Cat"), text("a dog"), Value::Integer(9)]);

    assert_eq!(where_text(&accepted(&[("search", " , ")])), "");
    const UNSEARCHABLE: ListFields = ListFields::new("m.id", &[]);
    assert_eq!(where_text(&ListQuery::parse([("search", "x")], &UNSEARCHABLE).unwrap()), "");

    assert_eq!(refused(&[("search", "a\0")]), (400, json!(["Null characters are not allowed."])));
    let terms = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    accepted(&[("search", &terms(MAX_SEARCH_TERMS))]);
    assert_eq!(
        refused(&[("search", &terms(MAX_SEARCH_TERMS + 1))]),
        (400, json!(["search: more than 32 terms are not supported"]))
    );
    assert_eq!(
        refused(&[("search", &"x".repeat(MAX_SEARCH_BYTES + 1))]),
        (400, json!(["search: more than 4096 bytes are not supported"]))
    );
}

#[test]
fn sort_drops_unknown_names_and_ends_with_the_id() {
    for (sort, expected) in [
        ("", "t.id DESC"),
        ("nonsense", "t.id DESC"),
        ("hidden,-hidden,--name,+name", "t.id DESC"),
        ("name", "t.name ASC, t.id ASC"),
        ("-name", "t.name DESC, t.id DESC"),
        (" -status , nonsense, name ", "t.status DESC, t.name ASC, t.id ASC"),
        ("id", "t.id ASC"),
        ("-id,name", "t.id DESC, t.name ASC"),
        ("name,-name,name", "t.name ASC, t.id ASC"),
        ("name; DROP TABLE t", "t.id DESC"),
    ] {
        let query = accepted(&[("sort", sort), ("page_size", "all")]);
        assert_eq!(order_text(&query, 3), format!(" ORDER BY {expected}"), "{sort:?}");
    }
    const INVITATIONS: ListFields =
        ListFields::new("i.id", &[]).ordered_by(&[Order::descending("i.created_at")]);
    let query = ListQuery::parse([("page_size", "all")], &INVITATIONS).unwrap();
    assert_eq!(order_text(&query, 0), " ORDER BY i.created_at DESC, i.id DESC");
    const LABELS: ListFields = ListFields::new("l.id", &[]).ordered_by(&[Order::ascending("l.id")]);
    let query = ListQuery::parse([("page_size", "all")], &LABELS).unwrap();
    assert_eq!(order_text(&query, 0), " ORDER BY l.id ASC");
}

/// The page as (number, size), size 0 for all.
fn placed(page: &str, page_size: &str, count: i64) -> Result<(i64, i64), ListError> {
    let window = parse(&[("page", page), ("page_size", page_size)])?.window(count)?;
    let shown = serde_json::to_value(Page::<()>::new(vec![], &window, "http://h/?page=7")).unwrap();
    assert_eq!(shown["count"], count);
    Ok(window.placed())
}

#[test]
fn pages_exist_or_are_404() {
    for (page, page_size, count, expected) in [
        ("", "", 0, (1, 10)),
        ("1", "", 0, (1, 10)),
        ("1", "", 25, (1, 10)),
        ("3", "", 25, (3, 10)),
        (" 2 ", "", 25, (2, 10)),
        ("last", "", 25, (3, 10)),
        ("last", "", 20, (2, 10)),
        ("last", "", 0, (1, 10)),
        ("2", "20", 25, (2, 20)),
        ("1", "0", 25, (1, 10)),
        ("1", "-5", 25, (1, 10)),
        ("1", "x", 25, (1, 10)),
        ("1", "5.0", 25, (1, 10)),
        ("1", "all", 25, (1, 0)),
        ("last", "all", 25, (1, 0)),
        ("1", "1000000", 25, (1, MAX_PAGE_SIZE)),
        ("1", "99999999999999999999", 25, (1, MAX_PAGE_SIZE)),
        ("1", "-99999999999999999999", 25, (1, 10)),
    ] {
        assert_eq!(placed(page, page_size, count).unwrap(), expected, "{page:?} {page_size:?} {count}");
    }
    for (page, page_size, count) in [
        ("0", "", 25),
        ("-1", "", 25),
        ("x", "", 25),
        ("1.0", "", 25),
        ("99999999999999999999", "", 25),
        ("9223372036854775807", "", 25),
        ("4", "", 25),
        ("3", "", 20),
        ("2", "", 0),
        ("2", "all", 25),
    ] {
        let error = placed(page, page_size, count).unwrap_err();
        assert_eq!(error, ListError::invalid_page(), "{page:?} {page_size:?} {count}");
        assert_eq!((error.status, error.body), (404, json!({"detail": "Invalid page."})));
    }
    let query = accepted(&[("page", "3"), ("page_size", "7")]);
    let mut sql = Sql::composed("");
    query.push_order_and_page(&mut sql, &query.window(100).unwrap());
    assert_eq!((sql.text(), sql.parameter_count()), (" ORDER BY t.id DESC LIMIT $1 OFFSET $2", 2));
}

#[test]
fn links_replace_the_page_and_keep_the_rest() {
    let page = |url: &str, count: i64| {
        let query = ListQuery::from_query_string(url.split_once('?').map_or("", |(_, query)| query), &TASKS);
        let query = query.unwrap();
        serde_json::to_value(Page::new(vec![1], &query.window(count).unwrap(), url)).unwrap()
    };
    assert_eq!(
        page("https://h:8080/api/tasks", 5),
        json!({"count": 5, "next": null, "previous": null, "results": [1]})
    );
    assert_eq!(page("https://h/api/tasks", 11)["next"], "https://h/api/tasks?page=2");
    assert_eq!(page("https://h/api/tasks?page=2", 11)["next"], Json::Null);
    assert_eq!(page("https://h/api/tasks?page=2", 11)["previous"], "https://h/api/tasks");
    let middle = "http://h/api/tasks?search=a+%26b&page=1&page=2&page_size=5&empty=&search=c";
    assert_eq!(
        page(middle, 15)["next"],
        "http://h/api/tasks?empty=&page=3&page_size=5&search=a+%26b&search=c"
    );
    assert_eq!(page(middle, 15)["previous"], "http://h/api/tasks?empty=&page_size=5&search=a+%26b&search=c");
    assert_eq!(page("http://h/t?page=last", 25)["previous"], "http://h/t?page=2");
    assert_eq!(page("http://h/t?", 11)["next"], "http://h/t?page=2");
    assert_eq!(page("http://h/t?page_size=all", 11)["next"], Json::Null);
}

#[test]
fn conditions_continue_a_statement_that_has_parameters() {
    let query = accepted(&[
        ("name", "n"),
        ("search", "s"),
        ("filter", r#"{"in":["x",{"var":"assignee"}]}"#),
        ("page", "2"),
    ]);
    let mut sql = Sql::composed("SELECT 1 WHERE tenant = ");
    sql.push_i64(1);
    query.push_where(&mut sql);
    query.push_order_and_page(&mut sql, &query.window(11).unwrap());
    assert_eq!(
        sql.text(),
        "SELECT 1 WHERE tenant = $1 AND t.name = $2 AND (t.id::text ILIKE $3 ESCAPE '!' OR t.name ILIKE $3 \
         ESCAPE '!' OR a.username ILIKE $3 ESCAPE '!') AND a.username LIKE $4 ESCAPE '!' ORDER BY t.id DESC \
         LIMIT $5 OFFSET $6"
    );
    assert_eq!(sql.parameter_count(), 6);
}
