//! Labels of projects and of tasks, asked for by either, or by a job.

use serde_json::{Value, json};

use crate::world::{World, id, task};

fn names(page: &Value) -> Vec<&str> {
    page["results"].as_array().unwrap().iter().map(|label| label["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_found_by_project_task_and_job() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice
        .post("/api/projects", json!({ "name": "p", "labels": [{ "name": "car" }, { "name": "bus" }] }))
        .await
        .expect(201);
    let inside =
        alice.post("/api/tasks", json!({ "name": "t", "project_id": project["id"] })).await.expect(201);
    let attributes =
        json!([{ "name": "age", "mutable": false, "input_type": "number", "values": ["0", "9", "1"] }]);
    let labels = json!([{ "name": "cat", "type": "polygon", "attributes": attributes }, { "name": "dog" }]);
    let alone = task(&alice, json!({ "labels": labels })).await;
    let inside_jobs = world.attach(&alice, 7, id(&inside), 3).await;
    let alone_jobs = world.attach(&alice, 7, id(&alone), 3).await;
    let ask = async |query: String| alice.get(&format!("/api/labels?{query}")).await.expect(200);

    for query in [
        format!("project_id={}", project["id"]),
        format!("task_id={}", inside["id"]),
        format!("job_id={}", inside_jobs[0]["id"]),
    ] {
        let page = ask(query.clone()).await;
        assert_eq!(names(&page), ["car", "bus"], "{query}");
        assert_eq!(
            (&page["results"][0]["project_id"], &page["results"][0]["task_id"]),
            (&project["id"], &Value::Null)
        );
    }
    for query in [format!("task_id={}", alone["id"]), format!("job_id={}", alone_jobs[0]["id"])] {
        let page = ask(query.clone()).await;
        assert_eq!(names(&page), ["cat", "dog"], "{query}");
        let cat = &page["results"][0];
        assert_eq!((&cat["task_id"], &cat["project_id"]), (&alone["id"], &Value::Null));
        assert_eq!((&cat["type"], &cat["attributes"][0]["name"]), (&json!("polygon"), &json!("age")));
        assert!(cat["attributes"][0]["id"].is_i64() && cat["color"].as_str().unwrap().starts_with('#'));
    }
    assert_eq!(names(&ask("".into()).await), ["car", "bus", "cat", "dog"]);
    assert_eq!(names(&ask(format!("task_id={}&name=dog", alone["id"])).await), ["dog"]);
    assert_eq!(names(&ask("search=ca&sort=-name".into()).await), ["cat", "car"]);
    alice.get("/api/labels?task_id=999999").await.expect(404);
    alice.get("/api/labels?job_id=x").await.expect(400);
    alice.get("/api/labels?job_id=1&task_id=1").await.expect(400);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_labels_change_by_the_task_and_one_by_one() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "labels": [{ "name": "cat" }, { "name": "dog" }] })).await;
    let (path, list) = (format!("/api/tasks/{}", task["id"]), format!("/api/labels?task_id={}", task["id"]));
    let labels = alice.get(&list).await.expect(200)["results"].clone();
    let label = format!("/api/labels/{}", labels[0]["id"]);
    let renamed = alice.patch(&label, json!({ "name": "tiger", "color": "#102030" })).await.expect(200);
    assert_eq!((&renamed["name"], &renamed["id"]), (&json!("tiger"), &labels[0]["id"]));
    let patch = json!({ "labels": [{ "id": labels[1]["id"], "deleted": true }, { "name": "cow" }] });
    alice.patch(&path, patch).await.expect(200);
    assert_eq!(names(&alice.get(&list).await.expect(200)), ["tiger", "cow"]);
    alice.delete(&label).await.expect(204);
    assert_eq!(names(&alice.get(&list).await.expect(200)), ["cow"]);
    // The last one stays: a task without labels could not be annotated.
    let last = alice.get(&list).await.expect(200)["results"][0]["id"].clone();
    alice.delete(&format!("/api/labels/{last}")).await.expect(400);

    let store = &world.mesh.running.kit("projects").unwrap().store;
    store.rebuild("task_labels").await.unwrap().unwrap();
    assert_eq!(names(&alice.get(&list).await.expect(200)), ["cow"]);
    alice.delete(&path).await.expect(204);
    alice.get(&list).await.expect(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_labels_obey_the_same_rules_as_a_projects() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    for label in [
        json!({ "name": "car", "id": 7 }),
        json!({ "name": "car", "deleted": true }),
        json!({ "name": "car", "sublabels": [{ "name": "wheel" }] }),
        json!({ "name": "car", "svg": "<svg/>" }),
    ] {
        let refused = alice.post("/api/tasks", json!({ "name": "t", "labels": [label] })).await.expect(400);
        assert!(refused["labels"][0].is_string(), "{refused}");
    }
    let attribute = |name: &str| json!({ "name": name, "mutable": true, "input_type": "text" });
    let label = json!({ "name": "car", "attributes": [attribute("size"), attribute("speed")] });
    let task = task(&alice, json!({ "labels": [label] })).await;
    let list = format!("/api/labels?task_id={}", task["id"]);
    let car = alice.get(&list).await.expect(200)["results"][0].clone();
    let mut size = attribute("length");
    size["id"] = car["attributes"][0]["id"].clone();
    let entry = json!({ "id": car["id"], "type": "polygon", "attributes": [size, attribute("colour")] });
    alice.patch(&format!("/api/tasks/{}", task["id"]), json!({ "labels": [entry] })).await.expect(200);
    let changed = alice.get(&list).await.expect(200)["results"][0].clone();
    let attributes = changed["attributes"].as_array().unwrap();
    let names: Vec<_> = attributes.iter().map(|attribute| attribute["name"].as_str().unwrap()).collect();
    assert_eq!((names, &changed["type"]), (vec!["length", "speed", "colour"], &json!("polygon")));
    assert_eq!(attributes[0]["id"], car["attributes"][0]["id"]);
    let many: Vec<Value> = (0..1_000).map(|number| json!({ "name": number.to_string() })).collect();
    let refused =
        alice.patch(&format!("/api/tasks/{}", task["id"]), json!({ "labels": many })).await.expect(400);
    assert!(refused["labels"][0].as_str().unwrap().contains("1000 labels"), "{refused}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_only_a_job_sees_its_labels_and_no_others() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "segment_size": 1 })).await;
    let jobs = world.attach(&alice, 7, id(&task), 2).await;
    let bob = world.caller("10.worker");
    let by_job = format!("/api/labels?job_id={}", jobs[0]["id"]);
    bob.get(&by_job).await.expect(403);
    alice.patch(&format!("/api/jobs/{}", jobs[0]["id"]), json!({ "assignee": 10 })).await.expect(200);
    assert_eq!(names(&bob.get(&by_job).await.expect(200)), ["car"]);
    bob.get(&format!("/api/labels?task_id={}", task["id"])).await.expect(403);
    bob.get(&format!("/api/labels?job_id={}", jobs[1]["id"])).await.expect(403);
    assert_eq!(bob.get("/api/labels").await.expect(200)["count"], 0);
    world.stop().await;
}
