//! Two companies on one mesh: neither can tell, through any endpoint of any OpenAPI document, that what the
//! other has exists.

use std::collections::BTreeMap;

use contracts::TenantId;
use event_store::log::{self, LogFilter};
use event_store::sequencer::{self, CONTRACTS};
use event_store::store::Context;
use identity::domain::tenant::{Allowance, Tenant, TenantCommand};
use identity::domain::user::{NewUser, User, UserCommand};
use policy::Privilege;
use projects::domain::job::{CreateJob, Job, JobCommand};
use projects::domain::request::{Request, RequestCommand, Submitted};
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
    let (name, display_name, allowance) = ("acme".into(), "Acme".into(), Allowance::default());
    unit.execute::<Tenant>(id, TenantCommand::Create { name, display_name, allowance }).await.unwrap();
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
        reservation_id: None,
    };
    unit.execute::<User>(id, UserCommand::Register(new)).await.unwrap();
    unit.commit().await.unwrap();
    mesh.anonymous().sign_in("acme\\mallory", PASSWORD).await
}

/// A task with a job and a request, which come with data that nobody sends here.
async fn task_with_job(mesh: &TestMesh, client: &Client) -> [Value; 3] {
    let body = json!({ "name": "secret", "labels": [{ "name": "car" }] });
    let task = client.post("/api/tasks", body).await.expect(201);
    let (task_id, owner_id) = (task["id"].as_i64().unwrap(), task["owner"]["id"].as_i64());
    let store = &mesh.running.kit("projects").unwrap().store;
    sequencer::drain(store, &[CONTRACTS]).await.unwrap();
    let page = log::read(store, 0, 1_000, &LogFilter::default()).await.unwrap();
    let subject = format!("task/{task_id}");
    let created = page.events.iter().find(|event| event.subject == subject).unwrap();
    let (at, project_id, organization_id) = (store.clock().now(), None, created.organizationid);
    let mut unit = store.begin(Context::mesh(created.tenantid)).await.unwrap();
    let id = unit.new_ids_of("job", 1).await.unwrap()[0];
    let create = CreateJob { id, task_id, project_id, organization_id, start_frame: 0, stop_frame: 9, at };
    unit.execute::<Job>(id, JobCommand::Create(create)).await.unwrap();
    let submitted = Submitted {
        request_id: "secret-request".into(),
        action: "create".into(),
        target: "task".into(),
        project_id,
        task_id: Some(task_id),
        owner_id,
        at,
    };
    let request = unit.new_ids_of("request", 1).await.unwrap()[0];
    unit.execute::<Request>(request, RequestCommand::Submit(submitted)).await.unwrap();
    unit.commit().await.unwrap();
    client.get("/api/requests/secret-request").await.expect(200);
    [task["id"].clone(), Value::from(id), Value::from("secret-request")]
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
    let [task, job, request] = task_with_job(mesh, &client).await;
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
        ("/api/tasks/{id}", task),
        ("/api/jobs/{id}", job),
        ("/api/requests/{id}", request),
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
        ("patch" | "put", path) if path.ends_with("/annotations/") => json!({ "version": 0, "shapes": [] }),
        (_, path) if path.starts_with("/api/tasks") => json!({ "name": "x" }),
        (_, path) if path.starts_with("/api/jobs") => json!({ "state": "completed" }),
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
            // Where a query decides whether the request makes sense at all, it does.
            let query = "action=create&type=frame&number=0&quality=original";
            let target = |id: &str| {
                let path =
                    path.replace("{id}", id).replace("{delivery_id}", &things["delivery_id"].to_string());
                format!("{path}?{query}")
            };
            for method in ["get", "put", "patch", "post", "delete"].iter().filter(|m| item.get(**m).is_some())
            {
                let sent = body(path, method);
                let method_name = method.to_uppercase();
                let theirs = theirs.as_str().map_or_else(|| theirs.to_string(), str::to_owned);
                let real = mallory.send(&method_name, &target(&theirs), sent.clone()).await;
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
    let of_tasks = ["/api/tasks", "/api/jobs", "/api/requests"];
    for path in of_tasks.into_iter().chain([
        "/api/projects",
        "/api/labels",
        "/api/organizations",
        "/api/memberships",
        "/api/webhooks",
    ]) {
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
