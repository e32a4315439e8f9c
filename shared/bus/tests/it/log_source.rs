//! Consuming without a broker.

use std::time::Duration;

use bus::{Consumer, Peer};
use event_store::Store;

use crate::kafka_world::{
    Running, mesh_port, noting, reborn, run, seen, sequencer, service, step, until_seen,
};
use crate::logged::{logged, until_logged};

const LIMIT: Duration = Duration::from_secs(120);

fn follow(to: &Store, consumer: &Consumer, peer: Peer) -> Running {
    run(bus::log_source::run(to.clone(), consumer.clone(), peer, "test".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_begins_again_goes_on_where_it_was() {
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _sequencer = sequencer(&from);
    for round in 1..=3 {
        let _following = follow(&to, &noting(&[&from]), peer.clone());
        step(&from, 1..=30).await;
        until_seen(&to, 30, 30 * round, LIMIT).await;
    }
    let consumers = [noting(&[&from])];
    assert_eq!(bus::progress::read(&to, None, &consumers).await.unwrap()[0].position, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_takes_nothing_from_a_log_that_replaced_the_one_it_was_in() {
    let (former, to) = (service("p").await, service("c").await);
    {
        let (peer, _port) = mesh_port(&former).await;
        let _running = [sequencer(&former), follow(&to, &noting(&[&former]), peer)];
        step(&former, 1..=30).await;
        until_seen(&to, 30, 30, LIMIT).await;
    }
    let from = reborn(&former).await;
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), follow(&to, &noting(&[&from]), peer)];
    // Longer than the other log, so that the position that was taken exists here too.
    for _ in 0..2 {
        step(&from, 101..=130).await;
    }
    let said = ["WARN", from.service(), "does not have the event that was taken from its position 30"];
    until_logged(&said, LIMIT).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = seen(&to).await;
    assert_eq!((seen.streams, seen.events), (30, 30));
    assert_eq!(logged(&said).len(), 1);
}
