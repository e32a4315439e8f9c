//! The table `event`: what arrived, and in which order.

use chrono::{DateTime, Utc};
use contracts::Envelope;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ARRIVALS;
use crate::sight::Sight;

/// Writes an event and puts it in the queue for an arrival number, unless it is there already.
pub async fn store(tx: &mut Tx, envelope: &Envelope) -> Result<(), StoreError> {
    Sql::fixed(
        "WITH stored AS ( \
             INSERT INTO event (tenant_id, event_id, source, event_type, subject, occurred_at, dataschema, \
             stream_version, log_position, partition_key, correlation_id, causation_id, actor_id, \
             impersonator_id, organization_id, traceparent, data) \
             VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
             $16::text::json) \
             ON CONFLICT (tenant_id, event_id) DO NOTHING RETURNING seq, tenant_id \
         ) INSERT INTO event_pending (seq, tenant_id) SELECT seq, tenant_id FROM stored",
    )
    .bind::<SqlUuid>(envelope.id)
    .bind::<Text>(envelope.source.clone())
    .bind::<Text>(envelope.event_type.clone())
    .bind::<Text>(envelope.subject.clone())
    .bind::<Timestamptz>(envelope.time)
    .bind::<Text>(envelope.dataschema.clone())
    .bind::<BigInt>(envelope.streamversion)
    .bind::<BigInt>(envelope.position)
    .bind::<Text>(envelope.partitionkey.clone())
    .bind::<SqlUuid>(envelope.correlationid)
    .bind::<Nullable<SqlUuid>>(envelope.causationid)
    .bind::<Nullable<BigInt>>(envelope.actorid)
    .bind::<Nullable<BigInt>>(envelope.impersonatorid)
    .bind::<Nullable<BigInt>>(envelope.organizationid)
    .bind::<Nullable<Text>>(envelope.traceparent.clone())
    .bind::<Text>(envelope.data.get().to_owned())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which events a reader asks for; what it may see is [`Sight`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Names of contract events; empty means all.
    pub types: Vec<String>,
    /// `<kind>/<id>`.
    pub subject: Option<String>,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    dataschema: String,
    #[diesel(sql_type = BigInt)]
    stream_version: i64,
    #[diesel(sql_type = BigInt)]
    log_position: i64,
    #[diesel(sql_type = Text)]
    partition_key: String,
    #[diesel(sql_type = SqlUuid)]
    correlation_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    causation_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    impersonator_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    traceparent: Option<String>,
    #[diesel(sql_type = Text)]
    data: String,
}

/// An event as readers get it: CloudEvents 1.0 in JSON, with its arrival number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Arrival number: rises without being contiguous; read on with `after`.
    pub cursor: i64,
    /// Always `1.0`.
    pub specversion: &'static str,
    /// Unique for ever.
    pub id: Uuid,
    /// `/mesh/<service>`.
    pub source: String,
    /// `<service>.<noun>_<participle>.v<n>`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `<kind>/<id>` of what it is about, such as `project/42`.
    pub subject: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    pub datacontenttype: &'static str,
    /// Where the JSON Schema of `data` is served.
    pub dataschema: String,
    pub tenantid: Uuid,
    /// Contiguous from 1 in each `partitionkey`.
    pub streamversion: i64,
    /// Position in the publisher's log.
    pub position: i64,
    /// `<tenant>/<kind>/<id>`.
    pub partitionkey: String,
    /// The request that began the chain of causes.
    pub correlationid: Uuid,
    /// The event that was answered with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causationid: Option<Uuid>,
    /// The user who caused it; absent when the mesh itself did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actorid: Option<i64>,
    /// The user who really called, when they did it as `actorid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonatorid: Option<i64>,
    /// The organization of the subject; absent in a personal workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizationid: Option<i64>,
    /// W3C trace context of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The fact itself; its schema is at `dataschema`.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// Some events in the order of arrival.
pub struct Listed {
    pub events: Vec<EventView>,
    /// Whether more are there already.
    pub more: bool,
    /// Everything up to this arrival number was looked at.
    pub reached: i64,
}

/// Reads the events after a cursor, in the order of arrival, at most `limit`.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    sight: &Sight,
    after: i64,
    limit: i64,
) -> Result<Listed, StoreError> {
    // Before the events: positions up to the head are all visible, because they are given with it.
    let head = head(tx).await?;
    let mut sql = Sql::composed(
        "SELECT p.position, e.tenant_id, e.event_id, e.source, e.event_type, e.subject, e.occurred_at, \
         e.dataschema, e.stream_version, e.log_position, e.partition_key, e.correlation_id, e.causation_id, \
         e.actor_id, e.impersonator_id, e.organization_id, e.traceparent, e.data::text AS data \
         FROM event_position p JOIN event e USING (seq) WHERE p.tenant_id = es_tenant() AND p.position > ",
    );
    sql.push_i64(after);
    if !filter.types.is_empty() {
        sql.push(" AND e.event_type = ANY(").push_bind::<Array<Text>>(filter.types.clone()).push(")");
    }
    if let Some(subject) = &filter.subject {
        sql.push(" AND e.subject = ").push_text(subject);
    }
    sight.push(&mut sql);
    sql.push(" ORDER BY p.position LIMIT ").push_i64(limit + 1);
    let mut rows: Vec<Row> = sql.load(&mut **tx).await?;
    // One more than asked for tells whether there is more.
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let last = rows.last().map_or(after, |row| row.position);
    let events = rows.into_iter().map(EventView::try_from).collect::<Result<_, _>>()?;
    Ok(Listed { events, more, reached: if more { last } else { last.max(head) } })
}

/// The newest arrival number of the deployment.
pub async fn head(tx: &mut Tx) -> Result<i64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Head {
        #[diesel(sql_type = BigInt)]
        position: i64,
    }
    let head: Head = Sql::fixed("SELECT position FROM es_head WHERE log = $1")
        .bind::<Text>(ARRIVALS)
        .get_result(&mut **tx)
        .await?;
    Ok(head.position)
}

impl TryFrom<Row> for EventView {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            cursor: row.position,
            specversion: "1.0",
            id: row.event_id,
            source: row.source,
            event_type: row.event_type,
            subject: row.subject,
            time: row.occurred_at,
            datacontenttype: "application/json",
            dataschema: row.dataschema,
            tenantid: row.tenant_id,
            streamversion: row.stream_version,
            position: row.log_position,
            partitionkey: row.partition_key,
            correlationid: row.correlation_id,
            causationid: row.causation_id,
            actorid: row.actor_id,
            impersonatorid: row.impersonator_id,
            organizationid: row.organization_id,
            traceparent: row.traceparent,
            data: RawValue::from_string(row.data)?,
        })
    }
}
