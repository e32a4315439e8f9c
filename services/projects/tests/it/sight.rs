//! Who sees which tasks and jobs, and who may do what with them.

use serde_json::{Value, json};
use test_kit::Client;

use crate::world::{World, id};

async fn seen(client: &Client, path: &str) -> Vec<i64> {
    let page = client.get(path).await.expect(200);
    let mut seen: Vec<i64> = page["results"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(page["count"], seen.len());
    seen.sort_unstable();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_may_be_viewed() {
    let world = World::start().await;
    let owner = world.caller("7.user").organization("wonderland");
    let labels = json!([{ "name": "car" }]);
    // 9 is assigned to the project, 10 to the second task, 11 to the third task's job.
    let project = owner
        .post("/api/projects", json!({ "name": "p", "labels": labels, "assignee_id": 9 }))
        .await
        .expect(201);
    let mut tasks = vec![];
    for body in [
        json!({ "name": "in the project", "project_id": project["id"] }),
        json!({ "name": "assigned", "labels": labels, "assignee_id": 10 }),
        json!({ "name": "with a job", "labels": labels }),
    ] {
        tasks.push(owner.post("/api/tasks", body).await.expect(201));
    }
    let personal = crate::world::task(&world.caller("12.user"), json!({ "name": "personal" })).await;
    let mut jobs = vec![];
    for task in &tasks {
        jobs.extend(world.attach(&owner, 7, id(task), 2).await);
    }
    let personal_job = world.attach(&world.caller("12.user"), 12, id(&personal), 2).await.remove(0);
    let give = json!({ "assignee": 11 });
    owner.patch(&format!("/api/jobs/{}", jobs[2]["id"]), give).await.expect(200);
    // A worker from outside is given one too.
    let outsiders = json!({ "assignee": 12 });
    owner.patch(&format!("/api/jobs/{}", jobs[1]["id"]), outsiders).await.expect(200);

    let task_ids = |which: &[usize]| which.iter().map(|index| id(&tasks[*index])).collect::<Vec<_>>();
    let job_ids = |which: &[usize]| which.iter().map(|index| id(&jobs[*index])).collect::<Vec<_>>();
    let cases: &[(&str, &[usize], &[usize])] = &[
        ("7.user", &[0, 1, 2], &[0, 1, 2]),
        ("8.user", &[0, 1, 2], &[0, 1, 2]),
        // A maintainer of the organization, but a worker in the tenant.
        ("8.worker", &[], &[]),
        ("9.user", &[0], &[0]),
        ("10.worker", &[1], &[1]),
        ("11.worker", &[], &[2]),
        ("1.user", &[], &[]),
    ];
    for (name, visible, visible_jobs) in cases {
        let client = world.caller(name);
        assert_eq!(seen(&client, "/api/tasks").await, task_ids(visible), "{name}");
        assert_eq!(seen(&client, "/api/jobs").await, job_ids(visible_jobs), "{name}");
        for (index, task) in tasks.iter().enumerate() {
            let status = if visible.contains(&index) { 200 } else { 403 };
            let answer = client.get(&format!("/api/tasks/{}", task["id"])).await;
            assert_eq!(answer.status, status, "{name} {index}");
            let status = if visible_jobs.contains(&index) { 200 } else { 403 };
            let answer = client.get(&format!("/api/jobs/{}", jobs[index]["id"])).await;
            assert_eq!(answer.status, status, "{name} {index}");
        }
    }
    let personal_ids = [id(&personal)];
    assert_eq!(seen(&world.caller("12.user"), "/api/tasks").await, personal_ids);
    assert_eq!(seen(&world.caller("12.user"), "/api/jobs").await, [id(&personal_job)]);
    let mut given = vec![id(&jobs[1]), id(&personal_job)];
    given.sort_unstable();
    assert_eq!(
        seen(&world.caller("12.worker"), "/api/jobs").await,
        given,
        "a worker from outside sees what was given"
    );
    assert_eq!(seen(&world.caller("1.admin"), "/api/tasks").await.len(), 4);
    assert_eq!(seen(&world.caller("1.admin"), "/api/tasks?org=wonderland").await, task_ids(&[0, 1, 2]));
    assert_eq!(seen(&world.caller("7.user"), "/api/tasks?org=").await, Vec::<i64>::new());
    world.caller("12.user").get("/api/tasks?org=wonderland").await.expect(403);
    // Another tenant sees nothing and is told nothing.
    let stranger = world.caller("7.admin.2");
    assert_eq!(seen(&stranger, "/api/tasks").await, Vec::<i64>::new());
    stranger.get(&format!("/api/tasks/{}", tasks[0]["id"])).await.expect(404);
    stranger.get(&format!("/api/jobs/{}", jobs[0]["id"])).await.expect(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_does_what_the_tables_allow() {
    let world = World::start().await;
    let owner = world.caller("7.user").organization("wonderland");
    let project = owner
        .post("/api/projects", json!({ "name": "p", "labels": [{ "name": "car" }], "assignee_id": 10 }))
        .await
        .expect(201);
    let in_project = json!({ "name": "t", "project_id": project["id"] });
    let alone = json!({ "name": "t", "labels": [{ "name": "car" }] });
    let create = async |name: &str, body: &Value| {
        world.caller(name).organization("wonderland").post("/api/tasks", body.clone()).await.status
    };
    // 10 is a worker of the organization and assigned to the project; 9 is a supervisor.
    assert_eq!(create("10.user", &alone).await, 403);
    assert_eq!(create("10.user", &in_project).await, 201);
    assert_eq!(create("10.worker", &in_project).await, 403);
    assert_eq!(create("11.user", &in_project).await, 403);
    assert_eq!(create("9.user", &alone).await, 201);
    assert_eq!(world.caller("12.user").post("/api/tasks", in_project.clone()).await.status, 403);
    assert_eq!(world.caller("12.worker").post("/api/tasks", alone.clone()).await.status, 403);

    let task = owner.post("/api/tasks", in_project).await.expect(201);
    assert_eq!(task["organization_id"], 3, "a task is where its project is");
    let job = world.attach(&owner, 7, id(&task), 2).await.remove(0);
    let (task_path, job_path) = (format!("/api/tasks/{}", task["id"]), format!("/api/jobs/{}", job["id"]));
    owner.patch(&job_path, json!({ "assignee": 11 })).await.expect(200);
    let patch = async |name: &str, path: &str, body: Value| world.caller(name).patch(path, body).await.status;
    assert_eq!(patch("11.worker", &job_path, json!({ "state": "completed" })).await, 200);
    assert_eq!(patch("11.worker", &job_path, json!({ "stage": "validation" })).await, 403);
    assert_eq!(patch("11.worker", &job_path, json!({ "assignee": 9 })).await, 403);
    assert_eq!(patch("10.worker", &job_path, json!({ "stage": "validation" })).await, 200);
    assert_eq!(patch("9.user", &job_path, json!({ "state": "new" })).await, 403);
    assert_eq!(patch("11.worker", &task_path, json!({ "name": "x" })).await, 403);
    assert_eq!(patch("10.worker", &task_path, json!({ "name": "x" })).await, 200);
    assert_eq!(patch("9.user", &task_path, json!({ "owner_id": 9 })).await, 403);
    assert_eq!(world.caller("11.worker").delete(&task_path).await.status, 403);
    assert_eq!(world.caller("8.user").delete(&task_path).await.status, 204);
    world.stop().await;
}
