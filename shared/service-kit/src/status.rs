//! The state of a service's event machinery, for operators: `/internal/status`, the page, and metrics.

use std::time::Duration;

use bus::progress::Progress;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use event_store::inbox::redrive::{self, ParkedStream};
use event_store::log::LogFilter;
use event_store::sequencer::CONTRACTS;
use event_store::{Sql, StoreError, log};
use serde::{Deserialize, Serialize};

use crate::{Kit, metrics};

/// How long a scrape waits for one producer.
const HEAD_LIMIT: Duration = Duration::from_secs(1);

/// One service as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub service: String,
    pub ready: bool,
    /// Newest position of the contract log.
    pub head: i64,
    /// Committed events that have no position yet.
    pub pending: i64,
    /// How far the publisher is; absent without Kafka.
    pub published: Option<i64>,
    pub consumers: Vec<ConsumerStatus>,
    pub parked: Vec<Parked>,
    /// Projections that can be rebuilt.
    pub projections: Vec<String>,
    /// Of the answering process: names this state when one waits for the next.
    #[serde(default)]
    pub changes: u64,
}

/// How far a consumer is in one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumerStatus {
    pub name: String,
    pub source: String,
    /// It has taken every published event in up to this log position.
    pub position: i64,
}

/// A parked stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parked {
    /// What commands call it.
    pub name: String,
    pub consumer: String,
    pub subject: String,
    pub version: i64,
    pub events: i64,
    pub attempts: i32,
    pub error: String,
    pub parked_at: chrono::DateTime<chrono::Utc>,
}

impl From<&ParkedStream> for Parked {
    fn from(stream: &ParkedStream) -> Self {
        Self {
            name: stream.name(),
            consumer: stream.consumer.clone(),
            subject: format!("{}/{}/{}", stream.source, stream.kind, stream.stream_id),
            version: stream.version,
            events: stream.events,
            attempts: stream.attempts,
            error: stream.error.clone(),
            parked_at: stream.parked_at,
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Reads a service's status.
pub async fn read(kit: &Kit) -> Result<Status, StoreError> {
    let changes = kit.store.wake().changes();
    let head = log::head(&kit.store, CONTRACTS).await?;
    let mut tx = kit.store.database().kernel().await?;
    let pending: Count =
        Sql::fixed("SELECT count(*) AS count FROM es_contract_pending").get_result(&mut *tx).await?;
    tx.commit().await?;
    let published = match &kit.config.kafka {
        Some(_) => Some(event_store::lease::checkpoint(&kit.store, "publisher").await?),
        None => None,
    };
    let consumers = bus::progress::read(&kit.store, kit.config.kafka.as_ref(), &kit.consumers)
        .await?
        .into_iter()
        .map(|Progress { consumer, source, position }| ConsumerStatus { name: consumer, source, position })
        .collect();
    let parked: Vec<Parked> = redrive::list(&kit.store).await?.iter().map(Parked::from).collect();
    let fed = kit.consumers.iter().filter(|consumer| !consumer.tables().is_empty()).map(|c| c.name());
    Ok(Status {
        service: kit.service.to_owned(),
        ready: kit.is_ready(),
        head,
        pending: pending.count,
        published,
        consumers,
        parked,
        projections: kit.store.projections().chain(fed).map(str::to_owned).collect(),
        changes,
    })
}

/// Reads the state once it is another than `seen`, or when the time is over.
pub async fn read_waiting(kit: &Kit, seen: Option<u64>, wait: Duration) -> Result<Status, StoreError> {
    let wake = kit.store.wake();
    let (mut numbered, mut taken) = (wake.follow(), wake.follow_taken());
    if seen == Some(wake.changes()) {
        tokio::select! {
            _ = numbered.changed() => {}
            _ = taken.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    read(kit).await
}

/// Brings the gauges up to date before they are scraped.
pub async fn measure(kit: &Kit) -> Result<(), StoreError> {
    let status = read(kit).await?;
    let set = |measure: &str, of: &str, value: i64| metrics::set(&status.service, measure, of, value);
    set("log_head", "", status.head);
    set("pending_events", "", status.pending);
    set("parked_streams", "", status.parked.len() as i64);
    if let Some(published) = status.published {
        set("publish_lag_events", "", status.head - published);
    }
    for consumer in &status.consumers {
        let of = format!("{}/{}", consumer.name, consumer.source);
        set("consumer_position", &of, consumer.position);
        if let Some(head) = head_of(kit, &consumer.source).await {
            set("consumer_lag", &of, (head - consumer.position).max(0));
        }
    }
    let (in_use, open) = kit.store.database().pool_status();
    set("connections_in_use", "", in_use as i64);
    set("connections_open", "", open as i64);
    Ok(())
}

/// How long a producer's log is; `None` while it does not say.
async fn head_of(kit: &Kit, source: &str) -> Option<i64> {
    // Far behind the end: only the head is asked for.
    let filter = LogFilter::default();
    let page = kit.peer(source).ok()?.log(i64::MAX, 1, Duration::ZERO, &filter);
    match tokio::time::timeout(HEAD_LIMIT, page).await {
        Ok(Ok(page)) => Some(page.head),
        Ok(Err(error)) => {
            tracing::debug!(error = event_store::chain(&error), "{source} does not say how long its log is");
            None
        }
        Err(_) => None,
    }
}
