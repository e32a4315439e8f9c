//! Billing from outside, among services that publish what a test tells them.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::event::Example;
use contracts::identity::{Tenant, TenantCreated, User, UserDeleted, UserRegistered};
use contracts::media::StorageChanged;
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::entitlements::reservations::ReservationAnswer;
use test_kit::{Client, TestMesh, eventually, fake};

pub const PATIENCE: Duration = Duration::from_secs(120);

pub async fn mesh() -> TestMesh {
    let names = ["identity", "projects", "media", "webhooks"];
    let mut services: Vec<_> = names.into_iter().map(fake::service).collect();
    services.push(billing::service());
    TestMesh::start(services).await
}

pub fn caller(mesh: &TestMesh, name: &str) -> Client {
    mesh.anonymous().with("authorization", &format!("Token {name}"))
}

/// Another service, as billing sees it on the mesh port.
pub fn peer(mesh: &TestMesh, name: &str) -> Client {
    let credential = mesh.running.kit("billing").unwrap().mesh_secret.credential(name, "billing");
    let url = format!("http://{}/billing", mesh.running.config.mesh_address);
    Client::new(&url).with("authorization", &format!("Bearer {credential}"))
}

pub async fn publish(mesh: &TestMesh, service: &str, events: &[Value]) {
    fake::tell(mesh, service, Value::Null, json!(events)).await;
}

/// Tenant 1, with so many users allowed.
pub fn tenant_created(position: i64, allowed_users: Option<i64>) -> Value {
    let tenant = Tenant { name: "acme".into(), allowed_users, features: None, exclude_features: vec![] };
    fake::event(position, 1, 1, &TenantCreated { tenant })
}

pub fn registered(position: i64, id: i64, reservation: Option<&ReservationAnswer>) -> Value {
    let user = User { id, is_active: true, ..User::example() };
    let reservation_id = reservation.and_then(|reservation| reservation.id);
    fake::event(position, id, 1, &UserRegistered { user, reservation_id })
}

pub fn deleted(position: i64, id: i64) -> Value {
    fake::event(position, id, 2, &UserDeleted { user: User { id, ..User::example() } })
}

fn wish(key: &str, amount: i64, idempotency_key: &str) -> Value {
    json!({
        "tenant": fake::tenant(1), "key": key, "amount": amount.to_string(), "idempotency_key": idempotency_key,
        "log_position": 0,
    })
}

async fn reserve(mesh: &TestMesh, wish: Value) -> Result<ReservationAnswer, (u16, String)> {
    let answer = peer(mesh, "identity").post("/internal/reservations", wish).await;
    match answer.status {
        200 => Ok(serde_json::from_str(&answer.text).unwrap()),
        other => Err((other, answer.text)),
    }
}

/// One limit of tenant 1: limit, used, reserved.
async fn limit(mesh: &TestMesh, key: &str) -> (Value, String, String) {
    let limits = caller(mesh, "7.admin").get("/v1/limits").await.expect(200);
    let found = limits["items"].as_array().unwrap().iter().find(|item| item["key"] == key).unwrap().clone();
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (found["limit"].clone(), text("used"), text("reserved"))
}

