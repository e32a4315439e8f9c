//! Keys: shown once, kept as digests, dead when they are revoked.

use diesel_async::RunQueryDsl;
use event_store::Sql;
use serde_json::{Value, json};

use super::{KEY, SECRET, call, company, mesh, operator, refusal, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_listed_labeled_and_revoked_with_all_that_rests_on_it() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let made =
        call(&acme.admin, "auth.create_credentials", json!({ "label": "ci" })).await["credentials"].clone();
    assert_eq!(made["label"], "ci");
    let (key, secret) = (made["access_key"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    assert!(secret.len() == 67 && !secret.starts_with(['-', '_']));
    let ci = mesh.anonymous().basic(key, secret);
    let token = call(&ci, "auth.login", json!({})).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    let session = mesh.anonymous().sign_in(key, secret).await;
    for client in [&ci, &bearer, &session] {
        client.get("/api/users/self").await.expect(200);
    }

    let labeled = json!({ "access_key": key, "label": "nightly" });
    assert_eq!(call(&acme.admin, "auth.edit_credentials", labeled.clone()).await, json!({ "updated": 1 }));
    assert_eq!(call(&acme.admin, "auth.edit_credentials", labeled).await, json!({ "updated": 0 }));
    let listed = call(&acme.admin, "auth.get_credentials", json!({})).await["credentials"].clone();
    let keys = listed.as_array().unwrap();
    assert_eq!((keys.len(), &keys[1]["label"]), (2, &json!("nightly")));
    assert!(keys[1]["last_used"].is_string() && keys[1]["last_used_from"] == "127.0.0.1", "{listed}");
    assert!(keys.iter().all(|key| key.get("secret_key").is_none()));

    // Another's key looks like none.
    let bob = user(&acme.admin, &acme.id, "bob", "user").await;
    let as_bob = acme.admin.with("X-Clearml-Impersonate-As", &bob);
    let theirs = refusal(&as_bob, "auth.revoke_credentials", json!({ "access_key": key })).await;
    assert_eq!(theirs, refusal(&as_bob, "auth.revoke_credentials", json!({ "access_key": "NONE" })).await);

    assert_eq!(
        call(&acme.admin, "auth.revoke_credentials", json!({ "access_key": key })).await["revoked"],
        1
    );
    for client in [&ci, &bearer, &session] {
        crate::refused(client).await;
    }
    acme.admin.get("/api/users/self").await.expect(200);
    let login = json!({ "username": key, "password": secret });
    mesh.anonymous().post("/api/auth/login", login).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_by_itself_and_so_does_its_token() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let short = json!({ "expiration_sec": 600 });
    let made = call(&acme.admin, "auth.create_credentials", short).await["credentials"].clone();
    let brief =
        mesh.anonymous().basic(made["access_key"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    let token = call(&brief, "auth.login", json!({ "expiration_sec": 3600 })).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    bearer.get("/api/users/self").await.expect(200);
    mesh.clock.advance(chrono::TimeDelta::seconds(601));
    brief.get("/api/users/self").await.expect(401);
    bearer.get("/api/users/self").await.expect(401);
    acme.admin.get("/api/users/self").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_kept_anywhere() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let token = call(&acme.admin, "auth.login", json!({})).await["token"].as_str().unwrap().to_owned();
    // An idempotency key keeps answers; one that shows a secret is none that it keeps.
    let again = acme.admin.with("idempotency-key", "the same");
    let one = call(&again, "auth.create_credentials", json!({})).await;
    assert_ne!(one, call(&again, "auth.create_credentials", json!({})).await);

    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let store = &mesh.running.kit("identity").unwrap().store;
    let mut tx = store.database().kernel().await.unwrap();
    let rows: Vec<Row> = Sql::fixed(
        "SELECT data::text AS text FROM es_event UNION ALL SELECT state::text FROM es_stream \
         UNION ALL SELECT data::text FROM es_contract UNION ALL SELECT c::text FROM credentials c \
         UNION ALL SELECT s::text FROM sessions s",
    )
    .load(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert!(rows.len() > 20);
    let secret = one["credentials"]["secret_key"].as_str().unwrap();
    for hidden in [SECRET, acme.secret.as_str(), secret, token.as_str()] {
        assert!(!rows.iter().any(|row| row.text.contains(hidden)));
    }
    assert!(rows.iter().any(|row| row.text.contains(KEY)), "the key itself is there, so it was looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_what_clients_read_in_it() {
    use base64::Engine;
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let answer = call(&acme.admin, "auth.login", json!({ "expiration_sec": 3600 })).await;
    let parts: Vec<&str> = answer["token"].as_str().unwrap().split('.').collect();
    let read = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!((&claims["api_version"], &claims["feature_set"]), (&json!("2.34"), &json!("basic")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(claims["identity"]["company"], json!(acme.id));
    assert_eq!(claims["identity"]["role"], "admin");
    let far = call(&operator(&mesh), "auth.login", json!({ "expiration_sec": i64::MAX })).await;
    assert!(far["token"].is_string());
}
