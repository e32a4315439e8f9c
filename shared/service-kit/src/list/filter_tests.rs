//! Every operator of the JSON-logic filter, and every text that refuses one.

use serde_json::{Value as Json, json};

use super::tests::{accepted, refused, text, time, values, where_text};
use super::value::Value;
use super::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

#[test]
fn filter_operators_become_sql_with_bound_operands() {
    use Value::{Boolean, Integer};
    let table: Vec<(Json, &str, Vec<Value>)> = vec![
        (json!({"==": [{"var": "id"}, 5]}), "t.id = $1", vec![Integer(5)]),
        (json!({"==": [{"var": "id"}, "5"]}), "t.id = $1", vec![Integer(5)]),
        (json!({"==": [{"var": "id"}, 5.0]}), "t.id = $1", vec![Integer(5)]),
        (json!({"==": [{"var": ["id"]}, 5]}), "t.id = $1", vec![Integer(5)]),
        (json!({"<": [{"var": "id"}, 5]}), "t.id < $1", vec![Integer(5)]),
        (json!({">": [{"var": "id"}, -5]}), "t.id > $1", vec![Integer(-5)]),
        (json!({"<=": [{"var": "id"}, 5]}), "t.id <= $1", vec![Integer(5)]),
        (json!({">=": [{"var": "id"}, 5]}), "t.id >= $1", vec![Integer(5)]),
        (json!({"<=": [2, {"var": "id"}, 5]}), "(t.id >= $1 AND t.id <= $2)", vec![Integer(2), Integer(5)]),
        (json!({"==": [{"var": "name"}, "x"]}), "t.name = $1", vec![text("x")]),
        (json!({"==": [{"var": "name"}, 7]}), "t.name = $1", vec![text("7")]),
        (json!({"==": [{"var": "status"}, "no such"]}), "t.status = $1", vec![text("no such")]),
        (json!({"==": [{"var": "resolved"}, true]}), "t.resolved = $1", vec![Boolean(true)]),
        (json!({"==": [{"var": "resolved"}, "False"]}), "t.resolved = $1", vec![Boolean(false)]),
        (json!({"==": [{"var": "resolved"}, 1]}), "t.resolved = $1", vec![Boolean(true)]),
        (json!({"==": [{"var": "assignee"}, null]}), "a.username IS NULL", vec![]),
        (json!({"var": "assignee"}), "a.username IS NOT NULL", vec![]),
        (json!({"!!": {"var": "assignee"}}), "a.username IS NOT NULL", vec![]),
        (json!({"!": {"var": "assignee"}}), "NOT COALESCE(a.username IS NOT NULL, false)", vec![]),
        (
            json!({"!": {"==": [{"var": "assignee"}, "bob"]}}),
            "NOT COALESCE(a.username = $1, false)",
            vec![text("bob")],
        ),
        (
            json!({"!": [{"==": [{"var": "assignee"}, "bob"]}]}),
            "NOT COALESCE(a.username = $1, false)",
            vec![text("bob")],
        ),
        (json!({"in": [{"var": "id"}, [1, "2", null]]}), "t.id IN ($1, $2)", vec![Integer(1), Integer(2)]),
        (json!({"in": [{"var": "id"}, []]}), "false", vec![]),
        (json!({"in": [{"var": "id"}, [null]]}), "false", vec![]),
        (json!({"in": ["a%", {"var": "name"}]}), "t.name LIKE $1 ESCAPE '!'", vec![text("a%")]),
        (json!({"in": [1, {"var": "id"}]}), "t.id::text LIKE $1 ESCAPE '!'", vec![text("1")]),
        (
            json!({"and": [{"var": "name"}, {"or": [{"==": [{"var": "id"}, 1]}, {"var": "uuid"}]}]}),
            "(t.name IS NOT NULL AND (t.id = $1 OR t.key IS NOT NULL))",
            vec![Integer(1)],
        ),
        (json!({"and": [{"var": "name"}]}), "(t.name IS NOT NULL)", vec![]),
        (
            json!({">=": [{"var": "uuid"}, "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8"]}),
            "t.key >= $1",
            vec![Value::Uuid("a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8".parse().unwrap())],
        ),
    ];
    for (filter, expected, operands) in table {
        let query = accepted(&[("filter", &filter.to_string())]);
        assert_eq!(where_text(&query), format!(" AND {expected}"), "{filter}");
        assert_eq!(values(&query.conditions), operands, "{filter}");
    }
}

