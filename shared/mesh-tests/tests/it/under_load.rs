//! Many writers at once, and a stop in the middle of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use test_kit::{Client, eventually};

use crate::support::{PATIENCE, mesh, services, unique};

/// How many events about a project analytics holds, and whether their versions are contiguous from 1.
async fn stored_versions(client: &Client, id: i64) -> Vec<i64> {
    let page = client.get(&format!("/v1/events?subject=project/{id}&limit=1000")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|event| event["streamversion"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_on_one_project_are_all_served() {
    let mesh = mesh().await;
    let alice = mesh.user(&unique("alice")).await;
    let project = alice.post("/api/projects", json!({ "name": "contended" })).await.expect(201);
    let id = project["id"].as_i64().unwrap();
    let path = format!("/api/projects/{id}");
    let writers = (0..64).map(|writer| {
        let (alice, path) = (alice.clone(), path.clone());
        async move { alice.patch(&path, json!({ "name": format!("writer {writer}") })).await.status }
    });
    let statuses = futures::future::join_all(writers).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let versions = eventually("all versions in analytics", PATIENCE, async || {
        let versions = stored_versions(&alice, id).await;
        (versions.len() >= 65).then_some(versions)
    })
    .await;
    assert_eq!(versions, (1..=65).collect::<Vec<i64>>());
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing() {
    let mesh = mesh().await;
    let name = unique("alice");
    let alice = mesh.user(&name).await;
    let under_way = Arc::new(AtomicUsize::new(0));
    let writers = (0..8).map(|_| {
        let (alice, under_way) = (alice.clone(), under_way.clone());
        #[expect(clippy::disallowed_methods, reason = "writers that outlive the mesh")]
        tokio::spawn(async move {
            let mut accepted = BTreeSet::new();
            // Until the front door is closed: then nobody answers any more.
            while let Some(response) = alice
                .try_send("POST", "/api/projects", Some(json!({ "name": "p" }).to_string()))
                .await
                .filter(|response| response.status == 201)
            {
                accepted.insert(response.json()["id"].as_i64().unwrap());
                under_way.fetch_add(1, Ordering::SeqCst);
            }
            accepted
        })
    });
    let writers: Vec<_> = writers.collect();
    eventually("the writers are under way", PATIENCE, async || {
        (under_way.load(Ordering::SeqCst) > 16).then_some(())
    })
    .await;
    let began = Instant::now();
    let mesh = mesh.restart(services()).await;
    println!("the stop and the start took {:?}", began.elapsed());
    let mut accepted = BTreeSet::new();
    for writer in writers {
        accepted.extend(writer.await.unwrap());
    }
    let alice = mesh.anonymous().basic(&name, "correct horse battery");
    let listed = alice.get("/api/projects?page_size=all").await.expect(200);
    let listed: BTreeSet<i64> =
        listed["results"].as_array().unwrap().iter().map(|project| project["id"].as_i64().unwrap()).collect();
    assert!(listed.is_superset(&accepted), "accepted projects are missing");
    for id in accepted {
        eventually("the event is in analytics once", PATIENCE, async || {
            (stored_versions(&alice, id).await == [1]).then_some(())
        })
        .await;
    }
    mesh.running.stop().await;
}
