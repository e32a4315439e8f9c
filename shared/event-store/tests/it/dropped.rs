//! A future that is dropped half-way: at every place where it waits.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use contracts::TenantId;
use diesel_async::RunQueryDsl;
use event_store::store::Context;
use event_store::{ExecuteError, Key, Sql, Store, StoreError, Unit};

use crate::account::{Account, AccountCommand, AccountError, registry};
use crate::check::assert_consistent_seen_by;
use crate::world::{ACME, GLOBEX, LOGS, World, connect, new_account_id, rows};
use test_kit::eventually::eventually;

/// Polls `work` until it has waited `n` times, then drops it.
pub async fn cut_short<T>(n: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut waits = 0;
    std::future::poll_fn(move |context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => {
            waits += 1;
            if waits == n { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// Reads, executes and commits for one tenant, with a key that makes a repetition harmless.
async fn work(store: &Store, tenant: TenantId, id: i64) -> Result<i64, ExecuteError<AccountError>> {
    let key = Key { key: format!("key {id}"), request_hash: vec![1] };
    store
        .transact_once(&Context { actor: Some(1), ..Context::mesh(tenant) }, &key, async |unit| {
            Sql::fixed("SELECT 1 FROM accounts").execute(&mut **unit.tx()).await.map_err(StoreError::from)?;
            unit.execute::<Account>(id, AccountCommand::Open(format!("account {id}"))).await?;
            Ok(unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?.version)
        })
        .await
}

/// Runs a test on one thread, where a connection is driven only while the test waits: so each statement is a
/// place to wait at, however fast the answer comes.
pub fn on_one_thread(test: impl AsyncFnOnce(&World, Store)) {
    // Making a database takes several threads.
    let threads = tokio::runtime::Runtime::new().unwrap();
    let world = threads.block_on(World::new());
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one.block_on(async {
        let store = connect(&world.database.urls, 1, registry()).await;
        test(&world, store).await;
    });
}

#[test]
fn a_transaction_dropped_at_any_await_leaves_no_tenant_no_lock_and_no_half_of_its_work() {
    on_one_thread(every_place_of_a_transaction);
}

async fn every_place_of_a_transaction(world: &World, store: Store) {
    let mut places = 0;
    for n in 1.. {
        let id = new_account_id();
        let finished = cut_short(n, work(&store, ACME, id)).await;
        let began = Instant::now();

        // The next on the same pool, of another tenant, sees its own rows only.
        let mut tx = store.database().tenant(GLOBEX).await.unwrap();
        let seen =
            rows(&mut tx, "SELECT tenant_id FROM accounts UNION ALL SELECT tenant_id FROM es_event").await;
        assert!(seen.iter().all(|row| row["tenant_id"] == GLOBEX.to_string()), "after {n}: {seen:?}");
        tx.commit().await.unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "the pool took {:?} to recover",
            began.elapsed()
        );

        eventually("no transaction of the dropped future is open", Duration::from_secs(30), async || {
            (world.number(LEFT_OPEN).await == 0).then_some(())
        })
        .await;
        let stored = world.number(&format!("SELECT count(*) FROM es_event WHERE stream_id = {id}")).await;
        assert!(stored == 0 || stored == 2, "after {n}: half of the work is stored");

        // Made again it happens once, whether or not it had happened.
        assert_eq!(work(&store, ACME, id).await.unwrap(), 2);
        assert_consistent_seen_by(world, &store).await;
        if finished.is_some() {
            break;
        }
        places = n;
    }
    // BEGIN, the key, 2 reads, 2 read models, the event rows, the answer, COMMIT.
    assert_eq!(places, 9, "some statement was not covered");
}

const LEFT_OPEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
    AND pid <> pg_backend_pid() AND (state <> 'idle' OR backend_xid IS NOT NULL)";

async fn hold(unit: &mut Unit, id: i64) {
    unit.execute::<Account>(id, AccountCommand::Deposit(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_that_waited_for_a_lock_does_not_wait_on() {
    let world = World::with_pool(2).await;
    let id = crate::world::open(&world.store, "alice").await;
    let mut holder = world.store.begin(Context::mesh(ACME)).await.unwrap();
    hold(&mut holder, id).await;
    let deposit = crate::world::execute(&world.store, id, AccountCommand::Deposit(1));
    assert!(tokio::time::timeout(Duration::from_millis(100), deposit).await.is_err(), "it did not wait");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("nobody waits", Duration::from_secs(30), async || {
        (world.number(waiting).await == 0).then_some(())
    })
    .await;
    holder.commit().await.unwrap();
    assert_eq!(crate::world::load(&world.store, ACME, id).await.unwrap().balance, 1);
}

#[test]
fn the_sequencers_and_a_rebuilds_transactions_may_be_dropped_at_any_await_too() {
    on_one_thread(async |world, store| {
        let mut drained = 0;
        for n in 1.. {
            work(&store, ACME, new_account_id()).await.unwrap();
            if cut_short(n, event_store::sequencer::drain(&store, &LOGS)).await.is_some() {
                break;
            }
            drained = n;
        }
        let mut rebuilt = 0;
        for n in 1.. {
            if cut_short(n, store.rebuild("accounts")).await.is_some() {
                break;
            }
            rebuilt = n;
        }
        assert!(drained >= 10 && rebuilt >= 40, "they waited only {drained} and {rebuilt} times");
        assert_consistent_seen_by(world, &store).await;
    });
}
