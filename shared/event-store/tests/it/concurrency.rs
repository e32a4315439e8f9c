//! Writers in each other's way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use event_store::store::Context;
use event_store::{ExecuteError, StoreError, Unit, sequencer};
use futures::future::{join, join_all};
use tokio::sync::Barrier;

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::world::{ACME, Dice, LOGS, Outcome, World, execute, load, new_account_id, open};

#[tokio::test(flavor = "multi_thread")]
async fn of_64_writers_on_one_stream_all_are_served_and_each_version_has_one_winner() {
    let world = World::new().await;
    let id = open(&world.store, "busy").await;
    let outcomes = join_all((0..64).map(|_| execute(&world.store, id, AccountCommand::Deposit(1)))).await;
    let versions: BTreeSet<i64> = outcomes.into_iter().map(|outcome| outcome.unwrap().version).collect();
    assert_eq!(versions, (2..=65).collect());
    assert_eq!(load(&world.store, ACME, id).await.unwrap().balance, 64);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_are_served_and_numbered_whatever_isolation_the_server_prefers() {
    let world = World::new().await;
    for role in ["runtime", "kernel"] {
        let setting = "SET default_transaction_isolation = 'serializable'";
        world
            .admin_does(&format!(
                "ALTER ROLE eventstoretest_{role} IN DATABASE {} {setting}",
                world.database.name
            ))
            .await;
    }
    let store = world.another_store().await;
    let id = open(&store, "busy").await;
    let write = async || {
        execute(&store, id, AccountCommand::Deposit(1)).await.unwrap();
        sequencer::drain(&store, &LOGS).await.unwrap();
    };
    join_all((0..32).map(|_| write())).await;
    assert_eq!(load(&store, ACME, id).await.unwrap().balance, 32);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_that_name_the_same_version_one_wins_and_the_others_learn_the_new_one() {
    let world = World::new().await;
    let id = open(&world.store, "busy").await;
    for expected in 1..=5 {
        let write = async || {
            world
                .store
                .transact(&Context::mesh(ACME), async |unit| {
                    unit.execute_at::<Account>(id, Some(expected), AccountCommand::Deposit(1)).await
                })
                .await
        };
        let outcomes = join_all((0..16).map(|_| write())).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for error in outcomes.into_iter().filter_map(Result::err) {
            match error {
                ExecuteError::Store(StoreError::Conflict { expected: named, actual }) => {
                    assert_eq!((named, actual), (expected, expected + 1));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_creators_that_race_for_one_id_one_wins_and_the_others_see_what_it_made() {
    let world = World::new().await;
    for round in 0..5 {
        let id = new_account_id();
        // Half of them use one name, so that both unique rules of the table are in the race.
        let names = (0..32).map(|n| format!("round {round} name {}", n % 16));
        let outcomes =
            join_all(names.map(|name| execute(&world.store, id, AccountCommand::Open(name)))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(error, ExecuteError::Refused(AccountError::Exists)), "{error:?}");
        }
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_creators_that_race_for_one_name_one_wins_and_the_others_are_refused() {
    let world = World::new().await;
    for round in 0..5 {
        let name = format!("name {round}");
        let create = || execute(&world.store, new_account_id(), AccountCommand::Open(name.clone()));
        let outcomes = join_all((0..32).map(|_| create())).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(error, ExecuteError::Refused(AccountError::NameTaken)), "{error:?}");
        }
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_rule_that_the_aggregate_does_not_know_is_named_in_the_error() {
    let world = World::new().await;
    world.admin_does("CREATE UNIQUE INDEX only_one_rich ON accounts (tenant_id) WHERE balance > 100").await;
    let (first, second) = (open(&world.store, "a").await, open(&world.store, "b").await);
    execute(&world.store, first, AccountCommand::Deposit(101)).await.unwrap();
    let error = execute(&world.store, second, AccountCommand::Deposit(101)).await.unwrap_err();
    assert!(
        matches!(&error, ExecuteError::Store(StoreError::Unique { constraint }) if constraint == "only_one_rich"),
        "{error:?}"
    );
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_units_that_need_each_others_streams_both_succeed() {
    let world = World::new().await;
    let (a, b) = (open(&world.store, "a").await, open(&world.store, "b").await);
    let (met, tries) = (Barrier::new(2), AtomicU32::new(0));
    let both = async |first: i64, second: i64| -> Outcome {
        world
            .store
            .transact(&Context::mesh(ACME), async |unit| {
                unit.execute::<Account>(first, AccountCommand::Deposit(1)).await?;
                if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                    met.wait().await;
                }
                unit.execute::<Account>(second, AccountCommand::Deposit(1)).await
            })
            .await
    };
    let (one, other) = join(both(a, b), both(b, a)).await;
    one.unwrap();
    other.unwrap();
    assert!(tries.load(Ordering::SeqCst) > 2, "they never collided");
    assert_eq!(load(&world.store, ACME, a).await.unwrap().balance, 2);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_lock_their_streams_first_never_collide() {
    let world = World::new().await;
    let ids = [open(&world.store, "a").await, open(&world.store, "b").await, open(&world.store, "c").await];
    let tries = AtomicU32::new(0);
    let all = async |order: [usize; 3]| {
        world
            .store
            .transact(&Context::mesh(ACME), async |unit| {
                tries.fetch_add(1, Ordering::SeqCst);
                let ids = order.map(|n| ids[n]);
                unit.lock::<Account>(&ids).await?;
                for id in ids {
                    unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?;
                }
                Ok::<_, ExecuteError<AccountError>>(())
            })
            .await
    };
    let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]];
    for outcome in join_all((0..32).map(|n| all(orders[n % 4]))).await {
        outcome.unwrap();
    }
    assert_eq!(tries.load(Ordering::SeqCst), 32);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_create_the_same_streams_in_opposite_order_all_succeed() {
    let world = World::new().await;
    let (a, b) = (new_account_id(), new_account_id());
    let note = async |unit: &mut Unit, id: i64| -> Result<(), ExecuteError<AccountError>> {
        if unit.load::<Account>(id).await?.is_none() {
            unit.execute::<Account>(id, AccountCommand::Open(format!("account {id}"))).await?;
        }
        unit.execute::<Account>(id, AccountCommand::Deposit(1)).await.map(|_| ())
    };
    let both = async |first: i64, second: i64| {
        world
            .store
            .transact(&Context::mesh(ACME), async |unit| {
                note(unit, first).await?;
                note(unit, second).await
            })
            .await
    };
    for outcome in join_all((0..8).map(|n| if n % 2 == 0 { both(a, b) } else { both(b, a) })).await {
        outcome.unwrap();
    }
    assert_eq!(load(&world.store, ACME, a).await.unwrap().balance, 8);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_on_a_streams_absence_is_decided_again_when_it_was_created_meanwhile() {
    let world = World::new().await;
    let id = new_account_id();
    let tries = AtomicU32::new(0);
    let outcome = world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            let absent = unit.load::<Account>(id).await?.is_none();
            if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                execute(&world.store, id, AccountCommand::Open("somebody's".into())).await?;
            }
            let command =
                if absent { AccountCommand::Open("ours".into()) } else { AccountCommand::Deposit(1) };
            unit.execute::<Account>(id, command).await
        })
        .await;
    assert_eq!(outcome.unwrap().state.balance, 1);
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_name_comes_after_who_freed_it_also_when_it_waited_for_it() {
    let world = World::new().await;
    let old = open(&world.store, "slug").await;
    let mut freeing = world.store.begin(Context::mesh(ACME)).await.unwrap();
    freeing.execute::<Account>(old, AccountCommand::Rename("other".into())).await.unwrap();
    let taking = execute(&world.store, new_account_id(), AccountCommand::Open("slug".into()));
    let freed = async {
        // The taker has had the time to reach the unique index, where it waits.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        freeing.commit().await.unwrap();
    };
    let (taken, ()) = join(taking, freed).await;
    taken.unwrap();
    let types: Vec<String> = world.contract_log().await.into_iter().map(|event| event.event_type).collect();
    let wanted = ["account_opened", "name_freed", "name_taken", "account_opened"];
    assert_eq!(types, wanted.map(|name| format!("eventstoretest.{name}.v1")));
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_wander_between_accounts_can_be_replayed() {
    let world = World::new().await;
    let ids = join_all((0..8).map(async |n| open(&world.store, &format!("own name {n}")).await)).await;
    join_all(ids.iter().enumerate().map(async |(n, id)| {
        let mut dice = Dice::new(n as u64);
        for step in 0..30 {
            let name = match dice.below(3) {
                0 => format!("own name {n} {step}"),
                _ => format!("wanted {}", dice.below(3)),
            };
            match execute(&world.store, *id, AccountCommand::Rename(name)).await {
                Ok(_) | Err(ExecuteError::Refused(AccountError::NameTaken)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }))
    .await;
    world.store.rebuild("accounts").await.unwrap();
    assert_consistent(&world).await;
}
