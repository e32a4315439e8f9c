//! A request that is sent again with its `Idempotency-Key` gets the first answer again, also when what it did
//! has taken the ground from under it: the thing is gone, or the caller's right to it.

use serde_json::json;
use test_kit::{Client, eventually};

use crate::support::{PATIENCE, mesh, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_deletion_is_answered_as_the_first() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let body = json!({ "name": "streets", "labels": [{ "name": "car" }] });
    let project = alice.post("/api/projects", body).await.expect(201);
    let labels = alice.get(&format!("/api/labels?project_id={}", project["id"])).await.expect(200);
    let hook = json!({
        "target_url": "http://127.0.0.1:1/", "type": "project", "content_type": "application/json",
        "events": ["update:project"], "project_id": project["id"],
    });
    let hook = eventually("the project is known", PATIENCE, async || {
        let response = alice.post("/api/webhooks", hook.clone()).await;
        (response.status == 201).then(|| response.json())
    })
    .await;
    let paths = [
        format!("/api/labels/{}", labels["results"][0]["id"]),
        format!("/api/webhooks/{}", hook["id"]),
        format!("/api/projects/{}", project["id"]),
    ];
    for path in paths {
        let once = alice.with("idempotency-key", &unique("k"));
        once.delete(&path).await.expect(204);
        once.delete(&path).await.expect(204);
        // Without the key it is another request, and the thing is gone.
        alice.delete(&path).await.expect(404);
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_a_project_away_hears_so_again() {
    let mesh = mesh().await;
    let id_of = async |client: &Client| client.get("/api/users/self").await.expect(200)["id"].clone();
    let bob = id_of(&mesh.user(&unique("bob")).await).await;
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let project = eventually("the organization is known", PATIENCE, async || {
        let response = alice.organization(&slug).post("/api/projects", json!({ "name": "streets" })).await;
        (response.status == 201).then(|| response.json())
    })
    .await;
    // With this privilege it is the owner alone who may give a project away, not each maintainer.
    let path = format!("/api/users/{}", id_of(&alice).await);
    mesh.admin().patch(&path, json!({ "groups": ["worker"] })).await.expect(200);
    let (path, give) = (format!("/api/projects/{}", project["id"]), json!({ "owner_id": bob }));
    eventually("the new privilege is known", PATIENCE, async || {
        let own = alice.get("/api/users/self").await.expect(200);
        (own["groups"] == json!(["worker"])).then_some(())
    })
    .await;
    let once = alice.with("idempotency-key", &unique("k"));
    let first = once.patch(&path, give.clone()).await.expect(200);
    assert_eq!(first["owner"]["id"], bob);
    assert_eq!(once.patch(&path, give.clone()).await.expect(200), first);
    alice.patch(&path, json!({ "owner_id": null })).await.expect(403);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_password_takes_no_key() {
    let mesh = mesh().await;
    let name = unique("alice");
    let alice = mesh.user(&name).await;
    let old = "correct horse battery";
    let change = json!({ "old_password": old, "new_password1": "another good one", "new_password2": "another good one" });
    let refused =
        alice.with("idempotency-key", "k").post("/api/auth/password/change", change).await.expect(400);
    assert!(refused["detail"].as_str().unwrap().contains("Idempotency-Key"), "{refused}");
    mesh.anonymous().sign_in(&name, old).await;
    mesh.running.stop().await;
}
