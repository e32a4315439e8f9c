//! Jobs: their stage and state, and what task and project make of them.

use serde_json::{Value, json};

use crate::world::{World, id, task};

#[tokio::test(flavor = "multi_thread")]
async fn status_goes_up_from_job_to_task_to_project() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let project = alice
        .post("/api/projects", json!({ "name": "streets", "labels": [{ "name": "car" }] }))
        .await
        .expect(201);
    let body = json!({ "name": "t", "project_id": project["id"], "segment_size": 5 });
    let task = alice.post("/api/tasks", body).await.expect(201);
    let jobs = world.attach(&alice, 7, id(&task), 10).await;
    assert_eq!(jobs.len(), 2);
    let (task_path, project_path) =
        (format!("/api/tasks/{}", task["id"]), format!("/api/projects/{}", project["id"]));
    let mut last = [task["updated_date"].to_string(), project["updated_date"].to_string()];
    let steps = [
        // job, change, then: state and status of the job, status of the task, completed, in validation
        (0, json!({ "state": "in progress" }), "in progress", "annotation", "annotation", 0, 0),
        (0, json!({ "stage": "validation" }), "new", "validation", "annotation", 0, 1),
        (
            1,
            json!({ "stage": "acceptance", "state": "completed" }),
            "completed",
            "completed",
            "validation",
            1,
            1,
        ),
        (0, json!({ "stage": "acceptance" }), "new", "validation", "validation", 1, 0),
        (0, json!({ "state": "completed" }), "completed", "completed", "completed", 2, 0),
        (1, json!({ "state": "rejected" }), "rejected", "validation", "validation", 1, 0),
        (1, json!({ "stage": "annotation" }), "new", "annotation", "annotation", 1, 0),
    ];
    for (job, change, state, status, of_task, completed, validation) in steps {
        let path = format!("/api/jobs/{}", jobs[job]["id"]);
        let changed = alice.patch(&path, change.clone()).await.expect(200);
        assert_eq!((&changed["state"], &changed["status"]), (&json!(state), &json!(status)), "{change}");
        assert_eq!(alice.get(&path).await.expect(200), changed);
        let task = alice.get(&task_path).await.expect(200);
        let project = alice.get(&project_path).await.expect(200);
        assert_eq!((&task["status"], &project["status"]), (&json!(of_task), &json!(of_task)), "{change}");
        let totals = (&task["jobs"]["count"], &task["jobs"]["completed"], &task["jobs"]["validation"]);
        assert_eq!(totals, (&json!(2), &json!(completed), &json!(validation)), "{change}");
        let now = [task["updated_date"].to_string(), project["updated_date"].to_string()];
        assert!(now[0] > last[0] && now[1] > last[1], "{change} must touch task and project");
        let of_job = changed["updated_date"].to_string();
        assert!(now[0] >= of_job);
        last = now;
    }
    let before = [alice.get(&task_path).await.expect(200), alice.get(&project_path).await.expect(200)];
    let store = &world.mesh.running.kit("projects").unwrap().store;
    for projection in ["jobs", "task_jobs", "project_jobs", "tasks", "projects"] {
        store.rebuild(projection).await.unwrap().unwrap();
    }
    assert_eq!(
        [alice.get(&task_path).await.expect(200), alice.get(&project_path).await.expect(200)],
        before,
        "what is kept is what the log says"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_task_that_finish_at_once_complete_it() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "segment_size": 1 })).await;
    let jobs = world.attach(&alice, 7, id(&task), 12).await;
    let done = json!({ "stage": "acceptance", "state": "completed" });
    let mut running = tokio::task::JoinSet::new();
    for job in &jobs {
        let (alice, path, done) = (alice.clone(), format!("/api/jobs/{}", job["id"]), done.clone());
        running.spawn(async move { alice.patch(&path, done).await.status });
    }
    while let Some(status) = running.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let task = alice.get(&format!("/api/tasks/{}", task["id"])).await.expect(200);
    assert_eq!((&task["jobs"]["completed"], &task["status"]), (&json!(12), &json!("completed")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_what_the_sdk_demands() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "segment_size": 4, "overlap": 1, "bug_tracker": "https://bugs" })).await;
    let jobs = world.attach(&alice, 7, id(&task), 10).await;
    let frames: Vec<_> =
        jobs.iter().map(|job| (job["start_frame"].as_i64(), job["stop_frame"].as_i64())).collect();
    assert_eq!(frames, [(Some(0), Some(3)), (Some(3), Some(6)), (Some(6), Some(9))]);
    let job = &jobs[1];
    let expected = json!({
        "task_id": task["id"], "task_name": "crossings", "project_id": null, "project_name": null, "assignee": null,
        "dimension": "2d", "mode": "annotation", "media_type": "image", "bug_tracker": "https://bugs",
        "status": "annotation", "stage": "annotation", "state": "new", "frame_count": 4, "data_chunk_size": 36,
        "type": "annotation", "organization": null, "parent_job_id": null, "replicas_count": 0,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&job[name], value, "{name}");
    }
    assert_eq!(job["issues"]["count"], 0);
    assert!(job["labels"]["url"].as_str().unwrap().ends_with(&format!("/api/labels?job_id={}", job["id"])));

    let path = format!("/api/jobs/{}", job["id"]);
    let assigned = alice.patch(&path, json!({ "assignee": 10 })).await.expect(200);
    assert_eq!(assigned["assignee"]["username"], "u10");
    assert!(assigned["assignee_updated_date"].is_string());
    assert_eq!(alice.get("/api/jobs?assignee=u10").await.expect(200)["count"], 1);
    assert_eq!(
        alice.get("/api/jobs?state=new&stage=annotation&search=crossings").await.expect(200)["count"],
        3
    );
    assert_eq!(alice.patch(&path, json!({ "assignee": null })).await.expect(200)["assignee"], Value::Null);
    for (body, field) in [
        (json!({ "stage": "perfection" }), "stage"),
        (json!({ "state": "done" }), "state"),
        (json!({ "assignee": 4_711 }), "assignee"),
        (json!({ "assignee": "x" }), "assignee"),
    ] {
        let refused = alice.patch(&path, body.clone()).await.expect(400);
        assert!(refused[field][0].is_string(), "{body} → {refused}");
    }
    world.stop().await;
}
