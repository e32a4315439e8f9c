//! Organizations and memberships.

use serde_json::json;
use test_kit::TestMesh;

async fn mesh() -> TestMesh {
    TestMesh::start(crate::services()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_lives_and_ends_with_its_memberships() {
    let mesh = mesh().await;
    let (alice, bob) = (mesh.user("alice").await, mesh.user("bob").await);
    let made = alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    assert_eq!((&made["name"], &made["owner"]["username"]), (&json!("acme"), &json!("alice")));
    let path = format!("/api/organizations/{}", made["id"]);
    let taken = bob.post("/api/organizations", json!({ "slug": "acme" })).await.expect(400);
    assert_eq!(taken, json!({ "slug": ["organization with this slug already exists."] }));
    bob.post("/api/organizations", json!({ "slug": "not a slug" })).await.expect(400);
    bob.get(&path).await.expect(404);
    bob.delete(&path).await.expect(404);
    bob.post("/api/organizations", json!({ "slug": "x", "contact": { "a": ["\0"] } })).await.expect(400);
    assert_eq!(bob.get("/api/organizations").await.expect(200)["count"], 0);
    bob.get("/api/organizations?org=%00").await.expect(404);

    let changed =
        alice.patch(&path, json!({ "name": "Acme", "contact": { "email": "x" } })).await.expect(200);
    assert_eq!((&changed["name"], &changed["contact"]), (&json!("Acme"), &json!({ "email": "x" })));
    let found =
        alice.get("/api/organizations?filter={\"==\":[{\"var\":\"owner\"},\"alice\"]}").await.expect(200);
    assert_eq!(found["count"], 1);
    let members = alice.organization("acme").get("/api/memberships").await.expect(200);
    assert_eq!((&members["count"], &members["results"][0]["role"]), (&json!(1), &json!("owner")));

    alice.delete(&path).await.expect(204);
    alice.get(&path).await.expect(404);
    alice.organization("acme").get("/api/memberships").await.expect(404);
    assert_eq!(mesh.admin().get("/api/memberships").await.expect(200)["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_stays_and_a_stranger_sees_no_membership() {
    let mesh = mesh().await;
    let (alice, bob) = (mesh.user("alice").await, mesh.user("bob").await);
    alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    let own = alice.get("/api/memberships").await.expect(200)["results"][0]["id"].clone();
    let path = format!("/api/memberships/{own}");
    alice.get(&path).await.expect(200);
    bob.get(&path).await.expect(403);
    bob.organization("acme").get("/api/memberships").await.expect(403);
    alice.patch(&path, json!({ "role": "worker" })).await.expect(403);
    mesh.admin().patch(&path, json!({ "role": "worker" })).await.expect(400);
    alice.patch(&path, json!({ "role": "king" })).await.expect(400);
    alice.delete(&path).await.expect(403);
    mesh.admin().delete(&path).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_with_its_key_happens_once() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await.with("idempotency-key", "one");
    let body = json!({ "slug": "acme" });
    let first = alice.post("/api/organizations", body.clone()).await.expect(201);
    let second = alice.post("/api/organizations", body).await.expect(201);
    assert_eq!(first, second);
    assert_eq!(alice.get("/api/organizations").await.expect(200)["count"], 1);
    alice.post("/api/organizations", json!({ "slug": "other" })).await.expect(422);
}
