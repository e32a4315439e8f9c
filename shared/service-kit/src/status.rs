//! The state of a service's event machinery, for operators: `/internal/status`, the page, and metrics.

use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::inbox::redrive::{self, ParkedStream};
use event_store::sequencer::CONTRACTS;
use event_store::{Sql, StoreError, log};
use serde::{Deserialize, Serialize};

use crate::{Kit, metrics};

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
    /// Log position of the newest event that was taken in.
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

#[derive(diesel::QueryableByName)]
struct OffsetRow {
    #[diesel(sql_type = Text)]
    consumer: String,
    #[diesel(sql_type = Text)]
    topic: String,
    #[diesel(sql_type = BigInt)]
    position: i64,
}

/// Reads a service's status.
pub async fn read(kit: &Kit) -> Result<Status, StoreError> {
    let changes = kit.store.wake().changes();
    let head = log::head(&kit.store, CONTRACTS).await?;
    let mut tx = kit.store.database().kernel().await?;
    let pending: Count =
        Sql::fixed("SELECT count(*) AS count FROM es_contract_pending").get_result(&mut *tx).await?;
    let offsets: Vec<OffsetRow> = Sql::fixed(
        "SELECT consumer, topic, max(position) AS position FROM inbox_offset \
         WHERE consumer NOT LIKE '%~%' GROUP BY consumer, topic ORDER BY consumer, topic",
    )
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    let published = match &kit.config.kafka {
        Some(_) => Some(event_store::lease::checkpoint(&kit.store, "publisher").await?),
        None => None,
    };
    // Of a consumer's earlier revisions offsets remain, which will never move again.
    let live: Vec<String> = kit.consumers.iter().map(|consumer| consumer.full_name(kit.service)).collect();
    let consumers = offsets
        .into_iter()
        .filter(|row| live.contains(&row.consumer))
        .filter_map(|row| {
            let source = source_of(kit, &row.topic)?;
            Some(ConsumerStatus { name: row.consumer, source, position: row.position })
        })
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

/// The service behind a topic of the transport in use; an offset on the other transport is history.
fn source_of(kit: &Kit, topic: &str) -> Option<String> {
    match &kit.config.kafka {
        Some(settings) => topic.strip_prefix(&settings.prefix)?.strip_suffix(".events").map(str::to_owned),
        None => topic.strip_prefix("log:").map(str::to_owned),
    }
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
        set("consumer_position", &format!("{}/{}", consumer.name, consumer.source), consumer.position);
    }
    let (in_use, open) = kit.store.database().pool_status();
    set("connections_in_use", "", in_use as i64);
    set("connections_open", "", open as i64);
    Ok(())
}
