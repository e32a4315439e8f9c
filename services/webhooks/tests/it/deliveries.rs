//! What receivers get, how often, and what is recorded.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contracts::event::Example;
use contracts::projects::{ProjectDeleted, ProjectUpdated};
use test_kit::receiver::{Mode, Receiver};
use webhooks::domain::events::WebhookType;
use webhooks::domain::webhook::WebhookCommand;

use crate::bench::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_the_hooks_of_its_organization_and_of_its_project() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let all = &["update:project", "create:project"];
    let organization = bench.hook(WebhookType::Organization, &receiver.url, all).await;
    let project = bench.hook(WebhookType::Project, &receiver.url, &["update:project"]).await;
    let deaf = bench.hook(WebhookType::Organization, &receiver.url, &["create:membership"]).await;
    let event = bench.updated();
    bench.take(&[bench.created(), event.clone()]).await;

    let recorded = bench.deliveries(organization, 2).await;
    assert_eq!((recorded[0].status_code, recorded[0].attempt), (200, 1));
    assert_eq!(recorded[0].response, "thank you");
    assert_eq!(recorded[0].outcome.as_deref(), Some("delivered"));
    let recorded = bench.deliveries(project, 1).await;
    assert_eq!(recorded[0].changed_fields, "name");
    bench.idle().await;
    assert!(bench.recorded(deaf).await.is_empty());

    let received = receiver.received();
    assert_eq!(received.len(), 3);
    let update = received.iter().find(|got| got.json()["webhook_id"] == project).unwrap();
    let body = update.json();
    assert_eq!(body["event"], "update:project");
    assert_eq!(body["project"]["name"], "street scenes");
    assert_eq!(body["project"]["url"], format!("{}/api/projects/42", bench.store().public_url()));
    assert_eq!(body["before_update"], serde_json::json!({ "name": "street" }));
    let id = format!("msg_{}", event.id);
    assert_eq!(update.header("webhook-id"), Some(id.as_str()));
    assert_eq!(update.header("webhook-attempt"), Some("1"));
    assert_eq!(update.header("webhook-sequence"), Some("2"));
    assert_eq!(update.header("content-type"), Some("application/json"));
    assert!(update.header("user-agent").unwrap().starts_with("Annomesh/"));
    assert!(update.header("x-signature-256").unwrap().starts_with("sha256="));
    assert!(update.header("webhook-signature").unwrap().starts_with("v1,"));
    assert!(update.header("traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_taken_in_twice_is_delivered_once() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    let event = bench.created();
    bench.take(std::slice::from_ref(&event)).await;
    bench.take(&[event]).await;
    bench.deliveries(hook, 1).await;
    bench.idle().await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_hears_nothing_of_what_was_before_it() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    // The log of projects stood at position 0 when this one was made; an event at 0 came before.
    bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    let mut old = bench.created();
    old.position = 0;
    bench.take(&[old]).await;
    bench.idle().await;
    assert!(receiver.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_tried_again_with_the_same_id() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::FailFirst(2, 503));
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    bench.deliveries(hook, 1).await;
    bench.mesh.clock.advance(TimeDelta::seconds(7));
    bench.deliveries(hook, 2).await;
    bench.mesh.clock.advance(TimeDelta::seconds(200));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(receiver.received().len(), 2, "the second pause is five minutes");
    bench.mesh.clock.advance(TimeDelta::seconds(200));
    let recorded = bench.deliveries(hook, 3).await;
    assert_eq!(recorded.iter().map(|d| d.status_code).collect::<Vec<_>>(), [503, 503, 200]);
    assert_eq!(recorded.iter().map(|d| d.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    let received = receiver.received();
    let ids: Vec<_> = received.iter().map(|got| got.header("webhook-id").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(received[2].header("webhook-attempt"), Some("3"));
    assert_eq!(received[0].body, received[2].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_a_hook_sends_nothing_until_it_is_set_again() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    // As an older build stored it, or sealed under another MESH_SECRET.
    bench.set_sealed_secret(hook, "s".to_owned()).await;
    bench.take(&[bench.created()]).await;
    let recorded = bench.deliveries(hook, 1).await;
    assert_eq!((recorded[0].status_code, recorded[0].outcome.as_deref()), (502, None));
    assert!(recorded[0].response.contains("set it again"), "{}", recorded[0].response);
    assert!(receiver.received().is_empty(), "sent without a signature");
    bench.set_sealed_secret(hook, bench.sealed(hook)).await;
    bench.mesh.clock.advance(TimeDelta::seconds(7));
    assert_eq!(bench.deliveries(hook, 2).await[1].status_code, 200);
    assert!(receiver.received()[0].header("x-signature-256").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_decides_how_long_the_pause_is() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::RetryAfter(60));
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    bench.deliveries(hook, 1).await;
    bench.mesh.clock.advance(TimeDelta::seconds(30));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(receiver.received().len(), 1);
    bench.mesh.clock.advance(TimeDelta::seconds(31));
    bench.deliveries(hook, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_receiver_refuses_is_not_tried_again() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Status(404));
    let hook =
        bench.hook(WebhookType::Organization, &receiver.url, &["create:project", "update:project"]).await;
    bench.take(&[bench.created()]).await;
    let recorded = bench.deliveries(hook, 1).await;
    assert_eq!((recorded[0].status_code, recorded[0].outcome.as_deref()), (404, Some("refused")));
    receiver.behave(Mode::Redirect);
    bench.take(&[bench.updated()]).await;
    let recorded = bench.deliveries(hook, 2).await;
    assert_eq!((recorded[1].status_code, recorded[1].outcome.as_deref()), (302, Some("refused")));
    bench.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_switched_off() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Status(410));
    let hook =
        bench.hook(WebhookType::Organization, &receiver.url, &["create:project", "update:project"]).await;
    bench.take(&[bench.created()]).await;
    bench.deliveries(hook, 1).await;
    assert!(!bench.is_active(hook).await);
    bench.take(&[bench.updated()]).await;
    bench.idle().await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_switched_off_or_deleted_gets_no_more_attempts() {
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Status(500));
    let off = bench.hook(WebhookType::Organization, &receiver.url, &["delete:project"]).await;
    let deleted = bench.hook(WebhookType::Organization, &receiver.url, &["delete:project"]).await;
    bench.take(&[bench.created(), bench.updated(), bench.deleted()]).await;
    bench.deliveries(off, 1).await;
    bench.deliveries(deleted, 1).await;
    bench.switch(off, false).await;
    bench.command(deleted, WebhookCommand::Delete).await;
    bench.mesh.clock.advance(TimeDelta::seconds(10));
    bench.idle().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(bench.recorded(off).await[0].outcome.as_deref(), Some("skipped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_502_and_silence_is_504() {
    let bench = Bench::start().await;
    let closed = bench.hook(WebhookType::Organization, "http://127.0.0.1:9/", &["create:project"]).await;
    let silent = Receiver::start(Mode::Slow(Duration::from_secs(30)));
    let slow = bench.hook(WebhookType::Organization, &silent.url, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    let recorded = bench.deliveries(closed, 1).await;
    assert_eq!((recorded[0].status_code, recorded[0].outcome.as_deref()), (502, None));
    assert!(recorded[0].response.contains("refused"), "{}", recorded[0].response);
    assert_eq!(bench.deliveries(slow, 1).await[0].status_code, 504);
    assert_eq!(silent.received().len(), 1, "a slow attempt was made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_delays_nobody_else() {
    const BACKLOG: i64 = 200;
    let bench = Bench::start().await;
    let dead = Receiver::start(Mode::Slow(Duration::from_secs(60)));
    let receiver = Receiver::start(Mode::Ok);
    bench.hook(WebhookType::Organization, &dead.url, &["update:project"]).await;
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["delete:project"]).await;
    let update = |version| bench.event(version, &ProjectUpdated::example());
    bench.take(&(1..=BACKLOG).map(update).collect::<Vec<_>>()).await;
    let taken = Instant::now();
    bench.take(&[bench.event(BACKLOG + 1, &ProjectDeleted::example())]).await;
    bench.deliveries(hook, 1).await;
    assert!(taken.elapsed() < Duration::from_secs(5), "{:?}", taken.elapsed());
    assert!(dead.received().len() < 40, "{} at the same time", dead.received().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tenants_hooks_hear_nothing() {
    let mut bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let stranger = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    let strangers_tenant = bench.tenant;
    bench.tenant = contracts::TenantId(event_store::new_id());
    let own = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    bench.deliveries(own, 1).await;
    bench.idle().await;
    assert!(bench.recorded(stranger).await.is_empty());
    bench.tenant = strangers_tenant;
    assert!(bench.recorded(stranger).await.is_empty());
    assert!(bench.recorded(own).await.is_empty(), "not even visible from there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_leaves_soon_after_the_event_is_taken_in() {
    const EVENTS: i64 = 50;
    let bench = Bench::start().await;
    let receiver = Receiver::start(Mode::Ok);
    let hook = bench.hook(WebhookType::Organization, &receiver.url, &["update:project"]).await;
    let mut took = vec![];
    for version in 1..=EVENTS {
        bench.take(&[bench.event(version, &ProjectUpdated::example())]).await;
        let taken = Instant::now();
        bench.deliveries(hook, took.len() + 1).await;
        took.push(receiver.received()[took.len()].at.saturating_duration_since(taken));
    }
    took.sort_unstable();
    println!(
        "from commit to the receiver: median {:?}, slowest {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    // Far above what it takes, far below any poll.
    assert!(took[took.len() / 2] < Duration::from_millis(100), "{took:?}");
}
