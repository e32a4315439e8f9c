//! A producing and a consuming service with databases of their own, and what tests want to know of them.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{Consumer, Peer};
use contracts::event::Example;
use contracts::projects::{Project, ProjectDeleted};
use contracts::{Envelope, TenantId};
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use event_store::aggregate::Refused;
use event_store::cluster::{Cluster, SharedCluster};
use event_store::inbox::Handled;
use event_store::log::{self, LogFilter};
use event_store::{
    Aggregate, Clock, Context, Database, DatabaseUrls, DomainError, Outgoing, PoolSizes, Registration,
    Registry, Sql, Store, Unit, bootstrap, sequencer,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::logged::show_log;

static CLUSTER: OnceLock<SharedCluster> = OnceLock::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub const TENANT: TenantId = TenantId(Uuid::from_u128(0xacce));

const SIZES: PoolSizes = PoolSizes { runtime: 6, kernel: 3 };

/// Streams with a greater id have events of some six kilobytes.
pub const HEAVY: i64 = 1_000_000;

/// A task that ends with the value.
pub struct Running(tokio::task::JoinHandle<()>);

impl Running {
    /// Waits until it has ended by itself.
    pub async fn done(mut self) {
        (&mut self.0).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "service_kit's tasks are above this crate")]
pub fn run(work: impl Future<Output = ()> + Send + 'static) -> Running {
    Running(tokio::spawn(work))
}

/// A stream that only counts; every step is published.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Thing {
    steps: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ThingEvent {
    Stepped { by: i64 },
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
pub struct Never;

impl DomainError for Never {
    fn code(&self) -> &'static str {
        "never"
    }

    fn kind(&self) -> Refused {
        Refused::Invalid
    }
}

impl Aggregate for Thing {
    const KIND: &'static str = "thing";
    type Command = ();
    type Event = ThingEvent;
    type Error = Never;

    fn decide(&self, _command: ()) -> Result<Vec<ThingEvent>, Never> {
        Ok(vec![ThingEvent::Stepped { by: 1 }])
    }

    fn apply(&mut self, event: &ThingEvent) {
        let ThingEvent::Stepped { by } = event;
        self.steps += by;
    }
}

/// Makes a service with an empty database; its name is unlike any other's, and so is its topic's.
pub async fn service(role: &str) -> Store {
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let name: &'static str = format!("{role}_{}_{number}", std::process::id()).leak();
    service_in(name, &bootstrap::database_name(name)).await
}

/// The same service after its database was replaced by an empty one.
pub async fn reborn(store: &Store) -> Store {
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let database = format!("{}_{number}", bootstrap::database_name(store.service()));
    service_in(store.service(), &database).await
}

async fn service_in(name: &'static str, database: &str) -> Store {
    show_log();
    let cluster = CLUSTER.get_or_init(|| {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let root: PathBuf = tmp.parent().unwrap().join("test-postgres");
        Cluster::shared_for_tests_blocking(&root).unwrap()
    });
    let admin = cluster.url("postgres");
    bootstrap::create(&admin, database, name, |_| "secret".into()).await.unwrap();
    let urls = bootstrap::urls(&admin, database, name, |_| "secret".into()).unwrap();
    bootstrap::migrate(&urls, vec![], &[]).await.unwrap();
    owner(&urls)
        .await
        .batch_execute(
            "CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid NOT NULL, source text, \
             subject text, version bigint, event_id uuid); SELECT es_tenant_table('seen')",
        )
        .await
        .unwrap();
    connect(name, urls).await
}

/// How another process reaches a service's database.
pub fn urls_of(store: &Store) -> DatabaseUrls {
    let admin = CLUSTER.get().unwrap().url("postgres");
    let database = bootstrap::database_name(store.service());
    bootstrap::urls(&admin, &database, store.service(), |_| "secret".into()).unwrap()
}

/// Connects to a service's database.
pub async fn connect(name: &'static str, urls: DatabaseUrls) -> Store {
    show_log();
    let database = Database::connect(urls, SIZES).await.unwrap();
    let mut registry = Registry::default();
    registry.register::<Thing>(Registration {
        publish: |change| {
            let bug_tracker = "0123456789".repeat(if change.id > HEAVY { 600 } else { 1 });
            let project = Project { bug_tracker, ..Project::example() };
            vec![Outgoing::new(&ProjectDeleted { project }, Some(3))]
        },
        projections: vec![],
    });
    Store::new(name, database, registry, Clock::system())
}

async fn owner(urls: &DatabaseUrls) -> AsyncPgConnection {
    AsyncPgConnection::establish(&urls.owner).await.unwrap()
}

/// A connection that may do anything to a service's database.
pub async fn superuser(store: &Store) -> AsyncPgConnection {
    let url = CLUSTER.get().unwrap().url(&bootstrap::database_name(store.service()));
    AsyncPgConnection::establish(&url).await.unwrap()
}

/// What a query returns as its `text`, seen by somebody who sees everything.
pub async fn text(store: &Store, query: &'static str) -> Option<String> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        text: Option<String>,
    }
    let row: Row = Sql::fixed(query).get_result(&mut superuser(store).await).await.unwrap();
    row.text
}

