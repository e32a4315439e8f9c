//! Users: registration, what others see of one, changes and deletion.

use serde_json::json;
use test_kit::TestMesh;

use crate::refused;

async fn mesh() -> TestMesh {
    TestMesh::start(crate::services()).await
}

fn registration(username: &str, email: &str, password: &str) -> serde_json::Value {
    json!({ "username": username, "email": email, "password1": password, "password2": password })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_says_what_is_wrong_with_it() {
    let mesh = mesh().await;
    mesh.user("alice").await;
    let nobody = mesh.anonymous();
    let path = "/api/auth/register";
    let good = "correct horse battery";
    let taken = nobody.post(path, registration("alice", "new@example.com", good)).await.expect(400);
    assert_eq!(taken, json!({ "username": ["A user with that username already exists."] }));
    let taken = nobody.post(path, registration("bob", "ALICE@example.com", good)).await.expect(400);
    assert_eq!(taken, json!({ "email": ["A user is already registered with this e-mail address."] }));
    let weak = nobody.post(path, registration("bob", "bob@example.com", "12345")).await.expect(400);
    assert_eq!(
        weak,
        json!({ "password1": [
            "This password is too short. It must contain at least 8 characters.",
            "This password is too common.",
            "This password is entirely numeric.",
        ] })
    );
    let bad = nobody.post(path, registration("a b", "nowhere", good)).await.expect(400);
    assert!(bad["username"].is_array() && bad["email"].is_array(), "{bad}");
    let missing = nobody.post(path, json!({ "username": "bob" })).await.expect(400);
    assert_eq!(missing, json!({ "email": ["This field is required."] }));
    let made = nobody.post(path, registration("bob", "bob@example.com", good)).await.expect(201);
    assert_eq!(made["key"].as_str().unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_nothing_and_colleagues_see_names() {
    let mesh = mesh().await;
    let (alice, bob) = (mesh.user("alice").await, mesh.user("bob").await);
    let me = alice.get("/api/users/self").await.expect(200);
    let other = bob.get("/api/users/self").await.expect(200);
    assert_eq!(me["email"], "alice@example.com");
    assert!(me["last_login"].is_string() && me["date_joined"].is_string());
    let path = format!("/api/users/{}", other["id"]);
    alice.get(&path).await.expect(403);
    assert_eq!(alice.get("/api/users").await.expect(200)["count"], 1);
    let seen = mesh.admin().get(&path).await.expect(200);
    assert_eq!(seen["email"], "bob@example.com");
    let all = mesh.admin().get("/api/users?sort=username&page_size=2").await.expect(200);
    assert_eq!((all["count"].as_i64(), all["results"].as_array().unwrap().len()), (Some(3), 2));
    assert!(all["next"].as_str().unwrap().starts_with(&mesh.url));
    assert_eq!(mesh.admin().get("/api/users?search=bo").await.expect(200)["count"], 1);
    for wrong in ["/api/users/x", "/api/users/99999999999999999999", "/api/users/424242"] {
        alice.get(wrong).await.expect(404);
    }
    mesh.anonymous().get("/api/users/self").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_change_privileges_and_nobody_else_does() {
    let mesh = mesh().await;
    let (alice, admin) = (mesh.user("alice").await, mesh.admin());
    let id = alice.get("/api/users/self").await.expect(200)["id"].clone();
    let path = format!("/api/users/{id}");
    let renamed = alice.patch(&path, json!({ "first_name": "Alicia" })).await.expect(200);
    assert_eq!(renamed["first_name"], "Alicia");
    alice.patch(&path, json!({ "groups": ["admin"] })).await.expect(400);
    admin.patch(&path, json!({ "groups": ["kings"] })).await.expect(400);
    let raised = admin.patch(&path, json!({ "groups": ["business"] })).await.expect(200);
    assert_eq!((&raised["groups"], &raised["has_analytics_access"]), (&json!(["business"]), &json!(true)));
    admin.patch(&path, json!({ "is_active": false })).await.expect(200);
    refused(&alice).await;
    admin.patch(&path, json!({ "is_active": true })).await.expect(200);
    alice.get("/api/users/self").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays() {
    let mesh = mesh().await;
    let admin = mesh.admin();
    let id = admin.get("/api/users/self").await.expect(200)["id"].clone();
    let path = format!("/api/users/{id}");
    admin.delete(&path).await.expect(400);
    admin.patch(&path, json!({ "groups": ["user"] })).await.expect(400);
    admin.patch(&path, json!({ "is_active": false })).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_leaves_their_organization_without_owner() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    let id = alice.get("/api/users/self").await.expect(200)["id"].clone();
    let made = alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    alice.delete(&format!("/api/users/{id}")).await.expect(204);
    refused(&alice).await;
    let seen = mesh.admin().get(&format!("/api/organizations/{}", made["id"])).await.expect(200);
    assert_eq!(seen["owner"], serde_json::Value::Null);
    assert_eq!(mesh.admin().get("/api/memberships").await.expect(200)["count"], 0);
    mesh.admin().get(&format!("/api/users/{id}")).await.expect(404);
    // The name is free again, and its new bearer is somebody else.
    let again = mesh.user("alice").await.get("/api/users/self").await.expect(200);
    assert_ne!(again["id"], id);
}
