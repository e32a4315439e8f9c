//! Work after commit: at least once, by one worker at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use event_store::jobs::{self, Job};
use event_store::store::Context;
use event_store::{Store, StoreError};
use futures::future::join_all;

use crate::account::AccountCommand;
use crate::check::assert_consistent;
use crate::world::{ACME, GLOBEX, World, execute, open};

const CLAIM: Duration = Duration::from_secs(60);

async fn enqueue(store: &Store, tenant: contracts::TenantId, subject: i64, in_seconds: i64) {
    let due = store.clock().now() + TimeDelta::seconds(in_seconds);
    store
        .transact(&Context::mesh(tenant), async |unit| unit.enqueue("send", subject, due).await)
        .await
        .unwrap();
}

async fn claim(store: &Store, limit: i64) -> Vec<Job> {
    jobs::claim(store, "send", limit, CLAIM, &[]).await.unwrap()
}

async fn finish(store: &Store, job: &Job) {
    store
        .transact(&Context::mesh(job.tenant()), async |unit| jobs::finish(unit.tx(), job).await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_claim_each_job_once_never_more_than_they_asked_for() {
    let world = World::new().await;
    for subject in 0..100 {
        enqueue(&world.store, if subject % 2 == 0 { ACME } else { GLOBEX }, subject, 0).await;
    }
    let workers = join_all((0..8).map(async |_| {
        let mut mine = vec![];
        loop {
            let jobs = claim(&world.store, 3).await;
            assert!(jobs.len() <= 3, "{} claimed of 3", jobs.len());
            if jobs.is_empty() {
                return mine;
            }
            mine.extend(jobs);
        }
    }))
    .await;
    let all: Vec<i64> = workers.iter().flatten().map(|job| job.subject_id).collect();
    assert_eq!(all.len(), 100, "a job was claimed twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..100).collect());
    assert!(workers.iter().flatten().all(|job| (job.tenant() == ACME) == (job.subject_id % 2 == 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_has_its_share_is_passed_over() {
    let world = World::new().await;
    for subject in 0..5 {
        enqueue(&world.store, ACME, subject, 0).await;
    }
    enqueue(&world.store, GLOBEX, 9, 0).await;
    let others = jobs::claim(&world.store, "send", 3, CLAIM, &[ACME]).await.unwrap();
    assert_eq!(others.iter().map(|job| job.subject_id).collect::<Vec<_>>(), [9]);
    assert_eq!(claim(&world.store, 10).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_worker_that_died_comes_due_again_and_one_that_is_done_does_not() {
    let world = World::new().await;
    enqueue(&world.store, ACME, 1, 0).await;
    enqueue(&world.store, ACME, 2, 0).await;
    let jobs = claim(&world.store, 10).await;
    assert_eq!(jobs.len(), 2);
    finish(&world.store, &jobs[0]).await;
    assert_eq!(claim(&world.store, 10).await.len(), 0);
    world.store.clock().advance(TimeDelta::seconds(61));
    let again = claim(&world.store, 10).await;
    assert_eq!((again.len(), again[0].subject_id, again[0].attempts), (1, jobs[1].subject_id, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_late_neither_ends_nor_delays_what_another_one_does() {
    let world = World::new().await;
    enqueue(&world.store, ACME, 1, 0).await;
    let late = claim(&world.store, 1).await.remove(0);
    world.store.clock().advance(TimeDelta::seconds(61));
    let current = claim(&world.store, 1).await.remove(0);
    let far = world.store.clock().now() + TimeDelta::days(1);
    world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            jobs::retry(unit.tx(), &late, far).await?;
            jobs::finish(unit.tx(), &late).await
        })
        .await
        .unwrap();
    assert_eq!(world.number("SELECT count(*) FROM es_job").await, 1, "the late one ended it");
    world.store.clock().advance(TimeDelta::seconds(61));
    assert_eq!(claim(&world.store, 1).await.len(), 1, "the late one delayed it");
    finish(&world.store, &current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_again_while_it_is_being_done_is_done_again() {
    let world = World::new().await;
    for wanted_in in [0, 3_600] {
        enqueue(&world.store, ACME, 1, 0).await;
        let job = claim(&world.store, 1).await.remove(0);
        enqueue(&world.store, ACME, 1, wanted_in).await;
        finish(&world.store, &job).await;
        world.store.clock().advance(TimeDelta::seconds(61));
        let again = claim(&world.store, 1).await;
        assert_eq!(again.len(), 1, "the second wish was lost");
        finish(&world.store, &again[0]).await;
        assert_eq!(world.number("SELECT count(*) FROM es_job").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_until_it_is_due_and_one_that_is_queued_twice_is_due_at_the_earlier_time() {
    let world = World::new().await;
    assert_eq!(jobs::next_due_in(&world.store, "send").await.unwrap(), None);
    enqueue(&world.store, ACME, 1, 100).await;
    enqueue(&world.store, ACME, 1, 50).await;
    enqueue(&world.store, ACME, 1, 80).await;
    let due = jobs::next_due_in(&world.store, "send").await.unwrap().unwrap();
    assert!((45..=50).contains(&due.as_secs()), "{due:?}");
    assert_eq!(jobs::next_due_in(&world.store, "another").await.unwrap(), None);
    assert_eq!(claim(&world.store, 10).await.len(), 0);
    world.store.clock().advance(TimeDelta::seconds(51));
    assert_eq!(jobs::next_due_in(&world.store, "send").await.unwrap(), Some(Duration::ZERO));
    let job = claim(&world.store, 10).await.remove(0);
    let later = world.store.clock().now() + TimeDelta::seconds(30);
    world
        .store
        .transact(&Context::mesh(ACME), async |unit| jobs::retry(unit.tx(), &job, later).await)
        .await
        .unwrap();
    world.store.clock().advance(TimeDelta::seconds(31));
    assert_eq!(claim(&world.store, 10).await.remove(0).attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_rolled_back_queues_nothing_and_one_that_commits_wakes_every_worker() {
    let world = World::new().await;
    let refused: Result<(), StoreError> = world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            unit.enqueue("send", 1, unit.store().clock().now()).await?;
            Err(StoreError::KeyReused)
        })
        .await;
    refused.unwrap_err();
    assert_eq!(world.number("SELECT count(*) FROM es_job").await, 0);
    // A service has several workers, each for its own kind of job.
    let workers = [(); 3].map(|()| world.store.wake().follow_queued());
    for worker in &workers {
        assert!(!worker.has_changed().unwrap());
    }
    enqueue(&world.store, ACME, 1, 0).await;
    for mut worker in workers {
        tokio::time::timeout(Duration::from_secs(10), worker.changed()).await.expect("not woken").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_does_not_turn_the_log_round() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    for hours in [1, -2, 3, -1] {
        world.store.clock().advance(TimeDelta::hours(hours));
        execute(&world.store, id, AccountCommand::Deposit(1)).await.unwrap();
    }
    let log = world.contract_log().await;
    assert!(log.is_sorted_by_key(|event| event.streamversion));
    assert!(!log.is_sorted_by_key(|event| event.time), "the clock did not jump");
    assert_consistent(&world).await;
}
