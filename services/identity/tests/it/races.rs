//! What happens at the same moment.

use futures::future::join_all;
use serde_json::json;
use test_kit::TestMesh;

async fn mesh() -> TestMesh {
    TestMesh::start(crate::services()).await
}

fn count(statuses: &[u16], wanted: u16) -> usize {
    statuses.iter().filter(|status| **status == wanted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_and_a_name_are_given_once() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    let slugs = join_all((0..8).map(|_| alice.post("/api/organizations", json!({ "slug": "acme" })))).await;
    let slugs: Vec<u16> = slugs.iter().map(|response| response.status).collect();
    assert_eq!((count(&slugs, 201), count(&slugs, 400)), (1, 7), "{slugs:?}");

    let nobody = mesh.anonymous();
    let names = join_all((0..8).map(|number| {
        let password = "correct horse battery";
        let email = format!("bob{number}@example.com");
        let body = json!({ "username": "bob", "email": email, "password1": password, "password2": password });
        nobody.post("/api/auth/register", body)
    }))
    .await;
    let names: Vec<u16> = names.iter().map(|response| response.status).collect();
    assert_eq!((count(&names, 201), count(&names, 400)), (1, 7), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_demotions_at_once_leave_an_admin() {
    let mesh = mesh().await;
    let (admin, alice) = (mesh.admin(), mesh.user("alice").await);
    let ids =
        [&admin, &alice].map(async |client| client.get("/api/users/self").await.expect(200)["id"].clone());
    let [admins, alices] = join_all(ids).await.try_into().unwrap();
    let (admins, alices) = (format!("/api/users/{admins}"), format!("/api/users/{alices}"));
    for _ in 0..5 {
        admin.patch(&alices, json!({ "groups": ["admin"] })).await.expect(200);
        let (one, other) = tokio::join!(
            admin.patch(&alices, json!({ "groups": ["user"] })),
            admin.patch(&admins, json!({ "groups": ["user"] })),
        );
        let left = mesh.admin().get("/api/users/self").await.expect(200)["groups"] == json!(["admin"]);
        let other_left = alice.get("/api/users/self").await.expect(200)["groups"] == json!(["admin"]);
        assert!(left || other_left, "{} {}", one.text, other.text);
        if !left {
            // The first admin operates the deployment: a tenant's admin has no say over them.
            alice.patch(&admins, json!({ "groups": ["admin"] })).await.expect(403);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_right_after_a_new_password_is_good_at_once() {
    let mesh = mesh().await;
    mesh.user("alice").await;
    let mut old = "correct horse battery".to_owned();
    for number in 0..5 {
        let new = format!("another good one {number}");
        let body = json!({ "old_password": old, "new_password1": new, "new_password2": new });
        mesh.anonymous().basic("alice", &old).post("/api/auth/password/change", body).await.expect(200);
        let alice = mesh.anonymous().sign_in("alice", &new).await;
        alice.get("/api/users/self").await.expect(200);
        old = new;
    }
}
