//! What tenants use is counted from what they do, told to them and to the operator, and capped where it is capped.

use std::time::Duration;

use contracts::TenantId;
use serde_json::{Value, json};
use test_kit::receiver::{Mode, Receiver};
use test_kit::{Client, TestMesh, eventually};

use crate::support::{mesh, services, unique};

const PATIENCE: Duration = Duration::from_secs(40);

/// The newest window's value of a meter.
async fn used(client: &Client, query: &str) -> String {
    let usage = client.get(&format!("/v1/usage?{query}")).await.expect(200);
    usage["items"].as_array().unwrap().last().unwrap()["value"].as_str().unwrap().to_owned()
}

async fn becomes(client: &Client, query: &str, value: &str) {
    eventually(&format!("{query} is {value}"), PATIENCE, async || {
        (used(client, query).await == value).then_some(())
    })
    .await;
}

/// The id of the only tenant there is.
async fn tenant(mesh: &TestMesh) -> TenantId {
    eventually("billing has heard of it", PATIENCE, async || {
        let limits = mesh.admin().get("/v1/limits").await.expect(200);
        limits["items"][0]["tenant"].as_str().map(|id| id.parse().unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_counted() {
    let mesh = mesh().await;
    let admin = mesh.admin();
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = alice.organization(&slug);
    let receiver = Receiver::start(Mode::Ok);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project"],
    });
    client.post("/api/webhooks", hook).await.expect(201);
    let labels = json!([{ "name": "car" }]);
    let project =
        client.post("/api/projects", json!({ "name": "streets", "labels": labels })).await.expect(201);
    for n in 0..3 {
        let task = json!({ "name": format!("t{n}"), "project_id": project["id"] });
        client.post("/api/tasks", task).await.expect(201);
    }
    becomes(&admin, "meter=seats", "2").await;
    becomes(&admin, "meter=seats_peak&tenant=default", "2").await;
    becomes(&admin, "meter=tasks", "3").await;
    becomes(&admin, "meter=webhook_deliveries", "1").await;
    let grouped = admin.get("/v1/usage?meter=tasks&group_by=project&window=month").await.expect(200);
    assert_eq!(grouped["items"][0]["project"], json!(project["id"].to_string()));
    // Six calls at least: the organization, the webhook, the project, three tasks.
    let calls = async || {
        let query = "/v1/usage?meter=api_calls&group_by=class,service";
        let items = admin.get(query).await.expect(200)["items"].clone();
        let of = |service: &str| {
            let mut found = items.as_array().unwrap().iter();
            found.find(|item| item["service"] == service && item["class"] == "write").cloned()
        };
        Some((of("projects")?["value"].clone(), of("webhooks")?["value"].clone()))
    };
    assert_eq!(eventually("calls are reported", PATIENCE, calls).await, (json!("4"), json!("1")));
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_limit_reaches_the_services_and_their_memory_answers() {
    let mesh = mesh().await;
    let tenant = tenant(&mesh).await;
    let identity = mesh.running.kit("identity").unwrap().clone();
    let known = async || identity.entitlement(tenant, "seats").await.unwrap().and_then(|known| known.limit);
    assert_eq!(known().await, None);
    for limit in 10..20 {
        let body = json!({ "limit": limit }).to_string();
        mesh.admin().send("PUT", "/v1/limits/seats?tenant=default", Some(body)).await.expect(200);
        let text = limit.to_string();
        eventually("the limit arrives", PATIENCE, async || {
            (known().await.as_deref() == Some(text.as_str())).then_some(())
        })
        .await;
    }
    assert!(identity.may(tenant, "experiments").await.unwrap());
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_are_capped_also_when_many_come_at_once() {
    let mesh = mesh().await;
    let admin = mesh.admin();
    becomes(&admin, "meter=seats", "1").await;
    let body = json!({ "limit": 3 }).to_string();
    admin.send("PUT", "/v1/limits/seats?tenant=default", Some(body)).await.expect(200);
    let (tenant, identity) = (tenant(&mesh).await, mesh.running.kit("identity").unwrap().clone());
    eventually("identity knows the cap", PATIENCE, async || {
        identity.entitlement(tenant, "seats").await.unwrap().filter(|known| known.hard)
    })
    .await;
    let register = |name: String| {
        let client = mesh.anonymous();
        async move {
            let body = json!({
                "username": name, "email": format!("{name}@example.com"), "first_name": "", "last_name": "",
                "password1": "correct horse battery", "password2": "correct horse battery",
            });
            loop {
                let answer = client.post("/api/auth/register", body.clone()).await;
                match answer.status {
                    503 => tokio::time::sleep(Duration::from_millis(100)).await,
                    status => return (status, answer.text),
                }
            }
        }
    };
    let answers = futures::future::join_all((0..20).map(|_| register(unique("racer")))).await;
    let count = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!((count(201), count(403)), (2, 18), "{answers:?}");
    let refused = answers.iter().find(|(status, _)| *status == 403).unwrap();
    assert!(refused.1.contains("The limit of 3 users is reached"), "{}", refused.1);
    let limits = eventually("places are settled", PATIENCE, async || {
        let limits = admin.get("/v1/limits").await.expect(200)["items"][0].clone();
        (limits["used"] == "3" && limits["reserved"] == "0").then_some(limits)
    })
    .await;
    assert_eq!(limits["limit"], "3");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_billing_nobody_guesses() {
    let mesh = mesh().await;
    let admin = mesh.admin();
    becomes(&admin, "meter=seats", "1").await;
    let body = json!({ "limit": 30 }).to_string();
    admin.send("PUT", "/v1/limits/seats?tenant=default", Some(body)).await.expect(200);
    let (tenant, identity) = (tenant(&mesh).await, mesh.running.kit("identity").unwrap().clone());
    eventually("identity knows the cap", PATIENCE, async || {
        identity.entitlement(tenant, "seats").await.unwrap().filter(|known| known.hard)
    })
    .await;
    let without = services().into_iter().filter(|service| service.name() != "billing").collect();
    let mesh = mesh.restart(without).await;
    let name = unique("late");
    let body = json!({
        "username": name, "email": format!("{name}@example.com"), "first_name": "", "last_name": "",
        "password1": "correct horse battery", "password2": "correct horse battery",
    });
    let refused = mesh.anonymous().post("/api/auth/register", body.clone()).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    let mesh = mesh.restart(services()).await;
    eventually("it works again", PATIENCE, async || {
        (mesh.anonymous().post("/api/auth/register", body.clone()).await.status == 201).then_some(())
    })
    .await;
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_admins_and_operators() {
    let mesh = mesh().await;
    let sign_in = mesh.anonymous().get("/usage").await;
    assert_eq!(
        (sign_in.status, sign_in.headers["location"].to_str().unwrap()),
        (303, "/sign-in?next=/usage")
    );
    let stranger = mesh.user(&unique("alice")).await.get("/usage").await;
    assert_eq!(stranger.status, 403);
    assert!(stranger.text.contains("for admins"), "{}", stranger.text);
    let page = mesh.admin().get("/usage?window=hour").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Usage of all tenants") && page.text.contains("data-meter=\"api_calls\""));
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    for asset in ["uplot.min.js", "uplot.min.css", "uplot.LICENSE.txt", "usage.js", "usage.css"] {
        let path = format!("/usage/assets/{asset}");
        let loaded = mesh.anonymous().get(&path).await;
        assert_eq!(loaded.status, 200, "{asset}");
        let tag = loaded.headers["etag"].to_str().unwrap();
        assert_eq!(mesh.anonymous().with("if-none-match", tag).get(&path).await.status, 304);
    }
    assert_eq!(mesh.admin().get("/usage?tenant=nobody").await.status, 404);
    let _: Value = mesh.admin().get("/v1/limits").await.expect(200);
    mesh.running.stop().await;
}
