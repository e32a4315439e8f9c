//! Taking events in from other services, exactly once in effect.
//!
//! One transaction holds the handlers' writes, the dedupe rows and the offset. The offset moves by
//! compare-and-swap, first of all, so two owners of one partition queue up there and the second finds that
//! it no longer owns it. An event is recognised by the contract version of its stream: an older one is a
//! duplicate, the next one is handled, and a later one is a gap, which stops the batch.
//!
//! An event that its handler cannot take is parked, with all its followers in the same stream; other streams
//! go on. See [`crate::inbox::redrive`] for the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contracts::{Envelope, TenantId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::{Context, ExecuteError, Store, TRIES, Unit};

pub mod redrive;

/// What a handler returns.
pub type Handled<'a> = BoxFuture<'a, Result<(), HandlerError>>;
/// Takes one event in: writes a table, executes a command, or queues a job, in the given unit.
pub type Handler = Arc<dyn for<'a> Fn(&'a mut Unit, &'a Envelope) -> Handled<'a> + Send + Sync>;

/// Why a handler could not take an event.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    #[error("not stored")]
    Store(#[from] StoreError),
    /// The data is not what the event's type says.
    #[error("unreadable")]
    Unreadable(#[from] serde_json::Error),
    /// The command that it led to was refused.
    #[error("{0}")]
    Refused(String),
}

impl<E: std::error::Error> From<ExecuteError<E>> for HandlerError {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::Refused(refusal.to_string()),
            ExecuteError::Store(error) => Self::Store(error),
        }
    }
}

/// Where a consumer is in one partition of a source.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Place {
    #[diesel(sql_type = Text)]
    pub topic: String,
    #[diesel(sql_type = Integer)]
    pub part: i32,
    #[diesel(sql_type = BigInt)]
    pub next_offset: i64,
    /// Log position of the last record.
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// Event id of the last record; `None` before the first and after a backfill.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
}

/// Reads a consumer's place, which begins at the beginning.
pub async fn place(store: &Store, consumer: &str, topic: &str, part: i32) -> Result<Place, StoreError> {
    let mut tx = store.database().tenant(TenantId::DEPLOYMENT).await?;
    Sql::fixed(
        "INSERT INTO inbox_offset (consumer, topic, part, next_offset) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING",
    )
    .bind::<Text>(consumer.to_owned())
    .bind::<Text>(topic.to_owned())
    .bind::<Integer>(part)
    .execute(&mut *tx)
    .await?;
    let place = Sql::fixed(
        "SELECT topic, part, next_offset, position, event_id FROM inbox_offset \
         WHERE consumer = $1 AND topic = $2 AND part = $3",
    )
    .bind::<Text>(consumer.to_owned())
    .bind::<Text>(topic.to_owned())
    .bind::<Integer>(part)
    .get_result(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(place)
}

/// Moves a place without events: after a backfill, or over a stretch that held nothing.
pub async fn move_place(store: &Store, consumer: &str, from: &Place, to: &Place) -> Result<(), StoreError> {
    let mut unit = store.begin(Context::mesh(TenantId::DEPLOYMENT)).await?;
    swap_place(&mut unit, consumer, from, to).await?;
    unit.commit().await
}

async fn swap_place(unit: &mut Unit, consumer: &str, from: &Place, to: &Place) -> Result<(), StoreError> {
    let moved = Sql::fixed(
        "UPDATE inbox_offset SET next_offset = $5, position = $6, event_id = $7 \
         WHERE consumer = $1 AND topic = $2 AND part = $3 AND next_offset = $4 AND position = $8",
    )
    .bind::<Text>(consumer.to_owned())
    .bind::<Text>(from.topic.clone())
    .bind::<Integer>(from.part)
    .bind::<BigInt>(from.next_offset)
    .bind::<BigInt>(to.next_offset)
    .bind::<BigInt>(to.position)
    .bind::<Nullable<SqlUuid>>(to.event_id)
    .bind::<BigInt>(from.position)
    .execute(&mut **unit.tx())
    .await?;
    if moved == 1 {
        Ok(())
    } else {
        Err(StoreError::Fenced(format!("{consumer} on {}/{}", from.topic, from.part)))
    }
}

/// A move of one partition's place by the batch that it comes with.
pub struct Move {
    pub from: Place,
    pub to: Place,
}

/// How a batch went.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    pub handled: usize,
    pub duplicates: usize,
    pub parked: usize,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("not stored")]
    Store(#[from] StoreError),
    /// The source skipped something: read on from the log instead.
    #[error("{partition_key} is at version {last} here and {found} there")]
    Gap { partition_key: String, last: i64, found: i64 },
}

