//! Topics and logs of another life: a service whose database was replaced while its topic was not, or two meshes
//! in one cluster under the same names.

use std::time::Duration;

use bus::kafka::Settings;
use event_store::lease;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka_broker::{Broker, take_turn};
use crate::kafka_publisher::read_all;
use crate::kafka_world::{
    backfills, member, mesh_port, noting, publisher, reborn, seen, sequencer, service, step, text,
    until_published, until_seen,
};
use crate::logged::{logged, until_logged};

const LIMIT: Duration = Duration::from_secs(120);
/// Longer than a refusing publisher, or a consumer that reads the log instead, waits before it looks again.
const LONG_ENOUGH: Duration = Duration::from_secs(7);

/// A service whose topic has so many rounds of sixty events, and its mesh is gone.
async fn former_life(settings: &Settings, rounds: usize) -> event_store::Store {
    let former = service("p").await;
    let _running = [sequencer(&former), publisher(&former, settings.clone())];
    for _ in 0..rounds {
        step(&former, 1..=60).await;
    }
    until_published(&former, LIMIT).await;
    former
}

/// The events of a topic, sorted: partitions are read in any order.
fn ids(broker: &Broker, topic: &str) -> Vec<uuid::Uuid> {
    let mut ids: Vec<_> = read_all(broker, topic).iter().map(|record| record.envelope.id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_sends_nothing_into_a_topic_of_another_life_and_says_so_once() {
    let Some(broker) = take_turn().await else { return };
    let former = former_life(&broker.settings(), 1).await;
    let topic = contracts::topic(former.service());
    let before = ids(&broker, &topic);
    let from = reborn(&former).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    // As long as the other log, so that no position is missing there.
    for _ in 0..2 {
        step(&from, 1..=60).await;
    }
    let said = ["ERROR", "nothing is published", &topic, "KAFKA_TOPIC_PREFIX", "delete"];
    until_logged(&said, LIMIT).await;
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(ids(&broker, &topic) == before, "something was sent");
    assert_eq!(lease::checkpoint(&from, bus::publisher::LEASE).await.unwrap(), 0);
    assert_eq!(bus::publisher::lag(&from).await.unwrap(), 120);
    assert_eq!(logged(&said).len(), 1);
    broker.delete_topic(&topic).await;
    until_published(&from, LIMIT).await;
    assert_eq!(ids(&broker, &topic).len(), 120, "it goes on by itself in a topic of its own");
    assert!(ids(&broker, &topic).iter().all(|id| !before.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_its_own_lets_a_publisher_go_its_way() {
    let Some(broker) = take_turn().await else { return };
    let former = former_life(&broker.settings(), 1).await;
    let from = reborn(&former).await;
    let settings = Settings { prefix: format!("second-{}.", std::process::id()), ..broker.settings() };
    let _running = [sequencer(&from), publisher(&from, settings.clone())];
    step(&from, 1..=20).await;
    until_published(&from, LIMIT).await;
    assert_eq!(ids(&broker, &settings.topic(from.service())).len(), 20);
    assert_eq!(ids(&broker, &contracts::topic(from.service())).len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_and_strays_do_not_keep_a_publisher_out_of_its_own_topic() {
    let Some(broker) = take_turn().await else { return };
    let from = service("p").await;
    let topic = contracts::topic(from.service());
    let _sequencer = sequencer(&from);
    let sending = publisher(&from, broker.settings());
    step(&from, 1..=5).await;
    until_published(&from, LIMIT).await;
    drop(sending);
    // In partitions with events and in partitions without.
    let stranger: BaseProducer = broker.config().create().unwrap();
    for part in 0..contracts::PARTITIONS {
        let junk = BaseRecord::<str, str>::to(&topic).partition(part).payload("junk");
        stranger.send(junk).map_err(drop).unwrap();
    }
    stranger.flush(LIMIT).unwrap();
    let sending = publisher(&from, broker.settings());
    step(&from, 1..=5).await;
    until_published(&from, LIMIT).await;
    drop(sending);
    broker.delete_records(&topic).await;
    let _sending = publisher(&from, broker.settings());
    step(&from, 1..=5).await;
    until_published(&from, LIMIT).await;
    assert_eq!(ids(&broker, &topic).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_consumer_takes_nothing_from_another_lifes_topic_and_follows_the_log_meanwhile() {
    let Some(broker) = take_turn().await else { return };
    let former = former_life(&broker.settings(), 1).await;
    let topic = contracts::topic(former.service());
    let (from, to) = (reborn(&former).await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    // Other streams, so that an event of the other life would be one too many.
    step(&from, 101..=140).await;
    until_seen(&to, 40, 40, LIMIT).await;
    // The other mesh is alive after all, and what it begins looks like a beginning here too.
    let (numbering, sending) = (sequencer(&former), publisher(&former, broker.settings()));
    for _ in 0..3 {
        step(&former, 201..=260).await;
        step(&from, 101..=140).await;
    }
    until_published(&former, LIMIT).await;
    until_seen(&to, 40, 160, LIMIT).await;
    tokio::time::sleep(LONG_ENOUGH).await;
    until_seen(&to, 40, 160, LIMIT).await;
    drop((numbering, sending));
    broker.delete_topic(&topic).await;
    until_published(&from, LIMIT).await;
    step(&from, 101..=140).await;
    until_seen(&to, 40, 200, LIMIT).await;
    // From Kafka again: a place is recognised by a record.
    let began = std::time::Instant::now();
    loop {
        step(&from, 101..=140).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let recognised = "SELECT max(event_id::text) AS text FROM inbox_offset";
        if text(&to, recognised).await.is_some() {
            break;
        }
        assert!(began.elapsed() < LIMIT, "nothing is read from Kafka");
    }
    assert_eq!(seen(&to).await.wrong, 0);
    assert!(backfills(&to, "not known to hold the log from its beginning") >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_with_a_place_in_another_lifes_log_stands_still_and_says_why() {
    let Some(broker) = take_turn().await else { return };
    let (former, to) = (service("p").await, service("c").await);
    let topic = contracts::topic(former.service());
    {
        let (peer, _port) = mesh_port(&former).await;
        let _running = [sequencer(&former), publisher(&former, broker.settings())];
        let _member = member(&to, &noting(&[&former]), &[peer], broker.settings());
        for round in 1..=2 {
            step(&former, 1..=60).await;
            until_seen(&to, 60, 60 * round, LIMIT).await;
        }
    }
    assert!(bus::kafka::closed(LIMIT).await);
    let from = reborn(&former).await;
    broker.delete_topic(&topic).await;
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    // Longer than the other log, so that every position that was taken exists here too.
    for _ in 0..5 {
        step(&from, 101..=160).await;
    }
    until_published(&from, LIMIT).await;
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    let said = ["WARN", from.service(), "does not have the event that was taken from its position"];
    until_logged(&said, LIMIT).await;
    tokio::time::sleep(LONG_ENOUGH).await;
    let seen = seen(&to).await;
    assert_eq!((seen.streams, seen.events), (60, 120), "nothing of the new log on top of the old one's");
}
