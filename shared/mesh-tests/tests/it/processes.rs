//! A process for each service, the gateway in front; each is killed and started again while the story goes on, and
//! nothing is missing afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join, join_all};
use serde_json::{Value, json};
use test_kit::receiver::Mode;
use test_kit::{Client, Receiver, eventually};

use crate::fleet::{Fleet, NAMES};
use crate::support::{PATIENCE, unique};

/// Waits until the front door says so, too.
async fn healthy(client: &Client, fleet: &mut Fleet) {
    fleet.ready().await;
    eventually("the mesh is ready", PATIENCE, async || {
        (client.try_get("/api/server/health").await? == 200).then_some(())
    })
    .await;
}

/// Creates a project, trying again while services are away; a retry carries the same key, so it counts once.
async fn create(client: &Client, name: &str) -> i64 {
    let client = client.with("idempotency-key", name);
    let created = eventually(name, PATIENCE, async || {
        let response =
            client.try_send("POST", "/api/projects", Some(json!({ "name": name }).to_string())).await?;
        assert!(response.status < 500 || response.status == 503, "{}: {}", response.status, response.text);
        (response.status == 201).then(|| response.json())
    })
    .await;
    created["id"].as_i64().unwrap()
}

async fn stored_projects(client: &Client) -> BTreeMap<String, Vec<i64>> {
    let (mut versions, mut after) = (BTreeMap::<String, Vec<i64>>::new(), 0);
    loop {
        let page = client.get(&format!("/v1/events?after={after}&limit=500")).await.expect(200);
        for event in page["items"].as_array().unwrap() {
            let subject = event["subject"].as_str().unwrap();
            if subject.starts_with("project/") {
                versions
                    .entry(subject.to_owned())
                    .or_default()
                    .push(event["streamversion"].as_i64().unwrap());
            }
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return versions,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_may_be_killed_and_nothing_is_missing() {
    let receiver = Receiver::start(Mode::Ok);
    let mut fleet = Fleet::start(&NAMES, vec![("WEBHOOKS_ALLOWED_TARGETS", "127.0.0.1/32".to_owned())]).await;
    let admin = fleet.admin();
    healthy(&admin, &mut fleet).await;
    let slug = unique("o");
    admin.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = admin.organization(&slug);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project", "update:project"],
    });
    client.post("/api/webhooks", hook).await.expect(201);
    let mut accepted = BTreeSet::new();
    for (round, victim) in NAMES.iter().enumerate() {
        // Others go on; what needs the dead one waits for it.
        let writing = join_all((0..10).map(async |step| {
            let name = format!("{victim}-{step}");
            create(&client, &name).await
        }));
        let dying = async {
            // In the middle of their work.
            tokio::time::sleep(Duration::from_millis(15)).await;
            fleet.kill(victim);
            tokio::time::sleep(Duration::from_millis(200)).await;
            fleet.revive(victim, None);
        };
        let (made, ()) = join(writing, dying).await;
        accepted.extend(made);
        assert_eq!(accepted.len(), (round + 1) * 10, "an accepted project was accepted twice");
        healthy(&admin, &mut fleet).await;
    }
    for id in &accepted {
        let path = format!("/api/projects/{id}");
        client.patch(&path, json!({ "bug_tracker": "https://example.com" })).await.expect(200);
    }
    check(&client, &receiver, &accepted).await;
}

async fn check(client: &Client, receiver: &Receiver, accepted: &BTreeSet<i64>) {
    let listed = client.get("/api/projects?page_size=all").await.expect(200);
    let listed: BTreeSet<i64> =
        listed["results"].as_array().unwrap().iter().map(|project| project["id"].as_i64().unwrap()).collect();
    assert_eq!(&listed, accepted, "the list is not what was accepted");
    let expected: BTreeMap<String, Vec<i64>> =
        accepted.iter().map(|id| (format!("project/{id}"), vec![1, 2])).collect();
    let stored = eventually("analytics has everything", PATIENCE, async || {
        let stored = stored_projects(client).await;
        (stored.values().map(Vec::len).sum::<usize>() >= expected.len() * 2).then_some(stored)
    })
    .await;
    assert_eq!(stored, expected, "analytics holds each version once and in order");
    eventually("each change was delivered", PATIENCE, async || {
        let delivered: BTreeSet<(i64, String)> = receiver
            .received()
            .iter()
            .map(|request| request.json())
            .filter_map(|body: Value| {
                Some((body["project"]["id"].as_i64()?, body["event"].as_str()?.to_owned()))
            })
            .collect();
        (delivered.len() == accepted.len() * 2).then_some(())
    })
    .await;
}
