//! What is made in an organization at the very moment in which it is deleted: it is refused, or it is swept
//! with the rest and becomes its owner's own. Nothing stays behind in an organization that is no more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use test_kit::{Client, eventually};

use crate::support::{PATIENCE, mesh, unique};

/// Each is another chance for the two consumers, the deletion and the creations to meet in another order.
const ROUNDS: usize = 25;

fn project() -> Value {
    json!({ "name": "streets" })
}

fn task() -> Value {
    json!({ "name": "crossings", "labels": [{ "name": "car" }] })
}

fn webhook() -> Value {
    json!({
        "target_url": "http://127.0.0.1:1/", "type": "organization", "content_type": "application/json",
        "events": ["create:project"], "is_active": false,
    })
}

/// Creates until the organization is gone and the service has noticed; returns what was created.
async fn create(client: &Client, path: &str, body: Value, gone: &AtomicBool) -> Vec<i64> {
    let mut made = vec![];
    loop {
        let was_gone = gone.load(Ordering::SeqCst);
        let response = client.post(path, body.clone()).await;
        match response.status {
            201 => made.push(response.json()["id"].as_i64().unwrap()),
            // Not yet, not any more, and no member any more.
            403 | 404 | 503 if was_gone => return made,
            403 | 404 | 503 => {}
            other => panic!("{path}: {other} {}", response.text),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_in_an_organization_that_is_no_more() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let (mut projects, mut tasks, mut webhooks) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let slug = unique("o");
        let organization = alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
        let client = alice.organization(&slug);
        let kinds = [("/api/projects", project()), ("/api/tasks", task()), ("/api/webhooks", webhook())];
        for (path, body) in kinds {
            eventually("the organization is known", PATIENCE, async || {
                (client.post(path, body.clone()).await.status == 201).then_some(())
            })
            .await;
        }
        let gone = AtomicBool::new(false);
        let delete = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            alice.delete(&format!("/api/organizations/{}", organization["id"])).await.expect(204);
            gone.store(true, Ordering::SeqCst);
        };
        let (made, cut, told, ()) = tokio::join!(
            join_all((0..4).map(|_| create(&client, "/api/projects", project(), &gone))),
            join_all((0..4).map(|_| create(&client, "/api/tasks", task(), &gone))),
            join_all((0..2).map(|_| create(&client, "/api/webhooks", webhook(), &gone))),
            delete
        );
        projects.extend(made.into_iter().flatten());
        tasks.extend(cut.into_iter().flatten());
        webhooks.extend(told.into_iter().flatten());
    }
    let least = [&projects, &tasks, &webhooks].map(Vec::len).into_iter().min();
    assert!(least > Some(ROUNDS), "the race did not take place");
    let projects = projects.into_iter().map(|id| format!("/api/projects/{id}"));
    for path in projects.chain(tasks.into_iter().map(|id| format!("/api/tasks/{id}"))) {
        eventually(&format!("{path} is its owner's own"), PATIENCE, async || {
            let shown = alice.get(&path).await;
            (shown.status == 200 && shown.json()["organization_id"].is_null()).then_some(())
        })
        .await;
    }
    for id in webhooks {
        let path = format!("/api/webhooks/{id}");
        eventually(&format!("webhook {id} is its owner's own"), PATIENCE, async || {
            let shown = alice.get(&path).await;
            (shown.status == 200 && shown.json()["organization"].is_null()).then_some(())
        })
        .await;
        alice.delete(&path).await.expect(204);
    }
    mesh.running.stop().await;
}
