//! Tasks and jobs, as receivers hear of them.

use contracts::event::Example;
use contracts::projects::{Job, JobUpdated, Task, TaskCreated, TaskDeleted, TaskUpdated};
use contracts::{ContractEvent, Envelope};
use serde_json::{Value, json};
use test_kit::receiver::{Mode, Receiver};
use webhooks::domain::events::WebhookType;

use crate::bench::Bench;

fn event<E: ContractEvent>(bench: &Bench, stream: i64, version: i64, position: i64, data: &E) -> Envelope {
    let subject = format!("{}/{stream}", E::KIND);
    Envelope { subject, position, ..bench.event(version, data) }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_jobs_reach_the_hooks_of_their_organization_and_project() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let events = ["create:task", "update:task", "delete:task", "update:job"];
    let of_organization = bench.hook(WebhookType::Organization, &receiver.url, &events).await;
    let of_project = bench.hook(WebhookType::Project, &receiver.url, &["update:job"]).await;
    let before = |change: Value| change.as_object().unwrap().clone();
    let renamed = TaskUpdated {
        task: Task::example(),
        before_update: before(json!({ "name": "old", "updated_date": "2025-12-31T00:00:00Z", "data": null })),
    };
    let moved = JobUpdated {
        job: Job { stage: "validation".into(), status: "validation".into(), ..Job::example() },
        before_update: before(json!({ "stage": "annotation", "status": "annotation" })),
    };
    bench
        .take(&[
            event(
                &bench,
                21,
                1,
                1,
                &TaskCreated { task: Task { data: None, size: None, ..Task::example() } },
            ),
            event(&bench, 21, 2, 2, &renamed),
            event(&bench, 33, 1, 3, &moved),
            event(&bench, 21, 3, 4, &TaskDeleted::example()),
        ])
        .await;
    bench.deliveries(of_organization, 4).await;
    bench.deliveries(of_project, 1).await;
    let received = receiver.received();
    let body = |name: &str, hook: i64| {
        let bodies = received.iter().map(test_kit::receiver::Received::json);
        bodies.into_iter().find(|body| body["event"] == name && body["webhook_id"] == hook).unwrap()
    };
    let created = body("create:task", of_organization);
    assert_eq!((&created["task"]["id"], &created["task"]["jobs"]["completed"]), (&json!(21), &Value::Null));
    assert!(created["task"].get("size").is_none() && created.get("before_update").is_none());
    let updated = body("update:task", of_organization);
    assert_eq!(updated["before_update"]["name"], "old");
    assert_eq!(
        (&updated["task"]["name"], &updated["task"]["mode"]),
        (&json!("crossings"), &json!("annotation"))
    );
    for hook in [of_organization, of_project] {
        let job = body("update:job", hook);
        assert_eq!(job["before_update"], json!({ "stage": "annotation", "status": "annotation" }));
        assert_eq!((&job["job"]["stage"], &job["job"]["frame_count"]), (&json!("validation"), &json!(100)));
    }
    assert_eq!(body("delete:task", of_organization)["task"]["id"], 21);
}
