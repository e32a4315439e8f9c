//! The way back for parked streams: tried again with growing pauses, or by command.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{Envelope, TenantId};
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::{Handler, HandlerError, cause};
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::{Context, Store, Unit};

/// Events of one stream that one transaction takes at most: the live consumer waits for it.
const PAGE: i64 = 100;

/// How long to wait before attempt number `attempts + 1`: 1 s, doubling, at most 5 minutes.
pub(super) fn backoff(attempts: i32) -> TimeDelta {
    TimeDelta::seconds((1_i64 << attempts.clamp(1, 9).saturating_sub(1)).min(300))
}

/// A parked stream, as an operator sees it.
#[derive(Clone, Debug, Serialize, diesel::QueryableByName)]
pub struct ParkedStream {
    #[diesel(sql_type = SqlUuid)]
    pub tenant_id: Uuid,
    #[diesel(sql_type = Text)]
    pub consumer: String,
    #[diesel(sql_type = Text)]
    pub source: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = BigInt)]
    pub stream_id: i64,
    /// Version of the event that could not be taken.
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    /// The event that could not be taken and all that wait behind it.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Text)]
    pub error: String,
    #[diesel(sql_type = Timestamptz)]
    pub parked_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub due_at: DateTime<Utc>,
}

impl ParkedStream {
    /// The name by which commands call it: `tenant/consumer/source/kind/id`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}/{}/{}", self.tenant_id, self.consumer, self.source, self.kind, self.stream_id)
    }
}

const PARKED: &str = "SELECT DISTINCT ON (tenant_id, consumer, source, kind, stream_id) tenant_id, consumer, \
    source, kind, stream_id, version, attempts, error, parked_at, due_at, \
    count(*) OVER (PARTITION BY tenant_id, consumer, source, kind, stream_id) AS events \
    FROM inbox_parked ORDER BY tenant_id, consumer, source, kind, stream_id, version";

/// Lists the parked streams of every consumer of this service.
pub async fn list(store: &Store) -> Result<Vec<ParkedStream>, StoreError> {
    let mut tx = store.database().kernel().await?;
    let parked = Sql::fixed(PARKED).load(&mut *tx).await?;
    tx.commit().await?;
    Ok(parked)
}

/// Tries a consumer's parked streams whose pause is over; returns how many came free.
pub async fn redrive_due(store: &Store, consumer: &str, handler: &Handler) -> Result<usize, StoreError> {
    let now = store.clock().now();
    let due =
        list(store).await?.into_iter().filter(|stream| stream.consumer == consumer && stream.due_at <= now);
    let mut freed = 0;
    for stream in due {
        freed += usize::from(redrive(store, &stream, handler).await?);
    }
    Ok(freed)
}

/// Takes a parked stream's events in order until one fails; returns whether none is left.
pub async fn redrive(store: &Store, stream: &ParkedStream, handler: &Handler) -> Result<bool, StoreError> {
    loop {
        let mut unit = store.begin(Context::mesh(TenantId(stream.tenant_id))).await?;
        let left = match redrive_page(&mut unit, stream, handler).await {
            Ok(left) => left,
            Err(error) => {
                unit.rollback().await;
                return Err(error);
            }
        };
        unit.commit().await?;
        store.wake().taken();
        match left {
            Left::More => {}
            Left::Nothing => return Ok(true),
            Left::Parked => return Ok(false),
        }
    }
}

/// What is left of a parked stream.
enum Left {
    Nothing,
    More,
    /// An event that failed, and those behind it.
    Parked,
}

