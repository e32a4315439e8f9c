//! Brokers that want to know who we are: cargo test -p bus --features kafka-tls kafka_scram

use std::time::{Duration, Instant};

use bus::kafka::admin::ensure_topic;

use crate::kafka_broker::{SCRAM_PASSWORD, take_turn};
use crate::kafka_publisher::read_all;
use crate::kafka_world::{publisher, sequencer, service, step, until_published};
use crate::logged::{logged, show_log};

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_by_scram_who_he_is_publishes() {
    let Some(broker) = take_turn().await else { return };
    let Some(settings) = broker.scram(SCRAM_PASSWORD) else { return };
    let store = service("p").await;
    let _sequencer = sequencer(&store);
    let _publisher = publisher(&store, settings);
    step(&store, 1..=50).await;
    until_published(&store, Duration::from_secs(20)).await;
    assert_eq!(read_all(&broker, &contracts::topic(store.service())).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_an_error_that_says_what_to_change_and_is_never_shown() {
    show_log();
    let Some(broker) = take_turn().await else { return };
    let Some(settings) = broker.scram("a wrong password, nothing else") else { return };
    let name = format!("refused_{}", std::process::id());
    let error = ensure_topic(&settings, &name).await.unwrap_err();
    assert!(error.is_lasting(), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("KAFKA_SASL_USERNAME") && said.contains("KAFKA_SASL_PASSWORD"), "{said}");
    assert!(!format!("{error:?}").contains("a wrong password"));
    assert!(logged(&["a wrong password"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_with_a_wrong_password_says_what_to_change() {
    show_log();
    let Some(broker) = take_turn().await else { return };
    let Some(settings) = broker.scram("a wrong password, nothing else") else { return };
    let store = service("p").await;
    let _sequencer = sequencer(&store);
    let _publisher = publisher(&store, settings);
    step(&store, 1..=5).await;
    let told = || logged(&["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"]).len();
    let deadline = Instant::now() + Duration::from_secs(120);
    while told() == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told() > 0, "nobody is told");
    assert!(logged(&["a wrong password"]).is_empty());
}
