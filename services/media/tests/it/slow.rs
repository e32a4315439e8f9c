//! Forms that take their time: what they have brought so far is still there when they end.

use std::time::Duration;

use chrono::TimeDelta;
use futures::SinkExt;
use futures::channel::mpsc;
use tokio::task::JoinSet;

use crate::world::{OWNER, PATIENCE, Response, World, form, jpeg, options};

/// Files that are kept together while a form arrives.
const BATCH: i64 = 256;

/// One more than a batch, so that the batch is kept before the form's end.
fn files() -> Vec<(String, Vec<u8>)> {
    let file = |number: i64| {
        let mut bytes = jpeg(number.to_le_bytes()[0]);
        bytes.extend(number.to_le_bytes());
        (format!("{number}.jpg"), bytes)
    };
    (0..=BATCH).map(file).collect()
}

fn named(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

/// A form of which all but the end was sent.
struct SlowForm {
    rest: mpsc::Sender<Result<Vec<u8>, std::io::Error>>,
    end: Vec<u8>,
    answer: JoinSet<Response>,
}

impl SlowForm {
    /// Returns when its first batch was declared.
    async fn begin(world: &World, task: &str, files: &[(&str, &[u8])]) -> Self {
        world.start_upload(task).await.expect(202);
        let began = world.mesh.clock.now();
        let (content_type, mut body) = form(&[("image_quality", "70")], files);
        let end = body.split_off(body.len() - 8);
        let (mut rest, pieces) = mpsc::channel(1);
        let request = world
            .request(OWNER, "POST", &format!("{task}/data/"))
            .header("Upload-Multiple", "")
            .header("Content-Type", content_type)
            .body(reqwest::Body::wrap_stream(pieces));
        let mut answer = JoinSet::new();
        answer.spawn(async move { Response::of(request.send().await.unwrap()).await });
        rest.send(Ok(body)).await.unwrap();
        let form = Self { rest, end, answer };
        form.wanted_since(world, began).await;
        form
    }

    async fn wanted_since(&self, world: &World, moment: chrono::DateTime<chrono::Utc>) {
        let rows = format!("blob WHERE wanted_at >= '{}'", moment.to_rfc3339());
        test_kit::eventually("a batch is declared", PATIENCE, async || {
            (world.count(&rows).await == BATCH).then_some(())
        })
        .await;
    }

    async fn finish(mut self) -> Response {
        self.rest.send(Ok(self.end)).await.unwrap();
        drop(self.rest);
        self.answer.join_next().await.unwrap().unwrap()
    }
}

/// Waits until everything was swept that may be.
async fn swept(world: &World) {
    test_kit::eventually("the sweep is over", PATIENCE, async || {
        let soon = world.mesh.clock.now() + TimeDelta::minutes(1);
        let due = format!("es_job WHERE name = 'media.sweep' AND due_at <= '{}'", soon.to_rfc3339());
        (world.count(&due).await == 0).then_some(())
    })
    .await;
}

/// All frames of a task are there.
async fn frames_are_there(world: &World, task: &str, files: &[(&str, &[u8])]) {
    world
        .finish(task, serde_json::json!({ "image_quality": 70, "sorting_method": "predefined" }))
        .await
        .expect(202);
    assert_eq!(world.ended(task).await["state"], "Finished");
    for (number, (name, bytes)) in files.iter().enumerate() {
        let frame = format!("{task}/data?type=frame&number={number}&quality=original");
        assert!(world.get(&frame).await.expect(200).body == *bytes, "{name} is not what was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_relies_on_bytes_of_a_task_keeps_them_when_it_is_deleted() {
    let world = World::start().await;
    let files = files();
    let files = named(&files);
    world.filled(21, &files, options()).await;
    let task = world.task(22).await;
    // Its bytes are there already, so it does not store them.
    let form = SlowForm::begin(&world, &task, &files).await;
    world.delete_task(21).await;
    test_kit::eventually("the first task's uses are given back", PATIENCE, async || {
        (world.stored().await == 0).then_some(())
    })
    .await;
    swept(&world).await;
    form.finish().await.expect(200);
    frames_are_there(&world, &task, &files).await;
    // And what only it used goes at once, not when a time of grace is over.
    world.delete_task(22).await;
    world.nothing_is_kept().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_refused_takes_nothing_from_another() {
    let world = World::start().await;
    let files = files();
    let files = named(&files);
    let task = world.task(22).await;
    let form = SlowForm::begin(&world, &task, &files).await;
    let refused = world.task(23).await;
    world.start_upload(&refused).await.expect(202);
    let bad = [&files[..], &[("bad.jpg", b"this is a text that calls itself a picture")]].concat();
    world.send_files(&refused, &bad).await.expect(400);
    swept(&world).await;
    form.finish().await.expect(200);
    frames_are_there(&world, &task, &files).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_may_take_longer_than_the_time_of_grace() {
    let world = World::start().await;
    let files = files();
    let files = named(&files);
    let task = world.task(22).await;
    let form = SlowForm::begin(&world, &task, &files).await;
    for _ in 0..3 {
        world.mesh.clock.advance(TimeDelta::minutes(4));
        let now = world.mesh.clock.now();
        // Long enough for the form to say so again, and for the sweep to look.
        tokio::time::sleep(Duration::from_secs(3)).await;
        form.wanted_since(&world, now).await;
    }
    swept(&world).await;
    form.finish().await.expect(200);
    // All are used, and wanted by nobody besides. (Asking for frames takes a token, which is too old by now.)
    assert_eq!(world.count("blob WHERE uses = 1 AND wanted_at IS NULL").await, BATCH + 1);
    assert_eq!(world.files() as i64, BATCH + 1);
    world.stop().await;
}
