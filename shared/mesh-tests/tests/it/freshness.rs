//! A service that is asked about what it has not heard of yet waits for the news instead of denying it.

use serde_json::json;

use crate::support::{mesh, unique};

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
        alice.post("/api/webhooks", hook).await.expect(201);
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
        alice.organization(&slug).post("/api/projects", json!({ "name": "p" })).await.expect(201);
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