/// Takes a batch in: all of it, or nothing.
pub async fn take(
    store: &Store,
    consumer: &str,
    handler: &Handler,
    batch: &[Envelope],
    moves: &[Move],
) -> Result<Taken, TakeError> {
    // Savepoints cost two round trips an event, so they are used only after something failed.
    let mut careful = false;
    for _ in 1..TRIES {
        match take_once(store, consumer, handler, batch, moves, careful).await {
            Err(TakeError::Store(error)) if error.is_collision() => {}
            Err(TakeError::Store(error)) if !careful && !error.is_unavailable() => careful = true,
            outcome => return outcome,
        }
    }
    take_once(store, consumer, handler, batch, moves, careful).await
}

/// A stream of another service, inside one tenant.
type StreamKey = (String, String, i64);

fn stream_key(envelope: &Envelope) -> Result<StreamKey, StoreError> {
    let id = envelope
        .stream_id()
        .ok_or_else(|| StoreError::Corrupt(format!("the subject {} names no stream", envelope.subject)))?;
    Ok((envelope.service().to_owned(), envelope.kind().to_owned(), id))
}

/// One stream's place in a consumer's inbox.
#[derive(Clone, Copy)]
struct Inbox {
    /// Whether it has a row, which is then locked.
    known: bool,
    last: i64,
    parked: bool,
}

async fn take_once(
    store: &Store,
    consumer: &str,
    handler: &Handler,
    batch: &[Envelope],
    moves: &[Move],
    careful: bool,
) -> Result<Taken, TakeError> {
    let mut unit = store.begin(Context::mesh(TenantId::DEPLOYMENT)).await?;
    let taken = match take_in(&mut unit, consumer, handler, batch, moves, careful).await {
        Ok(taken) => taken,
        Err(stop) => {
            unit.rollback().await;
            return Err(stop);
        }
    };
    crate::fail_point!("bus.consumer.before_commit");
    unit.commit().await?;
    crate::fail_point!("bus.consumer.after_commit");
    store.wake().taken();
    Ok(taken)
}