/// Waits until none of the pool's connections is one that was cut: it finds them one after the other.
pub async fn until_whole(store: &Store) {
    let began = Instant::now();
    loop {
        let all = (0..SIZES.runtime).map(|_| store.database().tenant(TENANT));
        if futures::future::join_all(all).await.iter().all(Result::is_ok) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the database does not come back");
    }
}

/// Lets the streams `ids` go one step each, in one transaction.
pub async fn step(store: &Store, ids: impl IntoIterator<Item = i64>) {
    let ids: Vec<i64> = ids.into_iter().collect();
    let mut unit = store.begin(Context { actor: Some(7), ..Context::mesh(TENANT) }).await.unwrap();
    for id in ids {
        unit.execute_at::<Thing>(id, None, ()).await.unwrap();
    }
    unit.commit().await.unwrap();
}

/// Numbers what is committed, over and over.
pub fn sequencer(store: &Store) -> Running {
    run(sequencer::run(store.clone(), vec![sequencer::EVENTS, sequencer::CONTRACTS]))
}

pub fn publisher(store: &Store, settings: bus::kafka::Settings) -> Running {
    run(bus::publisher::run(store.clone(), settings, "test".into()))
}

/// How often a consumer of `to` went to a producer's log for a reason that contains `why`.
pub fn backfills(to: &Store, why: &str) -> u64 {
    let families = prometheus::gather();
    let counters = families.iter().filter(|family| family.name() == "kafka_backfills_total");
    let label = |metric: &prometheus::proto::Metric, name: &str| {
        let found = metric.get_label().iter().find(|label| label.name() == name);
        found.map(|label| label.value().to_owned()).unwrap_or_default()
    };
    counters
        .flat_map(|family| family.get_metric())
        .filter(|metric| label(metric, "consumer").starts_with(&format!("{}.", to.service())))
        .filter(|metric| label(metric, "reason").contains(why))
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}

/// A consumer that takes its time for an event of a stream whose id is divisible by ten.
pub fn slow(producer: &Store) -> Consumer {
    Consumer::new("slow", 1).on_all_of(&[producer.service()], dawdle)
}

