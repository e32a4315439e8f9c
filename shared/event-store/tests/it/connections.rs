//! Connections that end, servers that refuse, time limits: a client hears that it may try again, and may.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind as Kind, Error as DieselError};
use event_store::store::Context;
use event_store::{Database, ExecuteError, Key, PoolSizes, Store, StoreError};
use futures::future::join;

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::{assert_consistent, assert_consistent_seen_by};
use crate::dropped::on_one_thread;
use crate::world::{ACME, World, by, execute, new_account_id, open};
use test_kit::eventually::eventually;

type Answer = Result<i64, ExecuteError<AccountError>>;

async fn deposit_once(store: &Store, id: i64, key: &str) -> Answer {
    let key = Key { key: key.to_owned(), request_hash: vec![1] };
    store
        .transact_once(&by(ACME, 1), &key, async |unit| {
            Ok(unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?.state.balance)
        })
        .await
}

async fn kill_writers(world: &World) {
    world
        .admin_does(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                     WHERE datname = current_database() AND usename = 'eventstoretest_runtime'",
        )
        .await;
}

fn assert_unavailable<T: std::fmt::Debug>(outcome: &Result<T, ExecuteError<AccountError>>) {
    assert!(matches!(outcome, Err(ExecuteError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
}

#[test]
fn a_writer_whose_session_is_killed_at_any_statement_may_try_again_and_has_written_once() {
    on_one_thread(async |world, store| {
        let id = open(&store, "alice").await;
        let mut broken = 0;
        for n in 1.. {
            let key = format!("key {n}");
            // Polled by hand: up to its n-th wait, then after the kill to its end.
            let mut work = std::pin::pin!(deposit_once(&store, id, &key));
            let early = poll_times(n, work.as_mut()).await;
            if early.is_none() {
                kill_writers(world).await;
                // A killed session answers nothing after its last words.
                let late = work.await;
                if late.is_err() {
                    broken += 1;
                    assert_unavailable(&late);
                }
            }
            assert_eq!(deposit_once(&store, id, &key).await.unwrap(), n as i64);
            assert_consistent_seen_by(world, &store).await;
            if early.is_some() {
                break;
            }
        }
        // BEGIN, the key, the stream, the read model, the event rows, the answer.
        assert!(broken >= 6, "only {broken} statements were broken");
    });
}

async fn poll_times<F: std::future::Future>(n: usize, mut work: std::pin::Pin<&mut F>) -> Option<F::Output> {
    crate::dropped::cut_short(n, std::future::poll_fn(|context| work.as_mut().poll(context))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_killed_while_its_statement_runs_or_commits_says_so() {
    let world = World::with_pool(2).await;
    let id = open(&world.store, "alice").await;
    world
        .admin_does("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN PERFORM pg_sleep(10); RETURN NULL; END $$; \
                     CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON es_contract DEFERRABLE INITIALLY DEFERRED \
                     FOR EACH ROW EXECUTE FUNCTION linger()")
        .await;
    // The first sleeps in its COMMIT; the second waits for the stream.
    let (first, second) = (deposit_once(&world.store, id, "first"), deposit_once(&world.store, id, "second"));
    let kill = async {
        eventually("one commits and one waits", Duration::from_secs(30), async || {
            let busy = "SELECT count(DISTINCT wait_event) FROM pg_stat_activity \
                        WHERE datname = current_database() AND wait_event IN ('PgSleep', 'transactionid')";
            (world.number(busy).await == 2).then_some(())
        })
        .await;
        kill_writers(&world).await;
    };
    let ((first, second), ()) = join(join(first, second), kill).await;
    assert_unavailable(&first);
    assert_unavailable(&second);
    world.admin_does("DROP TRIGGER linger ON es_contract").await;
    assert_eq!(deposit_once(&world.store, id, "first").await.unwrap(), 1);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_in_the_pool_are_replaced_before_anybody_gets_them() {
    let world = World::with_pool(4).await;
    let ids =
        futures::future::join_all((0..4).map(async |n| open(&world.store, &format!("{n}")).await)).await;
    kill_writers(&world).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for id in ids {
        execute(&world.store, id, AccountCommand::Deposit(1)).await.unwrap();
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_limits_and_a_server_that_only_reads_are_the_stores_failure_not_the_statements() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    for setting in
        ["statement_timeout = '200ms'", "lock_timeout = '200ms'", "default_transaction_read_only = on"]
    {
        let runtime = format!("ALTER ROLE eventstoretest_runtime IN DATABASE {}", world.database.name);
        world.admin_does(&format!("{runtime} SET {setting}")).await;
        let limited = world.another_store().await;
        world.admin_does(&format!("{runtime} RESET ALL")).await;
        let mut holder = world.store.begin(Context::mesh(ACME)).await.unwrap();
        holder.execute::<Account>(id, AccountCommand::Deposit(1)).await.unwrap();
        assert_unavailable(&execute(&limited, id, AccountCommand::Deposit(1)).await);
        holder.commit().await.unwrap();
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_connection_is_unavailable_and_then_it_is_not() {
    let world = World::new().await;
    let urls = world.database.urls.clone();
    let sizes = PoolSizes { runtime: 1, kernel: 1 };
    let name = &world.database.name;
    let admin = test_kit::database::cluster().await.url("postgres");
    let mut admin =
        <diesel_async::AsyncPgConnection as diesel_async::AsyncConnection>::establish(&admin).await.unwrap();
    for (shut, open) in
        [("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"), ("ALLOW_CONNECTIONS off", "ALLOW_CONNECTIONS on")]
    {
        use diesel_async::SimpleAsyncConnection;
        admin.batch_execute(&format!("ALTER DATABASE {name} {shut}")).await.unwrap();
        let refused = Database::connect(urls.clone(), sizes).await.map(|_| ());
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        admin.batch_execute(&format!("ALTER DATABASE {name} {open}")).await.unwrap();
        Database::connect(urls.clone(), sizes).await.unwrap();
    }
    let nowhere = urls.runtime.replace("%2F", "%2Fnowhere%2F");
    let refused =
        Database::connect(event_store::DatabaseUrls { runtime: nowhere, ..urls }, sizes).await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_stays_empty_says_so_in_time() {
    let world = World::with_pool(1).await;
    let holder = world.store.begin(Context::mesh(ACME)).await.unwrap();
    let id = new_account_id();
    let waited = tokio::time::timeout(
        Duration::from_secs(8),
        execute(&world.store, id, AccountCommand::Open("alice".into())),
    );
    assert_unavailable(&waited.await.expect("it waits for ever"));
    drop(holder);
    execute(&world.store, id, AccountCommand::Open("alice".into())).await.unwrap();
}

#[test]
fn what_the_server_says_becomes_the_right_sort_of_error() {
    let sort = |kind, text: &str| {
        let error = DieselError::DatabaseError(kind, Box::new(text.to_owned()));
        match StoreError::from(error) {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Collision(_) => "collision",
            StoreError::Unique { .. } => "unique",
            StoreError::Database(_) => "database",
            other => panic!("{other:?}"),
        }
    };
    for (kind, text, wanted) in [
        (Kind::UniqueViolation, "duplicate key value", "unique"),
        (Kind::SerializationFailure, "could not serialize access", "collision"),
        (Kind::Unknown, "deadlock detected", "collision"),
        (Kind::UnableToSendCommand, "connection closed", "unavailable"),
        (Kind::UnableToSendCommand, "error communicating with the server: broken pipe", "unavailable"),
        (Kind::ClosedConnection, "closed", "unavailable"),
        (Kind::ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction", "unavailable"),
        (Kind::Unknown, "terminating connection due to administrator command", "unavailable"),
        (Kind::Unknown, "terminating connection because of crash of another server process", "unavailable"),
        (Kind::Unknown, "the database system is shutting down", "unavailable"),
        (Kind::Unknown, "canceling statement due to statement timeout", "unavailable"),
        (Kind::Unknown, "could not extend file \"base/1\": No space left on device", "unavailable"),
        (Kind::Unknown, "division by zero", "database"),
        (Kind::CheckViolation, "new row violates check constraint", "database"),
        (Kind::Unknown, "invalid byte sequence for encoding \"UTF8\": 0x00", "database"),
        (Kind::Unknown, "current transaction is aborted, commands ignored", "database"),
    ] {
        assert_eq!(sort(kind, text), wanted, "{text}");
    }
}
