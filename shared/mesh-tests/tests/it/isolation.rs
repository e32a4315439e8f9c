//! Two companies on one mesh: neither can tell, through any endpoint of any OpenAPI document, that what the
//! other has exists.

use std::time::Duration;

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
use test_kit::isolation::Things;
use test_kit::{Client, Isolation, TestMesh, assert_tenant_isolation, eventually};

use crate::support::{mesh, services, unique};

const PASSWORD: &str = "correct horse battery";

/// A second tenant with an admin of its own; there is no endpoint for that yet.
pub async fn other_tenant(mesh: &TestMesh) -> Client {
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

/// A job and a request of a task; they come with data that nobody sends here.
async fn job_and_request(mesh: &TestMesh, client: &Client, task: &Value) -> [Value; 2] {
    let (task_id, owner_id) = (task["id"].as_i64().unwrap(), task["owner"]["id"].as_i64());
    let store = &mesh.running.kit("projects").unwrap().store;
    sequencer::drain(store, &[CONTRACTS]).await.unwrap();
    let page = log::read(store, 0, 1_000, &LogFilter::default()).await.unwrap();
    let subject = format!("task/{task_id}");
    let created = page.events.iter().find(|event| event.subject == subject).unwrap();
    let (at, project_id, organization_id) =
        (store.clock().now(), task["project_id"].as_i64(), created.organizationid);
    let mut unit = store.begin(Context::mesh(created.tenantid)).await.unwrap();
    let id = unit.new_ids_of("job", 1).await.unwrap()[0];
    let create = CreateJob { id, task_id, project_id, organization_id, start_frame: 0, stop_frame: 9, at };
    unit.execute::<Job>(id, JobCommand::Create(create)).await.unwrap();
    let request_id = format!("secret-request-{task_id}");
    let submitted = Submitted {
        request_id: request_id.clone(),
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
    client.get(&format!("/api/requests/{request_id}")).await.expect(200);
    [id.into(), request_id.into()]
}

/// One thing of each kind, made by a client.
async fn things(mesh: &TestMesh, client: &Client, slug: &str) -> Things {
    let organization = client.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let inside = client.organization(slug);
    let project = json!({ "name": "secret", "labels": [{ "name": "car" }] });
    let project = inside.post("/api/projects", project).await.expect(201);
    let task = json!({ "name": "secret", "project_id": project["id"] });
    let task = inside.post("/api/tasks", task).await.expect(201);
    let [job, request] = job_and_request(mesh, client, &task).await;
    let labels = client.get(&format!("/api/labels?project_id={}", project["id"])).await.expect(200);
    let hook = inside.post("/api/webhooks", webhook()).await.expect(201);
    client.post(&format!("/api/webhooks/{}/ping", hook["id"]), json!({})).await.expect(200);
    let deliveries = client.get(&format!("/api/webhooks/{}/deliveries", hook["id"])).await.expect(200);
    let memberships = inside.get("/api/memberships").await.expect(200);
    Things::from([
        ("/api/users/{id}", organization["owner"]["id"].clone()),
        ("/api/organizations/{id}", organization["id"].clone()),
        ("/api/memberships/{id}", memberships["results"][0]["id"].clone()),
        ("/api/projects/{id}", project["id"].clone()),
        ("/api/tasks/{id}", task["id"].clone()),
        ("/api/jobs/{id}", job),
        ("/api/requests/{id}", request),
        ("/api/labels/{id}", labels["results"][0]["id"].clone()),
        ("/api/webhooks/{id}", hook["id"].clone()),
        ("{delivery_id}", deliveries["results"][0]["id"].clone()),
        // No file is on its way; a task is asked for first.
        ("{file}", json!("0198c0de-0000-7000-8000-000000000000")),
    ])
}

fn webhook() -> Value {
    json!({
        "target_url": "http://127.0.0.1:1/", "type": "organization", "content_type": "application/json",
        "events": ["update:project"],
    })
}

/// A body that would be accepted, so that the answer is about the thing and not about the body.
fn body(path: &str, method: &str) -> Option<Value> {
    match (method, path) {
        ("get" | "delete", _) => None,
        (_, path) if path.starts_with("/api/projects") || path.starts_with("/api/labels") => {
            Some(json!({ "name": "x" }))
        }
        ("patch" | "put", path) if path.ends_with("/annotations") => {
            Some(json!({ "version": 0, "shapes": [] }))
        }
        (_, "/api/tasks") => Some(json!({ "name": "x", "labels": [{ "name": "car" }] })),
        (_, path) if path.starts_with("/api/tasks") => Some(json!({ "name": "x" })),
        (_, path) if path.starts_with("/api/jobs") => Some(json!({ "state": "completed" })),
        (_, path) if path.starts_with("/api/organizations") => Some(json!({ "name": "x" })),
        (_, path) if path.starts_with("/api/memberships") => Some(json!({ "role": "worker" })),
        (_, path) if path.starts_with("/api/users") => Some(json!({ "first_name": "x" })),
        ("put" | "post", path) if path.starts_with("/api/webhooks") => Some(webhook()),
        _ => Some(json!({ "description": "x" })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_things_look_like_nothing() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let theirs = things(&mesh, &alice, &unique("o")).await;
    let mallory = other_tenant(&mesh).await;
    let own = things(&mesh, &mallory, &unique("o")).await;
    let isolation = Isolation {
        services: &services(),
        stranger: &mallory,
        theirs: &theirs,
        own: &own,
        body,
        query: "action=create&type=frame&number=0&quality=original",
    };
    assert_tenant_isolation(&isolation).await;
    // Labels are named by ids deeper in a body.
    let path = format!("/api/projects/{}", own["/api/projects/{id}"]);
    for label in [&theirs["/api/labels/{id}"], &json!(987_654_321)] {
        let said =
            mallory.patch(&path, json!({ "labels": [{ "id": label, "name": "x" }] })).await.expect(400);
        assert_eq!(said, json!({ "labels": [format!("There is no label with the id {label} here.")] }));
    }
    let path = format!("/api/jobs/{}/annotations?action=create", own["/api/jobs/{id}"]);
    let shape = |label: &Value| {
        let shape = json!({ "type": "rectangle", "frame": 0, "label_id": label, "points": [0, 0, 1, 1] });
        json!({ "version": 0, "shapes": [shape], "tags": [], "tracks": [] })
    };
    mallory.patch(&path, shape(&own["/api/labels/{id}"])).await.expect(200);
    let mut said = vec![];
    for label in [&theirs["/api/labels/{id}"], &json!(987_654_321)] {
        let refused = mallory.patch(&path, shape(label)).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        said.push(refused.text.replace(&label.to_string(), "…"));
    }
    assert_eq!(said[0], said[1]);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_things_are_in_no_list() {
    let mesh = mesh().await;
    let (alice, slug) = (mesh.user(&unique("alice")).await, unique("o"));
    let theirs = things(&mesh, &alice, &slug).await;
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
    // Each of the three services has told analytics, or nothing could be shown to anybody.
    let told = [("project", "/api/projects/{id}"), ("webhook", "/api/webhooks/{id}")];
    for (kind, path) in told.into_iter().chain([("organization", "/api/organizations/{id}")]) {
        let path = format!("/v1/events?subject={kind}/{}", theirs[path]);
        eventually(&format!("the news of the {kind}"), Duration::from_secs(20), async || {
            let page = alice.get(&path).await.expect(200);
            (!page["items"].as_array().unwrap().is_empty()).then_some(())
        })
        .await;
        assert_eq!(mallory.get(&path).await.expect(200)["items"], json!([]), "{path}");
    }
    let events = mallory.get("/v1/events?limit=1000").await.expect(200);
    for event in events["items"].as_array().unwrap() {
        assert!(!event["type"].as_str().unwrap().starts_with("projects."), "{event}");
    }
    let theirs = mallory.organization(&slug).get("/api/projects").await;
    let none = mallory.organization("nowhere-at-all").get("/api/projects").await;
    assert_eq!((theirs.status, none.status), (404, 404));
    // The same name may be used again: uniqueness ends at the tenant's wall.
    mallory.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    mesh.running.stop().await;
}
