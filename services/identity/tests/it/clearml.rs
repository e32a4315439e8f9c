//! ClearML's face: the operator makes companies, their admins make the rest.

use event_store::store::Context;
use identity::domain::user::{User, UserCommand};
use serde_json::{Value, json};
use test_kit::{Client, TestMesh};

mod credentials;
mod envelope;
mod garbage;
mod impersonation;
mod isolation;

const KEY: &str = "OPERATORSKEY";
const SECRET: &str = "operators-secret-of-the-tests";

/// Identity alone, with an operator.
async fn mesh() -> TestMesh {
    let name = |what: &str| format!("CLEARML__secure__credentials__supervisor__user_{what}");
    let settings = vec![(name("key"), KEY.to_owned()), (name("secret"), SECRET.to_owned())];
    TestMesh::start_with(crate::services(), settings).await
}

fn operator(mesh: &TestMesh) -> Client {
    mesh.anonymous().basic(KEY, SECRET)
}

/// Calls an endpoint and returns its data.
async fn call(client: &Client, endpoint: &str, body: Value) -> Value {
    client.post(&format!("/{endpoint}"), body).await.expect(200)["data"].clone()
}

/// Calls an endpoint that refuses; returns code, subcode and message.
async fn refusal(client: &Client, endpoint: &str, body: Value) -> (u64, u64, String) {
    let answer = client.post(&format!("/{endpoint}"), body).await;
    let (status, body) = (answer.status, answer.json());
    let meta = &body["meta"];
    assert_eq!(meta["result_code"], status, "{}", answer.text);
    assert_eq!(body["data"], json!({}));
    let number = |name: &str| meta[name].as_u64().unwrap();
    (number("result_code"), number("result_subcode"), meta["result_msg"].as_str().unwrap().to_owned())
}

/// A company with an admin, who signs in with a key.
struct Company {
    id: String,
    admin_id: String,
    key: String,
    secret: String,
    admin: Client,
}

async fn company(mesh: &TestMesh, name: &str) -> Company {
    let operator = operator(mesh);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let id = text(&call(&operator, "system.create_company", json!({ "name": name })).await["id"]);
    let user = json!({ "name": "Ann Admin", "company": id, "email": "ann@mail.example", "role": "admin" });
    let admin_id = text(&call(&operator, "auth.create_user", user).await["id"]);
    let as_admin = operator.with("X-Clearml-Impersonate-As", &admin_id);
    let made = call(&as_admin, "auth.create_credentials", json!({})).await["credentials"].clone();
    let (key, secret) = (text(&made["access_key"]), text(&made["secret_key"]));
    let admin = mesh.anonymous().basic(&key, &secret);
    Company { id, admin_id, key, secret, admin }
}

/// Creates a user and returns their id.
async fn user(admin: &Client, company: &str, name: &str, role: &str) -> String {
    let email = format!("{name}@mail.example");
    let body = json!({ "name": name, "company": company, "email": email, "role": role });
    call(admin, "auth.create_user", body).await["id"].as_str().unwrap().to_owned()
}

