//! A backlog on its way to Kafka, and a bare producer with the same records, settings and broker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::kafka::{Settings, admin};
use bus::publisher::LEASE;
use contracts::Envelope;
use event_store::lease;
use event_store::log::{self, LogFilter};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::task::JoinSet;

use super::Run;
use crate::bench_aggregate::{NOTE, SERVICE, TENANT};
use crate::measure::{Row, Target, alternate, fsync};
use crate::world::{Bench, World};

const BACKLOG: i64 = 200_000;
const STREAMS: i64 = 10_000;
/// How long either side may take.
const LIMIT: Duration = Duration::from_secs(60);

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("publisher").await?;
    let node = match &run.kafka_brokers {
        Some(_) => None,
        None => Some(Node::start(&world.folder)?),
    };
    let brokers =
        run.kafka_brokers.clone().or_else(|| Some(node.as_ref()?.brokers.clone())).unwrap_or_default();
    // A given broker may still have another run's topic, which would be refused.
    let settings =
        Settings { prefix: format!("{}.", event_store::new_id().simple()), ..Settings::new(brokers) };
    let bench = world.bench(false, 4).await?;
    fill(&world).await?;
    let records = records(&bench).await?;
    make_topic(&settings).await?;
    let (values, baselines) = alternate(
        run.rounds,
        async || {
            world.execute(SERVICE, "DELETE FROM es_checkpoint").await?;
            ours(&bench, &settings).await
        },
        async || raw(&settings.brokers, &records),
    )
    .await?;
    let rows = vec![
        Row {
            name: format!("publisher, backlog of {BACKLOG}"),
            unit: "events/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(0.6)),
        },
        fsync(world.disk())?,
    ];
    drop(bench);
    drop(node);
    world.stop().await?;
    Ok(rows)
}

/// A node that has only just started may need several questions.
async fn make_topic(settings: &Settings) -> anyhow::Result<()> {
    let mut tries = 1;
    while let Err(error) = admin::ensure_topic(settings, SERVICE).await {
        ensure!(tries < 5, "the topic cannot be made: {}", event_store::chain(&error));
        tries += 1;
    }
    Ok(())
}

/// Puts a backlog into the log, numbered.
async fn fill(world: &World) -> anyhow::Result<()> {
    let statements = format!(
        "INSERT INTO es_contract (tenant_id, kind, stream_id, version, event_id, event_type, data, actor_id, \
         correlation_id, occurred_at) SELECT '{TENANT}', 'meter', n % {STREAMS} + 1, n / {STREAMS} + 1, \
         gen_random_uuid(), 'bench.meter_read.v1', json_build_object('total', n, 'note', '{NOTE}'), 7, \
         gen_random_uuid(), now() FROM generate_series(0, {BACKLOG} - 1) n; \
         INSERT INTO es_contract_position SELECT row_number() OVER (ORDER BY seq), seq, tenant_id FROM es_contract; \
         UPDATE es_head SET position = {BACKLOG} WHERE log = 'es_contract'; ANALYZE"
    );
    world.execute(SERVICE, &statements).await
}

/// Events a second from the start of the publisher to the checkpoint behind the last event.
async fn ours(bench: &Bench, settings: &Settings) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut publisher = JoinSet::new();
    publisher.spawn(bus::publisher::run(bench.store.clone(), settings.clone(), "load-tests".to_owned()));
    while lease::checkpoint(&bench.store, LEASE).await? < BACKLOG {
        ensure!(began.elapsed() < LIMIT, "the publisher did not finish within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = BACKLOG as f64 / began.elapsed().as_secs_f64();
    publisher.shutdown().await;
    Ok(rate)
}

/// A record, ready to be sent.
struct Record {
    key: String,
    payload: String,
    partition: i32,
    headers: OwnedHeaders,
}

/// The very records that the publisher sends.
async fn records(bench: &Bench) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::with_capacity(BACKLOG as usize);
    let mut after = 0;
    while after < BACKLOG {
        let page = log::read(&bench.store, after, 5_000, &LogFilter::default()).await?;
        ensure!(page.next > after, "the log ends at {after}");
        after = page.next;
        records.extend(page.events.into_iter().map(record));
    }
    Ok(records)
}

fn record(envelope: Envelope) -> Record {
    Record {
        headers: bus::headers::write(&envelope),
        partition: bus::partition::of(&envelope.partitionkey, contracts::PARTITIONS),
        payload: envelope.data.get().to_owned(),
        key: envelope.partitionkey,
    }
}

/// Events a second from the making of a producer to the last acknowledgement; the settings are those of
/// `bus::kafka::sender`.
fn raw(brokers: &str, records: &[Record]) -> anyhow::Result<f64> {
    let topic = contracts::topic(SERVICE);
    let began = Instant::now();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("message.timeout.ms", "0")
        .set("linger.ms", "2")
        .set("compression.codec", "lz4")
        .set("queue.buffering.max.kbytes", "65536")
        .create()?;
    for Record { key, payload, partition, headers } in records {
        let mut record =
            BaseRecord::to(&topic).key(key).payload(payload).partition(*partition).headers(headers.clone());
        while let Err((error, back)) = producer.send(record) {
            let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            ensure!(full, "a record was not sent: {error}");
            ensure!(began.elapsed() < LIMIT, "the broker does not keep up");
            std::thread::sleep(Duration::from_millis(2));
            record = back;
        }
    }
    producer.flush(LIMIT).context("not everything was acknowledged")?;
    Ok(records.len() as f64 / began.elapsed().as_secs_f64())
}

/// A Kafka of this run, on free ports and in a folder of its own.
struct Node {
    folder: PathBuf,
    brokers: String,
}

impl Node {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("kafka");
        let [port, controller_port] = free_ports()?;
        let mut command = script("start", &folder);
        command
            .env("BROKER_PORT", port.to_string())
            .env("BROKER_CONTROLLER_PORT", controller_port.to_string());
        let status = command.status().context("cannot run infra/kafka/kafka.sh")?;
        ensure!(status.success(), "no Kafka: set KAFKA_BROKERS, or see infra/kafka/README.md");
        Ok(Self { folder, brokers: format!("127.0.0.1:{port}") })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = script("stop", &self.folder).status() {
            eprintln!("Kafka was not stopped: {error}");
        }
    }
}

fn script(verb: &str, folder: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/kafka/kafka.sh"));
    command.arg(verb).env("BROKER_RUN_DIR", folder).stdout(std::process::Stdio::null());
    command
}

fn free_ports() -> anyhow::Result<[u16; 2]> {
    let listen = || std::net::TcpListener::bind("127.0.0.1:0");
    let (one, two) = (listen()?, listen()?);
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}
