//! Sign in, an organization, a webhook, a project that is created, changed and deleted; each change reaches
//! the receiver, signed, and analytics, once and in order.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine;
use serde_json::{Value, json};
use test_kit::receiver::Mode;
use test_kit::{Client, Receiver, eventually};

use crate::support::{PATIENCE, mesh, unique};

const SECRET: &str = "a secret between two";

fn signed(body: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body).as_ref().to_vec()
}

/// All events about a subject, read page by page.
async fn events_about(client: &Client, subject: &str) -> Vec<Value> {
    let (mut events, mut after) = (vec![], 0);
    loop {
        let path = format!("/v1/events?subject={subject}&after={after}&limit=2");
        let page = client.get(&path).await.expect(200);
        events.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return events,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_reaches_the_receiver_and_analytics() {
    let mesh = mesh().await;
    let receiver = Receiver::start(Mode::Ok);
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    let organization = alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = alice.organization(&slug);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "secret": SECRET, "content_type": "application/json",
        "events": ["create:project", "update:project", "delete:project"], "is_active": true, "enable_ssl": true,
    });
    let hook = client.post("/api/webhooks", hook).await.expect(201);

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = client.with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let project = traced
        .post(
            "/api/projects",
            json!({ "name": "streets", "labels": [{ "name": "car" }, { "name": "tree" }] }),
        )
        .await
        .expect(201);
    assert_eq!(project["organization_id"], organization["id"]);
    let path = format!("/api/projects/{}", project["id"]);
    client.patch(&path, json!({ "name": "roads" })).await.expect(200);
    client.delete(&path).await.expect(204);

    let received = eventually("three deliveries", PATIENCE, async || {
        let received = receiver.received();
        (received.len() >= 3).then_some(received)
    })
    .await;
    let mut names: Vec<_> = received.iter().map(|request| request.json()["event"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["create:project", "delete:project", "update:project"]);
    for request in &received {
        let body = request.json();
        let signature = format!("sha256={}", hex::encode(signed(&request.body)));
        assert_eq!(request.header("x-signature-256"), Some(signature.as_str()));
        let (id, time) =
            (request.header("webhook-id").unwrap(), request.header("webhook-timestamp").unwrap());
        let content = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body].concat();
        let standard = base64::engine::general_purpose::STANDARD.encode(signed(&content));
        assert!(request.header("webhook-signature").unwrap().contains(&format!("v1,{standard}")));
        assert_eq!(body["webhook_id"], hook["id"]);
        assert_eq!(body["sender"]["username"], project["owner"]["username"]);
        if body["event"] == "create:project" {
            assert!(
                request.header("traceparent").unwrap().contains(trace),
                "the trace ends before the receiver"
            );
        }
        if body["event"] == "update:project" {
            assert_eq!(body["before_update"]["name"], "streets");
            assert_eq!(body["project"]["name"], "roads");
        }
    }

    let subject = format!("project/{}", project["id"]);
    let events = eventually("three events in analytics", PATIENCE, async || {
        let events = events_about(&client, &subject).await;
        (events.len() >= 3).then_some(events)
    })
    .await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        ["projects.project_created.v1", "projects.project_updated.v1", "projects.project_deleted.v1"]
    );
    let versions: Vec<_> = events.iter().map(|event| event["streamversion"].as_i64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3]);

    // A delivery names the event that it told about, so it can be counted with what it belongs to.
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    let causes = eventually("three deliveries in analytics", PATIENCE, async || {
        let path = "/v1/events?type=webhooks.message_delivered.v1&after=0";
        let page = mesh.admin().get(path).await.expect(200);
        let causes = page["items"].as_array().unwrap().iter().map(|event| event["causationid"].to_string());
        let causes: BTreeSet<_> = causes.collect();
        (causes.len() >= 3).then_some(causes)
    })
    .await;
    assert_eq!(causes, ids);

    let deliveries = alice.get(&format!("/api/webhooks/{}/deliveries", hook["id"])).await.expect(200);
    assert_eq!(deliveries["count"], 3);
    assert!(deliveries["results"].as_array().unwrap().iter().all(|delivery| delivery["status_code"] == 200));
    receiver.stop().await;
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_outlives_its_organization_as_its_owners_own() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    let organization = alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let project =
        alice.organization(&slug).post("/api/projects", json!({ "name": "streets" })).await.expect(201);
    alice.delete(&format!("/api/organizations/{}", organization["id"])).await.expect(204);
    let path = format!("/api/projects/{}", project["id"]);
    eventually("the project is personal", PATIENCE, async || {
        let project = alice.get(&path).await;
        (project.status == 200 && project.json()["organization_id"].is_null()).then_some(())
    })
    .await;
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_receiver_is_tried_again_with_the_same_id() {
    let mesh = mesh().await;
    let receiver = Receiver::start(Mode::RetryAfter(1));
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = alice.organization(&slug);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project"],
    });
    client.post("/api/webhooks", hook).await.expect(201);
    client.post("/api/projects", json!({ "name": "streets" })).await.expect(201);
    let received = eventually("a second attempt", PATIENCE, async || {
        let received = receiver.received();
        (received.len() >= 2).then_some(received)
    })
    .await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[0].body, received[1].body);
    receiver.stop().await;
    mesh.running.stop().await;
}