async fn redrive_page(unit: &mut Unit, stream: &ParkedStream, handler: &Handler) -> Result<Left, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        version: i64,
        #[diesel(sql_type = Integer)]
        attempts: i32,
        #[diesel(sql_type = Text)]
        envelope: String,
    }
    if !lock(unit, stream).await? {
        return Ok(Left::Nothing);
    }
    let rows: Vec<Row> = on_stream(
        stream,
        "SELECT version, attempts, envelope::text AS envelope FROM inbox_parked WHERE tenant_id = $1 \
         AND consumer = $2 AND source = $3 AND kind = $4 AND stream_id = $5 ORDER BY version LIMIT $6",
    )
    .bind::<BigInt>(PAGE)
    .load(&mut **unit.tx())
    .await?;
    let full = rows.len() as i64 == PAGE;
    for row in rows {
        let envelope: Envelope = serde_json::from_str(&row.envelope)?;
        unit.enter(cause(&envelope)).await?;
        let outcome = unit.attempt(async |unit| handler(unit, &envelope).await).await?;
        // The handler may have gone to another tenant.
        unit.enter(Context::mesh(TenantId(stream.tenant_id))).await?;
        match outcome {
            Ok(()) => drop_event(unit, stream, row.version).await?,
            Err(HandlerError::Store(error)) if error.is_unavailable() => return Err(error),
            Err(error) => {
                let attempts = row.attempts.saturating_add(1);
                let text = crate::chain(&error);
                tracing::warn!(parked = stream.name(), attempts, error = text, "still parked");
                on_stream(
                    stream,
                    "UPDATE inbox_parked SET attempts = $7, error = $8, due_at = $9 WHERE tenant_id = $1 \
                     AND consumer = $2 AND source = $3 AND kind = $4 AND stream_id = $5 AND version = $6",
                )
                .bind::<BigInt>(row.version)
                .bind::<Integer>(attempts)
                .bind::<Text>(super::storable(&text))
                .bind::<Timestamptz>(unit.store().clock().now() + backoff(attempts))
                .execute(&mut **unit.tx())
                .await?;
                return Ok(Left::Parked);
            }
        }
    }
    if full {
        return Ok(Left::More);
    }
    free_if_empty(unit, stream).await?;
    tracing::info!(parked = stream.name(), "taken in again");
    Ok(Left::Nothing)
}

/// Gives up the event that could not be taken; its followers are due at once.
pub async fn discard(store: &Store, stream: &ParkedStream) -> Result<(), StoreError> {
    let mut unit = store.begin(Context::mesh(TenantId(stream.tenant_id))).await?;
    lock(&mut unit, stream).await?;
    drop_event(&mut unit, stream, stream.version).await?;
    free_if_empty(&mut unit, stream).await?;
    unit.commit().await?;
    tracing::warn!(parked = stream.name(), version = stream.version, "discarded by command");
    store.wake().taken();
    Ok(())
}

async fn drop_event(unit: &mut Unit, stream: &ParkedStream, version: i64) -> Result<(), StoreError> {
    on_stream(
        stream,
        "DELETE FROM inbox_parked WHERE tenant_id = $1 AND consumer = $2 AND source = $3 AND kind = $4 \
         AND stream_id = $5 AND version = $6",
    )
    .bind::<BigInt>(version)
    .execute(&mut **unit.tx())
    .await?;
    Ok(())
}

/// Lets the live consumer take the stream again when nothing waits. Under the stream's lock: it cannot have
/// parked a follower meanwhile.
async fn free_if_empty(unit: &mut Unit, stream: &ParkedStream) -> Result<(), StoreError> {
    on_stream(
        stream,
        "UPDATE inbox_stream SET parked = false WHERE tenant_id = $1 AND consumer = $2 AND source = $3 \
         AND kind = $4 AND stream_id = $5 AND NOT EXISTS (SELECT FROM inbox_parked WHERE tenant_id = $1 \
         AND consumer = $2 AND source = $3 AND kind = $4 AND stream_id = $5)",
    )
    .execute(&mut **unit.tx())
    .await?;
    Ok(())
}

async fn lock(unit: &mut Unit, stream: &ParkedStream) -> Result<bool, StoreError> {
    let locked = on_stream(
        stream,
        "SELECT 1 FROM inbox_stream WHERE tenant_id = $1 AND consumer = $2 AND source = $3 AND kind = $4 \
         AND stream_id = $5 AND parked FOR UPDATE",
    )
    .execute(&mut **unit.tx())
    .await?;
    Ok(locked > 0)
}

fn on_stream(stream: &ParkedStream, text: &'static str) -> Sql {
    Sql::fixed(text)
        .bind::<SqlUuid>(stream.tenant_id)
        .bind::<Text>(stream.consumer.clone())
        .bind::<Text>(stream.source.clone())
        .bind::<Text>(stream.kind.clone())
        .bind::<BigInt>(stream.stream_id)
}
