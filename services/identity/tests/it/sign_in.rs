//! Signing in and out.

use serde_json::json;
use test_kit::TestMesh;
use test_kit::mesh::ADMIN;

use crate::refused;

const PASSWORD: &str = "correct horse battery";

async fn mesh() -> TestMesh {
    TestMesh::start(crate::services()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_token_and_two_cookies_that_python_can_read() {
    let mesh = mesh().await;
    let body = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    let answer = mesh.anonymous().post("/api/auth/login", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let key = answer.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 40);
    let cookies: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("csrftoken=") && cookies[1].starts_with("sessionid="), "{cookies:?}");
    assert!(cookies.iter().all(|cookie| cookie.ends_with("SameSite=Lax")), "{cookies:?}");
    assert!(cookies[1].contains("HttpOnly"));

    let value = |cookie: &str| cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let (csrf, session) = (value(cookies[0]), value(cookies[1]));
    let browser = mesh.anonymous().with("cookie", &format!("csrftoken={csrf}; sessionid={session}"));
    let by_token = mesh.anonymous().with("authorization", &format!("Token {key}"));
    for client in [&browser, &by_token, &mesh.admin()] {
        let me = client.get("/api/users/self").await.expect(200);
        assert_eq!(me["username"], ADMIN.0);
        assert_eq!(me["groups"], json!(["admin"]));
    }

    browser.post("/api/organizations", json!({ "slug": "acme" })).await.expect(403);
    let page = browser.with("x-csrftoken", &csrf);
    page.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_cookie_and_the_token() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    alice.get("/api/users/self").await.expect(200);
    let answer = alice.post("/api/auth/logout", json!({})).await;
    assert_eq!(answer.json()["detail"], "Successfully logged out.");
    refused(&alice).await;
    alice.post("/api/auth/logout", json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let mesh = mesh().await;
    let wrong = json!({ "non_field_errors": ["Unable to log in with provided credentials."] });
    for body in [
        json!({ "username": ADMIN.0, "password": "wrong" }),
        json!({ "username": "nobody", "password": ADMIN.1 }),
        json!({ "username": format!("elsewhere\\{}", ADMIN.0), "password": ADMIN.1 }),
        json!({ "username": "a\u{0}b", "password": ADMIN.1 }),
        json!({ "email": "nobody@example.com", "password": ADMIN.1 }),
        json!({ "username": ADMIN.0, "password": "x".repeat(100_000) }),
    ] {
        assert_eq!(mesh.anonymous().post("/api/auth/login", body).await.expect(400), wrong);
    }
    mesh.anonymous().post("/api/auth/login", json!({ "username": "alice" })).await.expect(400);
    mesh.anonymous().post("/api/auth/login", json!({ "password": "x" })).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_address_and_by_tenant_works() {
    let mesh = mesh().await;
    mesh.user("alice").await;
    for body in [
        json!({ "email": "Alice@Example.com", "password": PASSWORD }),
        json!({ "username": "alice@example.com", "password": PASSWORD }),
        json!({ "username": "default\\alice", "password": PASSWORD }),
    ] {
        mesh.anonymous().post("/api/auth/login", body).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_another_out_by_taking_their_address_for_a_name() {
    let mesh = mesh().await;
    let me = mesh.admin().get("/api/users/self").await.expect(200);
    let address = me["email"].as_str().unwrap();
    let mallory = "a password of mallory's";
    let body = json!({
        "username": address, "email": "mallory@example.com", "password1": mallory, "password2": mallory,
    });
    mesh.anonymous().post("/api/auth/register", body).await.expect(201);
    for name in [address.to_owned(), address.to_uppercase(), format!("default\\{address}")] {
        let admin = mesh.anonymous().sign_in(&name, ADMIN.1).await;
        assert_eq!(admin.get("/api/users/self").await.expect(200)["id"], me["id"], "{name}");
        let basic = mesh.anonymous().basic(&name, ADMIN.1);
        assert_eq!(basic.get("/api/users/self").await.expect(200)["id"], me["id"], "{name}");
    }
    let squatter = mesh.anonymous().sign_in(address, mallory).await;
    assert_eq!(squatter.get("/api/users/self").await.expect(200)["email"], "mallory@example.com");
    let wrong = json!({ "username": address, "password": "wrong" });
    mesh.anonymous().post("/api/auth/login", wrong).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_after_fourteen_days() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    mesh.clock.advance(chrono::TimeDelta::days(13));
    alice.get("/api/users/self").await.expect(200);
    mesh.clock.advance(chrono::TimeDelta::days(2));
    alice.get("/api/users/self").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_other_sessions_only() {
    let mesh = mesh().await;
    let here = mesh.user("alice").await;
    let there = mesh.anonymous().sign_in("alice", PASSWORD).await;
    there.get("/api/users/self").await.expect(200);
    let change =
        |old: &str, new: &str| json!({ "old_password": old, "new_password1": new, "new_password2": new });
    let path = "/api/auth/password/change";
    here.post(path, change("wrong", "another good one")).await.expect(400);
    here.post(path, change(PASSWORD, "12345678")).await.expect(400);
    let said = here.post(path, change(PASSWORD, "another good one")).await.expect(200);
    assert_eq!(said["detail"], "New password has been saved.");
    refused(&there).await;
    here.get("/api/users/self").await.expect(200);
    mesh.anonymous().basic("alice", PASSWORD).get("/api/users/self").await.expect(401);
    mesh.anonymous().basic("alice", "another good one").get("/api/users/self").await.expect(200);
}