fn dawdle<'a>(unit: &'a mut Unit, envelope: &'a Envelope) -> Handled<'a> {
    Box::pin(async move {
        if envelope.stream_id().is_some_and(|id| id % 10 == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        note(unit, envelope).await
    })
}

/// A consumer of `producers` that notes in `seen` what it handles.
pub fn noting(producers: &[&Store]) -> Consumer {
    let services: Vec<_> = producers.iter().map(|producer| producer.service()).collect();
    noting_of(&services)
}

/// Like [`noting`], by name.
pub fn noting_of(services: &[&'static str]) -> Consumer {
    Consumer::new("noting", 1).on_all_of(services, note)
}

/// A member of the same group as [`noting_of`], as slow as [`slow`].
pub fn dawdling_of(services: &[&'static str]) -> Consumer {
    Consumer::new("noting", 1).on_all_of(services, dawdle)
}

fn note<'a>(unit: &'a mut Unit, envelope: &'a Envelope) -> Handled<'a> {
    Box::pin(async move {
        let id = envelope.id;
        Sql::fixed(
            "INSERT INTO seen (tenant_id, source, subject, version, event_id) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind::<SqlUuid>(envelope.tenantid.0)
        .bind::<Text>(envelope.source.clone())
        .bind::<Text>(envelope.subject.clone())
        .bind::<BigInt>(envelope.streamversion)
        .bind::<SqlUuid>(id)
        .execute(&mut **unit.tx())
        .await
        .map_err(event_store::StoreError::from)?;
        Ok(())
    })
}

/// One member of a consumer's group.
pub fn member(store: &Store, consumer: &Consumer, peers: &[Peer], settings: bus::kafka::Settings) -> Running {
    run(bus::kafka::run(store.clone(), consumer.clone(), peers.to_vec(), settings))
}

#[derive(Debug, PartialEq, diesel::QueryableByName)]
pub struct Seen {
    /// Streams that were seen at all.
    #[diesel(sql_type = BigInt)]
    pub streams: i64,
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Rows that do not follow their stream's last one by exactly one version: 0, or something is broken.
    #[diesel(sql_type = BigInt)]
    pub wrong: i64,
}

/// What a consumer has handled.
pub async fn seen(store: &Store) -> Seen {
    let mut tx = store.database().tenant(TENANT).await.unwrap();
    let seen = Sql::fixed(
        "SELECT count(DISTINCT (source, subject)) AS streams, count(*) AS events, \
         count(*) FILTER (WHERE version <> expected) AS wrong FROM (SELECT *, \
         row_number() OVER (PARTITION BY source, subject ORDER BY n) AS expected FROM seen) AS s",
    )
    .get_result(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    seen
}

/// Waits until a consumer has handled so many events of so many streams, all in order and each once.
pub async fn until_seen(store: &Store, streams: i64, events: i64, limit: Duration) {
    let began = Instant::now();
    loop {
        let seen = seen(store).await;
        assert_eq!(seen.wrong, 0, "{seen:?}");
        if seen.events >= events {
            assert_eq!(seen, Seen { streams, events, wrong: 0 });
            return;
        }
        assert!(began.elapsed() < limit, "{seen:?} instead of {events} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the publisher has nothing left.
pub async fn until_published(store: &Store, limit: Duration) {
    let began = Instant::now();
    loop {
        sequencer::drain(store, &[sequencer::CONTRACTS]).await.unwrap();
        let lag = bus::publisher::lag(store).await.unwrap();
        if lag == 0 {
            return;
        }
        assert!(began.elapsed() < limit, "{lag} events are not published after {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Serves a producer's `/internal/log`, as its mesh port does.
pub async fn mesh_port(store: &Store) -> (Peer, Running) {
    let (base, server) = serve(store).await;
    (peer(store.service(), &base), server)
}

/// A producer whose mesh port is at `base`.
pub fn peer(service: &str, base: &str) -> Peer {
    #[expect(clippy::disallowed_methods, reason = "service_kit's client is above this crate")]
    Peer::new(service, base, reqwest::Client::new(), std::sync::Arc::new(|_| "t".into()))
}

/// Like [`mesh_port`], for those who need the address.
pub async fn serve(store: &Store) -> (String, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/{}", listener.local_addr().unwrap(), store.service());
    let store = store.clone();
    let server = run(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let store = store.clone();
            #[expect(clippy::disallowed_methods, reason = "ends when the client hangs up")]
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while answer(&store, &mut stream).await.is_some() {}
            });
        }
    });
    (base, server)
}

/// Answers one request; `None` when the connection is done.
async fn answer(store: &Store, stream: &mut BufReader<tokio::net::TcpStream>) -> Option<()> {
    let mut request = String::new();
    stream.read_line(&mut request).await.ok().filter(|read| *read > 0)?;
    let mut header = String::new();
    while stream.read_line(&mut header).await.ok()? > 2 {
        header.clear();
    }
    let query = request.split(' ').nth(1)?.split_once('?')?.1;
    let number = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    let wait = Duration::from_millis(number("wait_ms")?);
    let (after, limit) = (number("after")? as i64, number("limit")? as i64);
    let page = log::read_waiting(store, after, limit, &LogFilter::default(), wait).await.ok()?;
    let body = serde_json::to_string(&page).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).await.ok()?;
    stream.get_mut().write_all(body.as_bytes()).await.ok()
}
