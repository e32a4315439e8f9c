//! What the mesh sees: exchange, keys, log, rebuilds.

use std::time::Duration;

use contracts::identity::{SessionEnded, UserUpdated};
use contracts::{ContractEvent, TenantId};
use event_store::log::LogFilter;
use event_store::store::Context;
use identity::domain::membership::{Membership, MembershipCommand, NewMembership};
use identity::domain::tenant::{Allowance, Tenant, TenantCommand};
use identity::domain::user::{NewUser, User, UserCommand};
use policy::{Privilege, Role};
use serde_json::{Value, json};
use service_kit::auth::{Credential, ExchangeAnswer, ExchangeRequest};
use service_kit::{Kit, Refusal};
use test_kit::TestMesh;

const PASSWORD: &str = "correct horse battery";

async fn mesh() -> TestMesh {
    TestMesh::start(crate::services()).await
}

fn kit(mesh: &TestMesh) -> &Kit {
    mesh.running.kit("identity").unwrap()
}

fn create() -> TenantCommand {
    TenantCommand::Create {
        name: "acme".into(),
        display_name: "acme".into(),
        allowance: Allowance::default(),
    }
}

async fn join(mesh: &TestMesh, organization: &Value, user: &Value, role: Role) -> i64 {
    let store = &kit(mesh).store;
    let id = store.new_id_of("membership").await.unwrap();
    let new = NewMembership {
        organization_id: organization["id"].as_i64().unwrap(),
        user_id: user["id"].as_i64().unwrap(),
        role,
        joined_at: Some(store.clock().now()),
    };
    let context = Context::mesh(identity::DEFAULT_TENANT);
    store
        .transact(&context, async |unit| {
            unit.execute::<Membership>(id, MembershipCommand::Create(new.clone())).await?;
            Ok::<_, Refusal>(())
        })
        .await
        .unwrap();
    id
}

