//! A consumer that is fed from Kafka: exactly once in effect, whoever of its members is there.

use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka_broker::take_turn;
use crate::kafka_publisher::read_all;
use crate::kafka_world::{
    backfills, member, mesh_port, noting, publisher, run, seen, sequencer, service, slow, step, superuser,
    text, until_published, until_seen,
};

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_lose_nothing_and_repeat_nothing() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let join = || member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
    let began = Instant::now();
    let writer = {
        let from = from.clone();
        run(async move {
            for _ in 0..50 {
                step(&from, 1..=100).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let first = join();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = join();
    let third = join();
    tokio::time::sleep(Duration::from_secs(4)).await;
    // The one that has held its partitions longest.
    drop(first);
    until_seen(&to, 100, 5_000, LIMIT).await;
    println!("5000 events, members 1 to 3 to 2, in {} ms", began.elapsed().as_millis());
    drop((writer, second, third));
    assert!(bus::kafka::closed(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_twice_is_handled_once() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _sequencer = sequencer(&from);
    let _member = member(&to, &consumer, &[peer], broker.settings());
    let sending = publisher(&from, broker.settings());
    for _ in 0..5 {
        step(&from, 1..=40).await;
    }
    until_seen(&to, 40, 200, LIMIT).await;
    // Its checkpoint comes after what the consumer sees, and must not come after ours.
    until_published(&from, LIMIT).await;
    drop(sending);
    // A publisher that died between acknowledgement and checkpoint, and a paused one that comes back.
    superuser(&from).await.batch_execute("UPDATE es_checkpoint SET position = 60").await.unwrap();
    let _sending = publisher(&from, broker.settings());
    until_published(&from, LIMIT).await;
    let _zombie = publisher(&from, broker.settings());
    step(&from, 1..=40).await;
    until_seen(&to, 40, 240, LIMIT).await;
    let records = read_all(&broker, &contracts::topic(from.service()));
    assert_eq!(records.len(), 240 + 140, "140 events were sent again");
    assert_eq!(seen(&to).await.events, 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_start_before_its_producers_topic_exists() {
    let Some(broker) = take_turn().await else { return };
    let (here, late, to) = (service("p").await, service("p").await, service("c").await);
    let ((one, _port), (two, _other_port)) = (mesh_port(&here).await, mesh_port(&late).await);
    let consumer = noting(&[&here, &late]);
    let _running = [sequencer(&here), sequencer(&late), publisher(&here, broker.settings())];
    let _member = member(&to, &consumer, &[one, two], broker.settings());
    step(&here, 1..=20).await;
    until_seen(&to, 20, 20, LIMIT).await;
    step(&late, 1..=20).await;
    let began = Instant::now();
    let _publisher = publisher(&late, broker.settings());
    until_seen(&to, 40, 40, LIMIT).await;
    println!("a new topic was read after {} ms", began.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_consumer_leaves_its_group_at_once_and_goes_on_where_it_was() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    for round in 1..=3 {
        let began = Instant::now();
        let member = member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
        step(&from, 1..=30).await;
        until_seen(&to, 30, 30 * round, LIMIT).await;
        println!("joined and read after {} ms", began.elapsed().as_millis());
        drop(member);
        let began = Instant::now();
        assert!(bus::kafka::closed(LIMIT).await);
        println!("closed after {} ms", began.elapsed().as_millis());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_event_of_ours_does_not_stop_anything() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &consumer, &[peer], broker.settings());
    step(&from, 1..=60).await;
    until_seen(&to, 60, 60, LIMIT).await;
    until_published(&from, LIMIT).await;
    let stranger: BaseProducer = broker.config().create().unwrap();
    let topic = contracts::topic(from.service());
    let broken = OwnedHeaders::new().insert(Header { key: "ce_id", value: Some("no uuid") });
    stranger.send(BaseRecord::<str, str>::to(&topic).partition(3).payload("junk")).map_err(drop).unwrap();
    stranger
        .send(BaseRecord::<str, str>::to(&topic).partition(4).payload("{}").headers(broken))
        .map_err(drop)
        .unwrap();
    stranger.flush(Duration::from_secs(5)).unwrap();
    for _ in 0..3 {
        step(&from, 1..=60).await;
    }
    until_seen(&to, 60, 240, LIMIT).await;
    assert_eq!(backfills(&to, "not an event of its service"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_pauses_its_partitions_and_misses_nothing() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    for _ in 0..50 {
        step(&from, 1..=100).await;
    }
    until_published(&from, LIMIT).await;
    let _member = member(&to, &slow(&from), &[peer], broker.settings());
    until_seen(&to, 100, 5_000, LIMIT).await;
    assert_eq!(backfills(&to, ""), 0, "the topic is complete, and a pause is no hole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_read_again_from_its_beginning_changes_nothing() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let join = || member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
    let first = join();
    for _ in 0..5 {
        step(&from, 1..=40).await;
    }
    until_seen(&to, 40, 200, LIMIT).await;
    drop(first);
    assert!(bus::kafka::closed(LIMIT).await);
    let tables = "SELECT md5(string_agg(line, ',' ORDER BY line)) AS text FROM (SELECT seen::text AS line FROM seen \
                  UNION ALL SELECT inbox_stream::text FROM inbox_stream) AS lines";
    let offsets =
        "SELECT string_agg(part || ' ' || next_offset, ',' ORDER BY part) AS text FROM inbox_offset";
    let before = (text(&to, tables).await, text(&to, offsets).await);
    let from_the_log = backfills(&to, "");
    let again = "UPDATE inbox_offset SET next_offset = 0, position = 0, event_id = NULL";
    superuser(&to).await.batch_execute(again).await.unwrap();
    let _member = join();
    let began = Instant::now();
    while text(&to, offsets).await != before.1 {
        assert!(began.elapsed() < LIMIT, "it is not read again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(text(&to, tables).await, before.0);
    assert_eq!(backfills(&to, ""), from_the_log, "it was read from Kafka");
    step(&from, 1..=40).await;
    until_seen(&to, 40, 240, LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_behind_in_one_partition_does_not_look_as_if_it_had_everything() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let join = || member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
    let first = join();
    for _ in 0..2 {
        step(&from, 1..=60).await;
    }
    until_seen(&to, 60, 120, LIMIT).await;
    let position = async || {
        let consumers = [consumer.clone()];
        let progress = bus::progress::read(&to, Some(&broker.settings()), &consumers).await.unwrap();
        assert_eq!((progress.len(), progress[0].source.as_str()), (1, from.service()));
        progress[0].position
    };
    // Kafka may take its time with the first answer.
    let until = async |expected: i64| {
        let began = Instant::now();
        while position().await != expected {
            assert!(began.elapsed() < LIMIT, "{} instead of {expected}", position().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // It has everything, although most partitions end earlier.
    until(120).await;
    drop(first);
    assert!(bus::kafka::closed(LIMIT).await);
    let behind = "UPDATE inbox_offset SET next_offset = next_offset - 1, position = 7 WHERE part = 3";
    superuser(&to).await.batch_execute(behind).await.unwrap();
    assert_eq!(position().await, 7);
    if let Some(_paused) = broker.pause() {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(position().await, 7, "what Kafka said last still counts");
    }
    // One event more, which nobody takes: it shows within a second.
    let ahead = "UPDATE inbox_offset SET next_offset = next_offset + 1, position = 120 WHERE part = 3";
    superuser(&to).await.batch_execute(ahead).await.unwrap();
    until(120).await;
    step(&from, [5]).await;
    until_published(&from, LIMIT).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(position().await <= 120);
    let _member = join();
    until_seen(&to, 60, 121, LIMIT).await;
    until(121).await;
}
