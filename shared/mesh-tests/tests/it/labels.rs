//! Labels as clients send them: what cannot be done is refused aloud, and what can be done happens whole.

use serde_json::{Value, json};
use test_kit::Client;

use crate::support::{mesh, unique};

async fn labels_of(client: &Client, project: &Value) -> Vec<Value> {
    let path = format!("/api/labels?page_size=all&project_id={}", project["id"]);
    client.get(&path).await.expect(200)["results"].as_array().unwrap().clone()
}

fn attribute(name: &str) -> Value {
    json!({ "name": name, "mutable": true, "input_type": "text", "default_value": "", "values": ["a"] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_with_many_labels_can_still_be_changed() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let many = |from: usize, count: usize| -> Vec<Value> {
        (from..from + count)
            .map(|number| json!({ "name": format!("a rather long label {number}") }))
            .collect()
    };
    let body = json!({ "name": "streets", "labels": many(0, 1_000) });
    let project = alice.post("/api/projects", body).await.expect(201);
    let path = format!("/api/projects/{}", project["id"]);
    let refused = alice.patch(&path, json!({ "labels": many(1_000, 1) })).await.expect(400);
    assert!(refused["labels"][0].as_str().unwrap().contains("1000 labels"), "{refused}");
    alice.patch(&path, json!({ "name": "roads" })).await.expect(200);
    let labels = labels_of(&alice, &project).await;
    assert_eq!(labels.len(), 1_000);
    // One more fits as soon as another goes, in the same request.
    let swap = json!({ "labels": [{ "id": labels[0]["id"], "deleted": true }, { "name": "late" }] });
    alice.patch(&path, swap).await.expect(200);
    let recolour: Vec<Value> =
        labels[1..].iter().map(|label| json!({ "id": label["id"], "color": "#010203" })).collect();
    alice.patch(&path, json!({ "labels": recolour })).await.expect(200);
    // Few labels may be large as well.
    let values = vec!["x".repeat(4_000); 60];
    let large = json!({ "name": "x", "mutable": true, "input_type": "select", "values": values });
    let body = json!({ "name": "large", "labels": [{ "name": "car", "attributes": [large] }] });
    let refused = alice.post("/api/projects", body).await.expect(400);
    assert!(refused["labels"][0].as_str().unwrap().contains("bytes"), "{refused}");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_with_a_label_is_refused() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let other = json!({ "name": "other", "labels": [{ "name": "bus", "attributes": [attribute("size")] }] });
    let other = alice.post("/api/projects", other).await.expect(201);
    let foreign = labels_of(&alice, &other).await.remove(0);
    let with_id = |mut attribute: Value, id: &Value| {
        attribute["id"] = id.clone();
        attribute
    };
    let foreign_attribute = with_id(attribute("speed"), &foreign["attributes"][0]["id"]);
    for label in [
        json!({ "name": "car", "id": 7 }),
        json!({ "name": "car", "deleted": true }),
        json!({ "name": "car", "id": 7, "deleted": true }),
        json!({ "name": "car", "sublabels": [{ "name": "wheel" }] }),
        json!({ "name": "car", "svg": "<svg/>" }),
        json!({ "name": "car", "type": "skeleton" }),
        json!({ "name": "car", "attributes": [foreign_attribute] }),
        json!({ "name": "car", "attributes": [{ "deleted": true, "name": "x", "mutable": true, "input_type": "text", "values": [] }] }),
    ] {
        let refused = alice.post("/api/projects", json!({ "name": "p", "labels": [label] })).await;
        assert_eq!(refused.status, 400, "{label} {}", refused.text);
        assert!(refused.json()["labels"][0].is_string(), "{}", refused.text);
    }
    let project = alice.post("/api/projects", json!({ "name": "p", "labels": [{ "name": "car" }] })).await;
    let project = project.expect(201);
    let car = labels_of(&alice, &project).await.remove(0);
    let path = format!("/api/projects/{}", project["id"]);
    let label_path = format!("/api/labels/{}", car["id"]);
    for change in [
        json!({ "sublabels": [{ "name": "wheel" }] }),
        json!({ "svg": "<svg/>" }),
        json!({ "type": "skeleton" }),
        json!({ "attributes": [foreign_attribute] }),
        json!({ "attributes": [with_id(attribute("x"), &json!(999_999_999))] }),
    ] {
        let refused = alice.patch(&label_path, change.clone()).await;
        assert_eq!(refused.status, 400, "{change} {}", refused.text);
        let mut entry = change.clone();
        entry["id"] = car["id"].clone();
        let refused = alice.patch(&path, json!({ "labels": [entry] })).await;
        assert_eq!(refused.status, 400, "{change} {}", refused.text);
    }
    alice.patch(&label_path, json!({ "id": foreign["id"], "name": "x" })).await.expect(400);
    alice.patch(&label_path, json!({ "deleted": true })).await.expect(400);
    assert_eq!(labels_of(&alice, &project).await, [car]);
    // What a client has read it may send back.
    let echo = alice.get(&label_path).await.expect(200);
    assert_eq!(alice.patch(&label_path, echo.clone()).await.expect(200), echo);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_changed_one_by_one_and_a_type_is_changed_at_all() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let body = json!({
        "name": "streets",
        "labels": [{ "name": "car", "attributes": [attribute("size"), attribute("speed")] }],
    });
    let project = alice.post("/api/projects", body).await.expect(201);
    let car = labels_of(&alice, &project).await.remove(0);
    let path = format!("/api/labels/{}", car["id"]);
    let names = |label: &Value| -> Vec<String> {
        let attributes = label["attributes"].as_array().unwrap().iter();
        attributes.map(|attribute| attribute["name"].as_str().unwrap().to_owned()).collect()
    };
    // One that has an id is that one; the other stays.
    let mut size = car["attributes"][0].clone();
    size["name"] = json!("length");
    let changed = alice.patch(&path, json!({ "attributes": [size] })).await.expect(200);
    assert_eq!(names(&changed), ["length", "speed"]);
    assert_eq!(changed["attributes"][0]["id"], car["attributes"][0]["id"]);
    // One without an id is new, unless the label has one of that name: CVAT's clients mean that one.
    let mut speed = attribute("speed");
    speed["default_value"] = json!("slow");
    let changed = alice.patch(&path, json!({ "attributes": [attribute("colour"), speed] })).await.expect(200);
    assert_eq!(names(&changed), ["length", "speed", "colour"]);
    assert_eq!(changed["attributes"][1]["id"], car["attributes"][1]["id"]);
    assert_eq!(changed["attributes"][1]["default_value"], "slow");
    let mut length = changed["attributes"][0].clone();
    length["deleted"] = json!(true);
    let changed = alice.patch(&path, json!({ "attributes": [length] })).await.expect(200);
    assert_eq!(names(&changed), ["speed", "colour"]);
    let clash = json!({ "attributes": [{ "id": changed["attributes"][0]["id"], "name": "colour", "mutable": true, "input_type": "text", "values": [] }] });
    alice.patch(&path, clash).await.expect(400);
    assert_eq!(alice.patch(&path, json!({ "type": "polygon" })).await.expect(200)["type"], "polygon");
    assert_eq!(alice.get(&path).await.expect(200)["type"], "polygon");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_what_no_label_has_shows_none() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let body = json!({ "name": "streets", "labels": [{ "name": "car" }] });
    alice.post("/api/projects", body).await.expect(201);
    assert_eq!(alice.get("/api/labels").await.expect(200)["count"], 1);
    assert_eq!(alice.get("/api/labels?parent_id=1").await.expect(200)["count"], 0);
    for filter in ["task_id=987654321", "job_id=987654321"] {
        alice.get(&format!("/api/labels?{filter}")).await.expect(404);
    }
    mesh.running.stop().await;
}
