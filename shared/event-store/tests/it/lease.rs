//! One owner at a time, and no trace of the one before.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use event_store::StoreError;
use event_store::lease::{Lease, checkpoint, move_checkpoint};
use futures::future::{join, join_all};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_want_a_lease_one_has_it_until_it_lets_go() {
    let world = World::new().await;
    let other = world.another_store().await;
    let first = Lease::acquire(&world.store, "publisher", "first").await.unwrap();
    let second = Lease::acquire(&other, "publisher", "second");
    let mut second = std::pin::pin!(second);
    let waited = tokio::time::timeout(Duration::from_millis(800), &mut second).await;
    assert!(waited.is_err(), "two hold it");
    // Another lease is another matter.
    let free = Lease::acquire(&other, "another", "second").await.unwrap();
    assert_eq!((first.fence, free.fence), (1, 1));
    let fence = first.fence;
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(10), second).await.unwrap().unwrap();
    assert!(second.fence > fence);
    assert_eq!(world.rows("SELECT owner FROM es_lease WHERE name = 'publisher'").await[0]["owner"], "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_each_holds_it_alone_and_with_a_fence_of_its_own() {
    let world = World::new().await;
    let holders = std::sync::atomic::AtomicU32::new(0);
    let fences = join_all((0..6).map(async |_| {
        let lease = Lease::acquire(&world.store, "publisher", "anybody").await.unwrap();
        assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "two hold it");
        tokio::time::sleep(Duration::from_millis(10)).await;
        holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        lease.fence
    }))
    .await;
    let mut sorted = fences;
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owner_is_replaced_within_a_second_and_what_it_still_writes_is_refused() {
    let world = World::new().await;
    let other = world.another_store().await;
    let mut first = Lease::acquire(&world.store, "publisher", "first").await.unwrap();
    move_checkpoint(&world.store, "publisher", first.fence, 10).await.unwrap();

    let began = Instant::now();
    let replaced = async {
        let lease = Lease::acquire(&other, "publisher", "second").await.unwrap();
        (lease, began.elapsed())
    };
    let killed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world
            .admin_does(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await;
    };
    let ((second, delay), ()) = join(replaced, killed).await;
    assert!(delay < Duration::from_millis(1_100), "{delay:?}");
    let lost =
        tokio::time::timeout(Duration::from_secs(30), first.lost()).await.expect("it never heard of it");
    assert!(lost.is_unavailable(), "{lost:?}");

    let late = move_checkpoint(&world.store, "publisher", first.fence, 20).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 10);
    move_checkpoint(&other, "publisher", second.fence, 20).await.unwrap();
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_never_moves_back_nor_under_a_fence_that_nobody_has() {
    let world = World::new().await;
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 0);
    let nobody = move_checkpoint(&world.store, "publisher", 1, 5).await;
    assert!(matches!(nobody, Err(StoreError::Fenced(_))), "{nobody:?}");
    let lease = Lease::acquire(&world.store, "publisher", "first").await.unwrap();
    join_all((1..=20).map(async |position| {
        // They overtake one another; whoever comes late is told so.
        let _ = move_checkpoint(&world.store, "publisher", lease.fence, position).await;
    }))
    .await;
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 20);
    let back = move_checkpoint(&world.store, "publisher", lease.fence, 19).await;
    assert!(matches!(back, Err(StoreError::Fenced(_))), "{back:?}");
    move_checkpoint(&world.store, "publisher", lease.fence, 20).await.unwrap();
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_does_not_look_at_the_clock() {
    let world = World::new().await;
    let other = world.another_store().await;
    let first = Lease::acquire(&world.store, "publisher", "first").await.unwrap();
    for hours in [1, -2] {
        world.store.clock().advance(TimeDelta::hours(hours));
        other.clock().advance(TimeDelta::hours(-hours));
        let waited =
            tokio::time::timeout(Duration::from_millis(400), Lease::acquire(&other, "publisher", "second"))
                .await;
        assert!(waited.is_err(), "the clock took the lease away");
        move_checkpoint(&world.store, "publisher", first.fence, 5 + hours).await.ok();
    }
    assert_eq!(checkpoint(&world.store, "publisher").await.unwrap(), 6);
}