async fn take_in(
    unit: &mut Unit,
    consumer: &str,
    handler: &Handler,
    batch: &[Envelope],
    moves: &[Move],
    careful: bool,
) -> Result<Taken, TakeError> {
    for Move { from, to } in moves {
        swap_place(unit, consumer, from, to).await?;
    }
    let mut by_tenant: BTreeMap<TenantId, Vec<&Envelope>> = BTreeMap::new();
    for envelope in batch {
        by_tenant.entry(envelope.tenantid).or_default().push(envelope);
    }
    let mut taken = Taken::default();
    for (tenant, events) in by_tenant {
        unit.enter(Context::mesh(tenant)).await?;
        let mut inboxes = lock(unit, consumer, &events).await?;
        for envelope in events {
            let key = stream_key(envelope)?;
            let inbox = inboxes.entry(key).or_insert(Inbox { known: false, last: 0, parked: false });
            if envelope.streamversion <= inbox.last {
                taken.duplicates += 1;
                continue;
            }
            if envelope.streamversion > inbox.last + 1 {
                return Err(TakeError::Gap {
                    partition_key: envelope.partitionkey.clone(),
                    last: inbox.last,
                    found: envelope.streamversion,
                });
            }
            inbox.last = envelope.streamversion;
            if inbox.parked {
                park(unit, consumer, envelope, 0, "waits for the event before it").await?;
                taken.parked += 1;
                continue;
            }
            unit.enter(cause(envelope)).await?;
            let outcome = if careful {
                unit.attempt(async |unit| handler(unit, envelope).await).await?
            } else {
                handler(unit, envelope).await
            };
            match outcome {
                Ok(()) => taken.handled += 1,
                Err(HandlerError::Store(error)) if error.is_unavailable() => return Err(error.into()),
                // Nothing is known about the others in the batch, so it is taken anew, with care.
                Err(error) if !careful => return Err(StoreError::Corrupt(crate::chain(&error)).into()),
                Err(error) => {
                    inbox.parked = true;
                    taken.parked += 1;
                    let text = crate::chain(&error);
                    tracing::error!(
                        consumer, event.id = %envelope.id, event.type = envelope.event_type, error = text,
                        "parked {} at version {}", envelope.subject, envelope.streamversion
                    );
                    park(unit, consumer, envelope, 1, &text).await?;
                }
            }
        }
        // The last handler may have gone to another tenant.
        unit.enter(Context::mesh(tenant)).await?;
        match unit.write_gathered().await {
            Err(HandlerError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(StoreError::Corrupt(crate::chain(&error)).into()),
            Ok(()) => {}
        }
        record(unit, consumer, tenant, inboxes).await?;
    }
    Ok(taken)
}

/// The context in which an event is handled: caused by it, done by whoever did it.
fn cause(envelope: &Envelope) -> Context {
    Context {
        tenant: envelope.tenantid,
        actor: envelope.actorid,
        impersonator: envelope.impersonatorid,
        correlation: envelope.correlationid,
        causation: Some(envelope.id),
        traceparent: envelope.traceparent.clone(),
    }
}

/// Locks and reads the inbox rows of a batch's streams, in sorted order: the keys are sorted, and looked up one by one.
async fn lock(
    unit: &mut Unit,
    consumer: &str,
    events: &[&Envelope],
) -> Result<BTreeMap<StreamKey, Inbox>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        source: String,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = BigInt)]
        stream_id: i64,
        #[diesel(sql_type = BigInt)]
        last_version: i64,
        #[diesel(sql_type = Bool)]
        parked: bool,
    }
    let keys = events.iter().map(|event| stream_key(event)).collect::<Result<BTreeSet<_>, _>>()?;
    let (mut sources, mut kinds, mut ids) = (vec![], vec![], vec![]);
    for (source, kind, id) in keys {
        sources.push(source);
        kinds.push(kind);
        ids.push(id);
    }
    let rows: Vec<Row> = Sql::fixed(
        // A look-up for each key, whatever the planner thinks of the table: a join may read all of it.
        "SELECT i.source, i.kind, i.stream_id, i.last_version, i.parked \
         FROM unnest($3::text[], $4::text[], $5::bigint[]) AS t (source, kind, stream_id) \
         CROSS JOIN LATERAL (SELECT * FROM inbox_stream WHERE tenant_id = $1 AND consumer = $2 \
            AND source = t.source AND kind = t.kind AND stream_id = t.stream_id FOR UPDATE) AS i",
    )
    .bind::<SqlUuid>(unit.context().tenant.0)
    .bind::<Text>(consumer.to_owned())
    .bind::<Array<Text>>(sources)
    .bind::<Array<Text>>(kinds)
    .bind::<Array<BigInt>>(ids)
    .load(&mut **unit.tx())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let inbox = Inbox { known: true, last: row.last_version, parked: row.parked };
            ((row.source, row.kind, row.stream_id), inbox)
        })
        .collect())
}