async fn limit_becomes(mesh: &TestMesh, key: &str, cap: Value, used: &str, reserved: &str) {
    let wanted = (cap, used.to_owned(), reserved.to_owned());
    let what = format!("{key} {wanted:?}");
    eventually(&what, PATIENCE, async || (limit(mesh, key).await == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_words_become_limits_and_an_operator_has_the_last() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, Some(3)), registered(2, 7, None)]).await;
    limit_becomes(&mesh, "seats", json!("3"), "1", "0").await;
    let operator = caller(&mesh, "operator");
    let body = json!({ "limit": "1000.5", "hard": false });
    let set = operator
        .send("PUT", "/v1/limits/storage_bytes?tenant=acme", Some(body.to_string()))
        .await
        .expect(200);
    assert_eq!(
        (&set["limit"], &set["hard"], &set["unit"]),
        (&json!("1000.5"), &json!(false), &json!("bytes"))
    );
    let path = format!("/v1/limits/seats?tenant={}", fake::tenant(1));
    let seats = operator.send("PUT", &path, Some(json!({ "limit": 9 }).to_string())).await.expect(200);
    assert_eq!((&seats["limit"], &seats["hard"]), (&json!("9"), &json!(true)));
    assert_eq!(operator.delete(&path).await.expect(200)["limit"], json!("3"), "identity's word again");
    let listed = operator.get("/v1/limits").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    for (method, path, body, status) in [
        ("PUT", "/v1/limits/gold?tenant=acme", json!({ "limit": 1 }), 404),
        ("PUT", "/v1/limits/seats?tenant=nobody", json!({ "limit": 1 }), 404),
        ("PUT", "/v1/limits/seats", json!({ "limit": 1 }), 400),
        ("PUT", "/v1/limits/seats?tenant=acme", json!({ "limit": -1 }), 400),
        ("PUT", "/v1/limits/seats?tenant=acme", json!({ "limit": "many" }), 400),
        ("PUT", "/v1/limits/seats?tenant=acme", json!({ "limit": true }), 400),
        ("PUT", "/v1/limits/seats?tenant=acme", json!({ "limit": "1e99999" }), 400),
        ("PUT", "/v1/limits/seats?tenant=acme", json!({}), 400),
    ] {
        let answer = operator.send(method, path, Some(body.to_string())).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/problem+json"));
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_sees_the_tenant_and_only_an_operator_all() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, None), registered(2, 7, None)]).await;
    limit_becomes(&mesh, "seats", Value::Null, "1", "0").await;
    let mine = "/v1/usage?meter=seats";
    assert_eq!(caller(&mesh, "7.user").get(mine).await.status, 403);
    assert_eq!(caller(&mesh, "7.user").get("/v1/limits").await.status, 403);
    assert_eq!(mesh.anonymous().get(mine).await.status, 401);
    let theirs = format!("{mine}&tenant={}", fake::tenant(1));
    let nobodys = format!("{mine}&tenant={}", fake::tenant(77));
    let stranger = caller(&mesh, "9.admin.2");
    let (real, none) = (stranger.get(&theirs).await, stranger.get(&nobodys).await);
    assert_eq!((real.status, none.status), (404, 404));
    assert_eq!(real.json()["detail"], none.json()["detail"]);
    let put =
        stranger.send("PUT", "/v1/limits/seats?tenant=acme", Some(json!({ "limit": 1 }).to_string())).await;
    assert_eq!(put.status, 403);
    let today = |answer: Value| answer["items"].as_array().unwrap().last().unwrap()["value"].clone();
    assert_eq!(today(stranger.get(mine).await.expect(200)), "0");
    assert_eq!(today(caller(&mesh, "7.admin").get(&theirs).await.expect(200)), "1");
    let operator = caller(&mesh, "operator");
    assert_eq!(today(operator.get(mine).await.expect(200)), "1");
    let grouped = operator.get(&format!("{mine}&group_by=tenant")).await.expect(200);
    assert_eq!(grouped["items"][0]["tenant"], json!(fake::tenant(1)));
    assert_eq!(operator.get("/v1/usage?meter=seats_peak").await.expect(400)["code"], "peaks_do_not_add");
    assert_eq!(today(operator.get("/v1/usage?meter=seats_peak&tenant=acme").await.expect(200)), "1");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_goes_from_reserved_to_used_with_its_event_and_back_with_its_owner() {
    let mesh = mesh().await;
    let mut log = vec![tenant_created(1, Some(2)), registered(2, 7, None)];
    publish(&mesh, "identity", &log).await;
    limit_becomes(&mesh, "seats", json!("2"), "1", "0").await;
    let place = reserve(&mesh, wish("seats", 1, "a")).await.unwrap();
    assert_eq!(reserve(&mesh, wish("seats", 1, "a")).await.unwrap().id, place.id, "the same wish again");
    assert_eq!(reserve(&mesh, wish("seats", 2, "a")).await.unwrap_err().0, 422, "another wish under its key");
    let (status, text) = reserve(&mesh, wish("seats", 1, "b")).await.unwrap_err();
    assert_eq!(status, 409);
    assert!(text.contains("The limit of 2 users is reached"), "{text}");
    log.push(registered(3, 8, Some(&place)));
    publish(&mesh, "identity", &log).await;
    limit_becomes(&mesh, "seats", json!("2"), "2", "0").await;
    assert_eq!(reserve(&mesh, wish("seats", 1, "b")).await.unwrap_err().0, 409);
    log.push(deleted(4, 8));
    publish(&mesh, "identity", &log).await;
    limit_becomes(&mesh, "seats", json!("2"), "1", "0").await;
    let place = reserve(&mesh, wish("seats", 1, "b")).await.unwrap();
    let release = format!("/internal/reservations/{}?tenant={}", place.id.unwrap(), fake::tenant(1));
    assert_eq!(peer(&mesh, "media").delete(&release).await.status, 404, "only its owner gives it back");
    assert_eq!(peer(&mesh, "identity").delete(&release).await.status, 204);
    assert_eq!(peer(&mesh, "identity").delete(&release).await.status, 204, "twice is once");
    assert_eq!(limit(&mesh, "seats").await, (json!("2"), "1".into(), "0".into()));
    assert_ne!(reserve(&mesh, wish("seats", 1, "b")).await.unwrap().id, place.id, "its key is free again");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wish_from_many_at_once_gets_one_place() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, Some(9)), registered(2, 7, None)]).await;
    limit_becomes(&mesh, "seats", json!("9"), "1", "0").await;
    for key in ["a", "b", "c"] {
        let wishes = (0..20).map(|_| reserve(&mesh, wish("seats", 1, key)));
        let ids: BTreeSet<_> =
            join_all(wishes).await.into_iter().map(|answer| answer.unwrap().id.unwrap()).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
    assert_eq!(limit(&mesh, "seats").await, (json!("9"), "1".into(), "3".into()));
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_cap_is_hard_no_place_is_needed() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, None), registered(2, 7, None)]).await;
    limit_becomes(&mesh, "seats", Value::Null, "1", "0").await;
    assert_eq!(reserve(&mesh, wish("seats", 1, "a")).await.unwrap().id, None);
    let soft = json!({ "limit": 0, "hard": false }).to_string();
    caller(&mesh, "operator").send("PUT", "/v1/limits/seats?tenant=acme", Some(soft)).await.expect(200);
    assert_eq!(reserve(&mesh, wish("seats", 1, "b")).await.unwrap().id, None);
    for (wish, field) in [
        (wish("gold", 1, "a"), "key"),
        (wish("seats", 0, "a"), "amount"),
        (wish("seats", 1, ""), "idempotency_key"),
    ] {
        let (status, text) = reserve(&mesh, wish).await.unwrap_err();
        assert!(status == 400 && text.contains(field), "{text}");
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_racers_get_exactly_the_places_that_there_are() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, Some(3))]).await;
    limit_becomes(&mesh, "seats", json!("3"), "0", "0").await;
    let client = peer(&mesh, "identity");
    let races = (0..1_000).map(|n| {
        let (client, wish) = (client.clone(), wish("seats", 1, &format!("racer {n}")));
        async move {
            loop {
                // A queue that is too long says so, and nobody is told a guess.
                match client.post("/internal/reservations", wish.clone()).await.status {
                    503 => tokio::time::sleep(Duration::from_millis(50)).await,
                    other => return other,
                }
            }
        }
    });
    let answers = futures::future::join_all(races).await;
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(200), count(409)), (3, 997));
    assert_eq!(limit(&mesh, "seats").await, (json!("3"), "0".into(), "3".into()));
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_nobody_took_comes_free_and_one_that_was_taken_does_not() {
    let mesh = mesh().await;
    let log = vec![tenant_created(1, Some(2))];
    publish(&mesh, "identity", &log).await;
    limit_becomes(&mesh, "seats", json!("2"), "0", "0").await;
    let short = |name: &str| {
        let mut wish = wish("seats", 1, name);
        wish["ttl_s"] = 1.into();
        wish
    };
    // Two racers: one dies, the other's event is in identity's log although billing has not taken it in: its
    // stream begins at version 2, which to the consumer is a hole.
    let (_dead, living) =
        (reserve(&mesh, short("dead")).await.unwrap(), reserve(&mesh, short("living")).await.unwrap());
    let mut event = registered(2, 8, Some(&living));
    event["streamversion"] = 2.into();
    publish(&mesh, "identity", &[log[0].clone(), event.clone()]).await;
    limit_becomes(&mesh, "seats", json!("2"), "0", "1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(limit(&mesh, "seats").await.2, "1", "it is in the log, so it is taken");
    event["streamversion"] = 1.into();
    publish(&mesh, "identity", &[log[0].clone(), event]).await;
    limit_becomes(&mesh, "seats", json!("2"), "1", "0").await;
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_capped_by_what_is_stored_and_promised() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, None), registered(2, 7, None)]).await;
    limit_becomes(&mesh, "seats", Value::Null, "1", "0").await;
    let cap = json!({ "limit": "1000" }).to_string();
    caller(&mesh, "operator")
        .send("PUT", "/v1/limits/storage_bytes?tenant=acme", Some(cap))
        .await
        .expect(200);
    let stored = |version: i64, bytes: i64, reservation_id| {
        fake::event(version, 1, version, &StorageChanged { bytes, reservation_id })
    };
    let place = reserve(&mesh, wish("storage_bytes", 700, "one")).await.unwrap();
    let (status, text) = reserve(&mesh, wish("storage_bytes", 301, "two")).await.unwrap_err();
    assert!(status == 409 && text.contains("1000 bytes does not allow 301 more"), "{text}");
    // Less than was reserved: the rest is free again.
    publish(&mesh, "media", &[stored(1, 600, place.id)]).await;
    limit_becomes(&mesh, "storage_bytes", json!("1000"), "600", "0").await;
    reserve(&mesh, wish("storage_bytes", 400, "three")).await.unwrap();
    publish(&mesh, "media", &[stored(1, 600, place.id), stored(2, 0, None)]).await;
    limit_becomes(&mesh, "storage_bytes", json!("1000"), "0", "400").await;
    // Who gives back and asks again at once is not told that it is still full.
    let mut log = vec![stored(1, 600, place.id), stored(2, 0, None)];
    for round in 0..10 {
        let version = 3 + 2 * round;
        log.push(stored(version, 600, None));
        publish(&mesh, "media", &log).await;
        limit_becomes(&mesh, "storage_bytes", json!("1000"), "600", "400").await;
        log.push(stored(version + 1, 0, None));
        publish(&mesh, "media", &log).await;
        let wish = wish("storage_bytes", 600, &format!("again {round}"));
        let media = peer(&mesh, "media");
        let given = media.post("/internal/reservations", wish).await.expect(200);
        let path =
            format!("/internal/reservations/{}?tenant={}", given["id"].as_str().unwrap(), fake::tenant(1));
        media.delete(&path).await.expect(204);
    }
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_once_however_often_they_are_reported() {
    let mesh = mesh().await;
    publish(&mesh, "identity", &[tenant_created(1, None)]).await;
    let quarter = "2026-11-20T10:15:00Z";
    let report = json!({
        "id": event_store::new_id(),
        "calls": [{ "tenant": fake::tenant(1), "quarter": quarter, "reads": 5, "writes": 2 }],
    });
    for _ in 0..3 {
        let sent = peer(&mesh, "projects").post("/internal/api-usage", report.clone()).await;
        assert_eq!(sent.status, 204, "{}", sent.text);
    }
    let path = "/v1/usage?meter=api_calls&from=2026-11-20&to=2026-11-21&group_by=class,service";
    let admin = caller(&mesh, "7.admin");
    let items = eventually("the calls arrive", PATIENCE, async || {
        let items = admin.get(path).await.expect(200)["items"].clone();
        (!items.as_array().unwrap().is_empty()).then_some(items)
    })
    .await;
    let item = |class: &str, value: &str| {
        json!({ "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "class": class,
            "service": "projects", "value": value })
    };
    assert_eq!(items, json!([item("read", "5"), item("write", "2")]));
    mesh.running.stop().await;
}
