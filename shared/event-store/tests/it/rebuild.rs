//! A read model made anew beside the old one, and exchanged under traffic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_store::projection::Shadow;
use event_store::store::Context;
use event_store::{Sql, Store};
use futures::future::{join, join_all};
use serde_json::{Value, json};

use crate::account::{Account, AccountCommand, registry_with_one_projection};
use crate::check::{assert_consistent, assert_consistent_seen_by};
use crate::world::{ACME, Dice, GLOBEX, World, connect, execute, execute_in, open};
use test_kit::eventually::eventually;

async fn some_history(world: &World) -> Vec<i64> {
    let ids = join_all((0..8).map(async |n| open(&world.store, &format!("account {n}")).await)).await;
    for id in &ids {
        execute(&world.store, *id, AccountCommand::DepositEach(20)).await.unwrap();
        execute(&world.store, *id, AccountCommand::Note("a note".into())).await.unwrap();
    }
    execute_in(&world.store, GLOBEX, ids[0], AccountCommand::Open("account 0".into())).await.unwrap();
    execute(&world.store, ids[7], AccountCommand::Close).await.unwrap();
    ids
}

/// Spoils a read model, so that only a rebuild can make it right again.
async fn spoil(world: &World) {
    world.admin_does("UPDATE accounts SET balance = 0; DELETE FROM notes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_read_model_is_the_fold_of_the_log_whatever_it_was_before() {
    let world = World::new().await;
    some_history(&world).await;
    spoil(&world).await;
    let events = world.number("SELECT count(*) FROM es_event").await as u64;
    assert_eq!(world.store.rebuild("accounts").await.unwrap(), Some(events));
    assert_eq!(world.store.rebuild("notes").await.unwrap(), Some(events));
    assert_consistent(&world).await;
    assert_eq!(world.store.rebuild("nothing").await.unwrap(), None);
    assert_eq!(world.store.projections().collect::<Vec<_>>(), ["accounts", "notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_several_pages_is_rebuilt() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    for _ in 0..5 {
        execute(&world.store, ids[0], AccountCommand::DepositEach(500)).await.unwrap();
    }
    spoil(&world).await;
    let events = world.number("SELECT count(*) FROM es_event").await as u64;
    for name in ["notes", "accounts"] {
        assert_eq!(world.store.rebuild(name).await.unwrap(), Some(events));
    }
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_during_rebuilds_and_nothing_of_theirs_is_lost() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    traffic_beside(&world.store, &ids[..7], async || {
        for name in ["accounts", "notes", "accounts", "notes"] {
            world.store.rebuild(name).await.unwrap().unwrap();
        }
    })
    .await;
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_locks_its_tables_the_other_way_round_succeeds_beside_writers() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    let store = connect(&world.database.urls, 16, registry_with_one_projection()).await;
    traffic_beside(&store, &ids[..7], async || {
        for _ in 0..3 {
            store.rebuild("both").await.unwrap().unwrap();
        }
    })
    .await;
    assert_consistent(&world).await;
}

/// Writers that succeed with everything they do while `work` runs.
async fn traffic_beside(store: &Store, ids: &[i64], work: impl AsyncFnOnce()) {
    let done = AtomicBool::new(false);
    let written = join_all(ids.iter().map(async |id| {
        let mut dice = Dice::new(*id as u64);
        let mut written = 0;
        while !done.load(Ordering::SeqCst) {
            let command = match dice.below(4) {
                0 => AccountCommand::Note("meanwhile".into()),
                1 => AccountCommand::Rename(format!("account {id} {}", dice.below(1_000_000))),
                _ => AccountCommand::Deposit(1),
            };
            execute(store, *id, command).await.unwrap();
            written += 1;
            // At full speed they would write faster than one connection can replay.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        written
    }));
    let work = async {
        work().await;
        done.store(true, Ordering::SeqCst);
    };
    let (written, ()) = join(written, work).await;
    assert!(written.iter().sum::<i64>() > 20, "there was no traffic: {written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_waits_for_an_append_that_has_written_the_read_model_and_takes_it_along() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    let mut unit = world.store.begin(Context::mesh(ACME)).await.unwrap();
    unit.execute::<Account>(ids[0], AccountCommand::Deposit(7)).await.unwrap();
    let rebuild = world.store.rebuild("accounts");
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'accounts'::regclass AND NOT granted";
        eventually("the rebuild waits for the append", Duration::from_secs(30), async || {
            (world.number(waiting).await == 1).then_some(())
        })
        .await;
        unit.commit().await.unwrap();
    };
    let (rebuilt, ()) = join(rebuild, commit).await;
    rebuilt.unwrap();
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_does_not_wait_for_an_append_that_has_not_written_yet_which_then_finds_the_new_table() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    let mut unit = world.store.begin(Context::mesh(ACME)).await.unwrap();
    unit.load::<Account>(ids[0]).await.unwrap();
    world.store.rebuild("accounts").await.unwrap();
    unit.execute::<Account>(ids[0], AccountCommand::Deposit(7)).await.unwrap();
    unit.commit().await.unwrap();
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_arrives_during_a_swap_waits_and_writes_the_new_table() {
    let world = World::with_pool(4).await;
    let ids = some_history(&world).await;
    // Every connection has prepared its statements against the table that is about to go.
    join_all(ids[..4].iter().map(|id| execute(&world.store, *id, AccountCommand::Deposit(1)))).await;
    // The swap stands still where it drops the old table.
    world
        .admin_does(
            "CREATE FUNCTION linger() RETURNS event_trigger LANGUAGE plpgsql AS \
                     $$ BEGIN PERFORM pg_sleep(4); END $$; \
                     CREATE EVENT TRIGGER linger ON sql_drop EXECUTE FUNCTION linger()",
        )
        .await;
    let locks = async |what: &str, count: i64| {
        let question =
            format!("SELECT count(*) FROM pg_locks WHERE relation = {} AND {what}", table_id(&world).await);
        eventually(what, Duration::from_secs(30), async || {
            (world.number(&question).await == count).then_some(())
        })
        .await;
    };
    let appends = async {
        locks("granted AND mode = 'AccessExclusiveLock'", 1).await;
        join_all(ids[..4].iter().map(|id| execute(&world.store, *id, AccountCommand::Deposit(7)))).await
    };
    let waiting = locks("NOT granted AND mode = 'RowExclusiveLock'", 4);
    let (rebuilt, appended, ()) = tokio::join!(world.store.rebuild("accounts"), appends, waiting);
    rebuilt.unwrap();
    appended.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    world.admin_does("DROP EVENT TRIGGER linger").await;
    assert_consistent(&world).await;
}

async fn table_id(world: &World) -> i64 {
    world
        .number(
            "SELECT oid FROM pg_class WHERE relname = 'accounts' AND relnamespace = 'public'::regnamespace",
        )
        .await
}

/// Everything that PostgreSQL knows of a table but its number.
async fn description(world: &World, table: &str) -> Value {
    let mut parts = vec![];
    for query in [
        "SELECT attnum, attname, format_type(atttypid, atttypmod) AS type, attnotnull, attidentity, \
         pg_get_expr(adbin, adrelid) AS default FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid \
         AND adnum = attnum WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition, indisprimary FROM pg_index \
         WHERE indrelid = '{table}'::regclass ORDER BY 1",
        "SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint \
         WHERE conrelid = '{table}'::regclass ORDER BY 1",
        "SELECT polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid) AS using_rule, \
         pg_get_expr(polwithcheck, polrelid) AS check_rule FROM pg_policy WHERE polrelid = '{table}'::regclass ORDER BY 1",
        "SELECT relrowsecurity, relforcerowsecurity, relowner::regrole::text, relnamespace::regnamespace::text, \
         (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) AS a) AS rights \
         FROM pg_class WHERE oid = '{table}'::regclass",
    ] {
        parts.push(world.rows(&query.replace("{table}", table)).await);
    }
    json!(parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_table_has_the_columns_indexes_walls_and_rights_of_the_old_one_time_after_time() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    // Names that would be mistaken for one another if each were given by default.
    world
        .admin_does(
            "ALTER INDEX notes_tenant_id_account_id_version_idx RENAME TO notes_second; \
                     SET ROLE eventstoretest_owner; \
                     CREATE INDEX notes_tenant_id_account_id_version_idx ON notes (tenant_id, text); \
                     CREATE INDEX notes_third ON notes (tenant_id, lower(text)) WHERE version > 1",
        )
        .await;
    let before = [description(&world, "accounts").await, description(&world, "notes").await];
    for _ in 0..2 {
        for name in ["accounts", "notes"] {
            world.store.rebuild(name).await.unwrap();
        }
        assert_eq!([description(&world, "accounts").await, description(&world, "notes").await], before);
        // The unique rule still speaks the aggregate's language.
        let taken =
            execute(&world.store, ids[0], AccountCommand::Rename("account 1".into())).await.unwrap_err();
        assert!(matches!(taken, event_store::ExecuteError::Refused(_)), "{taken:?}");
        execute(&world.store, ids[0], AccountCommand::Note("after".into())).await.unwrap();
    }
    assert_eq!(
        world.number("SELECT count(*) FROM pg_class WHERE relnamespace = 'rebuild'::regnamespace").await,
        0
    );
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_prepared_in_one_rebuild_means_the_right_table_in_the_next() {
    let world = World::new().await;
    some_history(&world).await;
    // Not for the whole file: it would hide the methods of a unit.
    use diesel_async::RunQueryDsl;
    // The same text on the same connection: first `accounts` is the live table, then a new and empty one.
    for (table, wanted) in [(&["notes"], 7), (&["accounts"], 0)] {
        let shadow = Shadow::create(&world.store, table).await.unwrap();
        let mut tx = shadow.begin().await.unwrap();
        tx.set_tenant(ACME).await.unwrap();
        let count = RunQueryDsl::execute(Sql::fixed("SELECT 1 FROM accounts"), &mut *tx).await.unwrap();
        assert_eq!(count, wanted, "{table:?}");
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_foreign_key_which_would_be_lost_is_not_rebuilt() {
    let world = World::new().await;
    open(&world.store, "alice").await;
    world.admin_does("ALTER TABLE notes ADD FOREIGN KEY (tenant_id, account_id) REFERENCES accounts").await;
    let refused = world.store.rebuild("notes").await.unwrap_err();
    assert!(event_store::chain(&refused).contains("has a foreign key"), "{refused:?}");
    // Nor one that others point at: dropping it fails.
    world.store.rebuild("accounts").await.unwrap_err();
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_rebuild_that_died_are_dropped() {
    let world = World::new().await;
    some_history(&world).await;
    world
        .admin_does(
            "SET ROLE eventstoretest_owner; CREATE TABLE rebuild.accounts (anything text); \
                      INSERT INTO rebuild.accounts VALUES ('left over')",
        )
        .await;
    world.store.rebuild("accounts").await.unwrap();
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_of_the_same_table_at_once_wait_for_one_another() {
    let world = World::new().await;
    let ids = some_history(&world).await;
    execute(&world.store, ids[0], AccountCommand::DepositEach(1_500)).await.unwrap();
    spoil(&world).await;
    let other = world.another_store().await;
    let (one, two, notes) =
        tokio::join!(world.store.rebuild("accounts"), other.rebuild("accounts"), other.rebuild("notes"),);
    assert_eq!(one.unwrap(), two.unwrap());
    notes.unwrap();
    assert_consistent_seen_by(&world, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_the_read_model_refuses_leaves_the_live_table_alone() {
    let world = World::new().await;
    some_history(&world).await;
    let before = world.rows("SELECT * FROM accounts ORDER BY id, tenant_id").await;
    // An event that no version of the code can have written.
    world
        .admin_does(
            "UPDATE es_event SET data = '{\"amount\": -500}' WHERE event_type = 'deposited' AND version = 9",
        )
        .await;
    world.store.rebuild("accounts").await.unwrap_err();
    assert_eq!(world.rows("SELECT * FROM accounts ORDER BY id, tenant_id").await, before);
}
