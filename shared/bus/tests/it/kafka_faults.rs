//! What happens when Kafka, the topic or the database is taken away.

use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;

use crate::kafka_broker::take_turn;
use crate::kafka_world::{
    backfills, member, mesh_port, noting, publisher, sequencer, service, step, superuser, until_published,
    until_seen, until_whole,
};

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_delays_and_nothing_else() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &consumer, &[peer], broker.settings());
    step(&from, 1..=50).await;
    until_seen(&to, 50, 50, LIMIT).await;
    let Some(paused) = broker.pause() else { return };
    let began = Instant::now();
    for _ in 0..60 {
        // Kafka stands still until all of them are done.
        tokio::time::timeout(LIMIT, step(&from, 1..=50)).await.expect("appending waits for Kafka");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("3000 events in {} ms while the broker stood still", began.elapsed().as_millis());
    event_store::sequencer::drain(&from, &[event_store::sequencer::CONTRACTS]).await.unwrap();
    assert!(bus::publisher::lag(&from).await.unwrap() >= 2_900);
    drop(paused);
    let began = Instant::now();
    until_published(&from, LIMIT).await;
    until_seen(&to, 50, 3_050, LIMIT).await;
    println!("drained in {} ms", began.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_ends_even_when_the_broker_does_not_answer() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    step(&from, 1..=50).await;
    until_seen(&to, 50, 50, LIMIT).await;
    let Some(_paused) = broker.pause() else { return };
    drop(member);
    let began = Instant::now();
    assert!(bus::kafka::closed(LIMIT).await);
    println!("closed after {} ms without a broker", began.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_is_read_from_the_log() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let topic = contracts::topic(from.service());
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let join = || member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
    let first = join();
    for round in 1..=2 {
        step(&from, 1..=60).await;
        until_seen(&to, 60, 60 * round, LIMIT).await;
    }
    drop(first);
    assert!(bus::kafka::closed(LIMIT).await);
    // Missed, and then gone.
    for _ in 0..5 {
        step(&from, 1..=60).await;
    }
    until_published(&from, LIMIT).await;
    broker.delete_records(&topic).await;
    step(&from, 1..=60).await;
    until_published(&from, LIMIT).await;
    let _member = join();
    until_seen(&to, 60, 480, LIMIT).await;
    step(&from, 1..=60).await;
    until_seen(&to, 60, 540, LIMIT).await;
    assert_eq!(backfills(&to, "no longer has the last record"), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_consumer_reads_the_log_when_the_topic_has_lost_its_beginning() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let topic = contracts::topic(from.service());
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    for _ in 0..20 {
        step(&from, 1..=60).await;
    }
    until_published(&from, LIMIT).await;
    broker.delete_records(&topic).await;
    // Streams that are never heard of again, so no gap would show that they are missing.
    step(&from, 100..=110).await;
    until_published(&from, LIMIT).await;
    let consumer = noting(&[&from]);
    let _members = [(); 2].map(|()| member(&to, &consumer, std::slice::from_ref(&peer), broker.settings()));
    until_seen(&to, 71, 1_211, LIMIT).await;
    assert!(backfills(&to, "not known to hold the log from its beginning") >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_further_back_than_the_partition_is_read_again_from_the_beginning() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    for round in 1..=5 {
        step(&from, 1..=60).await;
        until_seen(&to, 60, 60 * round, LIMIT).await;
    }
    let forget = "DELETE FROM inbox_stream WHERE stream_id = 5; DELETE FROM seen WHERE subject = 'thing/5'";
    superuser(&to).await.batch_execute(forget).await.unwrap();
    step(&from, 1..=60).await;
    until_seen(&to, 60, 360, LIMIT).await;
    assert_eq!(backfills(&to, "gap"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_recognised_although_it_is_longer() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let consumer = noting(&[&from]);
    let topic = contracts::topic(from.service());
    let _sequencer = sequencer(&from);
    let join = || member(&to, &consumer, std::slice::from_ref(&peer), broker.settings());
    let (sending, first) = (publisher(&from, broker.settings()), join());
    for round in 1..=2 {
        step(&from, 1..=60).await;
        until_seen(&to, 60, 60 * round, LIMIT).await;
    }
    drop((sending, first));
    assert!(bus::kafka::closed(LIMIT).await);
    broker.delete_topic(&topic).await;
    let _sending = publisher(&from, broker.settings());
    for _ in 0..5 {
        step(&from, 1..=60).await;
    }
    until_published(&from, LIMIT).await;
    let _member = join();
    until_seen(&to, 60, 420, LIMIT).await;
    assert_eq!(backfills(&to, "is not the one that was read"), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_may_be_deleted_under_running_services() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    for round in 1..=5 {
        step(&from, 1..=60).await;
        until_seen(&to, 60, 60 * round, LIMIT).await;
    }
    broker.delete_topic(&contracts::topic(from.service())).await;
    let began = Instant::now();
    for _ in 0..5 {
        step(&from, 1..=60).await;
    }
    until_seen(&to, 60, 600, LIMIT).await;
    println!("went on {} ms after the topic was deleted", began.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cuts_everybody_off_delays_and_nothing_else() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let consumer = noting(&[&from]);
    let _members = [(); 2].map(|()| member(&to, &consumer, std::slice::from_ref(&peer), broker.settings()));
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
               AND pid <> pg_backend_pid()";
    let (mut there, mut here) = (superuser(&to).await, superuser(&from).await);
    for round in 0..20 {
        step(&from, 1..=50).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if round % 4 == 3 {
            there.batch_execute(cut).await.unwrap();
            here.batch_execute(cut).await.unwrap();
            until_whole(&from).await;
        }
    }
    until_published(&from, LIMIT).await;
    until_seen(&to, 50, 1_000, LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    let Some(broker) = take_turn().await else { return };
    let (from, to) = (service("p").await, service("c").await);
    let (peer, _port) = mesh_port(&from).await;
    let _running = [sequencer(&from), publisher(&from, broker.settings())];
    let _member = member(&to, &noting(&[&from]), &[peer], broker.settings());
    let writing = async {
        for _ in 0..60 {
            step(&from, 1..=50).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let killing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        broker.kill_for(Duration::from_secs(2)).await;
    };
    tokio::join!(writing, killing);
    let began = Instant::now();
    until_published(&from, LIMIT).await;
    until_seen(&to, 50, 3_000, LIMIT).await;
    println!("drained {} ms after the last event", began.elapsed().as_millis());
}