/// Gives somebody a password, past the faces: who was made by an admin has only keys.
async fn give_password(mesh: &TestMesh, company: &Company, id: i64, password: &str) {
    let password_hash = identity::passwords::hash(password.to_owned()).await.unwrap();
    let change = UserCommand::ChangePassword { password_hash };
    let store = &mesh.running.kit("identity").unwrap().store;
    let mut unit = store.begin(Context::mesh(company.id.parse().unwrap())).await.unwrap();
    unit.execute::<User>(id, change).await.unwrap();
    unit.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_a_company_whose_admin_works_with_both_faces() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme & Co.").await;
    assert!(acme.id.len() == 32 && acme.admin_id.len() == 32 && acme.key.len() == 30);

    let me = call(&acme.admin, "users.get_current_user", json!({})).await["user"].clone();
    assert_eq!((&me["id"], &me["role"]), (&json!(acme.admin_id), &json!("admin")));
    assert_eq!(me["company"], json!({ "id": acme.id, "name": "Acme & Co." }));
    // CVAT's clients know name and password, which key and secret pass for.
    let self_read = acme.admin.get("/api/users/self").await.expect(200);
    assert_eq!((&self_read["username"], &self_read["groups"]), (&json!("ann"), &json!(["admin"])));
    let signed_in = mesh.anonymous().sign_in(&acme.key, &acme.secret).await;
    assert_eq!(signed_in.get("/api/users/self").await.expect(200)["id"], self_read["id"]);

    let token = call(&acme.admin, "auth.login", json!({ "expiration_sec": "3600" })).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    assert_eq!(call(&bearer, "users.get_current_user", json!({})).await["user"]["id"], me["id"]);
    assert_eq!(bearer.get("/api/users/self").await.expect(200)["id"], self_read["id"]);
    let valid = call(&operator(&mesh), "auth.validate_token", json!({ "token": token })).await;
    assert_eq!((&valid["valid"], &valid["company"]), (&json!(true), &json!(acme.id)));
    // As anything else than a bearer's it is nothing.
    let as_token = mesh.anonymous().with("authorization", &format!("Token {}", token.as_str().unwrap()));
    as_token.get("/api/users/self").await.expect(401);
    call(&bearer, "auth.logout", json!({})).await;
    crate::refused(&bearer).await;
    assert_eq!(refusal(&bearer, "users.get_current_user", json!({})).await.1, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn companies_are_listed_told_and_changed_by_operators_only() {
    let mesh = mesh().await;
    let operator = operator(&mesh);
    let defaults =
        json!({ "allowed_users": "10", "features": ["experiments"], "exclude_features": ["applications"] });
    let id = call(&operator, "system.create_company", json!({ "name": "Beta", "defaults": defaults })).await
        ["id"]
        .clone();
    let wanted =
        json!({ "allowed_users": 10, "features": ["experiments"], "exclude_features": ["applications"] });
    let info = call(&operator, "system.company_info", json!({ "company": id })).await;
    assert_eq!((&info["name"], &info["host"], &info["defaults"]), (&json!("Beta"), &json!("beta"), &wanted));

    let companies = operator.get("/system.get_companies").await.expect(200)["data"]["companies"].clone();
    let names: Vec<_> = companies.as_array().unwrap().iter().map(|company| company["name"].clone()).collect();
    assert_eq!(names, ["Beta", "default"]);
    for (body, count) in
        [(json!({ "name": "bETA" }), 1), (json!({ "name_pattern": "^b.t" }), 1), (json!({ "name": "Be" }), 0)]
    {
        let found = call(&operator, "system.get_companies", body.clone()).await;
        assert_eq!(found["companies"].as_array().unwrap().len(), count, "{body}");
    }

    let change = json!({ "company": id, "features": ["sso_management"], "allowed_users": "7" });
    assert_eq!(
        call(&operator, "system.update_company_settings", change.clone()).await,
        json!({ "updated": 1 })
    );
    assert_eq!(call(&operator, "system.update_company_settings", change).await, json!({ "updated": 0 }));
    let info = call(&operator, "system.company_info", json!({ "company": id })).await;
    let wanted =
        json!({ "allowed_users": 7, "features": ["sso_management"], "exclude_features": ["applications"] });
    assert_eq!(info["defaults"], wanted);

    // A name is somebody's whatever the case of its letters; one that only resembles it gets another label.
    let taken = refusal(&operator, "system.create_company", json!({ "name": "BETA" })).await;
    assert_eq!((taken.0, taken.1), (400, 801));
    let alike = call(&operator, "system.create_company", json!({ "name": "Beta!" })).await["id"].clone();
    assert_eq!(call(&operator, "system.company_info", json!({ "company": alike })).await["host"], "beta-2");

    let admin = company(&mesh, "Gamma").await.admin;
    for endpoint in ["system.create_company", "system.get_companies", "system.company_info"] {
        let refused = refusal(&admin, endpoint, json!({ "name": "Delta", "company": id })).await;
        assert_eq!((refused.0, refused.1), (403, 20), "{endpoint}");
    }
    // The person who operates the local deployment is one too.
    call(&mesh.admin(), "system.get_companies", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_makes_changes_and_deletes_users() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let bob = user(&acme.admin, &acme.id, "bob", "annotator").await;
    let twin = json!({ "name": "Bob", "company": acme.id, "email": "bob@other.example" });
    let twin = call(&acme.admin, "auth.create_user", twin).await["id"].clone();
    assert_ne!(twin, bob);
    let taken = json!({ "name": "B", "company": acme.id, "email": "BOB@mail.example" });
    let taken = refusal(&acme.admin, "auth.create_user", taken).await;
    assert_eq!((taken.0, taken.1), (400, 801));

    let users = call(&acme.admin, "users.get_all", json!({})).await["users"].clone();
    let roles: Vec<_> = users.as_array().unwrap().iter().map(|user| user["role"].clone()).collect();
    assert_eq!(roles, ["admin", "annotator", "user"]);
    let names: Vec<_> = users.as_array().unwrap().iter().map(|user| user["username"].clone()).collect();
    assert_eq!((&names[0], &names[1]), (&json!("ann"), &json!("bob")));
    assert!(names[2].as_str().unwrap().starts_with("bob-"), "{names:?}");
    let page = call(&acme.admin, "users.get_all", json!({ "page": 1, "page_size": 2 })).await;
    assert_eq!(page["users"].as_array().unwrap().len(), 1);

    let edited = call(&acme.admin, "auth.edit_user", json!({ "user": bob, "role": "superuser" })).await;
    assert_eq!(edited, json!({ "updated": 1, "fields": { "role": "superuser" } }));
    let as_bob = acme.admin.with("X-Clearml-Impersonate-As", &bob);
    let key = call(&as_bob, "auth.create_credentials", json!({})).await["credentials"].clone();
    let bobs =
        mesh.anonymous().basic(key["access_key"].as_str().unwrap(), key["secret_key"].as_str().unwrap());
    assert_eq!(bobs.get("/api/users/self").await.expect(200)["groups"], json!(["business"]));
    let refused = refusal(&bobs, "auth.create_user", json!({})).await;
    assert_eq!((refused.0, refused.1), (403, 20));
    assert_eq!(call(&bobs, "users.get_all", json!({})).await["users"][0].get("email"), None);

    assert_eq!(call(&acme.admin, "auth.delete_user", json!({ "user": bob })).await, json!({ "deleted": 1 }));
    crate::refused(&bobs).await;
    let gone = refusal(&acme.admin, "auth.delete_user", json!({ "user": bob })).await;
    assert_eq!((gone.0, gone.1), (400, 301));
    let last = refusal(&acme.admin, "auth.delete_user", json!({ "user": acme.admin_id })).await;
    assert!(last.0 == 400 && last.2.contains("only admin"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_finds_its_tenant_by_its_domain() {
    let mesh = mesh().await;
    let acme = company(&mesh, "Acme").await;
    let act_as = operator(&mesh).with("X-Clearml-Act-As", &acme.admin_id);
    let domains = json!({ "domains": ["Acme.example", "acme.co.uk"] });
    assert_eq!(call(&act_as, "login.set_domains", domains).await, json!({}));
    let known = call(&acme.admin, "login.get_domains", json!({})).await;
    assert_eq!(known, json!({ "domains": ["acme.co.uk", "acme.example"] }));

    // Nobody comes in by the company's host, whatever address they claim to have: its admin makes its people.
    let password = "correct horse battery";
    let body = json!({
        "username": "carol", "email": "carol@acme.example", "password1": password, "password2": password,
    });
    let at_acme = mesh.anonymous().with("host", "acme.example.com");
    let refused = at_acme.post("/api/auth/register", body).await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("made by its administrators"), "{refused}");
    let carol = json!({ "name": "Carol", "company": acme.id, "email": "carol@acme.example" });
    call(&acme.admin, "auth.create_user", carol).await;
    let found = acme.admin.get("/api/users?search=carol").await.expect(200);
    give_password(&mesh, &acme, found["results"][0]["id"].as_i64().unwrap(), password).await;
    let by_address = json!({ "email": "Carol@ACME.example", "password": password });
    mesh.anonymous().post("/api/auth/login", by_address).await.expect(200);
    mesh.anonymous().basic("carol@acme.example", password).get("/api/users/self").await.expect(200);
    // A bare name means the default tenant.
    mesh.anonymous().basic("carol", password).get("/api/users/self").await.expect(401);

    let beta = company(&mesh, "Beta").await;
    let act_as = operator(&mesh).with("X-Clearml-Act-As", &beta.admin_id);
    let taken = refusal(&act_as, "login.set_domains", json!({ "domains": ["acme.example"] })).await;
    assert_eq!((taken.0, taken.1), (400, 801));
    let bad = refusal(&act_as, "login.set_domains", json!({ "domains": ["no domain"] })).await;
    assert_eq!((bad.0, bad.1), (400, 23));
    // An admin of a tenant would learn from the first of these answers that the other exists.
    let theirs = refusal(&beta.admin, "login.set_domains", json!({ "domains": ["acme.example"] })).await;
    let nobodys = refusal(&beta.admin, "login.set_domains", json!({ "domains": ["free.example"] })).await;
    assert_eq!((theirs.0, theirs.1), (403, 20));
    assert_eq!(theirs, nobodys);
    let freed = operator(&mesh).with("X-Clearml-Act-As", &acme.admin_id);
    call(&freed, "login.set_domains", json!({ "domains": [] })).await;
    call(&act_as, "login.set_domains", json!({ "domains": ["acme.example"] })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_key_survives_a_restart_and_is_one() {
    let mesh = mesh().await;
    let before = call(&operator(&mesh), "users.get_current_user", json!({})).await["user"].clone();
    assert_eq!((&before["role"], &before["username"]), (&json!("system"), &json!("__supervisor__")));
    let mesh = mesh.restart(crate::services()).await;
    let after = call(&operator(&mesh), "users.get_current_user", json!({})).await["user"].clone();
    assert_eq!(before, after);
    let keys = call(&operator(&mesh), "auth.get_credentials", json!({})).await["credentials"].clone();
    assert_eq!(keys.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_key_finds_them_by_whatever_name() {
    let mesh = mesh().await;
    let me = operator(&mesh).get("/api/users/self").await.expect(200);
    let path = format!("/api/users/{}", me["id"]);
    operator(&mesh).patch(&path, json!({ "username": "boss" })).await.expect(200);
    let mesh = mesh.restart(crate::services()).await;
    let after = operator(&mesh).get("/api/users/self").await.expect(200);
    assert_eq!((&after["id"], &after["username"]), (&me["id"], &json!("boss")));
    assert_eq!(mesh.admin().get("/api/users?search=__supervisor__").await.expect(200)["count"], 0);
}
