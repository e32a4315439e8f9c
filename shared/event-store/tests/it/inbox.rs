//! Taking events in: once, in order, all of a batch or none of it.

use std::time::Duration;

use event_store::inbox::{self, HandlerError, Move, Place, Progress, TakeError, Taken};
use event_store::store::Context;
use event_store::{ExecuteError, StoreError};
use futures::future::{join, join_all};

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::consumer::{Consumer, consumer_with, stumble};
use crate::world::{ACME, GLOBEX, World, execute_in};

/// Three accounts in each of two tenants, with the same ids, each with 4 contract events, interleaved.
pub async fn a_log(world: &World) -> Vec<contracts::Envelope> {
    for step in 0..4 {
        for tenant in [ACME, GLOBEX] {
            for id in 1..=3 {
                let command = match step {
                    0 => AccountCommand::Open(format!("account {id}")),
                    _ => AccountCommand::Deposit(step),
                };
                execute_in(&world.store, tenant, id, command).await.unwrap();
            }
        }
    }
    world.contract_log().await
}

const CONSUMER: &str = "tests.seen@1";
const HASH: &str = "SELECT hashtext(string_agg(t::text, ';' ORDER BY t::text)) FROM ";

fn taken(handled: usize, duplicates: usize, parked: usize) -> Taken {
    Taken { handled, duplicates, parked }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_taken_in_once_in_batches_of_several_tenants_and_replayed_it_changes_nothing() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    for batch in log.chunks(7) {
        assert_eq!(consumer.take(batch).await.unwrap(), taken(batch.len(), 0, 0));
    }
    consumer.assert_has_seen(&world, &log).await;
    let place = consumer.place().await;
    assert_eq!((place.next_offset, place.position, place.event_id), (24, 24, Some(log[23].id)));

    let hashes = async || {
        (world.number(&format!("{HASH} seen t")).await, world.number(&format!("{HASH} inbox_stream t")).await)
    };
    let before = hashes().await;
    let beginning = Place { next_offset: 0, position: 0, event_id: None, ..place.clone() };
    inbox::move_place(&world.store, CONSUMER, &place, &beginning).await.unwrap();
    for batch in log.chunks(5) {
        assert_eq!(consumer.take(batch).await.unwrap(), taken(0, batch.len(), 0));
    }
    assert_eq!(hashes().await, before);
    // A duplicate inside one batch is one too.
    let twice = [log[0].clone(), log[0].clone()];
    assert_eq!(
        Consumer::new(world.store.clone(), "tests.twice@1").take(&twice).await.unwrap(),
        taken(1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stops_the_batch_and_nothing_of_it_is_stored() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    // All openings, then the third version of one stream instead of its second.
    let mut batch = log[..6].to_vec();
    batch.push(log[12].clone());
    match consumer.take(&batch).await {
        Err(TakeError::Gap { partition_key, last, found }) => {
            assert_eq!((partition_key, last, found), (format!("{ACME}/account/1"), 1, 3));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.number("SELECT count(*) FROM seen").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM inbox_stream").await, 0);
    assert_eq!(consumer.place().await.next_offset, 0);
    consumer.take(&log).await.unwrap();
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_of_a_partition_one_is_fenced_and_the_effect_is_there_once() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    for batch in log.chunks(6) {
        let from = consumer.place().await;
        let outcomes = join_all((0..4).map(|_| consumer.take_from(from.clone(), batch))).await;
        let fenced = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(TakeError::Store(StoreError::Fenced(_)))))
            .count();
        let won =
            outcomes.iter().filter(|outcome| matches!(outcome, Ok(taken) if taken.handled == 6)).count();
        assert_eq!((won, fenced), (1, 3), "{outcomes:?}");
    }
    consumer.assert_has_seen(&world, &log).await;
    // A zombie that knows an old place.
    let old = Place { next_offset: 6, position: 6, ..consumer.place().await };
    let zombie = consumer.take_from(old, &log[6..12]).await;
    assert!(matches!(zombie, Err(TakeError::Store(StoreError::Fenced(_)))), "{zombie:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_stream_read_from_two_places_at_once_has_one_effect() {
    let world = World::new().await;
    let log = a_log(&world).await;
    for round in 0..5 {
        let name: &'static str = Box::leak(format!("tests.round{round}@1").into_boxed_str());
        // Slow enough for both to see that the streams are new.
        let consumer = consumer_with(&world.store, name, |unit, event| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                unit.enqueue(
                    "effect",
                    event.streamversion * 10 + event.stream_id().unwrap_or_default(),
                    event.time,
                )
                .await?;
                unit.execute::<Account>(
                    event.stream_id().unwrap_or_default(),
                    AccountCommand::Note("taken".into()),
                )
                .await?;
                Ok(())
            })
        });
        let from = |topic| inbox::place(&world.store, name, topic, 0);
        let (kafka, backfill) = (from("kafka").await.unwrap(), from("backfill").await.unwrap());
        let take = async |from: Place| {
            let to = Place { next_offset: 24, position: 24, ..from.clone() };
            inbox::take(&world.store, name, &consumer.handler, &log, &[Move { from, to }]).await.unwrap()
        };
        let (one, other) = join(take(kafka), take(backfill)).await;
        assert_eq!((one.handled + other.handled, one.duplicates + other.duplicates), (24, 24));
        assert_eq!(world.number("SELECT count(*) FROM notes").await, 24 * (round + 1));
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_executes_commands_in_the_tenant_and_name_of_its_cause() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = consumer_with(&world.store, CONSUMER, |unit, event| {
        Box::pin(async move {
            let id = event.stream_id().unwrap_or_default();
            unit.execute::<Account>(id, AccountCommand::Deposit(100)).await?;
            Ok(())
        })
    });
    consumer.take(&log).await.unwrap();
    assert_consistent(&world).await;
    let caused = world.contract_log().await.split_off(log.len());
    assert_eq!(caused.len(), log.len());
    for effect in caused {
        let cause = log.iter().find(|event| Some(event.id) == effect.causationid).unwrap();
        assert_eq!((effect.tenantid, &effect.subject), (cause.tenantid, &cause.subject));
        assert_eq!(effect.correlationid, cause.correlationid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_go_to_another_tenant_and_the_inbox_stays_where_it_is() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = consumer_with(&world.store, CONSUMER, |unit, event| {
        Box::pin(async move {
            let other = if event.tenantid == ACME { GLOBEX } else { ACME };
            let id = 100 * event.streamversion + event.stream_id().unwrap_or_default();
            unit.enter(Context::mesh(other)).await?;
            unit.execute::<Account>(id, AccountCommand::Open(format!("account {id}"))).await?;
            match event.streamversion {
                3 => Err(HandlerError::Refused("in the other tenant".into())),
                _ => Ok(()),
            }
        })
    });
    // All are parked at version 3, and version 4 follows them.
    assert_eq!(consumer.take(&log).await.unwrap(), taken(12, 0, 12));
    assert_eq!(world.number("SELECT count(*) FROM inbox_stream WHERE last_version = 4 AND parked").await, 6);
    assert_eq!(world.number("SELECT count(*) FROM es_stream WHERE stream_id > 100").await, 12);
    assert_eq!(consumer.redrive().await, 0);
    // Redriven with a handler that succeeds in the other tenant, the queue is empty afterwards.
    let cured = consumer_with(&world.store, CONSUMER, |unit, event| {
        Box::pin(async move {
            let other = if event.tenantid == ACME { GLOBEX } else { ACME };
            Ok(unit.enter(Context::mesh(other)).await?)
        })
    });
    assert_eq!(cured.redrive().await, 6);
    assert_eq!(world.number("SELECT count(*) FROM inbox_parked").await, 0);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_parks_nothing_and_the_batch_can_be_taken_again() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let failing = consumer_with(&world.store, CONSUMER, |_, event| {
        let fails = event.streamversion == 2;
        Box::pin(
            async move { if fails { Err(StoreError::Unavailable("gone".into()).into()) } else { Ok(()) } },
        )
    });
    let outcome = failing.take(&log).await;
    assert!(matches!(outcome, Err(TakeError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    assert_eq!(world.number("SELECT count(*) FROM inbox_parked").await, 0);
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    consumer.take(&log).await.unwrap();
    consumer.assert_has_seen(&world, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hides_a_failed_statement_parks_its_own_event_and_no_other() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = consumer_with(&world.store, CONSUMER, |unit, event| {
        Box::pin(async move {
            if event.subject == "account/2" && event.streamversion == 2 {
                stumble(unit).await.ok();
            }
            Ok(())
        })
    });
    assert_eq!(consumer.take(&log).await.unwrap(), taken(18, 0, 6));
    assert_eq!(consumer.parked().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_hides_a_failed_statement_is_not_said_to_be_stored() {
    let world = World::new().await;
    let hidden = world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            unit.enqueue("send", 1, unit.store().clock().now()).await?;
            stumble(unit).await.ok();
            Ok::<_, ExecuteError<AccountError>>(())
        })
        .await;
    assert!(hidden.is_err(), "committed, although the server had given up the transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_how_far_a_stream_is_or_that_it_is_parked() {
    let world = World::new().await;
    let log = a_log(&world).await;
    let consumer = Consumer::new(world.store.clone(), CONSUMER);
    let progress =
        |tenant, id| inbox::progress(&world.store, CONSUMER, tenant, "eventstoretest", "account", id);
    assert_eq!(progress(ACME, 1).await.unwrap(), Progress::At(0));
    let mut taken_in = world.store.wake().follow_taken();
    taken_in.mark_unchanged();
    consumer.take(&log[..12]).await.unwrap();
    assert!(taken_in.has_changed().unwrap(), "nobody who waits was told");
    assert_eq!(progress(ACME, 1).await.unwrap(), Progress::At(2));
    consumer.poison(&log[12]);
    consumer.take(&log[12..]).await.unwrap();
    assert_eq!(progress(ACME, 1).await.unwrap(), Progress::Parked);
    assert_eq!(progress(ACME, 2).await.unwrap(), Progress::At(4));
}
