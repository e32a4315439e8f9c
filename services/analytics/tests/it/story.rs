//! What the tests have in common: a mesh of analytics and fakes, and logs that it reads.

use std::time::Duration;

use contracts::event::Example;
use contracts::identity::{Membership, MembershipCreated, Organization, OrganizationCreated};
use contracts::projects::ProjectCreated;
use serde_json::{Value, json};
use test_kit::{Client, TestMesh, eventually, fake};

/// Analytics among services that say what they are told.
pub async fn mesh() -> TestMesh {
    let names = ["identity", "projects", "webhooks"];
    let mut services: Vec<_> = names.into_iter().map(fake::service).collect();
    services.push(analytics::service());
    TestMesh::start(services).await
}

/// `7.user`, signed in.
pub fn caller(mesh: &TestMesh, name: &str) -> Client {
    mesh.anonymous().with("authorization", &format!("Token {name}"))
}

/// Gives a service's log these events.
pub async fn publish(mesh: &TestMesh, service: &str, events: &[Value]) {
    fake::tell(mesh, service, Value::Null, json!(events)).await;
}

/// A project was created, by somebody, in an organization or in none.
pub fn project(position: i64, by: i64, organization: Option<i64>) -> Value {
    let mut event = fake::event(position, position, 1, &ProjectCreated::example());
    event["actorid"] = by.into();
    if let Some(organization) = organization {
        event["organizationid"] = organization.into();
    }
    event
}

/// Organization 3, with these members and roles.
pub fn organization(members: &[(i64, &str)]) -> Vec<Value> {
    let created = OrganizationCreated { organization: Organization::example() };
    let mut events = vec![fake::event(1, 3, 1, &created)];
    for (id, (user_id, role)) in (1..).zip(members) {
        let membership =
            Membership { id, user_id: *user_id, role: (*role).to_owned(), ..Membership::example() };
        events.push(fake::event(id + 1, id, 1, &MembershipCreated { membership }));
    }
    for event in &mut events {
        event["organizationid"] = 3.into();
    }
    events
}

/// A page of `count` items, as soon as there are as many.
pub async fn page_of(client: &Client, path: &str, count: usize) -> Value {
    eventually(&format!("{count} items at {path}"), Duration::from_secs(30), async || {
        let page = client.get(path).await.expect(200);
        (page["items"].as_array().unwrap().len() == count).then_some(page)
    })
    .await
}

/// The positions in their log of a page's items.
pub fn positions(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect()
}
