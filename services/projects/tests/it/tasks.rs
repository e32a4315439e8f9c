//! Tasks: created, read, listed, changed, deleted, and what becomes of their project.

use serde_json::{Value, json};

use crate::world::{World, id, task};

fn assert_subset(found: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name} of {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_what_the_sdk_demands() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "segment_size": 4, "subset": "Train", "assignee_id": 8 })).await;
    let path = format!("/api/tasks/{}", task["id"]);
    let read = alice.get(&path).await.expect(200);
    assert_eq!(read, task);
    assert_subset(
        &read,
        &json!({
            "name": "crossings", "project_id": null, "project_name": null, "status": "annotation", "mode": "",
            "subset": "Train", "segment_size": 4, "overlap": null, "data": null, "dimension": "2d",
            "organization": null, "organization_id": null, "media_type": "image", "bug_tracker": "",
        }),
    );
    assert_eq!((&read["owner"]["username"], &read["assignee"]["username"]), (&json!("u7"), &json!("u8")));
    assert!(read["assignee_updated_date"].is_string());
    for absent in ["size", "image_quality", "data_original_chunk_type"] {
        assert!(read.get(absent).is_none(), "{absent} must be absent without data, not null");
    }
    let jobs = read["jobs"].as_object().unwrap();
    assert_eq!((&jobs["count"], &jobs["completed"], &jobs["validation"]), (&json!(0), &json!(0), &json!(0)));
    assert!(jobs["url"].as_str().unwrap().ends_with(&format!("/api/jobs?task_id={}", task["id"])));
    assert!(read["labels"]["url"].as_str().unwrap().contains("/api/labels?task_id="));

    world.attach(&alice, 7, id(&task), 10).await;
    let read = alice.get(&path).await.expect(200);
    assert_subset(
        &read,
        &json!({
            "size": 10, "data": task["id"], "overlap": 0, "segment_size": 4, "mode": "annotation",
            "image_quality": 70, "data_chunk_size": 36, "data_original_chunk_type": "imageset",
        }),
    );
    assert_eq!(read["jobs"]["count"], 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tasks_are_refused_with_the_field() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice.post("/api/projects", json!({ "name": "p" })).await.expect(201);
    let project_id = &project["id"];
    let label = json!([{ "name": "car" }]);
    let refused = [
        (json!({ "name": "t" }), "non_field_errors", "Label set or project_id must be present"),
        (
            json!({ "name": "t", "labels": label, "project_id": project_id }),
            "non_field_errors",
            "Project must have only one of Label set or project_id",
        ),
        (json!({ "labels": label }), "name", "This field is required."),
        (json!({ "name": " ", "labels": label }), "name", "This field may not be blank."),
        (json!({ "name": "t", "project_id": 999_999 }), "project_id", "object does not exist"),
        (
            json!({ "name": "t", "labels": label, "segment_size": -1 }),
            "segment_size",
            "greater than or equal",
        ),
        (
            json!({ "name": "t", "labels": label, "overlap": 4_294_967_296_i64 }),
            "overlap",
            "less than or equal",
        ),
        (json!({ "name": "t", "labels": label, "overlap": "x" }), "overlap", "valid integer"),
        (
            json!({ "name": "t", "labels": label, "consensus_replicas": 2 }),
            "consensus_replicas",
            "not available",
        ),
        (json!({ "name": "t", "labels": label, "subset": "x".repeat(65) }), "subset", "no more than 64"),
        (json!({ "name": "t", "labels": label, "subset": "a\u{0}b" }), "subset", "Null characters"),
        (json!({ "name": "t", "labels": [{ "name": "a" }, { "name": "a" }] }), "labels", "unique"),
        (
            json!({ "name": "t", "labels": label, "target_storage": { "location": "cloud_storage" } }),
            "target_storage",
            "not available",
        ),
    ];
    for (body, field, text) in refused {
        let answer = alice.post("/api/tasks", body.clone()).await.expect(400);
        let said = answer[field][0].as_str().unwrap_or_else(|| panic!("{body} → {answer}"));
        assert!(said.contains(text), "{body} → {answer}");
    }
    assert_eq!(alice.get("/api/tasks").await.expect(200)["count"], 0, "nothing was created");
    let task = task(&alice, json!({})).await;
    let path = format!("/api/tasks/{}", task["id"]);
    let moved = alice.patch(&path, json!({ "project_id": project_id })).await.expect(400);
    assert!(moved["project_id"][0].as_str().unwrap().contains("not supported"), "{moved}");
    assert_eq!(alice.get(&path).await.expect(200), task, "nothing was changed");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_knows_its_tasks_without_counting() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice
        .post("/api/projects", json!({ "name": "streets", "labels": [{ "name": "car" }] }))
        .await
        .expect(201);
    let path = format!("/api/projects/{}", project["id"]);
    let (mut tasks, mut last) = (vec![], project["updated_date"].to_string());
    for subset in ["Train", "Train", "Test", ""] {
        let body = json!({ "name": "t", "project_id": project["id"], "subset": subset });
        tasks.push(alice.post("/api/tasks", body).await.expect(201));
    }
    assert_eq!(tasks[0]["project_name"], "streets");
    let mut touched = async |what: &str| {
        let read = alice.get(&path).await.expect(200);
        let now = read["updated_date"].to_string();
        assert!(now > last, "{what} must touch the project");
        last = now;
        read
    };
    let read = touched("a new task").await;
    assert_eq!((&read["tasks"]["count"], &read["dimension"]), (&json!(4), &json!("2d")));
    assert_eq!(read["task_subsets"], json!(["Test", "Train"]));

    let first = format!("/api/tasks/{}", tasks[2]["id"]);
    alice.patch(&first, json!({ "subset": "Validation" })).await.expect(200);
    let read = touched("a changed task").await;
    assert_eq!(read["task_subsets"], json!(["Train", "Validation"]));
    alice.delete(&first).await.expect(204);
    let read = touched("a deleted task").await;
    assert_eq!((&read["tasks"]["count"], &read["task_subsets"]), (&json!(3), &json!(["Train"])));
    alice.get(&first).await.expect(404);

    // The totals are the same when they are made anew.
    let store = &world.mesh.running.kit("projects").unwrap().store;
    store.rebuild("project_tasks").await.unwrap().unwrap();
    assert_eq!(alice.get(&path).await.expect(200), read);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_takes_all_that_is_inside() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice
        .post("/api/projects", json!({ "name": "streets", "labels": [{ "name": "car" }] }))
        .await
        .expect(201);
    let create = json!({ "name": "t", "project_id": project["id"], "segment_size": 2 });
    let task = alice.post("/api/tasks", create).await.expect(201);
    let jobs = world.attach(&alice, 7, id(&task), 5).await;
    assert_eq!(jobs.len(), 3);
    alice.delete(&format!("/api/projects/{}", project["id"])).await.expect(204);
    alice.get(&format!("/api/tasks/{}", task["id"])).await.expect(404);
    for job in &jobs {
        alice.get(&format!("/api/jobs/{}", job["id"])).await.expect(404);
        alice.patch(&format!("/api/jobs/{}", job["id"]), json!({ "state": "completed" })).await.expect(404);
    }
    for path in ["/api/tasks", "/api/jobs", "/api/projects", "/api/labels"] {
        assert_eq!(alice.get(path).await.expect(200)["count"], 0, "{path}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_filtered_searched_and_sorted() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice
        .post("/api/projects", json!({ "name": "streets", "labels": [{ "name": "car" }] }))
        .await
        .expect(201);
    task(&alice, json!({ "name": "b", "bug_tracker": "https://bugs/1" })).await;
    task(&alice, json!({ "name": "a", "subset": "Test", "assignee_id": 8 })).await;
    let body = json!({ "name": "c", "project_id": project["id"] });
    alice.post("/api/tasks", body).await.expect(201);
    let names = async |query: &str| {
        let page = alice.get(&format!("/api/tasks?{query}")).await.expect(200);
        let results = page["results"].as_array().unwrap().clone();
        results.iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("")
    };
    let project_id = &project["id"];
    for (query, expected) in [
        ("", "cab"),
        ("sort=name", "abc"),
        ("sort=-updated_date,name", "cab"),
        ("name=a", "a"),
        ("subset=Test", "a"),
        ("assignee=u8", "a"),
        ("owner=u7&sort=name", "abc"),
        ("owner=nobody", ""),
        ("project_name=streets", "c"),
        ("status=annotation&sort=id", "bac"),
        ("status=completed", ""),
        ("tracker_link=https://bugs/1", "b"),
        ("media_type=image&dimension=2d&sort=name", "abc"),
        ("media_type=audio", ""),
        ("search=street", "c"),
        ("search=u8", "a"),
        (
            "filter=%7B%22in%22%3A%5B%7B%22var%22%3A%22name%22%7D%2C%5B%22a%22%2C%22b%22%5D%5D%7D&sort=name",
            "ab",
        ),
        ("org=&sort=name", "abc"),
        ("org=wonderland", ""),
        ("page_size=2&page=2&sort=name", "c"),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    assert_eq!(names(&format!("project_id={project_id}")).await, "c");
    alice.get("/api/tasks?status=nonsense").await.expect(400);
    alice.get("/api/tasks?page=9").await.expect(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_its_organization_with_its_jobs() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice.organization("wonderland"), json!({})).await;
    assert_eq!((&task["organization"], &task["organization_id"]), (&json!(3), &json!(3)));
    let jobs = world.attach(&alice, 7, id(&task), 3).await;
    assert_eq!(jobs[0]["organization"], 3);
    world.end_organization().await;
    let path = format!("/api/jobs/{}", jobs[0]["id"]);
    test_kit::eventually("the job is personal", crate::world::PATIENCE, async || {
        let job = alice.get(&path).await;
        (job.status == 200 && job.json()["organization"].is_null()).then_some(())
    })
    .await;
    let task = alice.get(&format!("/api/tasks/{}", task["id"])).await.expect(200);
    assert_eq!(task["organization_id"], Value::Null);
    world.stop().await;
}
