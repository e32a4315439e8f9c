//! What one command, and one unit of work, leaves behind.

use contracts::EVENT_BYTES_MAX;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use event_store::store::Context;
use event_store::{ExecuteError, Sql, StoreError, Unit};

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::world::{ACME, GLOBEX, Outcome, World, execute, execute_in, load, new_account_id, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_appends_its_events_and_leaves_state_and_read_model_at_their_fold() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    execute(&world.store, id, AccountCommand::Deposit(5)).await.unwrap();
    let done = execute(&world.store, id, AccountCommand::DepositEach(3)).await.unwrap();
    execute(&world.store, id, AccountCommand::Note("hello".into())).await.unwrap();

    assert_eq!((done.version, done.contract_version, done.state.balance), (5, 5, 8));
    let loaded = load(&world.store, ACME, id).await.unwrap();
    assert_eq!((loaded.balance, loaded.notes), (8, 1));
    assert_eq!(load(&world.store, GLOBEX, id).await, None, "another tenant's stream");
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_in_two_tenants_is_two_streams() {
    let world = World::new().await;
    for tenant in [ACME, GLOBEX] {
        execute_in(&world.store, tenant, 1, AccountCommand::Open("alice".into())).await.unwrap();
    }
    execute_in(&world.store, GLOBEX, 1, AccountCommand::Deposit(1)).await.unwrap();
    assert_eq!(load(&world.store, ACME, 1).await.unwrap().balance, 0);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_changes_nothing_appends_nothing() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    let done = execute(&world.store, id, AccountCommand::Rename("alice".into())).await.unwrap();
    assert_eq!((done.version, done.contract_version), (1, 1));
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_private_event_with_two_contract_events_takes_two_versions_and_two_positions() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    execute(&world.store, id, AccountCommand::Note("private".into())).await.unwrap();
    let renamed = execute(&world.store, id, AccountCommand::Rename("bob".into())).await.unwrap();
    assert_eq!((renamed.version, renamed.contract_version), (3, 3));

    let log: Vec<_> = world
        .contract_log()
        .await
        .into_iter()
        .map(|event| (event.event_type, event.streamversion, event.position))
        .collect();
    let wanted = [
        ("eventstoretest.account_opened.v1", 1, 1),
        ("eventstoretest.name_freed.v1", 2, 2),
        ("eventstoretest.name_taken.v1", 3, 3),
    ];
    assert_eq!(log, wanted.map(|(name, version, position)| (name.to_owned(), version, position)));
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_leaves_nothing_not_even_what_its_unit_did_before() {
    let world = World::new().await;
    let (first, second) = (open(&world.store, "alice").await, new_account_id());
    let refused: Outcome = world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            unit.execute::<Account>(first, AccountCommand::Deposit(1)).await?;
            unit.enqueue("statement", first, unit.store().clock().now()).await?;
            unit.execute::<Account>(second, AccountCommand::Deposit(1)).await
        })
        .await;
    assert!(matches!(refused, Err(ExecuteError::Refused(AccountError::NotOpen))), "{refused:?}");
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM es_job").await, 0);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_its_connection() {
    let world = World::with_pool(1).await;
    let id = open(&world.store, "alice").await;
    let before = backend(&world).await;
    execute(&world.store, id, AccountCommand::Open("again".into())).await.unwrap_err();
    execute(&world.store, new_account_id(), AccountCommand::Open("alice".into())).await.unwrap_err();
    assert_eq!(backend(&world).await, before, "a refused command cost a connection");
}

async fn backend(world: &World) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        pid: i64,
    }
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    let row: Row = Sql::fixed("SELECT pg_backend_pid()::bigint AS pid").get_result(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    row.pid
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_of_several_tenants_are_stored_in_one_unit_or_not_at_all() {
    let world = World::new().await;
    let work = async |unit: &mut Unit, fail: bool| -> Result<(), ExecuteError<AccountError>> {
        for id in [9, 3] {
            unit.execute::<Account>(id, AccountCommand::Open(format!("account {id}"))).await?;
        }
        unit.enter(Context::mesh(GLOBEX)).await?;
        unit.execute::<Account>(3, AccountCommand::Open("account 3".into())).await?;
        unit.enter(Context::mesh(ACME)).await?;
        unit.execute::<Account>(9, AccountCommand::Rename("the last".into())).await?;
        if fail { Err(ExecuteError::Refused(AccountError::BadAmount)) } else { Ok(()) }
    };
    world.store.transact(&Context::mesh(ACME), async |unit| work(unit, true).await).await.unwrap_err();
    assert_eq!(world.number("SELECT count(*) FROM es_stream").await, 0);
    world.store.transact(&Context::mesh(ACME), async |unit| work(unit, false).await).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 4);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_and_its_caller_read_their_own_writes() {
    let world = World::new().await;
    let id = new_account_id();
    world
        .store
        .transact(&Context::mesh(ACME), async |unit| {
            assert_eq!(unit.load::<Account>(id).await?, None);
            unit.execute::<Account>(id, AccountCommand::Open("alice".into())).await?;
            let second = unit.execute::<Account>(id, AccountCommand::Deposit(7)).await?;
            assert_eq!((second.version, second.state.balance), (2, 7));
            assert_eq!(unit.load::<Account>(id).await?.unwrap().balance, 7);
            let seen = Sql::fixed("SELECT 1 FROM accounts WHERE balance = 7").execute(&mut **unit.tx()).await;
            assert_eq!(seen.map_err(StoreError::from)?, 1, "the read model lags behind");
            Ok::<_, ExecuteError<AccountError>>(())
        })
        .await
        .unwrap();
    // Nobody numbered anything yet: the read model does not wait for the sequencer.
    assert_eq!(world.number("SELECT balance FROM accounts").await, 7);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_the_cap_is_refused_private_or_contract_and_nothing_is_stored() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    let longest = "x".repeat(EVENT_BYTES_MAX - r#"{"text":""}"#.len());
    execute(&world.store, id, AccountCommand::Note(longest.clone())).await.unwrap();
    execute(&world.store, id, AccountCommand::Inflate(EVENT_BYTES_MAX)).await.unwrap();

    for (command, name) in [
        (AccountCommand::Note(longest + "x"), "noted"),
        (AccountCommand::Inflate(EVENT_BYTES_MAX + 1), "eventstoretest.account_inflated.v1"),
    ] {
        match execute(&world.store, id, command).await {
            Err(ExecuteError::Store(StoreError::TooLarge { event_type, bytes })) => {
                assert_eq!((event_type.as_str(), bytes), (name, EVENT_BYTES_MAX + 1));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM es_event").await, 3);
    assert_consistent(&world).await;
}