async fn log(mesh: &TestMesh) -> Vec<contracts::Envelope> {
    let peer = kit(mesh).peer("identity").unwrap();
    event_store::sequencer::drain(&kit(mesh).store, &["es_contract"]).await.unwrap();
    peer.log(0, 1000, Duration::ZERO, &LogFilter::default()).await.unwrap().events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maintainer_gives_no_role_that_they_could_not_take() {
    let mesh = mesh().await;
    let (owner, bob, carol) = (mesh.user("owner").await, mesh.user("bob").await, mesh.user("carol").await);
    let acme = owner.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    let me = async |client: &test_kit::Client| client.get("/api/users/self").await.expect(200);
    let bobs = join(&mesh, &acme, &me(&bob).await, Role::Maintainer).await;
    let carols = join(&mesh, &acme, &me(&carol).await, Role::Worker).await;
    let (bobs, carols) = (format!("/api/memberships/{bobs}"), format!("/api/memberships/{carols}"));

    bob.patch(&carols, json!({ "role": "maintainer" })).await.expect(403);
    bob.patch(&carols, json!({ "role": "owner" })).await.expect(403);
    assert_eq!(bob.patch(&carols, json!({ "role": "supervisor" })).await.expect(200)["role"], "supervisor");
    bob.patch(&bobs, json!({ "role": "supervisor" })).await.expect(403);
    carol.patch(&bobs, json!({ "role": "worker" })).await.expect(403);
    carol.patch(&carols, json!({ "role": "maintainer" })).await.expect(403);
    carol.get(&bobs).await.expect(200);
    let names = carol.get("/api/users?sort=username").await.expect(200);
    assert_eq!(names["count"], 3);
    assert!(names["results"][0].get("email").is_none() && names["results"][1].get("email").is_some());
    assert_eq!(carol.get("/api/memberships?role=maintainer").await.expect(200)["count"], 1);
    assert_eq!(carol.get("/api/memberships?user=bob").await.expect(200)["count"], 1);
    carol.get("/api/memberships?role=king").await.expect(400);
    carol.delete(&carols).await.expect(204);
    carol.get(&bobs).await.expect(403);
    owner.patch(&bobs, json!({ "role": "worker" })).await.expect(200);
    bob.patch(&format!("/api/organizations/{}", acme["id"]), json!({ "name": "mine" })).await.expect(403);
    owner.delete(&bobs).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_have_an_alice_each_and_never_meet() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    let store = &kit(&mesh).store;
    let acme = TenantId(event_store::new_id());
    let (tenant_id, user_id) =
        (store.new_id_of("tenant").await.unwrap(), store.new_id_of("user").await.unwrap());
    let hash = identity::passwords::hash("another good one".into()).await.unwrap();
    store
        .transact(&Context::mesh(acme), async |unit| {
            unit.execute::<Tenant>(tenant_id, create()).await?;
            let new = NewUser {
                username: "alice".into(),
                email: "alice@example.com".into(),
                first_name: String::new(),
                last_name: String::new(),
                password_hash: Some(hash.clone()),
                privilege: Some(Privilege::Admin),
                operator: false,
                at: unit.store().clock().now(),
                reservation_id: None,
            };
            unit.execute::<User>(user_id, UserCommand::Register(new)).await?;
            Ok::<_, Refusal>(())
        })
        .await
        .unwrap();
    let elsewhere = mesh.anonymous().basic("acme\\alice", "another good one");
    let other = elsewhere.get("/api/users/self").await.expect(200);
    assert_eq!(other["id"], user_id);
    let by_host =
        mesh.anonymous().with("host", "acme.example.com").sign_in("alice", "another good one").await;
    assert_eq!(by_host.get("/api/users/self").await.expect(200)["id"], user_id);
    mesh.anonymous().basic("alice", "another good one").get("/api/users/self").await.expect(401);
    mesh.anonymous().basic("acme\\alice", PASSWORD).get("/api/users/self").await.expect(401);

    // An admin there: what is here does not exist.
    let organization = alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    let membership = alice.get("/api/memberships").await.expect(200)["results"][0]["id"].clone();
    let id = alice.get("/api/users/self").await.expect(200)["id"].clone();
    for path in [
        format!("/api/organizations/{}", organization["id"]),
        format!("/api/memberships/{membership}"),
        format!("/api/users/{id}"),
    ] {
        elsewhere.get(&path).await.expect(404);
        elsewhere.delete(&path).await.expect(404);
        let none = elsewhere.patch(&path, json!({ "role": "worker" })).await;
        assert_eq!(none.status, 404, "{path}: {}", none.text);
    }
    for path in ["/api/users", "/api/organizations", "/api/memberships"] {
        let count = elsewhere.get(path).await.expect(200)["count"].clone();
        assert_eq!(count, i64::from(path == "/api/users"), "{path}");
    }
    elsewhere.organization("acme").get("/api/organizations").await.expect(404);
    elsewhere.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_services_exchange_and_only_what_is_good() {
    let mesh = mesh().await;
    mesh.user("alice").await;
    let peer = kit(&mesh).peer("identity").unwrap();
    let ask = async |credential: Credential| {
        let request = ExchangeRequest { credential, host: "localhost".into() };
        peer.json::<ExchangeAnswer>(peer.post("/internal/exchange").json(&request)).await
    };
    let basic = |password: &str| Credential::Basic { username: "alice".into(), password: password.into() };
    let answer = ask(basic(PASSWORD)).await.unwrap();
    assert_eq!(answer.token.split('.').count(), 3);
    assert!(answer.position > 0);
    for bad in [
        basic("wrong"),
        Credential::Basic { username: "a\0b".into(), password: "x".into() },
        Credential::Session("0".repeat(64)),
        Credential::Token(String::new()),
        Credential::Bearer(answer.token),
    ] {
        let refused = ask(bad).await.unwrap_err();
        assert!(matches!(refused, bus::peer::PeerError::Refused { status: 401, .. }), "{refused}");
    }
    let address = format!("http://{}/identity", mesh.running.config.mesh_address);
    for path in ["/internal/jwks", "/internal/log"] {
        let nobody = service_kit::http_client::builder().build().unwrap();
        assert_eq!(nobody.get(format!("{address}{path}")).send().await.unwrap().status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_revocations_and_no_secret() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    let change = json!({
        "old_password": PASSWORD, "new_password1": "another good one", "new_password2": "another good one",
    });
    alice.post("/api/auth/password/change", change).await.expect(200);
    let events = log(&mesh).await;
    let of = |name: &str| events.iter().filter(|event| event.event_type == name).count();
    // The session of the registration; that of the login is the one that asked.
    assert_eq!((of(SessionEnded::TYPE), of(UserUpdated::TYPE)), (1, 1));
    for event in &events {
        let data = event.data.get();
        assert!(!data.contains("argon2") && !data.contains("@") && !data.contains("digest"), "{data}");
    }
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=events.len() as i64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_projection_is_rebuilt_from_the_events() {
    let mesh = mesh().await;
    let alice = mesh.user("alice").await;
    alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(201);
    let names: Vec<_> = kit(&mesh).store.projections().collect();
    assert_eq!(names.len(), 8);
    for name in names {
        assert!(kit(&mesh).store.rebuild(name).await.unwrap().unwrap() > 0, "{name}");
    }
    alice.get("/api/users/self").await.expect(200);
    mesh.anonymous().sign_in("alice", PASSWORD).await;
    let taken = alice.post("/api/organizations", json!({ "slug": "acme" })).await.expect(400);
    assert_eq!(taken, json!({ "slug": ["organization with this slug already exists."] }));
    let body = json!({
        "username": "alice", "email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD,
    });
    mesh.anonymous().post("/api/auth/register", body).await.expect(400);
    assert_eq!(alice.get("/api/memberships").await.expect(200)["count"], 1);
}
