//! Rights that are taken away.

use contracts::event::Example;
use contracts::projects::{Job, JobUpdated};
use serde_json::{Map, json};
use test_kit::eventually;

use crate::world::{PATIENCE, World, jpeg, options};

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_right_reads_nothing_from_the_moment_that_the_news_are_here() {
    let world = World::start().await;
    world.filled(21, &[("a.jpg", &jpeg(1))], options()).await;
    let path = format!("{}/data?type=frame&number=0&quality=original", world.job(31, 21, 0..=0).await);
    let read = async || world.send("9.user", "GET", &path, &[], vec![]).await;
    for _ in 0..3 {
        // It is remembered now, even if the last news were only just taken in.
        read().await.expect(200);
    }
    let job = Job { id: 31, task_id: 21, organization_id: None, assignee_id: None, ..Job::example() };
    world
        .publish(
            1,
            31,
            &JobUpdated { job, before_update: Map::from_iter([("assignee_id".into(), json!(9))]) },
        )
        .await;
    eventually("the news are here", PATIENCE, async || {
        (world.count("known_jobs WHERE assignee_id IS NULL").await == 1).then_some(())
    })
    .await;
    read().await.expect(403);
    world.stop().await;
}
