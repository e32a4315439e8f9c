//! Processes that are killed, as by a power cut, or that stand still and come back too late: the topic holds the
//! log, a consumer's effect is exact.

use std::collections::HashMap;
use std::time::Duration;

use contracts::Envelope;
use diesel_async::SimpleAsyncConnection;
use event_store::log::{self, LogFilter};
use event_store::{Store, lease};

use crate::child::Child;
use crate::kafka_broker::{Broker, take_turn};
use crate::kafka_publisher::{Stored, read_all};
use crate::kafka_world::{
    HEAVY, member, mesh_port, noting, peer, publisher, run, seen, sequencer, serve, service, step, superuser,
    until_published, until_seen,
};

const LIMIT: Duration = Duration::from_secs(120);

/// The whole log.
pub async fn whole_log(store: &Store) -> Vec<Envelope> {
    let mut events = vec![];
    loop {
        let after = events.last().map_or(0, |event: &Envelope| event.position);
        let page = log::read(store, after, 5_000, &LogFilter::default()).await.unwrap();
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

/// Checks that a topic holds a log: every partition has all its events in order, and whatever comes twice is a
/// run without a hole that goes on where it was. Returns how many came twice.
pub fn assert_holds(log: &[Envelope], stored: &[Stored]) -> usize {
    let mut expected: HashMap<i32, Vec<&Envelope>> = HashMap::new();
    for event in log {
        expected
            .entry(bus::partition::of(&event.partitionkey, contracts::PARTITIONS))
            .or_default()
            .push(event);
    }
    let text = |event: &Envelope| serde_json::to_string(event).unwrap();
    let mut next: HashMap<i32, usize> = HashMap::new();
    for Stored { part, envelope, .. } in stored {
        let expected = &expected[part];
        let Ok(index) = expected.binary_search_by_key(&envelope.position, |event| event.position) else {
            panic!("the event of position {} is invented, or in the wrong partition", envelope.position);
        };
        assert_eq!(text(expected[index]), text(envelope));
        let next = next.entry(*part).or_default();
        assert!(index <= *next, "position {} comes too early in partition {part}", envelope.position);
        *next = index + 1;
    }
    for (part, expected) in expected {
        assert_eq!(next.get(&part), Some(&expected.len()), "the end of partition {part} is missing");
    }
    stored.len() - log.len()
}

async fn checkpoint(store: &Store) -> i64 {
    lease::checkpoint(store, bus::publisher::LEASE).await.unwrap()
}

fn records(broker: &Broker, store: &Store) -> Vec<Stored> {
    read_all(broker, &contracts::topic(store.service()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_killed_at_its_named_places_leaves_nothing_out_and_repeats_only_runs() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _sequencer = sequencer(&from);
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    let mut events = 0;
    for place in [
        "bus.publisher.before_send:1",
        "bus.publisher.before_send:390",
        "bus.publisher.after_ack:1",
        "bus.publisher.before_send:39",
        "bus.publisher.after_ack:2",
    ] {
        for _ in 0..5 {
            step(&from, 1..=40).await;
            events += 40;
        }
        event_store::sequencer::drain(&from, &[event_store::sequencer::CONTRACTS]).await.unwrap();
        let mut child = Child::publisher(&from, &broker.settings(), Some(place));
        if place.contains("after_ack:2") {
            // The second acknowledgement is mostly of something that the first is not.
            let began = tokio::time::Instant::now();
            while !child.is_dead() && bus::publisher::lag(&from).await.unwrap() > 0 {
                assert!(began.elapsed() < LIMIT, "it sends nothing");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            step(&from, 1..=40).await;
            events += 40;
        }
        child.until_dead().await;
        let arrived =
            records(&broker, &from).iter().map(|record| record.envelope.position).max().unwrap_or(0);
        let checkpoint = checkpoint(&from).await;
        println!("{place}: {arrived} of {events} arrived, checkpoint {checkpoint}");
        match place.contains("after_ack") {
            true => assert!(checkpoint < arrived, "{place} proves nothing"),
            false => assert!(arrived < events, "{place} proves nothing"),
        }
    }
    let _publisher = publisher(&from, broker.settings());
    until_published(&from, LIMIT).await;
    until_seen(&to, 40, events, LIMIT).await;
    let repeated = assert_holds(&whole_log(&from).await, &records(&broker, &from));
    println!("{repeated} of {events} came twice");
    assert!(repeated > 0, "what was acknowledged before a checkpoint is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_killed_at_any_time_one_after_the_other_leave_nothing_out() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _sequencer = sequencer(&from);
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    let writer = {
        let from = from.clone();
        run(async move {
            for _ in 0..120 {
                step(&from, 1..=40).await;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        })
    };
    for round in 0..8 {
        let child = Child::publisher(&from, &broker.settings(), None);
        tokio::time::sleep(Duration::from_millis(500 + 37 * round)).await;
        drop(child);
    }
    writer.done().await;
    let _publisher = publisher(&from, broker.settings());
    until_published(&from, LIMIT).await;
    until_seen(&to, 40, 4_800, LIMIT).await;
    let repeated = assert_holds(&whole_log(&from).await, &records(&broker, &from));
    println!("{repeated} of 4800 came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_when_a_publisher_was_killed_is_sent_again() {
    let Some(broker) = take_turn().await else { return };
    let from = service("p").await;
    let _sequencer = sequencer(&from);
    let child = Child::publisher(&from, &broker.settings(), None);
    step(&from, 1..=40).await;
    until_published(&from, LIMIT).await;
    let Some(paused) = broker.pause() else { return };
    // More than fits into the few requests that may be unanswered, so most of it has not left the process.
    for _ in 0..20 {
        step(&from, 1..=40).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    drop(child);
    drop(paused);
    assert_eq!(checkpoint(&from).await, 40, "nothing of it was acknowledged");
    let arrived = records(&broker, &from).len();
    assert!(arrived < 840, "it proves nothing");
    let _publisher = publisher(&from, broker.settings());
    until_published(&from, LIMIT).await;
    assert_holds(&whole_log(&from).await, &records(&broker, &from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stood_still_for_longer_than_its_session_has_no_effect_when_it_comes_back() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (base, _port) = serve(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    for _ in 0..50 {
        step(&from, 1..=60).await;
    }
    until_published(&from, LIMIT).await;
    let zombie = Child::member(&to, &broker.settings(), &from, &base);
    while seen(&to).await.events < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    zombie.pause();
    let left = 3_000 - seen(&to).await.events;
    assert!(left > 500, "it has nothing in hand any more: {left}");
    // As the database does when a machine is gone; the batch in its hands is not.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'child' \
               AND datname = current_database()";
    superuser(&to).await.batch_execute(cut).await.unwrap();
    let heirs =
        [(); 2].map(|()| member(&to, &noting(&[&from]), &[peer(from.service(), &base)], broker.settings()));
    // Everything is taken while it stands still.
    until_seen(&to, 60, 3_000, LIMIT).await;
    zombie.go_on();
    for _ in 0..20 {
        step(&from, 1..=60).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until_seen(&to, 60, 4_200, LIMIT).await;
    drop(heirs);
    // Now it is the only one, and knows what the others did.
    step(&from, 1..=60).await;
    until_seen(&to, 60, 4_260, LIMIT).await;
}

/// Memory that a stopped broker may cost: what may be on its way, what is read ahead, and the client's own.
const GROWTH_MIB: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_for_long_costs_no_memory_and_loses_nothing() {
    let Some(broker) = take_turn().await else { return };
    if !broker.is_ours() {
        return;
    }
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _sequencer = sequencer(&from);
    let publisher = Child::publisher(&from, &broker.settings(), None);
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    step(&from, HEAVY + 1..=HEAVY + 100).await;
    until_seen(&to, 100, 100, LIMIT).await;
    let before = publisher.memory();
    let writing = async {
        let mut most = 0;
        for _ in 0..200 {
            step(&from, HEAVY + 1..=HEAVY + 100).await;
            most = most.max(publisher.memory());
        }
        // Longer than a producer waits for an acknowledgement before it gives itself up.
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            most = most.max(publisher.memory());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let began = tokio::time::Instant::now();
    let (most, ()) = tokio::join!(writing, broker.kill_for(Duration::from_secs(45)));
    println!("{before} MiB before, {most} at most, {} s", began.elapsed().as_secs());
    assert!(most.saturating_sub(before) < GROWTH_MIB, "from {before} to {most} MiB");
    until_published(&from, LIMIT).await;
    until_seen(&to, 100, 20_100, LIMIT).await;
    let repeated = assert_holds(&whole_log(&from).await, &records(&broker, &from));
    println!("{repeated} came twice");
}
