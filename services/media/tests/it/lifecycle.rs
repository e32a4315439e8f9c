//! What happens when people go away, and when processes do.

use std::time::Duration;

use chrono::TimeDelta;
use media::domain::task_data::{Stage, TaskData};
use test_kit::eventually;

use crate::world::{PATIENCE, World, jpeg, options};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_goes_on_with_is_forgotten_after_a_day() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("a.jpg", &jpeg(1))]).await.expect(200);
    crate::tus::begin(&world, &task, "b.jpg", 100).await.expect(201);
    world.mesh.clock.advance(TimeDelta::hours(23));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.stored().await, jpeg(1).len() as i64 + 100);
    world.mesh.clock.advance(TimeDelta::hours(2));
    world.nothing_is_kept().await;
    let store = &world.mesh.running.kit("media").unwrap().store;
    let state = store.load::<TaskData>(test_kit::fake::tenant(1), 21).await.unwrap().unwrap();
    assert_eq!(state.stage, Stage::None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_a_restart() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    let picture = crate::world::picture(image::ImageFormat::Jpeg, 1500, 1000, 1);
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        let cut = [&picture[..], name.as_bytes()].concat();
        crate::tus::send_whole(&world, &task, name, &cut).await;
    }
    world.finish(&task, options()).await.expect(202);
    let world = world.restart().await;
    assert_eq!(world.ended(&task).await["state"], "Finished");
    assert_eq!(world.events("task_data_prepared").await.len(), 1);
    assert_eq!(world.events("task_data_submitted").await.len(), 1);
    // Its pieces go a moment after it.
    eventually("only the pictures are there", PATIENCE, async || (world.files() == 3).then_some(())).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_deleted_while_it_is_filled_leaves_nothing() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("a.jpg", &jpeg(1))]).await.expect(200);
    crate::tus::send_whole(&world, &task, "b.jpg", &jpeg(2)).await;
    world.delete_task(21).await;
    world.nothing_is_kept().await;
    eventually("nobody can send any more", PATIENCE, async || {
        (world.send_files(&task, &[("c.jpg", &jpeg(3))]).await.status == 404).then_some(())
    })
    .await;
    world.nothing_is_kept().await;
    world.stop().await;
}
