//! Usage is the same when every event was delivered twice, and when it is counted anew from position 0.

use billing::meters::METERS;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use contracts::event::Example;
use contracts::media::{StorageChanged, TaskData, TaskDataPrepared};
use contracts::projects::{AnnotationsChanged, JobCreated, TaskCreated};
use contracts::webhooks::MessageDelivered;
use serde_json::{Value, json};
use test_kit::{TestMesh, eventually, fake};

use crate::story::{PATIENCE, caller, deleted, mesh, peer, publish, registered, tenant_created};

/// Midnight before a day that is over, so that nothing is added to it while it is looked at.
fn midnight() -> DateTime<Utc> {
    let day = event_store::Clock::system().now().date_naive() - TimeDelta::days(2);
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Events at these minutes of that day, in the log's order.
fn on_that_day(events: Vec<(i64, Value)>) -> Vec<Value> {
    let at = |minute: i64| (midnight() + TimeDelta::minutes(minute)).to_rfc3339();
    events
        .into_iter()
        .map(|(minute, mut event)| {
            event["time"] = at(minute).into();
            event
        })
        .collect()
}

/// Each event a second time, after the one that follows it.
fn twice(events: Vec<Value>) -> Vec<Value> {
    let mut order: Vec<(usize, Value)> = vec![];
    for (index, event) in events.into_iter().enumerate() {
        order.push((2 * index, event.clone()));
        order.push((2 * index + 3, event));
    }
    order.sort_by_key(|(place, _)| *place);
    let number = |(index, (_, mut event)): (usize, (usize, Value))| {
        event["position"] = (index + 1).into();
        event
    };
    order.into_iter().enumerate().map(number).collect()
}

fn stored(position: i64, bytes: i64) -> Value {
    fake::event(position, 1, position, &StorageChanged { bytes, reservation_id: None })
}

/// Every meter's answer, in hours of a zone that lies askew.
async fn everything(mesh: &TestMesh) -> Vec<Value> {
    let admin = caller(mesh, "7.admin");
    let at = |hours| (midnight() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (from, to) = (at(0), at(24));
    let mut all = vec![];
    for meter in METERS {
        let groups = meter.dims.join(",");
        for (window, groups) in [("hour", groups.as_str()), ("day", "")] {
            let path = format!(
                "/v1/usage?meter={}&from={from}&to={to}&window={window}&group_by={groups}&time_zone=Asia/Kolkata",
                meter.name
            );
            all.push(admin.get(&path).await.expect(200)["items"].clone());
        }
    }
    all
}

/// The sum over the day of a meter that may be summed, the largest value of one that may not.
fn total(all: &[Value], name: &str) -> f64 {
    let place = 2 * METERS.iter().position(|meter| meter.name == name).unwrap();
    let values = all[place].as_array().unwrap().iter().map(|item| item["value"].as_str().unwrap());
    let values: Vec<f64> = values.map(|value| value.parse().unwrap()).collect();
    match ["seats", "seats_peak", "storage_bytes_peak"].contains(&name) {
        true => values.into_iter().fold(0.0, f64::max),
        false => values.into_iter().sum(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_the_same_twice_delivered_and_rebuilt_from_nothing() {
    let mesh = mesh().await;
    let people = vec![
        (0, tenant_created(1, None)),
        (60, registered(2, 7, None)),
        (90, registered(3, 8, None)),
        (210, deleted(4, 8)),
    ];
    publish(&mesh, "identity", &twice(on_that_day(people))).await;
    let data = TaskData { size: 40, ..TaskData::example() };
    let prepared = TaskDataPrepared { data, ..TaskDataPrepared::example() };
    let pictures = vec![
        (61, stored(1, 5_000_000_000)),
        (62, fake::event(2, 21, 1, &prepared)),
        (181, stored(3, 1_000_000_000)),
        (241, stored(4, 0)),
    ];
    // Versions of the one stream have no hole, whatever lies between them in the log.
    let mut pictures = on_that_day(pictures);
    pictures[2]["streamversion"] = 2.into();
    pictures[3]["streamversion"] = 3.into();
    publish(&mesh, "media", &twice(pictures)).await;
    let mut work: Vec<_> = (1..20).map(|n| (n, fake::event(n, n, 1, &TaskCreated::example()))).collect();
    work.extend((1..4).map(|n| (60 * n, fake::event(n, n, 1, &JobCreated::example()))));
    work.extend((1..6).map(|n| (50 * n, fake::event(n, 33, n, &AnnotationsChanged::example()))));
    publish(&mesh, "projects", &twice(on_that_day(work))).await;
    let sent = (1..8).map(|n| (70 * n, fake::event(n, n, 1, &MessageDelivered::example()))).collect();
    publish(&mesh, "webhooks", &twice(on_that_day(sent))).await;
    let quarter = (midnight() + TimeDelta::minutes(300)).to_rfc3339();
    let calls = json!([{ "tenant": fake::tenant(1), "quarter": quarter, "reads": 5, "writes": 2 }]);
    let report = json!({ "id": event_store::new_id(), "calls": calls });
    for _ in 0..2 {
        let sent = peer(&mesh, "projects").post("/internal/api-usage", report.clone()).await;
        assert_eq!(sent.status, 204, "{}", sent.text);
    }

    // Two hours of 5 GB and one of 1; one user from the first hour on, to the end of the zone's last hour that the
    // day has a part in, and another for two hours.
    let expected = [
        ("seats", 2.0),
        ("seats_peak", 2.0),
        ("seat_hours", 23.5 + 2.0),
        ("storage_gb_hours", 11.0),
        ("storage_bytes_peak", 5e9),
        ("tasks", 19.0),
        ("jobs", 3.0),
        ("frames", 40.0),
        ("objects_annotated", 60.0),
        ("api_calls", 7.0),
        ("webhook_deliveries", 7.0),
    ];
    assert_eq!(
        expected.map(|(name, _)| name).to_vec(),
        METERS.iter().map(|meter| meter.name).collect::<Vec<_>>()
    );
    let before = eventually("everything arrives", PATIENCE, async || {
        let all = everything(&mesh).await;
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(name, value)| (total(&all, name) - value).abs() > 1e-9)
            .map(|(name, _)| (*name, total(&all, name)))
            .collect();
        if !wrong.is_empty() {
            println!("not yet: {wrong:?}");
        }
        wrong.is_empty().then_some(all)
    })
    .await;
    for _ in 0..2 {
        let rebuilt =
            peer(&mesh, "billing").post("/internal/rebuild", json!({ "projection": "usage" })).await;
        assert!(rebuilt.expect(200)["usage"].as_i64().unwrap() > 0);
        assert_eq!(everything(&mesh).await, before);
    }
    mesh.running.stop().await;
}
