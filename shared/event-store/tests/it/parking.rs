//! Events that cannot be taken: set aside with their followers, and brought back in order.

use std::time::Duration;

use chrono::TimeDelta;
use event_store::inbox::HandlerError;
use event_store::inbox::redrive;
use futures::future::join;

use crate::account::AccountCommand;
use crate::check::assert_consistent;
use crate::consumer::{Consumer, consumer_with};
use crate::inbox::a_log;
use crate::world::{Dice, World, execute, open};

const CONSUMER: &str = "tests.seen@1";

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_parks_its_stream_with_its_followers_and_other_streams_go_on() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[6]); // ACME's account 1, version 2
    for batch in log.chunks(10) {
        consumer.take(batch).await.unwrap();
    }
    let parked = consumer.parked().await;
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].version, parked[0].events, parked[0].attempts), (2, 3, 1));
    assert!(parked[0].error.contains("poison"), "{}", parked[0].error);
    assert_eq!(
        consumer.seen(&world).await.len(),
        log.len() - 3,
        "what it wrote before it failed is still there"
    );

    assert_eq!(consumer.redrive().await, 0);
    assert_eq!(consumer.parked().await[0].attempts, 2);
    consumer.cure();
    assert_eq!(consumer.redrive().await, 1);
    assert_eq!(consumer.parked().await.len(), 0);
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_fails_again_keeps_what_it_took_before() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[6]);
    consumer.take(&log).await.unwrap();
    consumer.cure();
    consumer.poison(&log[18]); // version 4 of the same stream
    assert_eq!(consumer.redrive().await, 0);
    let parked = consumer.parked().await;
    assert_eq!((parked[0].version, parked[0].events, parked[0].attempts), (4, 1, 1));
    consumer.cure();
    assert_eq!(consumer.redrive().await, 1);
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_event_is_left_out_and_its_followers_are_taken() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[6]);
    consumer.take(&log).await.unwrap();
    redrive::discard(&world.store, &consumer.parked().await[0]).await.unwrap();
    assert_eq!(consumer.parked().await[0].version, 3);
    assert_eq!(consumer.redrive().await, 1);
    let mut wanted = log.clone();
    wanted.remove(6);
    consumer.assert_has_seen(&world, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_only_parked_event_is_discarded_is_free_at_once() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[6]);
    consumer.take(&log[..12]).await.unwrap();
    redrive::discard(&world.store, &consumer.parked().await[0]).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM inbox_stream WHERE parked").await, 0);
    assert_eq!(consumer.take(&log[12..]).await.unwrap().parked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_grow_and_a_stream_is_tried_when_its_pause_is_over() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[6]);
    consumer.take(&log).await.unwrap();
    let redrive_due = || redrive::redrive_due(&world.store, CONSUMER, &consumer.handler);
    for (attempts, seconds) in
        [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 64), (8, 128), (9, 256), (10, 256)]
    {
        assert_eq!(consumer.parked().await[0].attempts, attempts);
        assert_eq!(redrive_due().await.unwrap(), 0);
        assert_eq!(consumer.parked().await[0].attempts, attempts, "tried too early");
        world.store.clock().advance(TimeDelta::seconds(seconds));
        redrive_due().await.unwrap();
    }
    consumer.cure();
    world.store.clock().advance(TimeDelta::seconds(300));
    assert_eq!(redrive::redrive_due(&world.store, "tests.another@1", &consumer.handler).await.unwrap(), 0);
    assert_eq!(redrive_due().await.unwrap(), 1);
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_redriven_to_its_end_and_the_live_consumer_gets_in_between() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    execute(&world.store, id, AccountCommand::DepositEach(349)).await.unwrap();
    let log = world.contract_log().await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.poison(&log[0]);
    consumer.take(&log[..300]).await.unwrap();
    consumer.cure();
    let live = async { consumer.take(&log[300..]).await.unwrap() };
    let (free, live) = join(consumer.redrive(), live).await;
    assert!(free == 1 || live.parked > 0, "free with events left behind");
    consumer.redrive().await;
    assert_eq!(consumer.parked().await.len(), 0);
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_follower_overtakes_while_a_stream_is_parked_and_redriven_beside_its_live_consumer() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    execute(&world.store, id, AccountCommand::DepositEach(119)).await.unwrap();
    let log = world.contract_log().await;
    for seed in 1..=4 {
        let name: &'static str = Box::leak(format!("tests.seed{seed}@1").into_boxed_str());
        let consumer = Consumer::new(world.store.clone(), name);
        let live = async {
            let mut dice = Dice::new(seed);
            let mut rest = &log[..];
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(rest.len().min(1 + dice.below(4) as usize));
                match dice.below(3) {
                    0 => consumer.poison(&batch[dice.below(batch.len() as u64) as usize]),
                    _ => consumer.cure(),
                }
                consumer.take(batch).await.unwrap();
                rest = behind;
            }
        };
        let redriven = async {
            let mut dice = Dice::new(seed + 100);
            for _ in 0..40 {
                consumer.redrive().await;
                tokio::time::sleep(Duration::from_millis(dice.below(5))).await;
            }
        };
        join(live, redriven).await;
        consumer.cure();
        consumer.redrive().await;
        assert_eq!(consumer.parked().await.len(), 0);
        consumer.assert_has_seen(&world, &log).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_quotes_what_no_text_column_can_hold_is_stored_all_the_same() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = consumer_with(&world.store, CONSUMER, |_, _| {
        Box::pin(async { Err(HandlerError::Refused("the name a\0b is taken".into())) })
    });
    consumer.take(&log).await.unwrap();
    assert_eq!(consumer.redrive().await, 0);
    assert_eq!(consumer.parked().await[0].error, "the name a\u{fffd}b is taken");
    assert_consistent(&world).await;
}
