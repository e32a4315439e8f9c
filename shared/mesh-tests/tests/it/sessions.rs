//! Who may speak: sessions, forged requests, revocations, and other people's idempotency keys.

use std::time::Duration;

use serde_json::{Value, json};
use test_kit::{Client, Response, TestMesh, eventually};

use crate::support::{mesh, unique};

/// Signs in as a browser does: two cookies.
async fn browser(mesh: &TestMesh, name: &str) -> (Client, String) {
    mesh.user(name).await;
    let body = json!({ "username": name, "password": "correct horse battery" });
    let answer = mesh.anonymous().post("/api/auth/login", body).await;
    let cookie = |wanted: &str| {
        answer
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next()?.split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.to_owned())
            .unwrap()
    };
    let (session, csrf) = (cookie("sessionid"), cookie("csrftoken"));
    let client = mesh.anonymous().with("cookie", &format!("sessionid={session}; csrftoken={csrf}"));
    (client, csrf)
}

fn create() -> Value {
    json!({ "name": "streets" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_post_is_refused_although_a_get_filled_the_cache() {
    let mesh = mesh().await;
    let (browser, csrf) = browser(&mesh, &unique("bob")).await;
    browser.get("/api/projects").await.expect(200);
    browser.post("/api/projects", create()).await.expect(403);
    browser.with("x-csrftoken", &"0".repeat(64)).post("/api/projects", create()).await.expect(403);
    let page = browser.with("x-csrftoken", &csrf);
    page.with("origin", "http://evil.example").post("/api/projects", create()).await.expect(403);
    page.with("origin", &mesh.url).post("/api/projects", create()).await.expect(201);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_is_refused_by_every_service() {
    let mesh = mesh().await;
    let bob = mesh.user(&unique("bob")).await;
    for path in ["/api/projects", "/api/webhooks", "/v1/events", "/api/organizations"] {
        bob.get(path).await.expect(200);
    }
    bob.post("/api/auth/logout", json!({})).await.expect(200);
    for path in ["/api/projects", "/api/webhooks", "/v1/events", "/api/organizations"] {
        eventually(path, Duration::from_secs(30), async || {
            let Response { status, .. } = bob.get(path).await;
            (status == 401).then_some(())
        })
        .await;
    }
    mesh.running.stop().await;
}

/// Every answer after the revocation has arrived is 401, also those whose exchange was under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_revoked_while_its_exchange_is_under_way_is_refused() {
    let mesh = mesh().await;
    for _ in 0..20 {
        let bob = mesh.user(&unique("bob")).await;
        let racing = futures::future::join_all((0..8).map(|_| bob.get("/api/projects")));
        let (_, ended) = tokio::join!(racing, bob.post("/api/auth/logout", json!({})));
        ended.expect(200);
        eventually("refused", Duration::from_secs(30), async || {
            (bob.get("/api/projects").await.status == 401).then_some(())
        })
        .await;
        for _ in 0..5 {
            bob.get("/api/projects").await.expect(401);
        }
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_belongs_to_its_user() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await.with("idempotency-key", "the same key");
    let bob = mesh.user(&unique("bob")).await.with("idempotency-key", "the same key");
    let first = alice.post("/api/projects", create()).await.expect(201);
    let again = alice.post("/api/projects", create()).await.expect(201);
    assert_eq!(first, again);
    alice.post("/api/projects", json!({ "name": "another" })).await.expect(422);
    let other = bob.post("/api/projects", create()).await.expect(201);
    assert_ne!(first["id"], other["id"]);
    assert_eq!(alice.get("/api/projects").await.expect(200)["count"], 1);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_good_are_refused() {
    let mesh = mesh().await;
    let nobody = mesh.anonymous();
    nobody.get("/api/projects").await.expect(401);
    for value in ["Token 0123456789", "Token", "Bearer a.b.c", "Basic !!!", "Digest x", "Basic YWRtaW46bm8="]
    {
        nobody.with("authorization", value).get("/api/projects").await.expect(401);
    }
    nobody.with("cookie", "sessionid=made-up").get("/api/projects").await.expect(401);
    let wrong = json!({ "username": "admin", "password": "wrong" });
    let answer = nobody.post("/api/auth/login", wrong).await.expect(400);
    assert_eq!(answer["non_field_errors"][0], "Unable to log in with provided credentials.");
    mesh.running.stop().await;
}
