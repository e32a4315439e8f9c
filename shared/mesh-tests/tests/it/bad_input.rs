//! Whatever is sent, the answer is clear and never a server error.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use test_kit::Client;

use crate::support::{mesh, services, unique};

/// JSON of any shape, names of real fields among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[a-z]{300}".prop_map(Value::from),
        Just(Value::from("nul\0nul")),
    ];
    let key = prop_oneof![
        Just("name".to_owned()),
        Just("slug".to_owned()),
        Just("labels".to_owned()),
        Just("id".to_owned()),
        Just("owner_id".to_owned()),
        Just("assignee_id".to_owned()),
        Just("target_url".to_owned()),
        Just("events".to_owned()),
        Just("type".to_owned()),
        Just("username".to_owned()),
        Just("password".to_owned()),
        Just("password1".to_owned()),
        Just("email".to_owned()),
        Just("contact".to_owned()),
        Just("role".to_owned()),
        Just("project_id".to_owned()),
        "[a-z]{1,8}",
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Query strings that hit filters, pages and cursors.
fn any_query() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[ -~]{0,30}",
        Just("-1".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("%00".to_owned()),
        Just("{\"==\":[{\"var\":\"id\"},\"x\"]}".to_owned()),
        Just("{\"and\":".to_owned())
    ];
    let name = prop_oneof![
        Just("page"),
        Just("page_size"),
        Just("filter"),
        Just("sort"),
        Just("search"),
        Just("org"),
        Just("org_id"),
        Just("id"),
        Just("name"),
        Just("after"),
        Just("limit"),
        Just("type"),
        Just("subject"),
        Just("owner"),
        Just("project_id"),
    ];
    prop::collection::vec((name, value), 0..4).prop_map(|pairs| {
        let mut query = String::from("?");
        for (name, value) in pairs {
            let value: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            query.push_str(&format!("{name}={value}&"));
        }
        query
    })
}

/// Bodies that nothing can be made of, whatever an endpoint takes: half JSON, more than JSON, and JSON that is
/// no object.
const IMPOSSIBLE: &[&str] = &[
    "{\"name\": ",
    "{\"name\": \"x\"} trailing",
    "{\"name\": \"x\"}{\"name\": \"y\"}",
    "{\"name\": \"x\",}",
    "[]",
    "[{\"name\": \"x\"}]",
    "[\"x\"]",
    "\"x\"",
    "7",
    "true",
    "null",
];

/// Everything that a client can list, but for what changes by itself.
async fn everything(client: &Client) -> Vec<Value> {
    let mut seen = vec![];
    for kind in ["projects", "labels", "webhooks", "organizations", "memberships", "users"] {
        let mut page = client.get(&format!("/api/{kind}?page_size=all")).await.expect(200);
        for thing in page["results"].as_array_mut().unwrap() {
            for delivered in ["last_status", "last_delivery_date"] {
                thing.as_object_mut().unwrap().remove(delivered);
            }
        }
        seen.push(page);
    }
    seen
}