#[test]
fn timestamps_are_read_as_django_reads_them() {
    for (written, meant) in [
        ("2024-02-03T04:05:06.789012Z", "2024-02-03T04:05:06.789012Z"),
        ("2024-02-03T04:05:06+02:00", "2024-02-03T02:05:06Z"),
        ("2024-02-03 04:05:06+0200", "2024-02-03T02:05:06Z"),
        ("2024-02-03 04:05:06", "2024-02-03T04:05:06Z"),
        (" 2024-02-03T04:05Z ", "2024-02-03T04:05:00Z"),
        ("2024-02-03T04:05", "2024-02-03T04:05:00Z"),
        ("2024-02-03", "2024-02-03T00:00:00Z"),
    ] {
        let filter = json!({"<": [{"var": "updated_date"}, written]}).to_string();
        let query = accepted(&[("filter", &filter)]);
        assert_eq!(values(&query.conditions), [time(meant)], "{written}");
    }
}

#[test]
fn filter_errors_have_cvats_texts() {
    let table: &[(&str, &str)] = &[
        ("{", "filter: Json syntax should be used"),
        (" ", "filter: Json syntax should be used"),
        (r#"{"var": NaN}"#, "filter: Json syntax should be used"),
        (r#"{"==":[{"var":"name"},"\ud800"]}"#, "filter: Json syntax should be used"),
        ("{}", "filter shouldn't be empty"),
        ("[]", "filter shouldn't be empty"),
        (r#""""#, "filter shouldn't be empty"),
        ("null", "filter shouldn't be empty"),
        ("0", "filter shouldn't be empty"),
        (r#"{"==":[{"var":"x"},1]}"#, "filter: 'x' term is not supported"),
        (r#"{"==":[{"var":"it's"},1]}"#, r#"filter: "it's" term is not supported"#),
        (r#"{"==":[{"var":"hidden"},1]}"#, "filter: 'hidden' term is not supported"),
        (r#"{"==":[{"var":5},1]}"#, "filter: 5 term is not supported"),
        (r#"{"==":[{"var":null},1]}"#, "filter: None term is not supported"),
        (r#"{"==":[{"x":"id"},1]}"#, "filter: 'var' term is not supported"),
        (r#"{"var":"x"}"#, "filter: 'x' term is not supported"),
        (r#"{"in":["a",{"var":"x"}]}"#, "filter: 'x' term is not supported"),
        (r#"{"<=":[1,{"var":"x"},2]}"#, "filter: 'x' term is not supported"),
        (
            r#"{"!=":[{"var":"status"},"completed"]}"#,
            "filter: != operation with [{'var': 'status'}, 'completed'] arguments is not implemented",
        ),
        (r#"{"project_id":2}"#, "filter: project_id operation with 2 arguments is not implemented"),
        (r#"{"+":"ab"}"#, "filter: + operation with ab arguments is not implemented"),
        (
            r#"{"==":[{"var":"id"}]}"#,
            "filter: == operation with [{'var': 'id'}] arguments is not implemented",
        ),
        (
            r#"{"==":[1,{"var":"id"}]}"#,
            "filter: == operation with [1, {'var': 'id'}] arguments is not implemented",
        ),
        (
            r#"{"<":[1,{"var":"id"},3]}"#,
            "filter: < operation with [1, {'var': 'id'}, 3] arguments is not implemented",
        ),
        (
            r#"{"<":[{"var":"id"},null]}"#,
            "filter: < operation with [{'var': 'id'}, None] arguments is not implemented",
        ),
        (
            r#"{"<=":[null,{"var":"id"},3]}"#,
            "filter: <= operation with [None, {'var': 'id'}, 3] arguments is not implemented",
        ),
        (
            r#"{"in":[{"var":"id"},"12"]}"#,
            "filter: in operation with [{'var': 'id'}, '12'] arguments is not implemented",
        ),
        (r#"{"in":["a",["a"]]}"#, "filter: in operation with ['a', ['a']] arguments is not implemented"),
        (r#"{"and":[]}"#, "filter: and operation with [] arguments is not implemented"),
        (r#"{"or":{"var":"id"}}"#, "filter: or operation with {'var': 'id'} arguments is not implemented"),
        (r#"[1]"#, "filter: an object with one operation is expected instead of [1]"),
        (r#"{"and":[5]}"#, "filter: an object with one operation is expected instead of 5"),
        (r#"{"!":[]}"#, "filter: an object with one operation is expected instead of []"),
        (
            r#"{"var":"id","!":true}"#,
            "filter: an object with one operation is expected instead of {'!': True, 'var': 'id'}",
        ),
        (r#"{"==":[{"var":"id"},"x"]}"#, "filter: id must be compared with an integer, not 'x'"),
        (r#"{"==":[{"var":"id"},1.5]}"#, "filter: id must be compared with an integer, not 1.5"),
        (r#"{"<":[{"var":"id"},1e300]}"#, "filter: id must be compared with an integer, not 1e+300"),
        (
            r#"{"<":[{"var":"id"},9223372036854775808]}"#,
            "filter: id must be compared with an integer, not 9223372036854775808",
        ),
        (r#"{"in":[{"var":"id"},[1,"x"]]}"#, "filter: id must be compared with an integer, not 'x'"),
        (r#"{"<=":[1,{"var":"id"},[]]}"#, "filter: id must be compared with an integer, not []"),
        (
            r#"{"==":[{"var":"resolved"},"yes"]}"#,
            "filter: resolved must be compared with a boolean, not 'yes'",
        ),
        (r#"{"==":[{"var":"resolved"},2]}"#, "filter: resolved must be compared with a boolean, not 2"),
        (
            r#"{">":[{"var":"updated_date"},"x"]}"#,
            "filter: updated_date must be compared with a date and time, not 'x'",
        ),
        (
            r#"{">":[{"var":"updated_date"},"0000-01-01"]}"#,
            "filter: updated_date must be compared with a date and time, not '0000-01-01'",
        ),
        (
            r#"{">":[{"var":"updated_date"},1700000000]}"#,
            "filter: updated_date must be compared with a date and time, not 1700000000",
        ),
        (r#"{"==":[{"var":"uuid"},"x"]}"#, "filter: uuid must be compared with a UUID, not 'x'"),
        (
            r#"{"==":[{"var":"name"},{"var":"id"}]}"#,
            "filter: name must be compared with a text, not {'var': 'id'}",
        ),
        (r#"{"in":[["a"],{"var":"name"}]}"#, "filter: name must be compared with a text, not ['a']"),
        (r#"{"in":[null,{"var":"name"}]}"#, "filter: name must be compared with a text, not None"),
        (
            r#"{"==":[{"var":"name"},"a\u0000"]}"#,
            r"filter: name must be compared with a text without null characters, not 'a\x00'",
        ),
    ];
    for (filter, expected) in table {
        assert_eq!(refused(&[("filter", filter)]), (400, json!([expected])), "{filter}");
    }
}

#[test]
fn filter_size_and_depth_are_limited() {
    let nested = |depth: usize| {
        let mut filter = json!({"var": "id"});
        for _ in 1..depth {
            filter = json!({"!": filter});
        }
        filter.to_string()
    };
    accepted(&[("filter", &nested(MAX_FILTER_DEPTH))]);
    assert_eq!(
        refused(&[("filter", &nested(MAX_FILTER_DEPTH + 1))]),
        (400, json!(["filter: more than 32 nested operations are not supported"]))
    );
    assert_eq!(refused(&[("filter", &nested(500))]).0, 400);

    let sized = |bytes: usize| {
        let frame = json!({"==": [{"var": "name"}, ""]}).to_string().len();
        json!({"==": [{"var": "name"}, "x".repeat(bytes - frame)]}).to_string()
    };
    accepted(&[("filter", &sized(MAX_FILTER_BYTES))]);
    assert_eq!(
        refused(&[("filter", &sized(MAX_FILTER_BYTES + 1))]),
        (400, json!(["filter: more than 16384 bytes are not supported"]))
    );
}
