//! Whatever a call says, and however, it is answered in the envelope and never by a server error.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::{call, company, mesh, operator};

const FIELDS: &[&str] = &[
    "name",
    "name_pattern",
    "company",
    "user",
    "id",
    "email",
    "role",
    "defaults",
    "allowed_users",
    "features",
    "exclude_features",
    "domains",
    "access_key",
    "key_id",
    "label",
    "expiration_sec",
    "token",
    "page",
    "page_size",
    "given_name",
    "family_name",
    "method",
];

fn any_body(known: Vec<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[a-z]{2000}".prop_map(Value::from),
        prop::sample::select(vec![
            "nul\0nul",
            "\u{202e}",
            "(",
            "(a+)+$",
            "a@b.example",
            "admin",
            "-1",
            "1e999"
        ])
        .prop_map(Value::from),
        prop::sample::select(known).prop_map(Value::from),
    ];
    let field = prop::sample::select(FIELDS);
    let nested = leaf.prop_recursive(3, 24, 5, move |inner| {
        let fields = prop::collection::btree_map(field.clone().prop_map(str::to_owned), inner.clone(), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(prop::sample::select(FIELDS).prop_map(str::to_owned), nested, 0..10)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_garbage_makes_a_server_error() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let bodies = any_body(vec![acme.id.clone(), acme.admin_id.clone()]);
    let document = serde_json::to_value(identity::service().openapi()).unwrap();
    let endpoints: Vec<&String> =
        document["paths"].as_object().unwrap().keys().filter(|path| !path.starts_with("/api/")).collect();
    assert!(endpoints.len() >= 26, "{endpoints:?}");
    for client in [operator(&mesh), acme.admin.clone()] {
        for endpoint in &endpoints {
            for round in 0..24 {
                let body = bodies.new_tree(&mut runner).unwrap().current();
                let text = body.to_string();
                let (method, query, sent) = match round % 6 {
                    0 => ("GET", String::new(), text),
                    1 => {
                        ("PUT", format!("?{}=%00&a.b.c=1&x[]=2", FIELDS[round % FIELDS.len()]), String::new())
                    }
                    2 => ("POST", String::new(), text.chars().take(text.chars().count() / 2).collect()),
                    _ => ("POST", String::new(), text),
                };
                let header = match round % 4 {
                    0 => client.with("x-clearml-impersonate-as", &format!("{round:032}")),
                    1 => client.with("x-clearml-act-as", &acme.admin_id),
                    _ => client.clone(),
                };
                let path = format!("{endpoint}{query}");
                let answer = header.send(method, &path, Some(sent.clone())).await;
                assert!(answer.status < 500, "{method} {path} {sent}: {}", answer.text);
                assert_eq!(answer.json()["meta"]["result_code"], answer.status, "{method} {path} {sent}");
            }
        }
    }
    for path in
        ["/auth.login%00", "/v2.23/auth.%6cogin", "/v.1/auth.login", "/api/v1/v2/auth.login", "/auth..login"]
    {
        let answer = operator(&mesh).get(path).await;
        assert!(answer.status < 500, "{path}: {}", answer.text);
    }
    let me = call(&operator(&mesh), "users.get_current_user", json!({})).await;
    assert_eq!(me["user"]["role"], "system");
}
