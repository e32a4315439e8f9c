//! The import of a task's data, as its client sees it: one request, polled until the jobs are there.

use contracts::event::Example;
use contracts::media::{TaskData, TaskDataFailed, TaskDataPrepared, TaskDataProgressed, TaskDataSubmitted};
use serde_json::{Value, json};
use test_kit::{Client, eventually};

use crate::world::{PATIENCE, World, id, request_id, task};

async fn request_in(client: &Client, path: &str, status: &str) -> Value {
    eventually(&format!("{path} is {status}"), PATIENCE, async || {
        let request = client.get(path).await;
        (request.status == 200 && request.json()["status"] == status).then(|| request.json())
    })
    .await
}

fn submitted(task_id: i64) -> TaskDataSubmitted {
    TaskDataSubmitted { task_id, request_id: request_id(task_id) }
}

fn prepared(task_id: i64, size: i64) -> TaskDataPrepared {
    let data = TaskData { task_id, size, ..TaskData::example() };
    TaskDataPrepared { request_id: request_id(task_id), data }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_from_queued_to_finished_with_the_jobs() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task = task(&alice, json!({ "segment_size": 100 })).await;
    let task_id = id(&task);
    let path = format!("/api/requests/{}", request_id(task_id));
    alice.get(&path).await.expect(404);
    world.media(task_id, 7, &submitted(task_id)).await;
    // Asked about what it has not heard of yet, it waits for the news.
    let request = alice.get(&path).await.expect(200);
    let expected = json!({
        "id": request_id(task_id), "status": "queued", "message": "", "progress": null, "started_date": null,
        "finished_date": null, "expiry_date": null, "owner": { "id": 7, "username": "u7" }, "result_url": null,
        "result_id": null, "operation": {
            "type": "create:task", "target": "task", "project_id": null, "task_id": task_id, "job_id": null,
            "org_id": null, "format": null, "function_id": null, "lightweight": null,
        },
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&request[name], value, "{name}");
    }
    let progressed = TaskDataProgressed { task_id, request_id: request_id(task_id), done: 125, total: 250 };
    world.media(task_id, 7, &progressed).await;
    let request = request_in(&alice, &path, "started").await;
    assert_eq!(request["progress"], 0.5);
    assert!(request["started_date"].is_string());
    assert_eq!(alice.get(&format!("/api/jobs?task_id={task_id}")).await.expect(200)["count"], 0);

    world.media(task_id, 7, &prepared(task_id, 250)).await;
    let request = request_in(&alice, &path, "finished").await;
    // Whoever has seen it finished sees the jobs.
    let jobs = alice.get(&format!("/api/jobs?task_id={task_id}&sort=id")).await.expect(200);
    assert_eq!(jobs["count"], 3);
    assert_eq!(
        (&jobs["results"][2]["start_frame"], &jobs["results"][2]["stop_frame"]),
        (&json!(200), &json!(249))
    );
    assert_eq!(alice.get(&format!("/api/tasks/{task_id}")).await.expect(200)["size"], 250);
    assert!(request["finished_date"].is_string() && request["expiry_date"].is_string());

    // The SDK encodes every character of the id that it can.
    let encoded: String = request_id(task_id).bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(alice.get(&format!("/api/requests/{encoded}")).await.expect(200), request);
    let store = &world.mesh.running.kit("projects").unwrap().store;
    store.rebuild("requests").await.unwrap().unwrap();
    assert_eq!(alice.get(&path).await.expect(200), request);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_and_the_task_may_be_given_data_again() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task_id = id(&task(&alice, json!({})).await);
    let path = format!("/api/requests/{}", request_id(task_id));
    world.media(task_id, 7, &submitted(task_id)).await;
    let message = "cat.jpg is not a picture.".to_owned();
    world.media(task_id, 7, &TaskDataFailed { task_id, request_id: request_id(task_id), message }).await;
    let request = request_in(&alice, &path, "failed").await;
    assert_eq!(request["message"], "cat.jpg is not a picture.");
    let task = alice.get(&format!("/api/tasks/{task_id}")).await.expect(200);
    assert!(task.get("size").is_none() && task["jobs"]["count"] == 0, "{task}");

    let again = request_id(task_id).replace("0198c0de", "0198c0df");
    world.media(task_id, 7, &TaskDataSubmitted { task_id, request_id: again.clone() }).await;
    world.media(task_id, 7, &TaskDataPrepared { request_id: again.clone(), ..prepared(task_id, 3) }).await;
    request_in(&alice, &format!("/api/requests/{again}"), "finished").await;
    assert_eq!(world.jobs(&alice, task_id).await.len(), 1);
    // Data that comes a second time, which media ought not to send, ends in a failure and not in more jobs.
    let third = request_id(task_id).replace("0198c0de", "0198c0e0");
    world.media(task_id, 7, &TaskDataSubmitted { task_id, request_id: third.clone() }).await;
    world.media(task_id, 7, &TaskDataPrepared { request_id: third.clone(), ..prepared(task_id, 9) }).await;
    let failed = request_in(&alice, &format!("/api/requests/{third}"), "failed").await;
    assert_eq!(failed["message"], "The task has data already.");
    assert_eq!(world.jobs(&alice, task_id).await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_deleted_task_stays_started() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task_id = id(&task(&alice, json!({})).await);
    let path = format!("/api/requests/{}", request_id(task_id));
    world.media(task_id, 7, &submitted(task_id)).await;
    alice.get(&path).await.expect(200);
    alice.delete(&format!("/api/tasks/{task_id}")).await.expect(204);
    let request = alice.get(&path).await.expect(200);
    assert_eq!(
        (&request["status"], &request["message"]),
        (&json!("failed"), &json!("The task was deleted."))
    );
    // The data is ready all the same: nothing comes of it, and nothing is stuck.
    world.media(task_id, 7, &prepared(task_id, 3)).await;
    let other = id(&task(&alice, json!({})).await);
    world.attach(&alice, 7, other, 2).await;
    assert_eq!(alice.get("/api/jobs").await.expect(200)["count"], 1);
    assert_eq!(alice.get(&path).await.expect(200)["status"], "failed");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_their_owners_business() {
    let world = World::start().await;
    let alice = world.caller("9.user");
    let task_id = id(&task(&alice.organization("wonderland"), json!({})).await);
    world.attach(&alice, 9, task_id, 2).await;
    let path = format!("/api/requests/{}", request_id(task_id));
    for (name, status) in [
        ("9.user", 200),
        ("8.user", 200),
        ("1.admin", 200),
        ("10.user", 404),
        ("12.user", 404),
        ("9.admin.2", 404),
    ] {
        let client = world.caller(name);
        assert_eq!(client.get(&path).await.status, status, "{name}");
        assert_eq!(
            client.post(&format!("{path}/cancel"), json!({})).await.status == 404,
            status == 404,
            "{name}"
        );
        let listed = client.get("/api/requests").await.expect(200)["count"].as_i64();
        assert_eq!(listed, Some(i64::from(status == 200)), "{name}");
    }
    assert_eq!(alice.get("/api/requests?org=wonderland&status=finished").await.expect(200)["count"], 1);
    assert_eq!(alice.get("/api/requests?org=").await.expect(200)["count"], 0);
    assert_eq!(
        alice.get(&format!("/api/requests?task_id={task_id}&action=create&target=task")).await.expect(200)["count"],
        1
    );
    assert_eq!(alice.get("/api/requests?action=export").await.expect(200)["count"], 0);
    for unknown in ["media.task-data.77777.x", "media.task-data.x", "nonsense", "a%2Fb%2Bc%3D", "%00", "%FF"]
    {
        let answer = alice.get(&format!("/api/requests/{unknown}")).await;
        assert!((400..500).contains(&answer.status), "{unknown}: {}", answer.status);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_has_not_begun_is_cancelled() {
    let world = World::start().await;
    let alice = world.caller("7.user");
    let task_id = id(&task(&alice, json!({})).await);
    let path = format!("/api/requests/{}", request_id(task_id));
    world.media(task_id, 7, &submitted(task_id)).await;
    alice.get(&path).await.expect(200);
    alice.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    alice.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    // What becomes of it is for the service to say that carries it out.
    assert_eq!(alice.get(&path).await.expect(200)["status"], "queued");
    let message = "Cancelled.".to_owned();
    world.media(task_id, 7, &TaskDataFailed { task_id, request_id: request_id(task_id), message }).await;
    request_in(&alice, &path, "failed").await;
    let refused = alice.post(&format!("{path}/cancel"), json!({})).await.expect(400);
    assert_eq!(refused["detail"], "Only requests that have not yet been started can be cancelled");
    world.stop().await;
}
