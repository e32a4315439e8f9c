//! Two companies on one mesh: neither can tell, through any endpoint of any OpenAPI document, that what the
//! other has exists.

use std::collections::BTreeMap;

use contracts::TenantId;
use event_store::store::Context;
use identity::domain::tenant::{Tenant, TenantCommand};
use identity::domain::user::{NewUser, User, UserCommand};
use policy::Privilege;
use serde_json::{Value, json};
use test_kit::{Client, TestMesh};

use crate::support::{mesh, services, unique};

const PASSWORD: &str = "correct horse battery";

/// A second tenant with an admin of its own; there is no endpoint for that yet.
async fn other_tenant(mesh: &TestMesh) -> Client {
    let store = &mesh.running.kit("identity").unwrap().store;
    let hash = identity::passwords::hash(PASSWORD.to_owned()).await.unwrap();
    let context = Context::mesh(TenantId(event_store::new_id()));
    let mut unit = store.begin(context).await.unwrap();
    let id = unit.new_ids_of("tenant", 1).await.unwrap()[0];
    unit.execute::<Tenant>(id, TenantCommand::Create { name: "acme".into() }).await.unwrap();
    let id = unit.new_ids_of("user", 1).await.unwrap()[0];
    let new = NewUser {
        username: "mallory".into(),
        email: "mallory@acme.example".into(),
        first_name: String::new(),
        last_name: String::new(),
        password_hash: Some(hash),
        privilege: Some(Privilege::Admin),
        operator: false,
        at: store.clock().now(),
    };
    unit.execute::<User>(id, UserCommand::Register(new)).await.unwrap();
    unit.commit().await.unwrap();
    mesh.anonymous().sign_in("acme\\mallory", PASSWORD).await
}

/// One thing of each kind, by the path that names it.
async fn things(mesh: &TestMesh) -> BTreeMap<&'static str, Value> {
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    let organization = alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = alice.organization(&slug);
    let project = client
        .post("/api/projects", json!({ "name": "secret", "labels": [{ "name": "car" }] }))
        .await
        .expect(201);
    let labels = alice.get(&format!("/api/labels?project_id={}", project["id"])).await.expect(200);
    let hook = json!({
        "target_url": "http://127.0.0.1:1/", "type": "organization", "content_type": "application/json",
        "events": ["create:project"],
    });
    let hook = client.post("/api/webhooks", hook).await.expect(201);
    alice.post(&format!("/api/webhooks/{}/ping", hook["id"]), json!({})).await.expect(200);
    let deliveries = alice.get(&format!("/api/webhooks/{}/deliveries", hook["id"])).await.expect(200);
    let memberships = client.get("/api/memberships").await.expect(200);
    BTreeMap::from([
        ("/api/users/{id}", organization["owner"]["id"].clone()),
        ("/api/organizations/{id}", organization["id"].clone()),
        ("/api/memberships/{id}", memberships["results"][0]["id"].clone()),
        ("/api/projects/{id}", project["id"].clone()),
        ("/api/labels/{id}", labels["results"][0]["id"].clone()),
        ("/api/webhooks/{id}", hook["id"].clone()),
        ("delivery_id", deliveries["results"][0]["id"].clone()),
        ("slug", Value::from(slug)),
    ])
}

/// A body that would be accepted, so that the answer is about the thing and not about the body.
fn body(path: &str, method: &str) -> Option<String> {
    let body = match (method, path) {
        ("get" | "delete", _) => return None,
        (_, path) if path.starts_with("/api/projects") || path.starts_with("/api/labels") => {
            json!({ "name": "x" })
        }
        (_, path) if path.starts_with("/api/organizations") => json!({ "name": "x" }),
        (_, path) if path.starts_with("/api/memberships") => json!({ "role": "worker" }),
        (_, path) if path.starts_with("/api/users") => json!({ "first_name": "x" }),
        ("put", _) => json!({
            "target_url": "http://127.0.0.1:1/", "type": "organization", "content_type": "application/json",
            "events": ["create:project"],
        }),
        _ => json!({ "description": "x" }),
    };
    Some(body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_things_look_like_nothing() {
    let mesh = mesh().await;
    let things = things(&mesh).await;
    let mallory = other_tenant(&mesh).await;
    let mut compared = 0;
    for service in services() {
        let document = serde_json::to_value(service.openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            let Some(end) = path.find("}") else { continue };
            if !path.starts_with("/api/") {
                continue;
            }
            let known = things.get(&path[..=end]);
            let theirs = known.unwrap_or_else(|| panic!("{path} is not covered: make one in `things`"));
            let target = |id: &str| {
                path.replace("{id}", id).replace("{delivery_id}", &things["delivery_id"].to_string())
            };
            for method in ["get", "put", "patch", "post", "delete"].iter().filter(|m| item.get(**m).is_some())
            {
                let sent = body(path, method);
                let method_name = method.to_uppercase();
                let real = mallory.send(&method_name, &target(&theirs.to_string()), sent.clone()).await;
                let none = mallory.send(&method_name, &target("987654321"), sent).await;
                assert_eq!((real.status, &real.text), (none.status, &none.text), "{method} {path}");
                assert_eq!(real.status, 404, "{method} {path}: {}", real.text);
                compared += 1;
            }
        }
    }
    assert!(compared >= 15, "only {compared} endpoints were compared");
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_things_are_in_no_list() {
    let mesh = mesh().await;
    let things = things(&mesh).await;
    let mallory = other_tenant(&mesh).await;
    for path in ["/api/projects", "/api/labels", "/api/organizations", "/api/memberships", "/api/webhooks"] {
        assert_eq!(mallory.get(path).await.expect(200)["count"], 0, "{path}");
    }
    assert_eq!(mallory.get("/api/users").await.expect(200)["count"], 1);
    let events = mallory.get("/v1/events?limit=1000").await.expect(200);
    for event in events["items"].as_array().unwrap() {
        assert!(!event["type"].as_str().unwrap().starts_with("projects."), "{event}");
    }
    let slug = things["slug"].as_str().unwrap();
    let theirs = mallory.organization(slug).get("/api/projects").await;
    let none = mallory.organization("nowhere-at-all").get("/api/projects").await;
    assert_eq!((theirs.status, none.status), (404, 404));
    // The same name may be used again: uniqueness ends at the tenant's wall.
    mallory.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    mesh.running.stop().await;
}
