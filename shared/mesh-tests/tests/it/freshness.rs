//! A service that is asked about what it has not heard of yet waits for the news instead of denying it.

use std::time::Duration;

use serde_json::{Value, json};
use test_kit::{Client, Response};

use crate::support::{mesh, unique};

/// Posts until the answer is not "not yet": 503 is true while the news is on its way, 404 never would be.
async fn post(client: &Client, path: &str, body: &Value) -> Response {
    for _ in 0..50 {
        let response = client.post(path, body.clone()).await;
        if response.status != 503 {
            return response;
        }
        assert!(response.headers.contains_key("retry-after"), "{}", response.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the news did not arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_made_a_moment_ago_is_known_to_webhooks() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    for round in 0..1_000 {
        let project = alice.post("/api/projects", json!({ "name": format!("p{round}") })).await.expect(201);
        let hook = json!({
            "target_url": "http://127.0.0.1:1/", "type": "project", "project_id": project["id"],
            "content_type": "application/json", "events": ["update:project"], "is_active": false,
        });
        post(&alice, "/api/webhooks", &hook).await.expect(201);
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_made_a_moment_ago_is_known_to_projects() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    for _ in 0..100 {
        let slug = unique("o");
        alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
        post(&alice.organization(&slug), "/api/projects", &json!({ "name": "p" })).await.expect(201);
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_made_is_denied_at_once() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let began = std::time::Instant::now();
    alice.organization("nowhere").get("/api/projects").await.expect(404);
    let hook = json!({
        "target_url": "http://127.0.0.1:1/", "type": "project", "project_id": 999_999_999,
        "content_type": "application/json", "events": ["update:project"],
    });
    alice.post("/api/webhooks", hook).await.expect(404);
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
    mesh.running.stop().await;
}