/// A path with `id` wherever an id belongs.
fn with_id(path: &str, id: &str) -> String {
    let mut target = path.to_owned();
    while let (Some(open), Some(close)) = (target.find('{'), target.find('}')) {
        target.replace_range(open..=close, id);
    }
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn no_garbage_makes_a_server_error_or_does_anything() {
    let mesh = mesh().await;
    let client = mesh.user(&unique("mallory")).await;
    // The first of each kind, so that there is something that could be changed.
    let slug = unique("o");
    client.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let inside = client.organization(&slug);
    let project = json!({ "name": "p", "labels": [{ "name": "car" }] });
    assert_eq!(inside.post("/api/projects", project).await.expect(201)["id"], 1);
    let hook = json!({
        "target_url": "http://127.0.0.1:1/", "type": "organization", "content_type": "application/json",
        "events": [], "is_active": false,
    });
    inside.post("/api/webhooks", hook).await.expect(201);
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (json, query) = (any_json(), any_query());
    let ids = ["1", "0", "-1", "9223372036854775807", "99999999999999999999", "x", "%00", "..%2f..%2f"];
    let (mut sent, mut impossible) = (0, 0);
    let mut before = everything(&client).await;
    for service in services() {
        let document = serde_json::to_value(service.openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            if path.contains("live") || path.contains("logout") {
                continue;
            }
            for (method, operation) in item.as_object().unwrap() {
                if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                    continue;
                }
                let name = method.to_uppercase();
                for round in 0..12 {
                    // What is deleted by its right name is no garbage.
                    let id =
                        ids[if method == "delete" { 1 + round % (ids.len() - 1) } else { round % ids.len() }];
                    let query = query.new_tree(&mut runner).unwrap().current();
                    let target = with_id(path, id) + &query;
                    let body =
                        (method != "get").then(|| json.new_tree(&mut runner).unwrap().current().to_string());
                    let response = client.send(&name, &target, body.clone()).await;
                    let said = format!("{method} {target} {body:?}: {} {}", response.status, response.text);
                    assert!(response.status < 500, "{said}");
                    if method != "get" && response.status < 300 {
                        // Even garbage may happen to be good.
                        before = everything(&client).await;
                    }
                    sent += 1;
                }
                if operation.get("requestBody").is_some() || method == "delete" {
                    for body in IMPOSSIBLE {
                        let response =
                            client.send(&name, &with_id(path, "1"), Some((*body).to_owned())).await;
                        let said = format!("{method} {path} {body}: {} {}", response.status, response.text);
                        assert!((400..500).contains(&response.status), "{said}");
                        impossible += 1;
                    }
                }
                if method != "get" {
                    assert_eq!(everything(&client).await, before, "{method} {path} did something");
                }
            }
        }
    }
    assert!(sent > 200 && impossible > 100, "only {sent} and {impossible} requests were sent");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_face_says_what_is_wrong_in_its_own_shape() {
    let mesh = mesh().await;
    let client = mesh.user(&unique("carol")).await;
    let missing = client.post("/api/projects", json!({})).await.expect(400);
    assert_eq!(missing["name"][0], "This field is required.");
    let blank = client.post("/api/projects", json!({ "name": " " })).await.expect(400);
    assert_eq!(blank["name"][0], "This field may not be blank.");
    let long = client.post("/api/projects", json!({ "name": "x".repeat(257) })).await.expect(400);
    assert_eq!(long["name"][0], "Ensure this field has no more than 256 characters.");
    let typed = client.post("/api/projects", json!({ "name": 5 })).await.expect(400);
    assert_eq!(typed["name"][0], "Not a valid string.");
    let broken = client.send("POST", "/api/projects", Some("{".into())).await.expect(400);
    assert!(broken["detail"].as_str().unwrap().starts_with("JSON parse error"));
    let filter =
        client.get("/api/projects?filter=%7B%22%3D%3D%22%3A%5B%7B%22var%22%3A%22x%22%7D%2C1%5D%7D").await;
    assert_eq!(filter.expect(400)[0], "filter: 'x' term is not supported");
    let page = client.get("/api/projects?page=7").await.expect(404);
    assert_eq!(page["detail"], "Invalid page.");
    let native = client.get("/v1/events?limit=none").await;
    assert_eq!(native.headers["content-type"], "application/problem+json");
    let native = native.expect(400);
    assert_eq!(native["status"], 400);
    assert!(native["code"].is_string() && native["trace_id"].is_string(), "{native}");
    client.get("/api/nothing").await.expect(404);
    client.with("accept", "application/vnd.cvat+json; version=9").get("/api/projects").await.expect(406);
    let huge = json!({ "name": "x", "bug_tracker": "x".repeat(3 * 1024 * 1024) });
    client.post("/api/projects", huge).await.expect(413);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_knows_its_methods() {
    let mesh = mesh().await;
    let client = mesh.user(&unique("dave")).await;
    let wrong = client.send("PUT", "/api/projects", None).await.expect(405);
    assert_eq!(wrong["detail"], "Method \"PUT\" not allowed.");
    client.send("OPTIONS", "/api/projects/1", None).await.expect(200);
    client.send("OPTIONS", "/api/projects/1/nothing", None).await.expect(404);
    mesh.running.stop().await;
}
