//! Why positions are given after commit: two cursors that look right, and what they do under load.
//!
//! The appends are the store's own; a trigger keeps each transaction open for up to 30 ms between its last
//! statement and its end, when the sequence numbers are taken and nobody can see the rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::Envelope;
use event_store::log::{self, LogFilter};
use event_store::store::Context;
use event_store::{ExecuteError, Store};
use futures::future::{join, join_all};

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::world::{ACME, Dice, World, open, rows, sequencers};

const WRITERS: u64 = 48;
const ROUNDS: u64 = 20;
const STREAMS: usize = 12;

const LINGER: &str = "
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(random() * 0.03); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON es_event DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION linger();";

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_cursor_loses_events_and_an_xid_cursor_turns_them_round_but_the_log_does_neither() {
    let world = World::with_pool(WRITERS as usize).await;
    let ids = join_all((0..STREAMS).map(async |n| open(&world.store, &format!("account {n}")).await)).await;
    world.admin_does(LINGER).await;
    let rivals = [world.another_store().await, world.another_store().await];
    let _running = sequencers(rivals.into_iter().chain([world.store.clone()]));

    let done = AtomicBool::new(false);
    let writing = async {
        join_all((0..WRITERS).map(|writer| write(&world.store, &ids, writer))).await;
        done.store(true, Ordering::SeqCst);
    };
    let wanted = STREAMS + (WRITERS * ROUNDS) as usize;
    let (((), naive), followed) =
        join(join(writing, naive_reader(&world, &done)), follow(&world, wanted)).await;

    let stored = world.number("SELECT count(*) FROM es_event").await as usize;
    assert_eq!(stored, wanted);
    assert!(naive < stored, "the naive cursor lost nothing, so this test proves nothing");
    let inversions = world
        .number("SELECT count(*) FROM (SELECT version < max(version) OVER (PARTITION BY stream_id \
                 ORDER BY xmin::text::bigint, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS inverted \
                 FROM es_event) AS q WHERE inverted")
        .await;
    assert!(inversions > 0, "the xid cursor kept the order, so this test proves nothing");
    println!(
        "of {stored} events the naive cursor lost {}; the xid cursor inverted {inversions}",
        stored - naive
    );

    let positions: Vec<i64> = followed.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=wanted as i64).collect::<Vec<_>>());
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for event in &followed {
        let before = last.insert(&event.subject, event.streamversion).unwrap_or(0);
        assert_eq!(event.streamversion, before + 1, "{} out of order", event.subject);
    }
    assert_consistent(&world).await;
}

/// Transactions that write something, and so have their transaction id, well before they append.
async fn write(store: &Store, ids: &[i64], writer: u64) {
    let mut dice = Dice::new(writer);
    for round in 0..ROUNDS {
        let (subject, id) = ((writer * ROUNDS + round) as i64, ids[dice.below(ids.len() as u64) as usize]);
        let pause = Duration::from_millis(dice.below(15));
        store
            .transact(&Context::mesh(ACME), async |unit| {
                unit.enqueue("early write", subject, unit.store().clock().now()).await?;
                tokio::time::sleep(pause).await;
                unit.execute::<Account>(id, AccountCommand::Deposit(1)).await?;
                Ok::<_, ExecuteError<AccountError>>(())
            })
            .await
            .unwrap();
    }
}

/// Follows the sequence; returns how many events it saw.
async fn naive_reader(world: &World, done: &AtomicBool) -> usize {
    let mut connection = world.admin().await;
    let (mut last, mut seen) = (0, 0);
    loop {
        let at_the_end = done.load(Ordering::SeqCst);
        let found =
            rows(&mut connection, &format!("SELECT seq FROM es_event WHERE seq > {last} ORDER BY seq")).await;
        seen += found.len();
        last = found.last().map_or(last, |row| row["seq"].as_i64().unwrap());
        if at_the_end {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Follows the log until it has seen so many events.
async fn follow(world: &World, wanted: usize) -> Vec<Envelope> {
    let (mut seen, mut after) = (vec![], 0);
    while seen.len() < wanted {
        let wait = Duration::from_secs(20);
        let page = log::read_waiting(&world.store, after, 100, &LogFilter::default(), wait).await.unwrap();
        assert!(!page.events.is_empty(), "nothing more came after {} of {wanted}", seen.len());
        seen.extend(page.events);
        after = page.next;
    }
    seen
}
