//! Being somebody else for one call, and whose name is on what comes of it.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use event_store::Sql;
use serde_json::json;
use test_kit::Client;

use super::{call, company, mesh, operator, refusal, user};

fn as_if(client: &Client, user: &str) -> Client {
    client.with("X-Clearml-Impersonate-As", user)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_be_whom() {
    let mesh = mesh().await;
    let (acme, beta) = (company(&mesh, "Acme").await, company(&mesh, "Beta").await);
    let bob = user(&acme.admin, &acme.id, "bob", "user").await;
    let me =
        async |client: &Client| call(client, "users.get_current_user", json!({})).await["user"]["id"].clone();
    let refused = async |client: &Client| {
        let (code, subcode, message) = refusal(client, "users.get_current_user", json!({})).await;
        assert_eq!(code, 400, "{message}");
        (subcode, message)
    };
    let operator = operator(&mesh);
    assert_eq!(me(&as_if(&operator, &bob)).await, json!(bob));
    assert_eq!(me(&as_if(&acme.admin, &bob)).await, json!(bob));
    assert_eq!(me(&operator.with("X-Trains-Impersonate-As", &bob)).await, json!(bob));
    assert_eq!(me(&operator.with("X-Clearml-Act-As", &bob)).await, json!(bob));

    // Another company's user is as unknown as one that does not exist.
    let strangers = refused(&as_if(&beta.admin, &bob)).await;
    assert_eq!(strangers, (6, "Impersonation error (unknown user)".to_owned()));
    assert_eq!(strangers, refused(&as_if(&beta.admin, &"0".repeat(32))).await);
    assert_eq!(strangers, refused(&as_if(&operator, "nobody")).await);

    let key =
        call(&as_if(&acme.admin, &bob), "auth.create_credentials", json!({})).await["credentials"].clone();
    let bobs =
        mesh.anonymous().basic(key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    assert_eq!(
        refused(&as_if(&bobs, &bob)).await.1,
        "Impersonation error (impersonation not allowed): role=user"
    );
    let both = as_if(&operator, &bob).with("X-Clearml-Act-As", &bob);
    assert_eq!(refused(&both).await.0, 5);
    // A token that was got by being somebody else makes nobody a third.
    let token = call(&as_if(&operator, &acme.admin_id), "auth.login", json!({})).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    assert_eq!(me(&bearer).await, json!(acme.admin_id));
    assert_eq!(refused(&as_if(&bearer, &bob)).await.0, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impersonated_call_has_the_targets_role_and_an_acted_one_the_callers() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let bob = user(&acme.admin, &acme.id, "bob", "user").await;
    let operator = operator(&mesh);
    for impersonated in [as_if(&operator, &bob), as_if(&operator, &acme.admin_id)] {
        let refused = refusal(&impersonated, "system.get_companies", json!({})).await;
        assert_eq!((refused.0, refused.1), (403, 20));
    }
    let acting = operator.with("X-Clearml-Act-As", &bob);
    call(&acting, "system.get_companies", json!({})).await;
    let refused = refusal(&acting, "auth.login", json!({})).await;
    assert_eq!((refused.0, refused.1), (400, 6));
    // No admin becomes an operator by it.
    let default_admin = call(&mesh.admin(), "users.get_current_user", json!({})).await["user"]["id"].clone();
    let carol = user(&mesh.admin(), "c383e082c9575d44830764f667cb0347", "carol", "admin").await;
    let key =
        call(&as_if(&operator, &carol), "auth.create_credentials", json!({})).await["credentials"].clone();
    let carols =
        mesh.anonymous().basic(key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    for header in ["X-Clearml-Impersonate-As", "X-Clearml-Act-As"] {
        let as_operator = carols.with(header, default_admin.as_str().unwrap());
        let refused = refusal(&as_operator, "users.get_current_user", json!({})).await;
        assert_eq!((refused.0, refused.1), (400, 6));
    }
    let demote = json!({ "user": default_admin, "role": "guest" });
    assert_eq!(refusal(&carols, "auth.edit_user", demote).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_caller_stands_in_every_event() {
    #[derive(diesel::QueryableByName, Debug)]
    struct Row {
        #[diesel(sql_type = Text)]
        event_type: String,
        #[diesel(sql_type = Nullable<BigInt>)]
        actor_id: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        impersonator_id: Option<i64>,
    }
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let act_as = operator(&mesh).with("X-Clearml-Act-As", &acme.admin_id);
    call(&act_as, "login.set_domains", json!({ "domains": ["acme.example"] })).await;
    let token =
        call(&as_if(&operator(&mesh), &acme.admin_id), "auth.login", json!({})).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    bearer.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);

    let supervisor = mesh.anonymous().basic(super::KEY, super::SECRET);
    let supervisor = supervisor.get("/api/users/self").await.expect(200)["id"].as_i64();
    let admin = acme.admin.get("/api/users/self").await.expect(200)["id"].as_i64();
    let store = &mesh.running.kit("identity").unwrap().store;
    let mut tx = store.database().kernel().await.unwrap();
    let rows: Vec<Row> = Sql::fixed(
        "(SELECT kind || '.' || event_type AS event_type, actor_id, impersonator_id FROM es_event \
          WHERE actor_id = $1 OR impersonator_id IS NOT NULL ORDER BY seq) UNION ALL \
         (SELECT event_type, actor_id, impersonator_id FROM es_contract \
          WHERE actor_id = $1 OR impersonator_id IS NOT NULL ORDER BY seq)",
    )
    .bind::<BigInt>(supervisor.unwrap())
    .load(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let seen: Vec<_> =
        rows.iter().map(|row| (row.event_type.as_str(), row.actor_id, row.impersonator_id)).collect();
    let wanted = [
        ("tenant.Created", supervisor, None),
        ("user.Registered", supervisor, None),
        ("user.CredentialIssued", admin, supervisor),
        ("tenant.DomainsSet", admin, supervisor),
        ("session.Started", admin, supervisor),
        ("organization.Created", admin, supervisor),
    ];
    assert_eq!(seen[..wanted.len()], wanted, "{rows:?}");
    let told = ("identity.organization_created.v1", admin, supervisor);
    assert!(seen.contains(&told), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_somebody_else_ends_with_the_key_that_it_was_made_with() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let bob = user(&acme.admin, &acme.id, "bob", "user").await;
    let made = call(&acme.admin, "auth.create_credentials", json!({})).await["credentials"].clone();
    let (key, secret) = (made["access_key"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    let second = mesh.anonymous().basic(key, secret);
    let token = call(&as_if(&second, &bob), "auth.login", json!({})).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    // And so does one that was made with it.
    let token = call(&bearer, "auth.login", json!({})).await["token"].clone();
    let again = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    for client in [&bearer, &again] {
        assert_eq!(client.get("/api/users/self").await.expect(200)["username"], "bob");
    }
    call(&acme.admin, "auth.revoke_credentials", json!({ "access_key": key })).await;
    for client in [&bearer, &again] {
        crate::refused(client).await;
    }
    let key =
        call(&as_if(&acme.admin, &bob), "auth.create_credentials", json!({})).await["credentials"].clone();
    let bobs =
        mesh.anonymous().basic(key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    bobs.get("/api/users/self").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_somebody_else_ends_with_what_its_maker_may() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let bob = user(&acme.admin, &acme.id, "bob", "user").await;
    let second = user(&acme.admin, &acme.id, "second", "admin").await;
    let key =
        call(&as_if(&acme.admin, &second), "auth.create_credentials", json!({})).await["credentials"].clone();
    let second_admin =
        mesh.anonymous().basic(key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    let bearer = async || {
        let token = call(&as_if(&second_admin, &bob), "auth.login", json!({})).await["token"].clone();
        mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()))
    };
    // Who is no admin any more is nobody else any more, at once.
    let before = bearer().await;
    assert_eq!(before.get("/api/users/self").await.expect(200)["username"], "bob");
    call(&acme.admin, "auth.edit_user", json!({ "user": second, "role": "user" })).await;
    crate::refused(&before).await;
    second_admin.get("/api/users/self").await.expect(200);
    call(&acme.admin, "auth.edit_user", json!({ "user": second, "role": "admin" })).await;
    assert_eq!(before.get("/api/users/self").await.status, 401, "what has ended stays so");
    // A new password ends what was begun with the old one, under whatever name.
    let admin = mesh.admin();
    let carol = user(&admin, "c383e082c9575d44830764f667cb0347", "carol", "user").await;
    let token = call(&as_if(&admin, &carol), "auth.login", json!({})).await["token"].clone();
    let carols = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    assert_eq!(carols.get("/api/users/self").await.expect(200)["username"], "carol");
    let new = "another horse battery";
    let change =
        json!({ "old_password": test_kit::mesh::ADMIN.1, "new_password1": new, "new_password2": new });
    admin.post("/api/auth/password/change", change).await.expect(200);
    crate::refused(&carols).await;
}