/// Writes how far each stream of a batch is. A stream that was new to this batch must be new still: somebody
/// else who reads the same source from another place may have begun it meanwhile.
async fn record(
    unit: &mut Unit,
    consumer: &str,
    tenant: TenantId,
    inboxes: BTreeMap<StreamKey, Inbox>,
) -> Result<(), StoreError> {
    let (mut sources, mut kinds, mut ids) = (vec![], vec![], vec![]);
    let (mut known, mut last, mut parked) = (vec![], vec![], vec![]);
    for ((source, kind, id), inbox) in inboxes {
        sources.push(source);
        kinds.push(kind);
        ids.push(id);
        known.push(inbox.known);
        last.push(inbox.last);
        parked.push(inbox.parked);
    }
    let written = Sql::fixed(
        // A known row is there and locked, so its conflict is certain, and found by the index.
        "WITH t AS (\
            SELECT * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::bigint[], $8::boolean[]) \
                AS t (source, kind, stream_id, known, last_version, parked)\
         ), old AS (\
            INSERT INTO inbox_stream (tenant_id, consumer, source, kind, stream_id, last_version, parked) \
            SELECT $1, $2, source, kind, stream_id, last_version, parked FROM t WHERE known \
            ON CONFLICT (tenant_id, consumer, source, kind, stream_id) \
            DO UPDATE SET last_version = excluded.last_version, parked = excluded.parked\
         ) \
         INSERT INTO inbox_stream (tenant_id, consumer, source, kind, stream_id, last_version, parked) \
         SELECT $1, $2, source, kind, stream_id, last_version, parked FROM t WHERE NOT known",
    )
    .bind::<SqlUuid>(tenant.0)
    .bind::<Text>(consumer.to_owned())
    .bind::<Array<Text>>(sources)
    .bind::<Array<Text>>(kinds)
    .bind::<Array<BigInt>>(ids)
    .bind::<Array<Bool>>(known)
    .bind::<Array<BigInt>>(last)
    .bind::<Array<Bool>>(parked)
    .execute(&mut **unit.tx())
    .await;
    match written.map_err(StoreError::from) {
        Err(StoreError::Unique { .. }) => Err(StoreError::collided()),
        other => other.map(|_| ()),
    }
}

async fn park(
    unit: &mut Unit,
    consumer: &str,
    envelope: &Envelope,
    attempts: i32,
    error: &str,
) -> Result<(), StoreError> {
    // The last handler may have gone to another tenant.
    unit.enter(cause(envelope)).await?;
    let now = unit.store().clock().now();
    let (source, kind, stream_id) = stream_key(envelope)?;
    Sql::fixed(
        "INSERT INTO inbox_parked (tenant_id, consumer, source, kind, stream_id, version, envelope, attempts, \
         error, due_at, parked_at) VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, $8, $9, $10, $11)",
    )
    .bind::<SqlUuid>(envelope.tenantid.0)
    .bind::<Text>(consumer.to_owned())
    .bind::<Text>(source)
    .bind::<Text>(kind)
    .bind::<BigInt>(stream_id)
    .bind::<BigInt>(envelope.streamversion)
    .bind::<Text>(serde_json::to_string(envelope)?)
    .bind::<Integer>(attempts)
    .bind::<Text>(storable(error))
    .bind::<Timestamptz>(now + redrive::backoff(attempts))
    .bind::<Timestamptz>(now)
    .execute(&mut **unit.tx())
    .await?;
    Ok(())
}

/// An error's text may quote what a user wrote, and PostgreSQL's text cannot hold NUL.
fn storable(error: &str) -> String {
    error.replace('\0', "\u{fffd}")
}

/// How far a consumer has taken a stream in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    At(i64),
    Parked,
}

/// Reads how far a consumer is in a stream.
pub async fn progress(
    store: &Store,
    consumer: &str,
    tenant: TenantId,
    source: &str,
    kind: &str,
    stream_id: i64,
) -> Result<Progress, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        last_version: i64,
        #[diesel(sql_type = Bool)]
        parked: bool,
    }
    let mut tx = store.database().tenant(tenant).await?;
    let rows: Vec<Row> = Sql::fixed(
        "SELECT last_version, parked FROM inbox_stream WHERE tenant_id = $1 AND consumer = $2 \
         AND source = $3 AND kind = $4 AND stream_id = $5",
    )
    .bind::<SqlUuid>(tenant.0)
    .bind::<Text>(consumer.to_owned())
    .bind::<Text>(source.to_owned())
    .bind::<Text>(kind.to_owned())
    .bind::<BigInt>(stream_id)
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(match rows.into_iter().next() {
        Some(row) if row.parked => Progress::Parked,
        Some(row) => Progress::At(row.last_version),
        None => Progress::At(0),
    })
}
