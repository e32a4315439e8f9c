//! What the publisher puts into Kafka.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contracts::Envelope;
use event_store::log::{self, LogFilter};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka_broker::{Broker, take_turn};
use crate::kafka_world::{publisher, sequencer, service, step, until_published};

const LIMIT: Duration = Duration::from_secs(120);

/// A record as it lies in Kafka.
pub struct Stored {
    pub part: i32,
    pub key: String,
    pub envelope: Envelope,
}

/// Reads everything that a topic holds.
pub fn read_all(broker: &Broker, topic: &str) -> Vec<Stored> {
    let mut config = broker.config();
    config.set("group.id", "reader").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for part in 0..contracts::PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(topic, part, LIMIT).unwrap();
        list.add_partition_offset(topic, part, Offset::Offset(low)).unwrap();
        left += high - low;
    }
    consumer.assign(&list).unwrap();
    let began = Instant::now();
    let mut records = vec![];
    while left > 0 {
        assert!(began.elapsed() < LIMIT, "{left} records cannot be read");
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record.unwrap();
        records.push(Stored {
            part: record.partition(),
            key: String::from_utf8(record.key().unwrap().to_vec()).unwrap(),
            envelope: bus::headers::read(&record).unwrap(),
        });
        left -= 1;
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_they_are_in_the_log_and_in_its_order() {
    let Some(broker) = take_turn().await else { return };
    let store = service("p").await;
    let _sequencer = sequencer(&store);
    let _publisher = publisher(&store, broker.settings());
    for _ in 0..3 {
        step(&store, 1..=100).await;
    }
    until_published(&store, LIMIT).await;
    let page = log::read(&store, 0, 1_000, &LogFilter::default()).await.unwrap();
    assert_eq!(page.events.len(), 300);
    let mut stored = read_all(&broker, &contracts::topic(store.service()));
    let mut last: HashMap<i32, i64> = HashMap::new();
    for record in &stored {
        assert_eq!(record.key, record.envelope.partitionkey);
        assert_eq!(record.part, bus::partition::of(&record.key, contracts::PARTITIONS));
        let before = last.insert(record.part, record.envelope.position);
        assert!(before.is_none_or(|before| before < record.envelope.position));
    }
    assert_eq!(last.len(), 12, "a hundred streams fill every partition");
    stored.sort_by_key(|record| record.envelope.position);
    for (stored, logged) in stored.iter().zip(&page.events) {
        let text = |envelope: &Envelope| serde_json::to_string(envelope).unwrap();
        assert_eq!(text(&stored.envelope), text(logged));
    }
    assert_eq!(stored.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_refused_by_name_and_numbers() {
    let Some(broker) = take_turn().await else { return };
    let name = format!("odd_{}", std::process::id());
    broker.create_topic(&contracts::topic(&name), 3).await;
    let error = bus::kafka::admin::ensure_topic(&broker.settings(), &name).await.unwrap_err().to_string();
    for part in [contracts::topic(&name).as_str(), "3", "12"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_once() {
    let Some(broker) = take_turn().await else { return };
    let name = format!("twice_{}", std::process::id());
    bus::kafka::admin::ensure_topic(&broker.settings(), &name).await.unwrap();
    bus::kafka::admin::ensure_topic(&broker.settings(), &name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_publishers_one_sends_and_the_other_takes_over() {
    let Some(broker) = take_turn().await else { return };
    let store = service("p").await;
    let _sequencer = sequencer(&store);
    let first = publisher(&store, broker.settings());
    step(&store, 1..=50).await;
    until_published(&store, LIMIT).await;
    let _second = publisher(&store, broker.settings());
    step(&store, 1..=50).await;
    until_published(&store, LIMIT).await;
    assert_eq!(read_all(&broker, &contracts::topic(store.service())).len(), 100, "nothing was sent twice");
    drop(first);
    step(&store, 1..=50).await;
    let began = Instant::now();
    until_published(&store, LIMIT).await;
    println!("taken over and published in {} ms", began.elapsed().as_millis());
}
