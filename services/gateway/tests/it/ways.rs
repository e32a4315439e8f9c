//! A task's way on the page of the mesh.

use contracts::event::Example;
use contracts::media::{TaskDataFailed, TaskDataSubmitted};
use contracts::projects::{Task, TaskCreated};
use serde_json::{Value, json};
use test_kit::fake;
use test_kit::fake::tell;

use crate::page::{Live, TENANT, mesh, status};

fn created(position: i64, task: i64, name: &str) -> Value {
    let data = TaskCreated { task: Task { id: task, name: name.into(), ..Task::example() } };
    fake::event(position, task, 1, &data)
}

fn reader(service: &str, sources: &[(&str, i64)]) -> Value {
    let consumers: Vec<Value> = sources
        .iter()
        .map(|(source, position)| {
            json!({ "name": format!("{service}.usage@1"), "source": source, "position": position })
        })
        .collect();
    status(service, 0, consumers.into())
}

/// Reads until the way of a task says this; returns the way as it is then.
async fn way(live: &mut Live, task: i64, what: &str) -> String {
    loop {
        live.until(&format!("<li id=\"w-{TENANT}-{task}\"")).await;
        let way = live.until("\n\n").await;
        if way.contains(what) {
            return way;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_way_grows_on_the_page_and_says_why_its_import_failed() {
    let mesh = mesh().await;
    tell(&mesh, "projects", status("projects", 0, json!([])), json!([])).await;
    tell(&mesh, "media", status("media", 0, json!([])), json!([])).await;
    tell(&mesh, "billing", reader("billing", &[("projects", 0), ("media", 0)]), json!([])).await;
    let mut live = Live::open(&mesh).await;
    // The log is followed once its end is known.
    tell(&mesh, "projects", status("projects", 1, json!([])), json!([created(1, 20, "earlier")])).await;
    way(&mut live, 20, "earlier").await;

    let events = json!([created(1, 20, "earlier"), created(2, 21, "<b>cars</b>")]);
    tell(&mesh, "projects", status("projects", 2, json!([])), events).await;
    let shown = way(&mut live, 21, "on its way").await;
    assert!(shown.contains("&#60;b&#62;cars&#60;/b&#62;") && !shown.contains("<b>cars"), "{shown}");
    assert!(shown.contains("waits for its pictures") && shown.contains("<b>created</b>"), "{shown}");
    tell(&mesh, "billing", reader("billing", &[("projects", 2), ("media", 0)]), json!([])).await;
    way(&mut live, 21, "billing <i>+").await;

    let submitted = fake::event(1, 21, 1, &TaskDataSubmitted { task_id: 21, request_id: "r".into() });
    tell(&mesh, "media", status("media", 1, json!([])), json!([submitted])).await;
    way(&mut live, 21, "looking at the pictures").await;
    let message = "cat.jpg is not a picture.".to_owned();
    let failed = fake::event(2, 21, 2, &TaskDataFailed { task_id: 21, request_id: "r".into(), message });
    tell(&mesh, "media", status("media", 2, json!([])), json!([submitted, failed])).await;
    let shown = way(&mut live, 21, "import refused").await;
    assert!(!shown.contains("looking at the pictures"), "{shown}");
    assert!(shown.contains("cat.jpg is not a picture. Nothing of it was kept"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_a_service_cannot_take_is_shown_as_stuck() {
    let mesh = mesh().await;
    let mut parked = reader("projects", &[("media", 0)]);
    parked["parked"] = json!([{
        "name": format!("{TENANT}/projects.reactions@1/media/task_data/21"), "consumer": "projects.reactions@1",
        "subject": "media/task_data/21", "version": 1, "events": 1, "attempts": 4, "error": "no such segment",
        "parked_at": "2026-11-21T10:00:00Z"
    }]);
    tell(&mesh, "projects", parked, json!([created(1, 21, "cars")])).await;
    let prepared = fake::event(1, 21, 1, &contracts::media::TaskDataPrepared::example());
    tell(&mesh, "media", status("media", 1, json!([])), json!([prepared])).await;
    let mut live = Live::open(&mesh).await;
    let shown = way(&mut live, 21, "no jobs yet: parked").await;
    assert!(shown.contains("projects cannot cut it into jobs: no such segment"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_events_neither_hangs_the_page_nor_floods_it() {
    const BURST: i64 = 2_000;
    let mesh = mesh().await;
    tell(&mesh, "projects", status("projects", 1, json!([])), json!([created(1, 1, "first")])).await;
    let mut live = Live::open(&mesh).await;
    way(&mut live, 1, "first").await;
    let events: Vec<Value> = (1..=BURST).map(|n| created(n, n, "burst")).collect();
    tell(&mesh, "projects", status("projects", BURST, json!([])), events.into()).await;
    let text = live.until(&format!("<li id=\"w-{TENANT}-{BURST}\"")).await;
    let frames = text.matches("event: event\n").count();
    assert!(frames < BURST as usize / 2, "{frames} frames for {BURST} events");
    let ways = text.matches("event: way\n").count();
    assert!(ways < BURST as usize / 4, "{ways} ways");
}
