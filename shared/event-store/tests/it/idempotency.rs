//! The same request twice.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use event_store::store::Context;
use event_store::{ExecuteError, Key, Store, StoreError, idempotency};
use futures::future::join_all;

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::world::{ACME, GLOBEX, World, by, new_account_id, open};

fn key(key: &str, request: &str) -> Key {
    Key { key: key.to_owned(), request_hash: request.as_bytes().to_vec() }
}

/// Deposits 1, once for each key; answers with the balance.
async fn deposit(
    store: &Store,
    context: &Context,
    id: i64,
    key: &Key,
) -> Result<i64, ExecuteError<AccountError>> {
    store
        .transact_once(context, key, async |unit| {
            Ok(unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?.state.balance)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gets_the_first_answer_and_happens_once() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    let (alice, once) = (by(ACME, 1), key("k", "deposit"));
    assert_eq!(deposit(&world.store, &alice, id, &once).await.unwrap(), 1);
    assert_eq!(deposit(&world.store, &alice, id, &key("another", "deposit")).await.unwrap(), 2);
    assert_eq!(deposit(&world.store, &alice, id, &once).await.unwrap(), 1, "not the first answer");
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 3);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    deposit(&world.store, &by(ACME, 1), id, &key("k", "one")).await.unwrap();
    let other = deposit(&world.store, &by(ACME, 1), id, &key("k", "another")).await;
    assert!(matches!(other, Err(ExecuteError::Store(StoreError::KeyReused))), "{other:?}");
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 2);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_requests_at_once_one_is_carried_out_and_all_get_its_answer() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    for round in 1..=5 {
        let (alice, once) = (by(ACME, 1), key(&format!("k{round}"), "deposit"));
        let answers = join_all((0..16).map(|_| deposit(&world.store, &alice, id, &once))).await;
        let answers: Vec<i64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, vec![round; 16]);
    }
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 6);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_user_and_tenant() {
    let world = World::new().await;
    let mut answers = vec![];
    for context in [by(ACME, 1), by(ACME, 2), by(GLOBEX, 1), Context::mesh(ACME)] {
        let id = new_account_id();
        let create = AccountCommand::Open(format!("account {id}"));
        let opened: Result<i64, ExecuteError<AccountError>> = world
            .store
            .transact_once(&context, &key("the same key", "the same request"), async |unit| {
                unit.execute::<Account>(id, create.clone()).await?;
                Ok(id)
            })
            .await;
        assert_eq!(opened.unwrap(), id, "it got somebody else's answer");
        answers.push(id);
    }
    assert_eq!(world.number("SELECT count(*) FROM es_stream").await, 4);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_failed_leaves_no_row_and_may_be_made_again() {
    let world = World::new().await;
    let id = new_account_id();
    let (alice, once) = (by(ACME, 1), key("k", "deposit"));
    let failed = deposit(&world.store, &alice, id, &once).await;
    assert!(matches!(failed, Err(ExecuteError::Refused(AccountError::NotOpen))), "{failed:?}");
    assert_eq!(world.number("SELECT count(*) FROM es_idempotency").await, 0);
    crate::world::execute(&world.store, id, AccountCommand::Open("alice".into())).await.unwrap();
    assert_eq!(deposit(&world.store, &alice, id, &once).await.unwrap(), 1);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_kept_where_the_key_is_wherever_the_work_went() {
    let world = World::new().await;
    let once = async || {
        world
            .store
            .transact_once(&by(ACME, 1), &key("k", "open"), async |unit| {
                unit.enter(by(GLOBEX, 1)).await?;
                let opened = unit.execute::<Account>(5, AccountCommand::Open("alice".into())).await?;
                Ok::<i64, ExecuteError<AccountError>>(opened.version)
            })
            .await
    };
    assert_eq!((once().await.unwrap(), once().await.unwrap()), (1, 1));
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waited_for_one_that_failed_is_carried_out_itself() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    let tries = AtomicU32::new(0);
    let (alice, once) = (by(ACME, 1), key("k", "deposit"));
    let outcomes = join_all((0..4).map(async |_| {
        world
            .store
            .transact_once(&alice, &once, async |unit| {
                let done = unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?;
                // The first two who get this far fail; the next is the one that counts.
                if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                    return Err(ExecuteError::Refused(AccountError::BadAmount));
                }
                Ok(done.state.balance)
            })
            .await
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 2);
    assert!(outcomes.into_iter().filter_map(Result::ok).all(|balance| balance == 1));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_forgotten_and_young_ones_are_not() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    deposit(&world.store, &by(ACME, 1), id, &key("old", "deposit")).await.unwrap();
    deposit(&world.store, &by(GLOBEX, 1), id, &key("old", "deposit")).await.unwrap_err();
    world.admin_does("UPDATE es_idempotency SET created_at = now() - interval '2 days'").await;
    deposit(&world.store, &by(ACME, 1), id, &key("young", "deposit")).await.unwrap();
    let yesterday: DateTime<Utc> = world.store.clock().now() - TimeDelta::days(1);
    assert_eq!(idempotency::forget(&world.store, yesterday).await.unwrap(), 1);
    assert_eq!(deposit(&world.store, &by(ACME, 1), id, &key("old", "deposit")).await.unwrap(), 3);
    assert_eq!(deposit(&world.store, &by(ACME, 1), id, &key("young", "deposit")).await.unwrap(), 2);
    assert_consistent(&world).await;
}
