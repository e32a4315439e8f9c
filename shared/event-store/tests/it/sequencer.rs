//! Positions: who gives them, who waits for whom, and who hears of it. And the log that is read by them.

use std::time::{Duration, Instant};

use event_store::log::{self, LogFilter};
use event_store::sequencer::{self, CONTRACTS, EVENTS};
use futures::future::{join, join_all};
use tokio::task::JoinSet;

use crate::account::AccountCommand;
use crate::check::assert_consistent;
use crate::world::{ACME, GLOBEX, World, execute, execute_in, open, sequencers};

#[tokio::test(flavor = "multi_thread")]
async fn three_sequencers_that_drain_at_once_number_each_row_once() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    for _ in 0..5 {
        execute(&world.store, id, AccountCommand::DepositEach(500)).await.unwrap();
    }
    let stores = [world.store.clone(), world.another_store().await, world.another_store().await];
    let counts = join_all(stores.iter().map(|store| sequencer::drain(store, &[EVENTS, CONTRACTS]))).await;
    assert_eq!(counts.into_iter().map(Result::unwrap).sum::<u64>(), 2 * 2501);
    assert_eq!(sequencer::drain(&world.store, &[EVENTS]).await.unwrap(), 0);
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_for_long_delays_nobody_and_is_not_lost() {
    let world = World::new().await;
    let (slow, quick) = (open(&world.store, "slow").await, open(&world.store, "quick").await);
    world
        .admin_does(&format!(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN IF NEW.stream_id = {slow} THEN PERFORM pg_sleep(2); END IF; RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON es_contract DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION linger()"
        ))
        .await;
    let _running = sequencers([world.store.clone(), world.another_store().await]);
    let began = Instant::now();
    let slowly = async { execute(&world.store, slow, AccountCommand::Deposit(1)).await.unwrap() };
    let quickly = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for version in 2..=20 {
            execute(&world.store, quick, AccountCommand::Deposit(1)).await.unwrap();
            let (page, wait) = (1_000, Duration::from_secs(1));
            // 2 openings, and this deposit the newest.
            let read =
                log::read_waiting(&world.store, version, page, &LogFilter::default(), wait).await.unwrap();
            assert_eq!(read.events.len(), 1, "version {version} waits for a stranger");
        }
        assert!(
            began.elapsed() < Duration::from_millis(1_900),
            "too slow to prove anything: {:?}",
            began.elapsed()
        );
    };
    join(slowly, quickly).await;
    let log = world.contract_log().await;
    let late = log.last().unwrap();
    assert_eq!((late.subject.as_str(), late.position), (format!("account/{slow}").as_str(), 22));
    let seq =
        world.number(&format!("SELECT seq FROM es_contract WHERE stream_id = {slow} AND version = 2")).await;
    assert_eq!(seq, 3, "it did not hold a low number");
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_in_another_process_is_woken_although_its_own_sequencer_stands_still() {
    let world = World::new().await;
    let follower = world.another_store().await;
    let mut running = sequencers([world.store.clone()]);
    running.spawn(sequencer::listen(follower.clone()));
    let id = open(&world.store, "alice").await;
    let mut after = 0;
    let mut delays = vec![];
    for round in 0..20 {
        let wait = Duration::from_secs(10);
        let filter = LogFilter::default();
        let waiting = async {
            let page = log::read_waiting(&follower, after, 10, &filter, wait).await.unwrap();
            (page, Instant::now())
        };
        let writing = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if round > 0 {
                execute(&world.store, id, AccountCommand::Deposit(1)).await.unwrap();
            }
            Instant::now()
        };
        let ((page, heard), committed) = join(waiting, writing).await;
        assert_eq!(page.events.len(), 1, "round {round}: nobody told it");
        after = page.next;
        delays.push(heard.saturating_duration_since(committed));
    }
    delays.sort();
    assert!(delays[10] < Duration::from_millis(50), "{delays:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_lost_its_connection_listens_again() {
    let world = World::new().await;
    let follower = world.another_store().await;
    let mut running = JoinSet::new();
    running.spawn(sequencer::listen(follower.clone()));
    let mut numbered = follower.wake().follow();
    // It says so itself, once it listens.
    tokio::time::timeout(Duration::from_secs(30), numbered.changed()).await.unwrap().unwrap();
    world
        .admin_does(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        )
        .await;
    numbered.mark_unchanged();
    tokio::time::timeout(Duration::from_secs(30), numbered.changed()).await.unwrap().unwrap();
    let heard = async {
        numbered.mark_unchanged();
        open(&world.store, "alice").await;
        sequencer::drain(&world.store, &[CONTRACTS]).await.unwrap();
        numbered.changed().await
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_log_end_at_their_limit_and_filters_move_on_over_what_they_leave_out() {
    let world = World::new().await;
    for tenant in [ACME, GLOBEX] {
        for id in 1..=5 {
            execute_in(&world.store, tenant, id, AccountCommand::Open(format!("account {id}")))
                .await
                .unwrap();
            execute_in(&world.store, tenant, id, AccountCommand::Deposit(id)).await.unwrap();
        }
    }
    assert_eq!(world.contract_log().await.len(), 20);
    let read = async |after, limit, filter: &LogFilter| {
        let page = log::read(&world.store, after, limit, filter).await.unwrap();
        let positions: Vec<i64> = page.events.iter().map(|event| event.position).collect();
        assert_eq!(page.head, 20);
        (positions, page.next)
    };
    let all = LogFilter::default();
    assert_eq!(read(0, 3, &all).await, (vec![1, 2, 3], 3));
    assert_eq!(read(18, 3, &all).await, (vec![19, 20], 20));
    assert_eq!(read(20, 3, &all).await, (vec![], 20));
    assert_eq!(read(25, 3, &all).await, (vec![], 25), "never back");
    let globex = LogFilter { tenant: Some(GLOBEX), ..LogFilter::default() };
    assert_eq!(read(0, 2, &globex).await, (vec![11, 12], 12));
    assert_eq!(read(19, 2, &globex).await, (vec![20], 20));
    let credited = "eventstoretest.account_credited.v1".to_owned();
    let credits = LogFilter { types: vec![credited], tenant: Some(ACME) };
    assert_eq!(read(0, 3, &credits).await, (vec![2, 4, 6], 6));
    assert_eq!(read(6, 3, &credits).await, (vec![8, 10], 20), "the end, although nothing matched there");
    let none = LogFilter { types: vec!["no.such.v1".into()], tenant: None };
    assert_eq!(read(0, 3, &none).await, (vec![], 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_answers_at_once_or_when_something_comes_or_empty_in_the_end() {
    let world = World::new().await;
    let _running = sequencers([world.store.clone()]);
    open(&world.store, "alice").await;
    let filter = LogFilter { types: vec!["eventstoretest.account_credited.v1".into()], tenant: None };
    let poll = |wait| log::read_waiting(&world.store, 0, 10, &filter, Duration::from_millis(wait));
    let empty = poll(300).await.unwrap();
    assert_eq!((empty.events.len(), empty.next), (0, 1), "it moves over what it does not want");
    let id = open(&world.store, "bob").await;
    let began = Instant::now();
    let (page, _) = join(poll(10_000), execute(&world.store, id, AccountCommand::Deposit(1))).await;
    assert_eq!(page.unwrap().events.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_streams_version_may_wait_for_it_in_the_log() {
    let world = World::new().await;
    let id = open(&world.store, "alice").await;
    execute(&world.store, id, AccountCommand::Rename("bob".into())).await.unwrap();
    let version = |tenant, id| log::contract_version(&world.store, tenant, "account", id);
    assert_eq!(version(ACME, id).await.unwrap(), Some(3));
    assert_eq!(world.number("SELECT count(*) FROM es_contract_pending").await, 0, "not drained first");
    assert_eq!(log::head(&world.store, CONTRACTS).await.unwrap(), 3);
    assert_eq!(version(GLOBEX, id).await.unwrap(), None);
    assert_eq!(version(ACME, 999_999).await.unwrap(), None);
}
